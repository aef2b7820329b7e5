//! One session that the newest record lists: which objects of its journal must exist, and whether they agree.
//!
//! The order of reading is part of the judgement: the journal is listed, then its marks, then the journal again, and only
//! then objects are read ([`SessionView::next_reads`]). A mark comes before the deletions it allows, so a position that
//! the first list lacks was marked by the time of the second. A mark comes after the checkpoint it rests on, so the
//! second list of the journal has a batch that covers it.
//!
//! Invariants:
//!
//! * What must exist is what a recovery would read: all positions above the low water of the newest header, up to the
//!   seal, or up to what that header calls committed.
//! * At most [`READS_MAX`] positions are asked for, whatever a forged header says.

mod headers;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use bytes::Bytes;

use super::{
    finding::{Damage, Finding},
    history::missing_marks,
};
use crate::{
    epoch::record::SessionState,
    format::{
        codec::Malformed,
        keys::{self, Key},
        segment::{SegmentLen, first_unmarked},
    },
    ids::{ClusterId, Position, Segment, SessionId},
    journal::batch::{self, BatchHeader, JournalObject, Opening, Record, Seal},
    state::{checkpoint::Checkpoint, pack::PackRef},
};

/// Most positions of one journal that are read: far more than any tail.
pub const READS_MAX: usize = 1 << 16;

/// What stands at a position.
#[derive(Clone, Debug)]
pub enum Read {
    /// Nothing.
    Absent,
    /// The opening.
    Opening(Opening),
    /// A batch whose records could all be read, and its checkpoint if it has one.
    Batch(BatchHeader, Option<Checkpoint>),
    /// The seal.
    Seal(Seal),
    /// An object that can't be decoded.
    Undecodable(Malformed),
}

impl Read {
    /// Decodes an object completely.
    #[must_use]
    pub fn of(key: &str, stored: Option<&Bytes>) -> Self {
        let Some(stored) = stored else { return Self::Absent };
        let read = batch::decode(key, stored).and_then(|object| match object {
            JournalObject::Opening(opening) => Ok(Self::Opening(opening)),
            JournalObject::Seal(seal) => Ok(Self::Seal(seal)),
            JournalObject::Batch(batch) => {
                let mut checkpoint = None;
                for record in batch.records() {
                    if let (_, Record::Checkpoint(content)) = record? {
                        checkpoint = Some(Checkpoint::decode(&content)?);
                    }
                }
                Ok(Self::Batch(batch.header, checkpoint))
            }
        });
        read.unwrap_or_else(Self::Undecodable)
    }
}

/// The keys of a session, listed in this order.
#[derive(Clone, Debug, Default)]
pub struct SessionKeys {
    /// The positions of the journal.
    pub journal: BTreeSet<Position>,
    /// The trim marks, listed after that.
    pub marks: BTreeSet<Segment>,
    /// Whether the end mark was among the marks.
    pub ended: bool,
    /// The positions of the journal, listed again after that.
    pub journal_again: BTreeSet<Position>,
}

/// What a recovery of the session would read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Everything at or below is in the checkpoint.
    pub low_water: Position,
    /// The position of the newest checkpoint; 0 when there is none.
    pub checkpoint_at: Position,
    /// The last position that must exist.
    pub through: Position,
    /// The position of the seal, if there is one.
    pub sealed_at: Option<Position>,
}

/// A session as it was read so far.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Which session.
    pub session: SessionId,
    /// Its state in the newest record.
    pub state: SessionState,
    /// The cluster it must belong to.
    pub cluster: ClusterId,
    /// How its positions are grouped.
    pub segments: SegmentLen,
    /// Its keys.
    pub keys: SessionKeys,
    reads: BTreeMap<Position, Read>,
}

impl SessionView {
    /// A session of which only the keys were listed.
    #[must_use]
    pub const fn new(
        (session, state): (SessionId, SessionState),
        cluster: ClusterId,
        segments: SegmentLen,
        keys: SessionKeys,
    ) -> Self {
        Self { session, state, cluster, segments, keys, reads: BTreeMap::new() }
    }

