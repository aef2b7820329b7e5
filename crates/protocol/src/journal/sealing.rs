//! Sealing: how any host ends another session's journal with one create, and learns what it had committed.
//!
//! The seal goes to the first gap, never past the last batch: with several batches in flight, a gap below may still be
//! filled. The gap is found by a list, or by reading batches from a hinted position on. A listed name doesn't tell a
//! seal from a batch, so the header before the gap is read, and every batch that this header doesn't call committed.
//! The create then decides. Afterwards the marks say whether the seal's segment was trimmed: a mark is created before
//! the first deletion, so a seal that landed in place of a deleted batch finds the mark.
//!
//! If a seal is found on the way, only that last check remains: outside of trimmed segments there is only one seal.
//!
//! Invariants:
//!
//! * Position 0 is never sealed; the position before a seal is the opening or a batch that was read.
//! * [`SealEffect::Done`] needs a seal that was read or won, and marks that were absent *after* that.
//! * A position that a header calls committed is never taken for a gap: if it is missing and no mark explains it, it
//!   was deleted from outside, and the result is [`SealEffect::Broken`].
//! * A create without an answer proves nothing: after [`CreateOutcome::Unknown`] it starts over.
//!
//! The machine never gives up: it starts over whenever the journal has changed meanwhile. Its driver limits the rate of
//! lists.

mod gap;
mod search;
#[cfg(test)]
mod tests;

use alloc::{vec, vec::Vec};

pub use self::search::{End, EndSearch, SearchEffect};
use crate::{
    format::{codec::Malformed, keys, segment::SegmentLen},
    ids::{Epoch, HostName, Position, Segment, SessionId},
    journal::batch::{BatchHeader, Seal},
};

/// What is known about the journal before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// Nothing: list the journal.
    Nothing,
    /// This batch is reported as committed; 0 means none is. Used only if the batch exists.
    Committed(Position),
    /// This batch was read, and the position after it was absent.
    Fetched(BatchHeader),
    /// The seal is reported at this position.
    Sealed(Position),
}

/// What the driver does next. Each effect that isn't final is answered by exactly one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealEffect {
    /// List the journal's keys; answer [`SealEvent::Listed`].
    List,
    /// One round of gets, in any order; answer [`SealEvent::Got`].
    Get {
        /// These positions of the journal.
        positions: Vec<Position>,
        /// The trim marks of these segments.
        marks: Vec<Segment>,
        /// Whether to get the end mark.
        end: bool,
    },
    /// Create this seal; answer [`SealEvent::Created`].
    Create {
        /// Where.
        position: Position,
        /// The seal.
        seal: Seal,
    },
    /// Final: the session ended here.
    Done(Sealed),
    /// Final: the session is detached and its objects may be deleted. Read the epoch log.
    Detached,
    /// Final: a required object is damaged or missing. No takeover until an operator has looked.
    Broken(Malformed),
}

/// The answer to an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealEvent {
    /// The positions that exist, in any order.
    Listed(Vec<Position>),
    /// Everything that was requested.
    Got {
        /// What was found at each position.
        positions: Vec<(Position, Seen)>,
        /// Whether each mark exists.
        marks: Vec<(Segment, bool)>,
        /// Whether the end mark exists, if requested.
        end: Option<bool>,
    },
    /// How the create ended.
    Created(CreateOutcome),
}

/// How the create of a seal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// Our seal is at the position.
    Won,
    /// This object is at the position.
    Lost(Seen),
    /// No clear answer; the create may still land.
    Unknown,
}

/// What was found at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A batch.
    Batch(BatchHeader),
    /// A seal.
    Seal(Seal),
    /// An object that can't be decoded.
    Undecodable(Malformed),
    /// An opening, which is valid only at position 0.
    Opening,
}

/// Where a session ended. It committed its checkpoint and the batches in `(low_water, position)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sealed {
    /// The position of the seal.
    pub position: Position,
    /// Everything at or below is in the checkpoint.
    pub low_water: Position,
    /// The position of the newest checkpoint record; 0 when there is none.
    pub checkpoint_at: Position,
}

impl Sealed {
    fn of(position: Position, seal: &Seal) -> Self {
        Self { position, low_water: seal.low_water, checkpoint_at: seal.checkpoint_at }
    }
}

