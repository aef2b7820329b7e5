//! The truth: every committed record of every vnode, of any owner. Each recovery must find it.
//!
//! Deliberately simple: records are added in the order of their commits, each must be the next of its vnode, and none
//! is ever dropped. Ownership doesn't matter here, so a wrong rule of ownership can't make this wrong in the same way.

use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::ids::{CommitNumber, Position, SessionId, Slot, VnodeHash, VnodeName};

use super::{
    invariant::{Broken, Invariant},
    page::{Version, Written},
};

/// All records ever committed.
#[derive(Debug, Default)]
pub(super) struct Truth {
    slots: BTreeMap<Slot, BTreeMap<VnodeHash, History>>,
}

/// A vnode's records.
#[derive(Debug)]
pub(super) struct History {
    pub(super) name: VnodeName,
    /// By commit number, from 1 on.
    records: Vec<Committed>,
}

/// A record, and the place of its commit.
#[derive(Debug)]
struct Committed {
    version: Version,
    session: SessionId,
    position: Position,
    envelope: Bytes,
}

impl Truth {
    /// A record is committed: it must be the next of its vnode.
    pub(super) fn committed(
        &mut self,
        at: (SessionId, Position),
        slot: Slot,
        written: &Written,
        broken: &mut Vec<Broken>,
    ) {
        let vnodes = self.slots.entry(slot).or_default();
        let history = vnodes
            .entry(written.hash)
            .or_insert_with(|| History { name: written.name.clone(), records: Vec::new() });
        let (newest, commit) = (history.newest(), written.version.commit);
        if commit != newest.next() {
            let how = format!(
                "{} is committed as {commit}, but its newest was {newest}{}",
                written.name,
                history.place_of_newest()
            );
            broken.push(Invariant::Recovered.broken(how));
            return;
        }
        let (session, position) = at;
        let envelope = written.envelope.clone();
        history.records.push(Committed { version: written.version, session, position, envelope });
    }

    /// The vnodes of a slot.
    pub(super) fn slot(&self, slot: Slot) -> impl Iterator<Item = (VnodeHash, &History)> {
        self.slots.get(&slot).into_iter().flatten().map(|(hash, history)| (*hash, history))
    }

    /// A vnode with committed records.
    pub(super) fn vnode(&self, slot: Slot, hash: VnodeHash) -> Option<&History> {
        self.slots.get(&slot)?.get(&hash)
    }
}

impl History {
    /// The newest commit number.
    pub(super) fn newest(&self) -> CommitNumber {
        self.records.last().map_or(CommitNumber::ZERO, |record| record.version.commit)
    }

    /// The newest record's number and checksum.
    pub(super) fn newest_version(&self) -> Option<Version> {
        self.records.last().map(|record| record.version)
    }

    /// Whether this record was ever committed.
    pub(super) fn holds(&self, version: Version) -> bool {
        self.record(version.commit).is_some_and(|record| record.version == version)
    }

    /// The envelope of a commit number.
    pub(super) fn envelope(&self, commit: CommitNumber) -> Option<&Bytes> {
        self.record(commit).map(|record| &record.envelope)
    }

    fn record(&self, commit: CommitNumber) -> Option<&Committed> {
        let before = commit.previous()?;
        self.records.get(usize::try_from(before.get()).ok()?)
    }

    /// Where the newest record was committed, for debugging.
    pub(super) fn place_of_newest(&self) -> String {
        self.records.last().map_or_else(String::new, |record| {
            format!(" (by {:?} at {})", record.session, record.position)
        })
    }
}
