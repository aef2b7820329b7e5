//! Sealing a session: how anybody ends another's journal with one create, and learns what it had committed.
//!
//! The seal goes to the first gap, never past the last batch: with several in flight a hole may still be filled. Where
//! the gap is, names tell (a list) or the batches from a hinted one on; but a name doesn't tell a seal from a batch, so
//! the header before the gap is read, and whatever it doesn't vouch for. The create then decides. Afterwards the marks
//! say whether the seal stands in live ground: a mark is created before the first deletion, so a seal that landed where
//! a batch had been deleted finds it.
//!
//! Whatever seal is met on the way goes straight to that last check: in live ground there is only one.
//!
//! Invariants:
//!
//! * Position 0 is never sealed; the position before a seal is the opening or a batch that was seen.
//! * [`SealEffect::Done`] follows a seal that was seen or won, and marks found absent *after* that.
//! * What a batch's header calls committed is never taken for a gap: if it is missing and no mark says why, somebody who
//!   isn't one of us has deleted it, and that ends in [`SealEffect::Broken`].
//! * No answer proves nothing: after [`CreateOutcome::Unknown`] it starts over.
//!
//! The machine never gives up: it starts over as often as the journal moves under it. Its driver paces the lists.

mod gap;
#[cfg(test)]
mod tests;

use alloc::{vec, vec::Vec};

use crate::{
    format::{codec::Malformed, keys, segment::SegmentLen},
    ids::{Epoch, HostName, Position, Segment, SessionId},
    journal::batch::{BatchHeader, Seal},
};

/// What is known of the journal before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// Nothing: list it.
    Nothing,
    /// That batch is said to be committed; 0 says that none is. Used only if it exists.
    Committed(Position),
    /// This batch was read; what comes after it wasn't there a moment ago.
    Fetched(BatchHeader),
    /// The seal is said to stand there.
    Sealed(Position),
}

/// What the driver does next. Each is answered by exactly one event.
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
        /// The end mark, or not.
        end: bool,
    },
    /// Create this seal; answer [`SealEvent::Created`].
    Create {
        /// Where.
        position: Position,
        /// With what in it.
        seal: Seal,
    },
    /// Over: the session ended here.
    Done(Sealed),
    /// Over: the session is detached and its objects may be gone. Read the epoch log.
    Detached,
    /// Over: an object that has to be understood can't be, or is gone. Nobody takes over until a person has looked.
    Broken(Malformed),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealEvent {
    /// The positions that are there, in any order.
    Listed(Vec<Position>),
    /// Everything that was asked for.
    Got {
        /// What stands at each position.
        positions: Vec<(Position, Seen)>,
        /// Whether each mark is there.
        marks: Vec<(Segment, bool)>,
        /// Whether the end mark is there, if asked.
        end: Option<bool>,
    },
    /// How the create ended.
    Created(CreateOutcome),
}

/// How the create of a seal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// Our seal stands there.
    Won,
    /// This stands there.
    Lost(Seen),
    /// No clear answer; it may land yet.
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
    /// Something that takes up the position and tells nothing.
    Undecodable(Malformed),
    /// The opening, which belongs at position 0 only.
    Opening,
}

/// Where a session ended. What it committed is its checkpoint and the batches in `(low_water, position)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sealed {
    /// Where the seal stands.
    pub position: Position,
    /// Everything at or below is in the checkpoint.
    pub low_water: Position,
    /// Where the newest checkpoint record stands; 0 when there is none.
    pub checkpoint_at: Position,
}

impl Sealed {
    fn of(position: Position, seal: &Seal) -> Self {
        Self { position, low_water: seal.low_water, checkpoint_at: seal.checkpoint_at }
    }
}

/// How a gap was found, which says what one more gap below it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FoundBy {
    /// Names: everything below was there, so what is missing was deleted meanwhile.
    List,
    /// Going up from a batch: what is missing may be a hole, and then that is the gap.
    Walk,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Not started.
    New(Hint),
    Listing,
    /// Reading the highest object listed, or the next lower one if that tells nothing.
    Top {
        listed: Vec<Position>,
        index: usize,
    },
    /// Reading the hinted batch and what follows it.
    Hinted(Position),
    /// Reading on from a batch that is there.
    Walking,
    /// Reading what the seal at the gap relies on.
    Checking {
        gap: Position,
        found_by: FoundBy,
    },
    /// Something is missing: is the session detached?
    Missing,
    /// Names say that nothing stands where something must: getting it, for a list may be older than what it lists.
    Doubting(Position),
    /// Nothing stands there: was it trimmed?
    Gone(Position),
    Creating(Sealed),
    /// A seal stands there: is it in live ground?
    Marking(Sealed),
    /// Reading the seal we were told of.
    Told(Position),
    Over,
}

/// Whether something may have been deleted at a position.
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
    /// Everything below is trimmed ground, as a mark said.
    floor: Position,
    /// Batches seen since the last start, by position.
    known: Vec<BatchHeader>,
    step: Step,
}

impl Sealing {
    /// A sealing of that session, to be signed by that host at the newest epoch it knows.
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
    /// When it was started before, or the hinted batch is another session's.
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

    /// Takes one event to the next effect.
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
                    panic!("gets answered that nobody asked for: {step:?}")
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
        if end.expect("the end mark was asked for") { SealEffect::Detached } else { self.list() }
    }

    /// Step 2.
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
            // The best of hints: a batch that is there, with nothing known above it.
            CreateOutcome::Lost(Seen::Batch(header)) => {
                self.know(sealed.position, header);
                self.walk(sealed.position.next())
            }
            CreateOutcome::Lost(Seen::Undecodable(_) | Seen::Opening) | CreateOutcome::Unknown => {
                self.list()
            }
            CreateOutcome::Lost(Seen::Absent) => {
                panic!("{}: a create is lost to an object, not to nothing", sealed.position)
            }
        }
    }

    /// A seal stands there, whoever wrote it: step 3 for it.
    fn mark(&mut self, position: Position, seal: &Seal) -> SealEffect {
        if seal.low_water >= position || seal.checkpoint_at >= position {
            return self.broken(position, "a seal that speaks of what comes after it");
        }
        self.ask_for_marks(Sealed::of(position, seal))
    }

    /// Step 3.
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

    /// What a position's mark and the end mark say.
    fn region(&self, position: Position, marks: &[(Segment, bool)], end: Option<bool>) -> Region {
        let segment = self.segment_len.segment(position);
        let marked = marks.iter().find(|&&(mark, _)| mark == segment);
        let &(_, marked) = marked.expect("the segment's mark was asked for");
        if end.expect("the end mark was asked for") {
            Region::Detached
        } else if marked {
            Region::Trimmed
        } else {
            Region::Live
        }
    }

    /// That position lies in trimmed ground: starts over above it.
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
            Seen::Opening => self.broken(position, "an opening where a seal belongs"),
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

/// What was found at a position that was asked for.
fn found(positions: &[(Position, Seen)], position: Position) -> &Seen {
    let answer = positions.iter().find(|&&(at, _)| at == position);
    let (_, seen) = answer.expect("a position that was asked for is answered");
    seen
}
