//! Settling: after the faults, one host leads and every slot is served.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron_protocol::{
    epoch::{record::EpochRecord, shards::shard_name, versions::Reading},
    format::keys,
    ids::DomainId,
};

use super::{Story, domain};
use crate::workload::shards;

/// How long a cluster may take to settle after everything was healed. Its longest timeouts are those for hints of
/// unknown hosts (10 s) and for a leader that was heard only by hints.
const REST_WITHIN: Duration = Duration::from_secs(60);
/// How often to check.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The state of the whole cluster.
#[derive(Debug, Default)]
struct State {
    leaders: Vec<String>,
    leaving: Vec<String>,
    serving: u32,
    /// Slots of the domain besides the home domain.
    serving_further: u32,
    waiting: u32,
    /// Shards in slots that are served, and those of them that are open.
    shards: (u32, u32),
    /// By host that takes shards, how many it owns by the newest record.
    spread: Vec<u32>,
    /// Slots whose owner can't read them while a host that takes slots can.
    unread: usize,
}

impl Story {
    /// Waits until the cluster has settled.
    pub(super) fn rest(&mut self, nodes: &[String]) {
        let until = self.cluster.world.now() + REST_WITHIN;
        let slots = u32::from(super::SLOTS);
        let further = domain::drawn(self.scenario.seed).map_or(0, |_| slots);
        loop {
            let state = self.state(nodes);
            let settled = state.leaving.is_empty() && state.waiting == 0 && state.unread == 0;
            let shards = self.work.doors.as_ref().map_or(0, |_| u32::from(shards::COUNT));
            let spread = state.spread.iter().max()
                <= state.spread.iter().min().map(|least| least + 1).as_ref();
            // What a host can read comes before its share of the shards.
            let even = spread || self.work.editions.is_some();
            let open = state.shards == (shards, shards) && even;
            let served = state.serving == slots && state.serving_further == further;
            if settled && open && state.leaders.len() == 1 && served {
                return;
            }
            if self.cluster.world.now() >= until {
                self.note_newest_epoch();
                self.trace.violate(format_args!(
                    "invariants 12, 18 and 25 (one leader, every slot served, every shard open, and no slot where it can't be read in the end): {REST_WITHIN:?} after the last fault: {state:?}"
                ));
                return;
            }
            self.cluster.world.run(LOOK_EVERY);
        }
    }

    /// The newest record, if it can be read.
    pub(super) fn newest_record(&self) -> Option<EpochRecord> {
        let (key, stored) = self.cluster.world.shelf.newest(keys::EPOCHS)?;
        EpochRecord::decode(&key, &stored).ok()
    }

    /// Notes who should serve what, for debugging.
    fn note_newest_epoch(&self) {
        if let Some((key, record)) = self.cluster.world.shelf.newest(keys::EPOCHS) {
            self.trace.note(format_args!("{key}: {}", String::from_utf8_lossy(&record)));
        }
    }

    fn state(&self, nodes: &[String]) -> State {
        let mut state = State::default();
        for node in nodes {
            if !self.cluster.world.is_running(node) || self.cluster.stopped(node).is_some() {
                continue;
            }
            if self.cluster.leaves(node) {
                state.leaving.push(node.clone());
                continue;
            }
            let Some(status) = self.cluster.status(node) else { continue };
            if status.leads {
                state.leaders.push(node.clone());
            }
            state.serving += status.slots_serving;
            state.waiting += status.slots_waiting;
            state.shards.0 += status.shards.serving;
            state.shards.1 += status.shards.open;
            for session in status.domains.iter().filter_map(|domain| domain.session) {
                state.serving_further += session.slots_serving;
                state.waiting += session.slots_waiting;
            }
        }
        state.spread = self.spread();
        state.unread = self.newest_record().map_or(0, |record| unread(&record));
        state
    }

    /// By host that takes shards, how many it owns by the newest record. All hosts have one weight.
    fn spread(&self) -> Vec<u32> {
        let Some(record) = self.newest_record() else { return Vec::new() };
        let mut owned = BTreeMap::new();
        for (kind, sharded) in record.shards.kinds() {
            for (name, _) in record
                .hosts
                .iter()
                .filter(|(name, host)| host.share() > 0 && sharded.hosts.contains(*name))
            {
                owned.entry(name.clone()).or_insert(0);
            }
            for number in 0..sharded.count {
                let slot = shard_name(kind, number).hash().slot(record.slot_count);
                let owner = record.home().slots.holding(slot).owner;
                if let Some((host, _)) = owner.and_then(|owner| record.host_of(owner.session)) {
                    *owned.entry(host.clone()).or_insert(0) += 1;
                }
            }
        }
        owned.into_values().collect()
    }
}

/// How many slots are with a host that can't read them while one that takes slots can.
fn unread(record: &EpochRecord) -> usize {
    let reading = Reading::of(record, DomainId::HOME);
    let unread = record.home().unread.keys();
    unread.filter(|slot| reading.taker(record, **slot).is_some()).count()
}
