//! Watching the store for broken promises: what no host's word is needed for.

use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::{
    batch::{self, BatchHeader, JournalObject},
    cluster::Cluster,
    ids::{Position, SessionId},
    keys::{self, Key},
    segment::SegmentLen,
};

use crate::trace::Trace;

/// What has been seen of the journals.
#[derive(Debug)]
pub(super) struct Watch {
    trace: Trace,
    segments: SegmentLen,
    /// The seal that counts, by session: one that stands where nothing was trimmed.
    seals: BTreeMap<SessionId, Position>,
    /// The newest low water that a batch in the store vouches for, by session.
    low_waters: BTreeMap<SessionId, Position>,
}

impl Watch {
    pub(super) fn new(trace: Trace) -> Self {
        Self {
            trace,
            segments: SegmentLen::JOURNAL,
            seals: BTreeMap::new(),
            low_waters: BTreeMap::new(),
        }
    }

    /// A create that landed.
    pub(super) fn created(
        &mut self,
        node: &str,
        key: &str,
        body: &Bytes,
        objects: &BTreeMap<String, Bytes>,
    ) {
        match keys::parse(key) {
            Some(Key::Cluster) => match Cluster::decode(key, body) {
                Ok(cluster) => self.segments = cluster.journal_segments(),
                Err(malformed) => self.trace.violate(format_args!("{node} wrote {malformed}")),
            },
            Some(Key::Journal(session, position)) => match batch::decode(key, body) {
                Ok(JournalObject::Seal(_)) => self.sealed(node, session, position, objects),
                Ok(JournalObject::Batch(batch)) => self.committed(session, batch.header),
                Ok(JournalObject::Opening(_)) => {}
                Err(malformed) => self.trace.violate(format_args!("{node} wrote {malformed}")),
            },
            Some(Key::TrimMark(session, segment)) => {
                let before = segment.previous().map(|before| keys::trim_mark(session, before));
                if before.is_some_and(|before| !objects.contains_key(&before)) {
                    self.trace
                        .violate(format_args!("{node} created {key} before the mark below it"));
                }
            }
            Some(_) => {}
            None if key.starts_with(keys::PROBE) => {}
            None => {
                self.trace.violate(format_args!("{node} created {key}, which is no key of ours"));
            }
        }
    }

    fn sealed(
        &mut self,
        node: &str,
        session: SessionId,
        position: Position,
        objects: &BTreeMap<String, Bytes>,
    ) {
        // In trimmed ground, or of a session whose objects may be gone, a seal says nothing; the mark there says so.
        let ended = objects.contains_key(&keys::end_mark(session));
        if ended || self.is_trimmed(session, position, objects) {
            return;
        }
        if let Some(first) = self.seals.insert(session, position) {
            self.trace.violate(format_args!(
                "{node} sealed {session} at {position}; its seal is at {first}"
            ));
        }
    }

    /// A batch that landed where no batch stood: in live ground below every seal it is or will be committed.
    fn committed(&mut self, session: SessionId, header: BatchHeader) {
        let low_water = self.low_waters.entry(session).or_default();
        *low_water = header.low_water.max(*low_water);
    }

    /// A plain put: hints, and packs under names never used before.
    pub(super) fn put(&self, node: &str, key: &str, before: Option<(&Bytes, &Bytes)>) {
        match keys::parse(key) {
            Some(Key::LeaderHint | Key::HostHint(_)) => {}
            Some(Key::Pack(..)) => {
                // The same put may land twice; other bytes may not.
                if before.is_some_and(|(before, now)| before != now) {
                    self.trace.violate(format_args!("{node} put other bytes at {key}"));
                }
            }
            None if key.starts_with(keys::PROBE) => {}
            _ => self
                .trace
                .violate(format_args!("{node} put {key}, which must only ever be created")),
        }
    }

    /// A delete: never a seal that counts, never a mark, never an unmarked position.
    pub(super) fn deleted(&self, node: &str, key: &str, objects: &BTreeMap<String, Bytes>) {
        let bad = |why: &str| self.trace.violate(format_args!("{node} deleted {key}: {why}"));
        match keys::parse(key) {
            Some(Key::Journal(session, position)) => {
                let ended = objects.contains_key(&keys::end_mark(session));
                let trimmed = self.is_trimmed(session, position, objects);
                if !ended && !trimmed {
                    bad("no mark says it may be gone");
                }
                let low_water = self.low_waters.get(&session).copied().unwrap_or_default();
                if !ended && position > low_water {
                    bad("no committed checkpoint covers it");
                }
                if self.seals.get(&session) == Some(&position) {
                    bad("it is the seal");
                }
            }
            Some(Key::TrimMark(..) | Key::EndMark(_) | Key::EpochMark(_)) => {
                bad("marks stay for ever");
            }
            Some(Key::Cluster) => bad("it is the cluster's own object"),
            Some(Key::Epoch(_) | Key::LeaderHint | Key::HostHint(_) | Key::Pack(..)) => {}
            None if key.starts_with(keys::PROBE) => {}
            None => bad("it is no key of ours"),
        }
    }

    fn is_trimmed(
        &self,
        session: SessionId,
        position: Position,
        objects: &BTreeMap<String, Bytes>,
    ) -> bool {
        objects.contains_key(&keys::trim_mark(session, self.segments.segment(position)))
    }
}
