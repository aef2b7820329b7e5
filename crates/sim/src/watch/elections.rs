//! Elections used alone: one record per epoch, a chain of digests, marks before deletions.

use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::{
    epoch::{election_record::ElectionRecord, record::RecordDigest},
    format::{
        election::ElectionObject,
        keys::{self, Key},
        segment::EpochSegments,
    },
    ids::Epoch,
};

use super::{
    Event, Objects,
    invariant::{Broken, Invariant},
};

/// The elections of a store, by their roots.
#[derive(Debug, Default)]
pub(super) struct Elections(BTreeMap<String, Election>);

#[derive(Debug, Default)]
struct Election {
    newest: Epoch,
    digest: Option<RecordDigest>,
}

impl Elections {
    /// Whether a key is one of an election's.
    pub(super) fn own(key: &str) -> bool {
        key.starts_with(keys::ELECTIONS)
    }

    /// An object was created.
    pub(super) fn created(&mut self, event: Event<'_>, body: &Bytes) -> Vec<Broken> {
        let (root, key) = split(event.key);
        let one_winner = |how: &dyn core::fmt::Display| vec![Invariant::OneWinner.broken(how)];
        match keys::parse(key) {
            Some(Key::Epoch(epoch)) => {
                if is_marked(root, epoch, event.objects) {
                    // Created again in a trimmed segment: its writer finds the mark, and it counts as lost.
                    return Vec::new();
                }
                let election = self.0.entry(root.to_owned()).or_default();
                let record = match ElectionRecord::decode(key, body) {
                    Ok(record) => record,
                    Err(malformed) => return one_winner(&malformed),
                };
                if epoch != election.newest.next() {
                    return one_winner(&format_args!("{epoch} after {}", election.newest));
                }
                if record.previous != election.digest {
                    return one_winner(&format_args!("{epoch} names another record before"));
                }
                (election.newest, election.digest) = (epoch, Some(RecordDigest::of(body)));
                Vec::new()
            }
            Some(Key::EpochMark(segment)) => match segment.previous() {
                Some(before)
                    if !event
                        .objects
                        .contains_key(&format!("{root}/{}", keys::epoch_mark(before))) =>
                {
                    vec![Invariant::Immortal.broken("a mark without the one before it")]
                }
                Some(_) | None => Vec::new(),
            },
            None if key == keys::ELECTION || key.starts_with(keys::PROBE) => Vec::new(),
            _ => one_winner(&"created under a key that is not an election's"),
        }
    }

    /// An object was put.
    pub(super) fn put(event: Event<'_>) -> Vec<Broken> {
        let (_, key) = split(event.key);
        match keys::parse(key) {
            Some(Key::LeaderHint) => Vec::new(),
            None if key.starts_with(keys::PROBE) => Vec::new(),
            _ => vec![Invariant::OneWinner.broken("put, but this kind of object is created")],
        }
    }

    /// An object was deleted.
    pub(super) fn deleted(event: Event<'_>) -> Vec<Broken> {
        let (root, key) = split(event.key);
        match keys::parse(key) {
            Some(Key::Epoch(epoch)) if is_marked(root, epoch, event.objects) => Vec::new(),
            Some(Key::Epoch(_)) => {
                vec![Invariant::LowWaterFirst.broken("an epoch is deleted before its mark")]
            }
            None if key.starts_with(keys::PROBE) => Vec::new(),
            _ => vec![Invariant::Immortal.broken("this kind of object is never deleted")],
        }
    }
}

/// The root of an election, and the key relative to it.
fn split(key: &str) -> (&str, &str) {
    let name = key.strip_prefix(keys::ELECTIONS).unwrap_or_default();
    let root = keys::ELECTIONS.len() + name.find('/').unwrap_or(name.len());
    (&key[..root], key.get(root + 1..).unwrap_or_default())
}

fn is_marked(root: &str, epoch: Epoch, objects: &Objects) -> bool {
    let stored = objects.get(&format!("{root}/{}", keys::ELECTION));
    let found = stored.and_then(|stored| ElectionObject::decode(keys::ELECTION, stored).ok());
    let segments: Option<EpochSegments> = found.map(|found| found.epoch_segments());
    segments.is_some_and(|segments| {
        objects.contains_key(&format!("{root}/{}", keys::epoch_mark(segments.segment(epoch))))
    })
}
