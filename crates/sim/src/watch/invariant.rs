//! The invariants of the protocol, by number, in the protocol's words.

use core::fmt;

/// An invariant of the protocol. A violation names it, so that it can be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Invariant {
    /// Every later recovery finds what was acknowledged.
    Recovered = 1,
    /// Positions and epochs are won once, and their objects don't change.
    OneWinner = 2,
    /// A seal is above everything that was acknowledged.
    BelowSeal = 3,
    /// An object is deleted after the checkpoint that covers it is committed.
    LowWaterFirst = 4,
    /// A slot is served only after all its older tenures have ended.
    TenuresEnded = 5,
    /// Seals and marks are never deleted.
    Immortal = 6,
    /// Needed packs are not deleted.
    PacksExist = 7,
    /// A host's newest known epoch never goes down.
    EpochsGrow = 8,
    /// No effect is visible before its commit.
    NothingEarly = 9,
    /// Calls are linearizable, and each request takes effect at most once.
    Linearizable = 10,
    /// Requests depend on hosts and batches, not on vnodes.
    Requests = 11,
    /// The cluster heals.
    Heals = 12,
    /// A run can be repeated.
    SameTrace = 13,
    /// A host whose store is lost sends no answers from memory.
    LostIsNoticed = 14,
    /// What no host needs is deleted.
    NoGarbage = 16,
    /// Of one vnode, nothing is open twice under one token.
    OpenOnce = 17,
    /// Every shard is open somewhere, and the hosts have their shares of them.
    ShardsOpen = 18,
    /// A message takes effect at its target once, after those that its sender sent before.
    MessagesOnce = 19,
    /// A timer takes effect once; an effect runs at least once, and its result takes effect once.
    TimersAndEffects = 20,
    /// A slot goes to a host that can read what may be in it.
    GoesToReaders = 25,
    /// A cut has what was committed at one moment.
    CutIsOneMoment = 27,
}

impl Invariant {
    /// Its text.
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
            Self::NoGarbage => {
                "after faults stop, nothing is left that no host needs, within a bound"
            }
            Self::OpenOnce => "of one vnode, nothing is open twice under one token",
            Self::ShardsOpen => {
                "after faults stop, every shard is open, and the hosts have their shares of them"
            }
            Self::MessagesOnce => {
                "every message of a committed change takes effect once, in the order of its sender; no other does"
            }
            Self::GoesToReaders => {
                "a slot goes to a host that can read what may be in it, if one that takes slots can"
            }
            Self::CutIsOneMoment => {
                "a cut of a cluster is one moment of it: all that was committed then, and nothing else"
            }
            Self::TimersAndEffects => {
                "every timer takes effect once; every effect runs at least once, and its result takes effect once"
            }
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} ({})", *self as u8, self.words())
    }
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The violated invariant.
    pub(crate) invariant: Invariant,
    /// How, in a sentence.
    pub(crate) how: String,
}

impl Invariant {
    /// A violation of this invariant.
    pub(crate) fn broken(self, how: impl fmt::Display) -> Broken {
        Broken { invariant: self, how: how.to_string() }
    }
}
