//! A state of the model: a store, the host that writes the journal, and two sealers.

use holocron_protocol::{
    format::segment::SegmentLen,
    ids::{Epoch, HostName, Position, SessionId},
    journal::{
        batch::{BatchHeader, Seal},
        read_barrier::ReadBarrier,
        sealing::{Sealed, Sealing, Seen},
        writer::Writer,
    },
};

/// Reachable positions: the opening, the batches, and a seal above them.
pub(crate) const POSITIONS: usize = 7;
/// Short segments, so that a few batches are enough to trim one.
pub(crate) const SEGMENT_LEN: SegmentLen = SegmentLen::new(2);
pub(crate) const SESSION: SessionId = SessionId::new(1);

/// The object at a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Cell {
    #[default]
    Absent,
    Batch,
    Seal(Values),
}

/// The content of a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Values {
    pub(crate) low_water: Position,
    pub(crate) checkpoint_at: Position,
}

/// The content of a batch, which never changes: its header, and what its checkpoint covers if it carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frozen {
    pub(crate) header: BatchHeader,
    pub(crate) covers: Option<Position>,
}

/// A pending read at the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// It arrived after a new owner acknowledged a write that its answer doesn't show.
    pub(crate) stale: bool,
    /// The newest change its answer has seen.
    pub(crate) sees: Position,
}

/// A sealer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sealer {
    Idle,
    /// Names present during the whole list, and names present at some time during it.
    Listing {
        machine: Sealing,
        all_along: u16,
        at_some_time: u16,
    },
    /// One round of gets: requests not answered yet, and the answers.
    Getting {
        machine: Sealing,
        asked: Vec<Ask>,
        answers: Vec<(Ask, Cell)>,
    },
    Creating {
        machine: Sealing,
        position: Position,
        values: Values,
    },
    Reading {
        sealed: Sealed,
        next: Position,
        recovered: u16,
    },
    Adopted {
        sealed: Sealed,
        recovered: u16,
    },
    /// The session is detached: it reads the epoch log.
    Detached,
    /// Stopped for an operator: a required object is missing.
    Broken,
}

impl Sealer {
    /// The seal it relies on.
    pub(crate) fn relies_on(&self) -> Option<Position> {
        match self {
            Self::Reading { sealed, .. } | Self::Adopted { sealed, .. } => Some(sealed.position),
            Self::Idle
            | Self::Listing { .. }
            | Self::Getting { .. }
            | Self::Creating { .. }
            | Self::Detached
            | Self::Broken => None,
        }
    }

    pub(crate) fn recovered(&self) -> Option<u16> {
        match self {
            Self::Adopted { recovered, .. } => Some(*recovered),
            Self::Reading { .. }
            | Self::Idle
            | Self::Listing { .. }
            | Self::Getting { .. }
            | Self::Creating { .. }
            | Self::Detached
            | Self::Broken => None,
        }
    }
}

/// One get of a round. An existing mark is answered with [`Cell::Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ask {
    Position(Position),
    /// The trim mark of the segment of this number.
    TrimMark(u64),
    EndMark,
}

/// What happened after the session's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct After {
    /// The position of the seal at the first takeover.
    pub(crate) adopted_at: Option<Position>,
    /// The new owner acknowledged a write.
    pub(crate) new_owner_wrote: bool,
    /// An epoch says that the session is detached.
    pub(crate) detached: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: [Cell; POSITIONS],
    /// Bit s: segment s has its trim mark.
    pub(crate) trim_marks: u8,
    pub(crate) end_mark: bool,
    /// Batches submitted, by position from 1.
    pub(crate) batches: Vec<Frozen>,
    /// Creates of seals in flight; they land at any time, once or repeatedly.
    pub(crate) seals_sent: Vec<(Position, Values)>,
    pub(crate) writer: Writer,
    /// The host has noticed that its session is over.
    pub(crate) stopped: bool,
    /// Batches that landed without an answer to the host yet.
    pub(crate) landed: u16,
    /// Batches that the host knows it won.
    pub(crate) heard: u16,
    /// The highest position whose changes were acknowledged.
    pub(crate) acknowledged: Position,
    pub(crate) reads: Option<ReadBarrier<Reader>>,
    /// The barrier's get in flight.
    pub(crate) get: Option<Position>,
    /// Its result, before the host gets it.
    pub(crate) got: Option<(Position, Cell)>,
    pub(crate) sealers: [Sealer; 2],
    /// The hint of each sealer; 0 if none.
    pub(crate) hints: [Position; 2],
    pub(crate) after: After,
    /// A batch was deleted from outside.
    pub(crate) deleted_outside: bool,
    /// A rule violated by a step rather than by a state.
    pub(crate) violation: Option<&'static str>,
}

