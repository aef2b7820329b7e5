//! What a session's journal ever held, and what of it is committed: everything without a gap from position 1 to the
//! seal. Checks invariants 2, 3, 4 and 6 as far as they speak of one journal.
//!
//! Nothing is forgotten when it is deleted: the checkers judge by all that ever landed.

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

/// What the marks say of the ground that an object stands in, at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// Nothing may be missing.
    Live,
    /// The segment's mark is there: what is missing was trimmed, and what lands says nothing.
    Trimmed,
    /// The end mark is there: so it is with everything of the session.
    Ended,
}

/// All that ever landed of a session's journal.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The hash of what stood first at each position.
    first: BTreeMap<Position, u64>,
    pages: BTreeMap<Position, Arc<Page>>,
    /// Every position from 1 to here has landed.
    through: Position,
    /// The seal that counts: one that landed in live ground.
    seal: Option<Position>,
    /// What the newest committed checkpoint says, and where it stands.
    low_water: Position,
    checkpoint_at: Position,
}

impl Journal {
    /// The last committed position.
    pub(super) const fn through(&self) -> Position {
        self.through
    }

    /// Where the session ended, if it did.
    pub(super) const fn seal(&self) -> Option<Position> {
        self.seal
    }

    /// Whether there is a checkpoint at a position that names a pack.
    pub(super) fn names(&self, position: Position, pack: PackNumber) -> bool {
        let checkpoint = self.page(position).and_then(|page| page.checkpoint.as_ref());
        checkpoint.is_some_and(|it| it.packs.iter().any(|named| named.number == pack))
    }

    /// Where the newest committed checkpoint stands, and its low water; both 0 when there is none.
    pub(super) const fn checkpoint(&self) -> (Position, Position) {
        (self.checkpoint_at, self.low_water)
    }

    /// A batch that landed.
    pub(super) fn page(&self, position: Position) -> Option<&Arc<Page>> {
        self.pages.get(&position)
    }

    /// An object landed. The positions that are committed with it.
    pub(super) fn landed(
        &mut self,
        at: (&str, Position),
        body: &Bytes,
        ground: Ground,
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
            // A sealer who is far behind can't tell trimmed ground from an empty journal; the mark can.
            let harmless = matches!(object, JournalObject::Seal(_)) && ground != Ground::Live;
            if !harmless {
                broken.push(Invariant::OneWinner.broken(format!("{position} has other bytes")));
            }
            return Vec::new();
        }
        if again || ground == Ground::Ended {
            return Vec::new();
        }
        match object {
            JournalObject::Opening(_) if position == Position::ZERO => {}
            JournalObject::Opening(_) => {
                broken.push(Invariant::OneWinner.broken("an opening above position 0"));
            }
            JournalObject::Seal(_) if ground == Ground::Trimmed => {}
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

    /// What is committed now and wasn't before.
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
            let how = format!("{seal:?} does not say what the header of {} says", self.through);
            broken.push(Invariant::BelowSeal.broken(how));
        }
    }

    /// A header speaks only of what is committed, and a checkpoint is alone in flight and names itself.
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
                    let how = format!("{header:?} carries a checkpoint beside another batch");
                    broken.push(Invariant::LowWaterFirst.broken(how));
                }
                if checkpoint.low_water >= position {
                    let how = format!("{header:?} covers itself");
                    broken.push(Invariant::LowWaterFirst.broken(how));
                }
                (position, checkpoint.low_water)
            }
            // A checkpoint is alone in flight, so whoever comes after it knows of it.
            None => (self.checkpoint_at, self.low_water),
        };
        if (checkpoint_at, low_water) != said {
            let how = format!("{header:?}, but the checkpoint and its low water are {said:?}");
            broken.push(Invariant::LowWaterFirst.broken(how));
        }
        if page.entries.is_empty() && page.checkpoint.is_none() {
            broken.push(Invariant::Requests.broken("a batch of nothing"));
        }
    }

    /// An object is deleted.
    pub(super) fn deleted(&self, position: Position, ground: Ground, broken: &mut Vec<Broken>) {
        if self.seal == Some(position) {
            broken.push(Invariant::Immortal.broken("the seal is deleted"));
        }
        match ground {
            Ground::Ended => {}
            Ground::Live => {
                broken.push(Invariant::LowWaterFirst.broken("no mark says it may be gone"));
            }
            Ground::Trimmed if position > self.low_water => {
                let how = format!("only {} is covered by a committed checkpoint", self.low_water);
                broken.push(Invariant::LowWaterFirst.broken(how));
            }
            Ground::Trimmed => {}
        }
    }

    /// The mark of a segment is created.
    pub(super) fn marked(&self, segment: Segment, segments: SegmentLen, broken: &mut Vec<Broken>) {
        // A seal that lands in marked ground counts for nothing, so the mark itself waits for the checkpoint.
        if segments.whole_up_to(self.low_water) <= segment {
            let how = format!("{segment} is marked, but only {} is covered", self.low_water);
            broken.push(Invariant::LowWaterFirst.broken(how));
        }
    }
}
