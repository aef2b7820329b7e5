//! Watching the store for broken promises: what no host's word is needed for.

use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::{
    batch::{self, JournalObject},
    ids::{Position, Segment, SessionId},
    keys::{self, Key},
};

use crate::trace::Trace;

/// What has been seen of the journals.
#[derive(Debug)]
pub(super) struct Watch {
    trace: Trace,
    /// The seal that counts, by session.
    seals: BTreeMap<SessionId, Position>,
}

impl Watch {
    pub(super) fn new(trace: Trace) -> Self {
        Self { trace, seals: BTreeMap::new() }
    }

    /// A create that landed: marks are contiguous, nothing is committed at or above a seal.
    pub(super) fn created(&mut self, node: &str, key: &str, body: &Bytes) {
        match keys::parse(key) {
            Some(Key::Journal(session, position)) => match batch::decode(key, body) {
                Ok(JournalObject::Seal(_)) => {
                    self.seals.entry(session).or_insert(position);
                }
                Ok(JournalObject::Batch(_) | JournalObject::Opening(_)) => {}
                Err(malformed) => {
                    self.trace
                        .violate(format_args!("{node} wrote what can't be read: {malformed}"));
                }
            },
            Some(_) => {}
            None if key.starts_with(keys::PROBE) => {}
            None => {
                self.trace.violate(format_args!("{node} created {key}, which is no key of ours"))
            }
        }
    }

    /// A plain put: hints, and packs under names never used before.
    pub(super) fn put(&self, node: &str, key: &str, before: Option<&Bytes>) {
        match keys::parse(key) {
            Some(Key::LeaderHint | Key::HostHint(_)) => {}
            Some(Key::Pack(..)) if before.is_none() => {}
            Some(Key::Pack(..)) => {
                // The same put may land twice.
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
                let prefix = keys::trims(session);
                let marked = objects
                    .range(prefix.clone()..)
                    .take_while(|(key, _)| key.starts_with(&prefix))
                    .count();
                if !ended && marked == 0 {
                    bad("no mark says it may be gone");
                }
                if self.seals.get(&session) == Some(&position)
                    && !self.in_trimmed_ground(session, position, objects)
                {
                    bad("it is a seal");
                }
            }
            Some(Key::TrimMark(..) | Key::EndMark(_) | Key::EpochMark(_)) => {
                bad("marks stay for ever")
            }
            Some(Key::Cluster) => bad("the cluster's own object"),
            Some(Key::Epoch(_) | Key::LeaderHint | Key::HostHint(_) | Key::Pack(..)) => {}
            None if key.starts_with(keys::PROBE) => {}
            None => bad("it is no key of ours"),
        }
    }

    /// Whether some mark covers the position; segments of any length, so the last mark's number bounds it from below.
    fn in_trimmed_ground(
        &self,
        session: SessionId,
        position: Position,
        objects: &BTreeMap<String, Bytes>,
    ) -> bool {
        let prefix = keys::trims(session);
        let newest = objects
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, _)| match keys::parse(key) {
                Some(Key::TrimMark(_, segment)) => Some(segment),
                _ => None,
            })
            .max();
        newest.is_some_and(|newest| newest >= Segment::new(position.get() / 1_000_000))
    }
}
