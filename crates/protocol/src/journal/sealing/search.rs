//! Finds where a journal ends now, for readers: a sealing that stops before its create.
//!
//! Invariants:
//!
//! * It has no effect that writes.
//! * All batches above the low water and below the end that it finds are committed.

use alloc::vec::Vec;

use super::{Hint, SealEffect, SealEvent, Sealed, Sealing};
use crate::{
    format::{codec::Malformed, segment::SegmentLen},
    ids::{Epoch, HostName, Position, Segment, SessionId},
};

/// What the driver does next. Each effect that isn't final is answered by one [`SealEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchEffect {
    /// See [`SealEffect::List`].
    List,
    /// See [`SealEffect::Get`].
    Get {
        /// These positions of the journal.
        positions: Vec<Position>,
        /// The trim marks of these segments.
        marks: Vec<Segment>,
        /// Whether to get the end mark.
        end: bool,
    },
    /// Final: the journal ends here.
    Done(End),
    /// Final: the session is detached, and its objects may be deleted.
    Detached,
    /// Final: a required object is damaged or missing.
    Broken(Malformed),
}

/// Where a journal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At a seal.
    Sealed(Sealed),
    /// At this first free position, for now: a seal created now would say the same.
    Open(Sealed),
}

/// The search for the end of one session's journal.
#[derive(Clone, Debug)]
pub struct EndSearch(Sealing);

impl EndSearch {
    /// A search, and its first effect.
    ///
    /// # Panics
    ///
    /// Never: the name is valid.
    #[must_use]
    pub fn new(session: SessionId, segment_len: SegmentLen) -> (Self, SearchEffect) {
        // Would stand in the seal, which isn't created.
        let by = HostName::new("reader").expect("a valid name");
        let mut sealing = Sealing::new(session, segment_len, Hint::Nothing, by, Epoch::ZERO);
        let effect = Self::read_only(sealing.start());
        (Self(sealing), effect)
    }

    /// Takes the answer to the last effect; returns the next one.
    ///
    /// # Panics
    ///
    /// When the event doesn't answer the last effect.
    #[must_use]
    pub fn step(&mut self, event: SealEvent) -> SearchEffect {
        Self::read_only(self.0.step(event))
    }

    fn read_only(effect: SealEffect) -> SearchEffect {
        match effect {
            SealEffect::List => SearchEffect::List,
            SealEffect::Get { positions, marks, end } => {
                SearchEffect::Get { positions, marks, end }
            }
            SealEffect::Create { position, seal } => SearchEffect::Done(End::Open(Sealed {
                position,
                low_water: seal.low_water,
                checkpoint_at: seal.checkpoint_at,
            })),
            SealEffect::Done(sealed) => SearchEffect::Done(End::Sealed(sealed)),
            SealEffect::Detached => SearchEffect::Detached,
            SealEffect::Broken(malformed) => SearchEffect::Broken(malformed),
        }
    }
}
