//! Step 1 of sealing: finds the first gap, and checks that every batch below it that the seal relies on exists.

use alloc::{vec, vec::Vec};

use super::{FoundBy, Region, SealEffect, Sealed, Sealing, Seen, Step, found};
use crate::{
    format::keys,
    ids::{Position, Segment},
    journal::{batch::BatchHeader, writer::IN_FLIGHT_MAX},
    planted,
};

/// Positions read in the first round after a stale hint. Between two heartbeats, 250 ms, a host commits about ten
/// batches to a bucket.
const WALK_LEN: u64 = 16;

/// Positions read in a second round if all of those exist. Then the store is fast, for example a disk, and more gets
/// are quicker than a list.
const RUN_LEN: u64 = 64;

impl Sealing {
    /// Restarts step 1 with a list. Batches read earlier may be deleted by now.
    pub(super) fn list(&mut self) -> SealEffect {
        self.known.clear();
        self.step = Step::Listing;
        SealEffect::List
    }

    pub(super) fn on_listed(&mut self, mut listed: Vec<Position>) -> SealEffect {
        listed.sort_unstable();
        listed.dedup();
        let index = listed.len();
        self.read_below(listed, index)
    }

    /// Reads the highest listed object below an index of the list.
    fn read_below(&mut self, listed: Vec<Position>, index: usize) -> SealEffect {
        match listed[..index].last() {
            None | Some(&Position::ZERO) => self.gap_in(&listed, None),
            Some(&top) => self.get(vec![top], Step::Top { listed, index: index - 1 }),
        }
    }

    pub(super) fn on_top(
        &mut self,
        listed: Vec<Position>,
        index: usize,
        positions: &[(Position, Seen)],
    ) -> SealEffect {
        let top = listed[index];
        match found(positions, top) {
            Seen::Batch(header) => {
                self.know(top, *header);
                self.gap_in(&listed, Some(*header))
            }
            Seen::Seal(seal) => self.mark(top, seal),
            Seen::Absent => self.ask_whether_detached(),
            // It occupies its position. Whether the seal would rely on it is decided by a lower batch.
            Seen::Undecodable(_) | Seen::Opening => self.read_below(listed, index),
        }
    }

    /// The first gap in the list, above the low water of the highest batch and above what is known to be trimmed.
    fn gap_in(&mut self, listed: &[Position], highest: Option<BatchHeader>) -> SealEffect {
        let low_water = highest.map(|header| header.low_water).unwrap_or_default();
        let committed = highest.map(|header| header.committed).unwrap_or_default();
        let begun = low_water.max(self.floor) > Position::ZERO;
        if !begun && listed.first() != Some(&Position::ZERO) {
            return self.doubt(Position::ZERO);
        }
        let mut gap = low_water.next().max(self.floor);
        for &position in &listed[listed.partition_point(|&position| position < gap)..] {
            if position != gap {
                break;
            }
            gap = gap.next();
        }
        let effect =
            if gap <= committed { self.doubt(gap) } else { self.check(gap, FoundBy::List) };
        planted::seal_effect(effect, self, highest)
    }

    /// An object that must exist is missing: it landed after the list, or was trimmed meanwhile, or is lost. The marks
    /// are read after the object was found absent, because a mark is created before the first deletion.
    fn doubt(&mut self, position: Position) -> SealEffect {
        self.get(vec![position], Step::Doubting(position))
    }

    pub(super) fn on_doubted(
        &mut self,
        position: Position,
        positions: &[(Position, Seen)],
    ) -> SealEffect {
        match found(positions, position) {
            Seen::Absent => {
                self.step = Step::Gone(position);
                let marks = vec![self.segment_len.segment(position)];
                SealEffect::Get { positions: Vec::new(), marks, end: true }
            }
            Seen::Batch(_) | Seen::Seal(_) | Seen::Undecodable(_) | Seen::Opening => self.list(),
        }
    }

    pub(super) fn on_gone(
        &mut self,
        position: Position,
        marks: &[(Segment, bool)],
        end: Option<bool>,
    ) -> SealEffect {
        match self.region(position, marks, end) {
            Region::Detached => SealEffect::Detached,
            Region::Trimmed => self.list_above(position),
            Region::Live => {
                self.broken(position, "was committed and is missing, and no mark explains it")
            }
        }
    }

