//! Everything that was ever in a session's journal, and what of it is committed: the positions from 1 to the seal
//! without a gap. Checks invariants 2, 3, 4 and 6 for one journal.
//!
//! Deleted objects are kept here: the checkers use everything that ever landed.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use holocron_protocol::{
    format::segment::SegmentLen,
    ids::{PackNumber, Position, Segment},
    journal::batch::{self, BatchHeader, JournalObject, Seal},
};

use super::{
    invariant::{Broken, Invariant},
    page::Page,
};

/// The state of an object's segment now, by its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentState {
    /// Not trimmed: no object may be missing.
    Live,
    /// The segment has a mark: missing objects were trimmed, and objects that land don't count.
    Trimmed,
    /// The session has an end mark: the same for all its objects.
    Ended,
}

/// Everything that ever landed of a session's journal.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The hash of the first object at each position.
    first: BTreeMap<Position, u64>,
    pages: BTreeMap<Position, Arc<Page>>,
    /// Every position from 1 to here has landed.
    through: Position,
    /// The effective seal: one that landed in an untrimmed segment.
    seal: Option<Position>,
    /// The newest committed checkpoint and its position.
    low_water: Position,
    checkpoint_at: Position,
}

impl Journal {
    /// The last committed position.
    pub(super) const fn through(&self) -> Position {
        self.through
    }

    /// The position of the effective seal, if there is one.
    pub(super) const fn seal(&self) -> Option<Position> {
        self.seal
    }

    /// Whether the checkpoint at a position names a pack.
    pub(super) fn names(&self, position: Position, pack: PackNumber) -> bool {
        let checkpoint = self.page(position).and_then(|page| page.checkpoint.as_ref());
        checkpoint.is_some_and(|it| it.packs.iter().any(|named| named.number == pack))
    }

    /// The position of the newest committed checkpoint, and its low water; both 0 when there is none.
    pub(super) const fn checkpoint(&self) -> (Position, Position) {
        (self.checkpoint_at, self.low_water)
    }

    /// A batch that landed.
    pub(super) fn page(&self, position: Position) -> Option<&Arc<Page>> {
        self.pages.get(&position)
    }

    /// An object landed. Returns the positions that this commits.
    pub(super) fn landed(
        &mut self,
        at: (&str, Position),
        body: &Bytes,
        segment_state: SegmentState,
        broken: &mut Vec<Broken>,
    ) -> Vec<Position> {
        let (key, position) = at;
        let object = match batch::decode(key, body) {
            Ok(object) => object,
            Err(malformed) => {
                broken.push(Invariant::OneWinner.broken(malformed));
                return Vec::new();
            }
        };
        let hash = xxhash_rust::xxh3::xxh3_64(body);
        let first = *self.first.entry(position).or_insert(hash);
        let again = self.pages.contains_key(&position) || self.seal == Some(position);
        if first != hash {
            // A sealer that is far behind can't tell a trimmed segment from an empty journal; the mark does.
            let harmless =
                matches!(object, JournalObject::Seal(_)) && segment_state != SegmentState::Live;
            if !harmless {
                broken.push(Invariant::OneWinner.broken(format!("{position} has other bytes")));
            }
            return Vec::new();
        }
        if again || segment_state == SegmentState::Ended {
            return Vec::new();
        }
        match object {
            JournalObject::Opening(_) if position == Position::ZERO => {}
            JournalObject::Opening(_) => {
                broken.push(Invariant::OneWinner.broken("an opening above position 0"));
            }
            JournalObject::Seal(_) if segment_state == SegmentState::Trimmed => {}
            JournalObject::Seal(seal) => self.sealed(position, &seal, broken),
            JournalObject::Batch(batch) => match Page::read(&batch) {
                Ok(page) => {
                    self.check_header(&page, broken);
                    self.pages.insert(position, Arc::new(page));
                }
                Err(malformed) => broken.push(Invariant::OneWinner.broken(malformed)),
            },
        }
        self.go_on()
    }

