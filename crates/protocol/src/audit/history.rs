//! The epoch log: which records and marks must exist, and whether the records follow each other.
//!
//! The epochs are listed before the marks. A mark is created before the first epoch of its segment is deleted, so an epoch
//! that isn't listed, in a segment that has no mark afterwards, was not deleted by a host.

use alloc::{collections::BTreeSet, format, sync::Arc, vec::Vec};

use bytes::Bytes;

use super::finding::{Damage, Finding};
use crate::{
    epoch::{
        log::EPOCHS_KEPT_MIN,
        record::{EpochRecord, RecordDigest},
    },
    format::{keys, segment::EpochSegments},
    ids::{Epoch, Segment},
};

/// The keys of the epoch log, listed in this order.
#[derive(Clone, Debug)]
pub struct LogKeys {
    /// How epochs are grouped.
    pub segments: EpochSegments,
    /// The epochs.
    pub epochs: BTreeSet<Epoch>,
    /// The marks, listed after the epochs.
    pub marks: BTreeSet<Segment>,
    /// An epoch that was written before the epochs were listed, by the leader's hint; 0 when there is none.
    pub hinted: Epoch,
}

impl LogKeys {
    /// The first epoch that no mark allows to delete.
    #[must_use]
    pub fn first_kept(&self) -> Epoch {
        let first = self.segments.first(self.first_unmarked());
        first.max(Epoch::new(1))
    }

    /// The newest epoch; 0 when there is none above the marks.
    #[must_use]
    pub fn newest(&self) -> Epoch {
        self.epochs.range(self.first_kept()..).next_back().copied().unwrap_or_default()
    }

    /// Epochs in marked segments: their deletion is not finished, or a host that is far behind created them again.
    pub fn leftovers(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.epochs.range(..self.first_kept()).copied()
    }

    /// A mark that is missing below another one counts as existing for what may be deleted.
    fn first_unmarked(&self) -> Segment {
        let last = self.marks.iter().rev().find(|&&mark| !self.is_ahead(mark));
        last.map_or(Segment::ZERO, |last| last.next())
    }

    /// Whether a mark covers epochs that are never deleted.
    fn is_ahead(&self, mark: Segment) -> bool {
        let newest = self.epochs.last().copied().unwrap_or_default();
        // Compared first, because the epochs of a forged segment may not fit 64 bits.
        mark >= self.segments.segment(newest)
            || self.segments.last(mark).get() + EPOCHS_KEPT_MIN > newest.get()
    }

    /// What is wrong with the keys alone.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let (ahead, marks): (BTreeSet<Segment>, _) =
            self.marks.iter().partition(|&&mark| self.is_ahead(mark));
        let mut findings = missing_marks(&marks, keys::epoch_mark);
        for mark in ahead {
            let newest = self.newest();
            let why = format!(
                "its segment has epochs among the newest {EPOCHS_KEPT_MIN} up to {newest}, which are never deleted"
            );
            findings.push(Finding::new(keys::epoch_mark(mark), Damage::MarkAhead, why));
        }
        if self.hinted > self.newest() {
            let after = keys::epoch(self.newest().next());
            let why = format!("the leader's hint says that {} was written", self.hinted);
            findings.push(Finding::new(after, Damage::EpochMissing, why));
        }
        let (mut next, newest) = (self.first_kept(), self.newest());
        while next < newest {
            let segment = self.segments.segment(next);
            let last = self.segments.last(segment).min(newest);
            let first_listed = self.epochs.range(next..=last).next().copied();
            if first_listed.is_none() && next <= self.segments.first(segment).max(Epoch::new(1)) {
                let why = format!("no epoch from {next} to {last} exists, and no mark allows that");
                findings.push(Finding::new(keys::epoch_mark(segment), Damage::MarkMissing, why));
                next = last.next();
            } else if let Some(listed) = first_listed.filter(|&listed| listed == next) {
                next = listed.next();
            } else {
                let until = first_listed.unwrap_or_else(|| last.next());
                let (last, count) = (until.get() - 1, until.get() - next.get());
                let why = match count {
                    1 => format!("missing; {newest} is the newest"),
                    _ => format!("{count} missing, {next} to e{last}; {newest} is the newest"),
                };
                findings.push(Finding::new(keys::epoch(next), Damage::EpochMissing, why));
                next = until;
            }
        }
        findings
    }
}

/// Marks missing below the newest one.
pub(super) fn missing_marks(
    marks: &BTreeSet<Segment>,
    key: impl Fn(Segment) -> alloc::string::String,
) -> Vec<Finding> {
    let Some(&last) = marks.last() else { return Vec::new() };
    let missing = |segment: &Segment| !marks.contains(segment);
    let below = (0..last.get()).map(Segment::new).filter(missing);
    // A forged mark of a far segment must not fill the memory.
    let below = below.take(MISSING_MARKS_MAX);
    below
        .map(|segment| {
            let why = format!("missing, though the mark of segment {} exists", last.get());
            Finding::new(key(segment), Damage::MarkMissing, why)
        })
        .collect()
}