impl State {
    pub(crate) fn at(&self, position: Position) -> Cell {
        self.store.get(index(position)).copied().unwrap_or_default()
    }

    pub(crate) fn frozen(&self, position: Position) -> Frozen {
        self.batches[index(position) - 1]
    }

    /// An object lands or is deleted; a concurrent list may or may not show it.
    pub(crate) fn put(&mut self, position: Position, cell: Cell) {
        self.store[index(position)] = cell;
        for sealer in &mut self.sealers {
            if let Sealer::Listing { all_along, at_some_time, .. } = sealer {
                match cell {
                    Cell::Absent => *all_along &= !bit(position),
                    Cell::Batch | Cell::Seal(_) => *at_some_time |= bit(position),
                }
            }
        }
    }

    /// The existing names.
    pub(crate) fn names(&self) -> u16 {
        positions().filter(|&at| self.at(at) != Cell::Absent).map(bit).sum()
    }

    pub(crate) fn trim_marked(&self, segment: u64) -> bool {
        self.trim_marks >> segment & 1 == 1
    }

    /// Seals in untrimmed segments.
    pub(crate) fn effective_seals(&self) -> impl Iterator<Item = Position> + '_ {
        positions().filter(|&at| {
            let marked = self.trim_marked(SEGMENT_LEN.segment(at).get()) || self.end_mark;
            matches!(self.at(at), Cell::Seal(_)) && !marked
        })
    }

    /// The result of a get, for a sealer.
    pub(crate) fn seen(&self, position: Position, cell: Cell) -> Seen {
        match cell {
            Cell::Absent => Seen::Absent,
            Cell::Batch if position == Position::ZERO => Seen::Opening,
            Cell::Batch => Seen::Batch(self.frozen(position).header),
            Cell::Seal(values) => Seen::Seal(seal(values)),
        }
    }

    /// The batches covered by the checkpoint record at a position.
    pub(crate) fn held_by(&self, checkpoint_at: Position) -> u16 {
        let covers = self.batches.get(index(checkpoint_at).wrapping_sub(1)).and_then(|b| b.covers);
        covers.map_or(0, up_to)
    }

    /// Drops what can't matter any more, so that states with equal futures are equal.
    pub(crate) fn forget(&mut self) {
        if self.stopped {
            self.landed = 0;
            self.heard = 0;
            self.get = None;
            self.got = None;
            if let Some(reads) = &mut self.reads {
                *reads = ReadBarrier::new(&self.writer);
            }
        }
        self.seals_sent.sort_unstable();
        self.seals_sent.dedup();
    }
}

pub(crate) fn positions() -> impl Iterator<Item = Position> {
    (0..POSITIONS as u64).map(Position::new)
}

pub(crate) fn index(position: Position) -> usize {
    usize::try_from(position.get()).expect("a few positions")
}

pub(crate) fn bit(position: Position) -> u16 {
    1 << position.get()
}

/// The batches from 1 to this position.
pub(crate) fn up_to(position: Position) -> u16 {
    (2u16 << position.get()) - 2
}

/// Both sealers write the same seals, so that the writer makes no difference.
pub(crate) fn seal(values: Values) -> Seal {
    let Values { low_water, checkpoint_at } = values;
    Seal { by: by(), epoch: Epoch::new(2), low_water, checkpoint_at }
}

pub(crate) fn by() -> HostName {
    HostName::new("h2").expect("a valid name")
}