/// How a gap was found. It decides what a second gap below it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FoundBy {
    /// By a list: everything below existed, so a missing batch was deleted meanwhile.
    List,
    /// By reading upwards from a batch: a missing batch may never have landed; then its position is the gap.
    Walk,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Not started.
    New(Hint),
    Listing,
    /// Reading the highest object listed, or the next lower one if that can't be decoded.
    Top {
        listed: Vec<Position>,
        index: usize,
    },
    /// Reading the hinted batch and the next position.
    Hinted(Position),
    /// Reading the positions after a batch that exists.
    Walking,
    /// Reading the batches that a seal at the gap relies on.
    Checking {
        gap: Position,
        found_by: FoundBy,
    },
    /// An object is missing. Asking whether the session is detached.
    Missing,
    /// The list lacks an object that must exist. Getting it, because a list may be stale.
    Doubting(Position),
    /// The object is missing. Asking whether it was trimmed.
    Gone(Position),
    Creating(Sealed),
    /// A seal exists. Asking whether its segment was trimmed.
    Marking(Sealed),
    /// Reading the position of the reported seal.
    Told(Position),
    Over,
}

/// Whether an object may have been deleted at a position.
enum Region {
    Live,
    Trimmed,
    Detached,
}

/// The sealing of one session's journal by one host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sealing {
    session: SessionId,
    segment_len: SegmentLen,
    by: HostName,
    epoch: Epoch,
    /// Everything below may be trimmed, as a mark says.
    floor: Position,
    /// Batches read since the last start, by position.
    known: Vec<BatchHeader>,
    step: Step,
}

impl Sealing {
    /// A sealing of `session` by the host `by`; `epoch` is the newest epoch it knows.
    #[must_use]
    pub const fn new(
        session: SessionId,
        segment_len: SegmentLen,
        hint: Hint,
        by: HostName,
        epoch: Epoch,
    ) -> Self {
        let step = Step::New(hint);
        Self { session, segment_len, by, epoch, floor: Position::ZERO, known: Vec::new(), step }
    }

    /// The first effect.
    ///
    /// # Panics
    ///
    /// When it was started before, or the hinted batch belongs to another session.
    #[must_use]
    pub fn start(&mut self) -> SealEffect {
        let Step::New(hint) = self.step else {
            panic!("a sealing starts once: {self:?}");
        };
        match hint {
            // Hints may be wrong without harm.
            Hint::Nothing | Hint::Sealed(Position::ZERO) => self.list(),
            Hint::Committed(position) if position.get() == u64::MAX => self.list(),
            Hint::Committed(Position::ZERO) => self.walk(Position::ZERO.next()),
            Hint::Committed(position) => {
                self.get(vec![position, position.next()], Step::Hinted(position))
            }
            Hint::Fetched(header) => {
                self.know(header.position, header);
                self.check(header.position.next(), FoundBy::Walk)
            }
            Hint::Sealed(position) => self.get(vec![position], Step::Told(position)),
        }
    }

    /// Handles one event and returns the next effect.
    ///
    /// # Panics
    ///
    /// When the event doesn't answer the last effect.
    #[must_use]
    pub fn step(&mut self, event: SealEvent) -> SealEffect {
        let step = core::mem::replace(&mut self.step, Step::Over);
        match (step, event) {
            (Step::Listing, SealEvent::Listed(listed)) => self.on_listed(listed),
            (Step::Creating(sealed), SealEvent::Created(outcome)) => {
                self.on_created(sealed, outcome)
            }
            (step, SealEvent::Got { positions, marks, end }) => match step {
                Step::Top { listed, index } => self.on_top(listed, index, &positions),
                Step::Hinted(position) => self.on_hinted(position, &positions),
                Step::Walking => self.on_walked(positions),
                Step::Checking { gap, found_by } => self.on_checked(gap, found_by, positions),
                Step::Missing => self.on_missing(end),
                Step::Doubting(position) => self.on_doubted(position, &positions),
                Step::Gone(position) => self.on_gone(position, &marks, end),
                Step::Marking(sealed) => self.on_marks(sealed, &marks, end),
                Step::Told(position) => self.on_told(position, &positions),
                step @ (Step::New(_) | Step::Listing | Step::Creating(_) | Step::Over) => {
                    panic!("an answer to gets that were not requested: {step:?}")
                }
            },
            (step, event) => panic!("{event:?} does not answer {step:?}"),
        }
    }

    fn ask_whether_detached(&mut self) -> SealEffect {
        self.step = Step::Missing;
        SealEffect::Get { positions: Vec::new(), marks: Vec::new(), end: true }
    }

