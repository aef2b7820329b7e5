//! Keeps the shards of the slots that a session serves active.
//!
//! One task compares what should be active with what is: after each Adopt, each epoch that gives slots or has new kinds, and
//! each shard that leaves memory, and every second in case something else went wrong.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use holocron_protocol::{
    epoch::shards::{Shards, shard_name},
    ids::{Slot, VnodeHash, VnodeName},
    slot::{lifecycle::Stage, residency::Residency},
};
use tokio::sync::Notify;

use super::Session;
use crate::{
    planted,
    transport::peer::{NOT_OPEN_MAX, NotOpen, ShardsStatus},
};

/// How often to compare although nothing is known to have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shards of all kinds, by slot.
#[derive(Debug, Default)]
pub(crate) struct OwnShards {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    shards: Shards,
    by_slot: BTreeMap<Slot, Vec<Shard>>,
    hashes: BTreeSet<VnodeHash>,
}

#[derive(Clone, Debug)]
struct Shard {
    name: VnodeName,
    hash: VnodeHash,
}

impl OwnShards {
    /// A newer record was read.
    pub(super) fn learn(&self, shards: &Shards, slots: u16) {
        let mut known = self.known();
        if known.shards != *shards {
            *known = Known::of(shards, slots);
        }
        drop(known);
        self.look();
    }

    /// Something may have changed.
    pub(super) fn look(&self) {
        self.changed.notify_one();
    }

    fn is_shard(&self, hash: VnodeHash) -> bool {
        self.known().hashes.contains(&hash)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics under the lock of the shards")
    }
}

impl Known {
    fn of(shards: &Shards, slots: u16) -> Self {
        let mut known = Self { shards: shards.clone(), ..Self::default() };
        for (kind, sharded) in shards.kinds() {
            for number in 0..sharded.count {
                let name = shard_name(kind, number);
                let hash = name.hash();
                known.hashes.insert(hash);
                known.by_slot.entry(hash.slot(slots)).or_default().push(Shard { name, hash });
            }
        }
        known
    }

    /// The shards of the slots that are served.
    fn served(&self, residency: &Residency) -> Vec<Shard> {
        let served = self.by_slot.iter().filter(|(slot, _)| residency.is_served(**slot));
        served.flat_map(|(_, shards)| shards.iter().cloned()).collect()
    }
}

impl Session {
    /// Keeps shards active until the session ends.
    pub(crate) async fn run_shards(self: Arc<Self>) {
        loop {
            let is_idle = self.shards.known().hashes.is_empty();
            tokio::select! {
                biased;
                () = self.journal.ended().cancelled() => return,
                () = self.shards.changed.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY), if !is_idle => {}
            }
            if planted::activates_shards() {
                self.activate_shards();
            }
        }
    }

    pub(super) fn is_shard(&self, hash: VnodeHash) -> bool {
        self.shards.is_shard(hash)
    }

    fn activate_shards(self: &Arc<Self>) {
        for Shard { name, hash } in self.served_shards() {
            if !self.active.contains_key(&hash) {
                // Not served any more, or of a kind that this host lacks: the status says so.
                drop(self.activate(hash, &name, None));
            }
        }
    }

    fn served_shards(&self) -> Vec<Shard> {
        let known = self.shards.known();
        if known.by_slot.is_empty() {
            return Vec::new();
        }
        self.journal.with_residency(|residency| known.served(residency))
    }

    /// The shards of the slots that it serves, and every vnode that should be open and isn't.
    pub(crate) fn describe_shards(&self, status: &mut ShardsStatus) {
        let served = self.served_shards();
        let mut not_open = BTreeMap::new();
        for Shard { name, hash } in &served {
            status.serving += 1;
            let what = match self.hooked.showing(*hash) {
                Some(showing) if showing.stage == Stage::Open => None,
                Some(showing) => Some((showing.stage, showing.error)),
                None if self.active.contains_key(hash) => None,
                None => Some((Stage::Idle, self.lacks(name))),
            };
            match what {
                None => status.open += 1,
                Some(what) => drop(not_open.insert(name.to_string(), what)),
            }
        }
        not_open.extend(self.hooked.failed());
        let failures = |(_, (stage, _)): &(String, (Stage, Option<String>))| match stage {
            Stage::Failed { failures, .. } | Stage::Opening { failures } => *failures,
            Stage::Idle | Stage::Open | Stage::Closing(_) | Stage::Cancelling | Stage::Gone => 0,
        };
        let mut not_open: Vec<_> = not_open.into_iter().collect();
        not_open.sort_by_key(|one| core::cmp::Reverse(failures(one)));
        status.not_open = not_open
            .into_iter()
            .take(NOT_OPEN_MAX)
            .map(|one| NotOpen { failures: failures(&one), vnode: one.0, why: why(one.1) })
            .collect();
    }

    fn lacks(&self, name: &VnodeName) -> Option<String> {
        let is_known = self.parts.kinds.get(name.kind()).is_some();
        (!is_known).then(|| format!("this host has no kind {}", name.kind()))
    }
}

/// What a vnode that isn't open waits for, in words.
fn why((stage, error): (Stage, Option<String>)) -> String {
    let doing = match stage {
        Stage::Opening { .. } => "opening",
        Stage::Failed { .. } => "waiting to be opened again",
        Stage::Closing(_) | Stage::Cancelling | Stage::Gone => "closing",
        Stage::Idle | Stage::Open => "not active",
    };
    match error {
        Some(error) => format!("{doing}; last error: {error}"),
        None => doing.to_owned(),
    }
}