    /// The positions to read next, at most [`READS_MAX`]; empty when everything was read.
    #[must_use]
    pub fn next_reads(&self) -> Vec<Position> {
        let unread = |position: &Position| !self.reads.contains_key(position);
        if let Some(recorded) = self.recorded_seal().filter(unread) {
            return Vec::from([recorded]);
        }
        if let SessionState::Detached(_) = self.state {
            return Vec::new();
        }
        let Some(bounds) = self.bounds() else {
            // The newest object that can be read says what must exist.
            let mut newest_first = self.keys.journal_again.iter().rev().copied();
            return newest_first.find(unread).into_iter().collect();
        };
        let listed = self.keys.journal_again.range(bounds.low_water.next()..).copied();
        let required = bounds.low_water.get() + 1..=bounds.through.get();
        let required = required.take(READS_MAX).map(Position::new);
        let mut wanted: BTreeSet<Position> = required.chain(listed).filter(unread).collect();
        let opening = self.keys.journal_again.contains(&Position::ZERO);
        wanted.extend(Some(Position::ZERO).filter(|position| opening && unread(position)));
        wanted.into_iter().take(READS_MAX).collect()
    }

    /// Takes what stands at a position.
    pub fn read(&mut self, position: Position, stored: Option<&Bytes>) {
        let key = keys::journal_position(self.session, position);
        self.reads.insert(position, Read::of(&key, stored));
    }

    /// The seal's position by the newest record.
    const fn recorded_seal(&self) -> Option<Position> {
        match self.state {
            SessionState::Sealed(Some(at)) | SessionState::Detached(at) => Some(at),
            SessionState::Open | SessionState::Sealed(None) => None,
        }
    }