    /// Returns the newly committed positions.
    fn go_on(&mut self) -> Vec<Position> {
        let mut committed = Vec::new();
        while let Some(page) = self.pages.get(&self.through.next()) {
            let position = page.header.position;
            if self.seal.is_some_and(|seal| seal <= position) {
                break;
            }
            self.through = position;
            if let Some(checkpoint) = &page.checkpoint {
                self.checkpoint_at = position;
                self.low_water = checkpoint.low_water;
            }
            committed.push(position);
        }
        committed
    }

    fn sealed(&mut self, position: Position, seal: &Seal, broken: &mut Vec<Broken>) {
        if let Some(first) = self.seal {
            let how = format!("a second seal at {position}; the first is at {first}");
            return broken.push(Invariant::BelowSeal.broken(how));
        }
        self.seal = Some(position);
        if position != self.through.next() {
            let how = format!("sealed at {position}, but {} is committed", self.through);
            broken.push(Invariant::BelowSeal.broken(how));
        }
        let last = self.pages.get(&self.through).map(|page| page.header);
        let said = last.map_or((Position::ZERO, Position::ZERO), |header| {
            (header.low_water, header.checkpoint_at)
        });
        if (seal.low_water, seal.checkpoint_at) != said {
            let how = format!("{seal:?} contradicts the header of {}", self.through);
            broken.push(Invariant::BelowSeal.broken(how));
        }
    }

    /// A header refers only to committed positions, and a checkpoint is alone in flight and names itself.
    fn check_header(&self, page: &Page, broken: &mut Vec<Broken>) {
        let header = page.header;
        let BatchHeader { position, committed, low_water, checkpoint_at, .. } = header;
        if !self.first.contains_key(&Position::ZERO) {
            broken.push(Invariant::BelowSeal.broken("a batch before the opening"));
        }
        if committed > self.through {
            let how = format!("{header:?}, but only {} is committed", self.through);
            broken.push(Invariant::NothingEarly.broken(how));
        }
        let said = match &page.checkpoint {
            Some(checkpoint) => {
                if committed.next() != position {
                    let how =
                        format!("{header:?} carries a checkpoint while another batch is in flight");
                    broken.push(Invariant::LowWaterFirst.broken(how));
                }
                if checkpoint.low_water >= position {
                    let how = format!("{header:?} covers itself");
                    broken.push(Invariant::LowWaterFirst.broken(how));
                }
                (position, checkpoint.low_water)
            }
            // A checkpoint is alone in flight, so every later batch names it.
            None => (self.checkpoint_at, self.low_water),
        };
        if (checkpoint_at, low_water) != said {
            let how = format!("{header:?}, but the checkpoint and its low water are {said:?}");
            broken.push(Invariant::LowWaterFirst.broken(how));
        }
        if page.entries.is_empty() && page.checkpoint.is_none() {
            broken.push(Invariant::Requests.broken("an empty batch"));
        }
    }

    /// An object is deleted.
    pub(super) fn deleted(
        &self,
        position: Position,
        segment_state: SegmentState,
        broken: &mut Vec<Broken>,
    ) {
        if self.seal == Some(position) {
            broken.push(Invariant::Immortal.broken("the seal is deleted"));
        }
        match segment_state {
            SegmentState::Ended => {}
            SegmentState::Live => {
                broken.push(Invariant::LowWaterFirst.broken("it is deleted without a mark"));
            }
            SegmentState::Trimmed if position > self.low_water => {
                let how = format!("only {} is covered by a committed checkpoint", self.low_water);
                broken.push(Invariant::LowWaterFirst.broken(how));
            }
            SegmentState::Trimmed => {}
        }
    }

    /// The mark of a segment is created.
    pub(super) fn marked(&self, segment: Segment, segments: SegmentLen, broken: &mut Vec<Broken>) {
        // A seal in a marked segment has no effect, so even the mark must wait for the checkpoint.
        if segments.whole_up_to(self.low_water) <= segment {
            let how = format!("{segment} is marked, but only {} is covered", self.low_water);
            broken.push(Invariant::LowWaterFirst.broken(how));
        }
    }
}
