//! The promises of the protocol, by number and in its own words.

use core::fmt;

/// An invariant of the protocol. A violation names it, so that whoever reads a failure knows what to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Invariant {
    /// What was acknowledged is found by every later recovery.
    Recovered = 1,
    /// Positions and epochs are won once, and what stands there stays as it is.
    OneWinner = 2,
    /// A seal lies above everything that was acknowledged.
    BelowSeal = 3,
    /// Deleting waits for the checkpoint that covers what goes.
    LowWaterFirst = 4,
    /// Nobody serves a slot before all who had it are done with it.
    TenuresEnded = 5,
    /// Seals and marks stay.
    Immortal = 6,
    /// Needed packs stay.
    PacksExist = 7,
    /// A host goes by ever newer epochs.
    EpochsGrow = 8,
    /// Effects wait for their commit.
    NothingEarly = 9,
    /// Callers see one order, and each request once.
    Linearizable = 10,
    /// Requests follow from hosts and batches, not from vnodes.
    Requests = 11,
    /// The cluster heals.
    Heals = 12,
    /// A run can be repeated.
    SameTrace = 13,
    /// A host whose store is lost answers nothing from memory.
    LostIsNoticed = 14,
}

impl Invariant {
    /// What it says.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Recovered => "acknowledged implies recovered",
            Self::OneWinner => {
                "one winner per position and per epoch; bytes of a position never change"
            }
            Self::BelowSeal => "acknowledged position < seal position",
            Self::LowWaterFirst => {
                "low_water is committed before anything at or below it is deleted"
            }
            Self::TenuresEnded => {
                "every tenure before the server's is sealed or released before it serves"
            }
            Self::Immortal => "seals and marks are never deleted; marks are contiguous",
            Self::PacksExist => "every pack named by the newest checkpoint of a session exists",
            Self::EpochsGrow => "epochs seen by one host never go down",
            Self::NothingEarly => "no effect is visible outside before its batch is committed",
            Self::Linearizable => "linearizable per vnode; a request id takes effect at most once",
            Self::Requests => "requests don't grow with vnodes",
            Self::Heals => "after faults stop, one leader and every slot served, within a bound",
            Self::SameTrace => "same seed, same trace",
            Self::LostIsNoticed => {
                "no call that comes after the store was lost is answered from memory"
            }
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} ({})", *self as u8, self.words())
    }
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Which.
    pub(crate) invariant: Invariant,
    /// How, in a sentence.
    pub(crate) how: String,
}

impl Invariant {
    /// Broken like this.
    pub(crate) fn broken(self, how: impl fmt::Display) -> Broken {
        Broken { invariant: self, how: how.to_string() }
    }
}