    fn on_missing(&mut self, end: Option<bool>) -> SealEffect {
        if end.expect("the end mark was requested") { SealEffect::Detached } else { self.list() }
    }

    /// Step 2: creates the seal.
    pub(crate) fn create(&mut self, sealed: Sealed) -> SealEffect {
        assert!(sealed.position > Position::ZERO, "position 0 is never sealed");
        let seal = Seal {
            by: self.by.clone(),
            epoch: self.epoch,
            low_water: sealed.low_water,
            checkpoint_at: sealed.checkpoint_at,
        };
        self.step = Step::Creating(sealed);
        SealEffect::Create { position: sealed.position, seal }
    }

    fn on_created(&mut self, sealed: Sealed, outcome: CreateOutcome) -> SealEffect {
        match outcome {
            CreateOutcome::Won => self.ask_for_marks(sealed),
            CreateOutcome::Lost(Seen::Seal(seal)) => self.mark(sealed.position, &seal),
            // Read on from here: this batch exists, and nothing above it is known.
            CreateOutcome::Lost(Seen::Batch(header)) => {
                self.know(sealed.position, header);
                self.walk(sealed.position.next())
            }
            CreateOutcome::Lost(Seen::Undecodable(_) | Seen::Opening) | CreateOutcome::Unknown => {
                self.list()
            }
            CreateOutcome::Lost(Seen::Absent) => {
                panic!("{}: a create was lost, and yet nothing is there", sealed.position)
            }
        }
    }

    /// A seal was found, of any writer: step 3.
    fn mark(&mut self, position: Position, seal: &Seal) -> SealEffect {
        if seal.low_water >= position || seal.checkpoint_at >= position {
            return self.broken(position, "a seal that refers to positions after it");
        }
        self.ask_for_marks(Sealed::of(position, seal))
    }

    /// Step 3: asks whether the seal's segment was trimmed.
    fn ask_for_marks(&mut self, sealed: Sealed) -> SealEffect {
        self.step = Step::Marking(sealed);
        let marks = vec![self.segment_len.segment(sealed.position)];
        SealEffect::Get { positions: Vec::new(), marks, end: true }
    }

    fn on_marks(
        &mut self,
        sealed: Sealed,
        marks: &[(Segment, bool)],
        end: Option<bool>,
    ) -> SealEffect {
        match self.region(sealed.position, marks, end) {
            Region::Detached => SealEffect::Detached,
            Region::Trimmed => self.list_above(sealed.position),
            Region::Live => SealEffect::Done(sealed),
        }
    }

    /// The state of a position by its segment's mark and the end mark.
    fn region(&self, position: Position, marks: &[(Segment, bool)], end: Option<bool>) -> Region {
        let segment = self.segment_len.segment(position);
        let marked = marks.iter().find(|&&(mark, _)| mark == segment);
        let &(_, marked) = marked.expect("the segment's mark was requested");
        if end.expect("the end mark was requested") {
            Region::Detached
        } else if marked {
            Region::Trimmed
        } else {
            Region::Live
        }
    }

    /// The position's segment may be trimmed: starts over above it.
    fn list_above(&mut self, position: Position) -> SealEffect {
        let segment = self.segment_len.segment(position);
        self.floor = self.floor.max(self.segment_len.first(segment.next()));
        self.list()
    }

    fn on_told(&mut self, position: Position, positions: &[(Position, Seen)]) -> SealEffect {
        match found(positions, position) {
            Seen::Seal(seal) => self.mark(position, seal),
            Seen::Batch(header) => {
                self.know(position, *header);
                self.walk(position.next())
            }
            Seen::Absent => self.ask_whether_detached(),
            Seen::Undecodable(malformed) => SealEffect::Broken(malformed.clone()),
            Seen::Opening => self.broken(position, "an opening instead of a seal"),
        }
    }

    fn get(&mut self, positions: Vec<Position>, step: Step) -> SealEffect {
        self.step = step;
        SealEffect::Get { positions, marks: Vec::new(), end: false }
    }

    fn broken(&self, position: Position, why: &str) -> SealEffect {
        SealEffect::Broken(Malformed::new(&keys::journal_position(self.session, position), why))
    }
}

/// What was found at a requested position.
fn found(positions: &[(Position, Seen)], position: Position) -> &Seen {
    let answer = positions.iter().find(|&&(at, _)| at == position);
    let (_, seen) = answer.expect("each requested position is answered");
    seen
}