/// Most missing marks that are reported of one log or journal.
pub const MISSING_MARKS_MAX: usize = 64;

/// Follows the records in order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    last: Option<(Arc<EpochRecord>, RecordDigest)>,
}

impl Chain {
    /// The newest record that could be decoded.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<EpochRecord>> {
        self.last.as_ref().map(|(record, _)| record)
    }

    /// Takes the stored record of the next epoch, if it exists. An epoch that is missing was found by its key.
    #[must_use]
    pub fn next(&mut self, epoch: Epoch, stored: Option<&Bytes>) -> Vec<Finding> {
        let key = keys::epoch(epoch);
        let Some(stored) = stored else { return Vec::new() };
        let record = match EpochRecord::decode(&key, stored) {
            Ok(record) => record,
            Err(malformed) => {
                return Vec::from([Finding::new(key, Damage::Undecodable, malformed.why)]);
            }
        };
        let mut findings = Vec::new();
        if record.epoch != epoch {
            let why = format!("it is the record of {}", record.epoch);
            return Vec::from([Finding::new(key, Damage::EpochBreaksRule, why)]);
        }
        let digest = RecordDigest::of(stored);
        let before = self.last.as_ref().filter(|(before, _)| before.epoch.next() == epoch);
        if let Some((before, digest)) = before {
            if record.previous == Some(*digest) {
                if let Err(why) = record.follows(before, *digest) {
                    findings.push(Finding::new(key, Damage::EpochBreaksRule, why));
                }
            } else {
                let why = format!("{} was made from another record of {}", epoch, before.epoch);
                let replaced = keys::epoch(before.epoch);
                findings.push(Finding::new(replaced, Damage::ChainBroken, why));
            }
        }
        self.last = Some((Arc::new(record), digest));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(epochs: impl IntoIterator<Item = u64>, marks: impl IntoIterator<Item = u64>) -> LogKeys {
        LogKeys {
            segments: EpochSegments::new(10),
            epochs: epochs.into_iter().map(Epoch::new).collect(),
            marks: marks.into_iter().map(Segment::new).collect(),
            hinted: Epoch::ZERO,
        }
    }

    fn found(log: &LogKeys) -> Vec<(alloc::string::String, Damage)> {
        log.findings().into_iter().map(|finding| (finding.key, finding.damage)).collect()
    }

    #[test]
    fn a_log_without_gaps_above_its_marks_is_sound() {
        assert_eq!(found(&log(1..=30, [])), []);
        let trimmed = log(20..=60, [0, 1]);
        assert_eq!(found(&trimmed), []);
        assert_eq!((trimmed.first_kept(), trimmed.newest()), (Epoch::new(20), Epoch::new(60)));
        assert_eq!(found(&log([], [])), []);
    }

    #[test]
    fn an_epoch_that_was_created_again_far_behind_is_a_leftover() {
        let log = log([7].into_iter().chain(20..=60), [0, 1]);
        assert_eq!(found(&log), []);
        assert!(log.leftovers().eq([Epoch::new(7)]));
    }

    #[test]
    fn missing_epochs_are_found_as_one_gap() {
        let epochs = (1..=30).filter(|epoch| !(13..=15).contains(epoch));
        let log = log(epochs, []);
        assert_eq!(found(&log), [(keys::epoch(Epoch::new(13)), Damage::EpochMissing)]);
        assert!(log.findings()[0].why.contains("3 missing, e13 to e15"), "{:?}", log.findings());
    }

    #[test]
    fn a_missing_newest_epoch_is_found_by_the_leaders_hint() {
        let log = LogKeys { hinted: Epoch::new(31), ..log(1..=30, []) };
        assert_eq!(found(&log), [(keys::epoch(Epoch::new(31)), Damage::EpochMissing)]);
    }

    #[test]
    fn a_missing_mark_is_found_below_another_one_and_by_its_missing_epochs() {
        let mark = |segment| (keys::epoch_mark(Segment::new(segment)), Damage::MarkMissing);
        assert_eq!(found(&log(30..=60, [0, 2])), [mark(1)]);
        assert_eq!(found(&log(20..=60, [0])), [mark(1)]);
        assert_eq!(found(&log(10..=60, [])), [mark(0)]);
    }

    #[test]
    fn a_mark_of_epochs_that_are_never_deleted_is_found() {
        let ahead = (keys::epoch_mark(Segment::new(1)), Damage::MarkAhead);
        assert_eq!(found(&log(10..=30, [0, 1])), [ahead]);
    }
}