    /// What a recovery would read, by the objects that were read so far; `None` while the newest one wasn't read.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        let seal_at = |at: Position| match self.reads.get(&at) {
            Some(Read::Seal(seal)) => {
                let through = at.previous().unwrap_or_default();
                Some(Bounds {
                    // A forged one must not count beyond the journal.
                    low_water: seal.low_water.min(through),
                    checkpoint_at: seal.checkpoint_at,
                    through,
                    sealed_at: Some(at),
                })
            }
            Some(Read::Absent | Read::Opening(_) | Read::Batch(..) | Read::Undecodable(_))
            | None => None,
        };
        if let Some(sealed) = self.recorded_seal().and_then(seal_at) {
            return Some(sealed);
        }
        for &position in self.keys.journal_again.iter().rev() {
            match self.reads.get(&position)? {
                // A lower seal in live ground ends the journal below this batch.
                Read::Batch(header, _) => {
                    let lower = self.reads.range(header.low_water.next()..position);
                    let sealed = lower.filter_map(|(&at, _)| seal_at(at)).next();
                    return Some(sealed.unwrap_or(Bounds {
                        low_water: header.low_water,
                        checkpoint_at: header.checkpoint_at,
                        through: header.committed,
                        sealed_at: None,
                    }));
                }
                Read::Seal(_) => return seal_at(position),
                Read::Absent | Read::Opening(_) | Read::Undecodable(_) => {}
            }
        }
        Some(Bounds::default())
    }

    /// The packs that the newest checkpoint names.
    #[must_use]
    pub fn packs(&self) -> &[PackRef] {
        let at = self.bounds().map(|bounds| bounds.checkpoint_at);
        match at.and_then(|at| self.reads.get(&at)) {
            Some(Read::Batch(_, Some(checkpoint))) => &checkpoint.packs,
            _ => &[],
        }
    }

    fn key(&self, position: Position) -> String {
        keys::journal_position(self.session, position)
    }

    /// What is wrong with it. Its packs are judged by [`super::pack::check_pack`].
    ///
    /// # Panics
    ///
    /// When something is left to read.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        assert_eq!(self.next_reads(), [], "{}: judged before it was read", self.session);
        let mut findings = self.recorded_seal_findings();
        if let SessionState::Detached(_) = self.state {
            return findings;
        }
        let bounds = self.bounds().expect("everything was read");
        if self.keys.ended {
            let why = "it says that the session is over for ever, but the newest record lists it as needed";
            findings.push(Finding::new(keys::end_mark(self.session), Damage::EndMarkAhead, why));
        }
        findings.extend(self.mark_findings(bounds));
        findings.extend(self.range_findings(bounds));
        findings.extend(self.header_findings(bounds));
        self.newest_checkpoint_is_lost(bounds, findings)
    }

    /// Positions that were trimmed by a checkpoint that can't be found look like missing batches below marks that are ahead.
    /// What is wrong then is the batch with the checkpoint.
    fn newest_checkpoint_is_lost(
        &self,
        bounds: Bounds,
        mut findings: Vec<Finding>,
    ) -> Vec<Finding> {
        let trimmed = |finding: &Finding| match keys::parse(&finding.key) {
            Some(Key::Journal(_, position)) if finding.damage == Damage::BatchMissing => {
                self.keys.marks.contains(&self.segments.segment(position))
            }
            _ => false,
        };
        if !findings.iter().any(trimmed) {
            return findings;
        }
        findings.retain(|finding| finding.damage != Damage::MarkAhead && !trimmed(finding));
        let why = format!(
            "trim marks allow to delete positions above {}, but no batch from here on holds a checkpoint that covers them",
            bounds.low_water
        );
        let after = bounds.through.get().saturating_add(1);
        findings.push(Finding::new(self.key(Position::new(after)), Damage::CheckpointMissing, why));
        findings
    }

    fn recorded_seal_findings(&self) -> Vec<Finding> {
        let Some(at) = self.recorded_seal() else { return Vec::new() };
        let finding = |damage, why| Vec::from([Finding::new(self.key(at), damage, why)]);
        match self.reads.get(&at) {
            Some(Read::Seal(_)) | None => Vec::new(),
            Some(Read::Absent) => finding(
                Damage::SealMissing,
                "the newest record says that the seal stands here".into(),
            ),
            Some(Read::Undecodable(malformed)) => {
                finding(Damage::Undecodable, malformed.why.clone())
            }
            Some(Read::Batch(..) | Read::Opening(_)) => finding(
                Damage::SealWrong,
                "the newest record says that the seal stands here, but it is a batch".into(),
            ),
        }
    }

    /// Marks that are missing, and marks of positions that no checkpoint covers.
    fn mark_findings(&self, bounds: Bounds) -> Vec<Finding> {
        let mark = |segment| keys::trim_mark(self.session, segment);
        let due = self.segments.whole_up_to(bounds.low_water);
        let due = if bounds.checkpoint_at == Position::ZERO { Segment::ZERO } else { due };
        let (ahead, marks): (BTreeSet<Segment>, BTreeSet<Segment>) =
            self.keys.marks.iter().partition(|&&segment| segment >= due);
        let mut findings = missing_marks(&marks, mark);
        for segment in ahead {
            let why =
                format!("only positions up to {} are covered by a checkpoint", bounds.low_water);
            findings.push(Finding::new(mark(segment), Damage::MarkAhead, why));
        }
        // Deleted without a mark. A position above the first list may have been created after it.
        let last = self.keys.journal.last().copied().unwrap_or_default().min(bounds.low_water);
        let first = self.segments.first(first_unmarked(self.keys.marks.iter().copied()));
        let unmarked = (first.get()..=last.get()).map(Position::new);
        let mut without = unmarked.filter(|position| {
            !self.keys.journal.contains(position)
                && !self.keys.marks.contains(&self.segments.segment(*position))
        });
        if let Some(position) = without.next() {
            if bounds.low_water == Position::ZERO {
                let why = "the opening is missing, and no mark allows that";
                findings.push(Finding::new(self.key(position), Damage::BatchMissing, why));
                return findings;
            }
            let segment = self.segments.segment(position);
            let key = mark(segment);
            let why =
                format!("position {position} is gone, and no mark of its segment allows that");
            let found = findings.iter().any(|finding| finding.key == key);
            findings.extend((!found).then(|| Finding::new(key, Damage::MarkMissing, why)));
        }
        findings
    }

    /// Positions that must exist, and what stands above the seal.
    fn range_findings(&self, bounds: Bounds) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (&position, read) in self.reads.range(bounds.low_water.next()..) {
            let required = position <= bounds.through;
            let why_required = format!(
                "required: positions {} to {} must exist",
                bounds.low_water.next(),
                bounds.through
            );
            let above = bounds.sealed_at.filter(|&at| position > at);
            let (damage, why) = match (read, above) {
                (Read::Absent, _) if required => (Damage::BatchMissing, why_required),
                (Read::Undecodable(malformed), None) => {
                    (Damage::Undecodable, malformed.why.clone())
                }
                (Read::Opening(_), _) => {
                    (Damage::JournalContradicts, "an opening above position 0".into())
                }
                (Read::Batch(header, _), Some(seal)) if header.committed >= seal => {
                    let why =
                        format!("it calls {} committed; the seal is at {seal}", header.committed);
                    (Damage::CommittedAboveSeal, why)
                }
                (Read::Seal(_), Some(seal)) => {
                    (Damage::SecondSeal, format!("the first seal is at {seal}"))
                }
                (Read::Absent | Read::Batch(..) | Read::Seal(_) | Read::Undecodable(_), _) => {
                    continue;
                }
            };
            // The recorded seal was judged already.
            if Some(position) != self.recorded_seal() {
                findings.push(Finding::new(self.key(position), damage, why));
            }
        }
        if bounds.through.get().saturating_sub(bounds.low_water.get()) > READS_MAX as u64 {
            let why = format!("more than {READS_MAX} positions above the low water");
            findings.push(Finding::new(self.key(bounds.through), Damage::JournalContradicts, why));
        }
        findings
    }
}