    pub(super) fn on_hinted(
        &mut self,
        hint: Position,
        positions: &[(Position, Seen)],
    ) -> SealEffect {
        match found(positions, hint) {
            Seen::Batch(header) => self.know(hint, *header),
            Seen::Seal(seal) => return self.mark(hint, seal),
            Seen::Absent | Seen::Undecodable(_) | Seen::Opening => return self.list(),
        }
        let next = hint.next();
        match found(positions, next) {
            Seen::Batch(header) => {
                self.know(next, *header);
                self.walk(next.next())
            }
            Seen::Seal(seal) => self.mark(next, seal),
            Seen::Absent => self.check(next, FoundBy::Walk),
            Seen::Undecodable(_) | Seen::Opening => self.list(),
        }
    }

    /// Reads the positions from `from` on; the one before is a known batch or the opening.
    pub(super) fn walk(&mut self, from: Position) -> SealEffect {
        self.walk_for(from, WALK_LEN)
    }

    fn walk_for(&mut self, from: Position, len: u64) -> SealEffect {
        let window = (from.get()..from.get().saturating_add(len)).map(Position::new);
        self.get(window.collect(), Step::Walking)
    }

    pub(super) fn on_walked(&mut self, mut positions: Vec<(Position, Seen)>) -> SealEffect {
        positions.sort_unstable_by_key(|&(position, _)| position);
        let called_committed = positions.iter().filter_map(|(_, seen)| match seen {
            Seen::Batch(header) => Some(header.committed),
            Seen::Seal(_) | Seen::Absent | Seen::Undecodable(_) | Seen::Opening => None,
        });
        let committed = called_committed.max().unwrap_or_default();
        let first_walk = positions.len() as u64 <= WALK_LEN;
        let mut after = Position::ZERO;
        for (position, seen) in positions {
            after = position.next();
            match seen {
                Seen::Batch(header) => self.know(position, header),
                Seen::Seal(seal) => return self.mark(position, &seal),
                Seen::Absent if position <= committed => return self.doubt(position),
                Seen::Absent => return self.check(position, FoundBy::Walk),
                Seen::Undecodable(_) | Seen::Opening => return self.list(),
            }
        }
        // The hint is further behind than that: a list is cheaper.
        if first_walk { self.walk_for(after, RUN_LEN) } else { self.list() }
    }

    /// The rest of step 1 for a gap: reads the header before it, and the batches that this header doesn't call
    /// committed. When all are known, creates the seal.
    pub(super) fn check(&mut self, gap: Position, found_by: FoundBy) -> SealEffect {
        assert!(gap > Position::ZERO, "position 0 is never sealed");
        let before = gap.previous().expect("above position 0");
        if before == Position::ZERO {
            return self.create(Sealed {
                position: gap,
                low_water: Position::ZERO,
                checkpoint_at: Position::ZERO,
            });
        }
        let Some(header) = self.known(before) else {
            return self.get(vec![before], Step::Checking { gap, found_by });
        };
        if before.get() - header.committed.get() > IN_FLIGHT_MAX {
            return self
                .broken(before, "its header claims more batches in flight than a writer may have");
        }
        let in_flight = header.committed.next().get()..before.get();
        let unknown: Vec<_> =
            in_flight.map(Position::new).filter(|&at| self.known(at).is_none()).collect();
        if unknown.is_empty() {
            self.create(Sealed {
                position: gap,
                low_water: header.low_water,
                checkpoint_at: header.checkpoint_at,
            })
        } else {
            self.get(unknown, Step::Checking { gap, found_by })
        }
    }

    pub(super) fn on_checked(
        &mut self,
        gap: Position,
        found_by: FoundBy,
        mut positions: Vec<(Position, Seen)>,
    ) -> SealEffect {
        positions.sort_unstable_by_key(|&(position, _)| position);
        for (position, seen) in positions {
            match seen {
                Seen::Batch(header) => self.know(position, header),
                Seen::Seal(seal) => return self.mark(position, &seal),
                Seen::Absent => {
                    let hole = found_by == FoundBy::Walk && position.next() != gap;
                    return if hole && position >= self.floor {
                        self.check(position, FoundBy::Walk)
                    } else {
                        self.ask_whether_detached()
                    };
                }
                Seen::Undecodable(malformed) => return SealEffect::Broken(malformed),
                Seen::Opening => return self.broken(position, "an opening instead of a batch"),
            }
        }
        self.check(gap, found_by)
    }

    pub(super) fn know(&mut self, position: Position, header: BatchHeader) {
        assert!(
            header.session == self.session && header.position == position,
            "{}: {header:?} was read there",
            keys::journal_position(self.session, position)
        );
        assert!(header.committed < position && header.low_water < position, "{header:?}");
        if let Err(index) = self.known.binary_search_by_key(&position, |known| known.position) {
            self.known.insert(index, header);
        }
    }

    fn known(&self, position: Position) -> Option<BatchHeader> {
        let index = self.known.binary_search_by_key(&position, |known| known.position).ok()?;
        Some(self.known[index])
    }
}
