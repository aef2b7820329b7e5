//! Planted bugs: switches in the real code, each of which turns one rule off, to see that somebody misses it.
//!
//! A checker that catches nothing is not a checker. So every rule that keeps a promise has a [`Bug`] at the one place
//! where the rule lives, and every bug is shown to be caught: by the simulator's default workload within a bounded number
//! of seeds, or by a model. The same seeds are clean without it.
//!
//! A switch, and not a cargo feature per bug: one build serves all of them, and a seed runs with and without the bug in
//! the same binary, so that nothing but the bug can be what differs. It is one for the whole process and is never taken
//! back, because half a run with a bug shows nothing.
//!
//! Nobody can ship one: without `debug_assertions` [`plant`] doesn't exist and [`is_planted`] is the constant `false`,
//! so that nothing of a bug is left in the program. With them it is one relaxed load.
#![no_std]

#[cfg(debug_assertions)]
use core::sync::atomic::{AtomicUsize, Ordering};

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $bug:ident = $name:literal,)+) => {
        /// A rule that can be turned off. The number is that of the invariant in the protocol's list which it hurts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $($(#[doc = $doc])+ $bug,)+
        }

        impl Bug {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$bug),+];

            /// Its name for people and command lines.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)+
                }
            }

            /// What goes wrong with it, in a sentence that ends with the number of the invariant.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$bug => concat!($($doc),+),)+
                }
            }
        }
    };
}

bugs! {
    /// A seal goes behind the last batch instead of into the first gap, so that a batch under way may still land below it:
    /// two seals, or a batch acknowledged above one (3).
    SealAtMax = "seal-at-max",
    /// "Exists already" is taken for one's own write without looking whose bytes stand there (2).
    TrustAlreadyExists = "trust-already-exists",
    /// Replies leave when their state is handed to the journal, not when its batch is committed (9).
    ReplyBeforeCommit = "reply-before-commit",
    /// The journal is trimmed up to a checkpoint whose record is still on its way (4).
    TrimBeforeCommit = "trim-before-commit",
    /// Whoever collects a detached session deletes its seal with the rest (6).
    DeleteSeal = "delete-seal",
    /// A journal of which an object is missing is taken for one that says nothing (1).
    MissingIsEmpty = "missing-is-empty",
    /// A slot is served without an Adopt before it in the journal (5).
    ServeBeforeAdopt = "serve-before-adopt",
    /// A tenure counts as ended though nobody saw its end (5).
    UnseenEnd = "unseen-end",
    /// A linearizable read is answered from memory at once (10).
    SkipBarrier = "skip-barrier",
    /// Any Release of a slot counts as the end of any tenure of its session (5).
    LooseRelease = "loose-release",
    /// A slot that moves brings only its last tenure along, though no full checkpoint made the older ones useless (1).
    DropSourceEarly = "drop-source-early",
    /// A full checkpoint of an old tenure, under which the owner goes on, lets go of the tenures in between and of itself
    /// (1).
    DropSourceOfOldTenure = "drop-source-of-old-tenure",
    /// A checkpoint that copied a part of a slot says that it holds all of it (1).
    PartAsFull = "part-as-full",
    /// A host that lost its session opens the next one under the same id (2).
    ReuseSessionId = "reuse-session-id",
    /// A batch counts as committed when it is won, though one before it isn't (3).
    AcknowledgeOutOfOrder = "acknowledge-out-of-order",
    /// A batch that got no answer is sent again with other bytes (2).
    RetryOtherBytes = "retry-other-bytes",
    /// A read that saw the open batch is answered before that is committed (9).
    AnswerOpenBatch = "answer-open-batch",
    /// A read waits for the batch that was in flight when it arrived, and looks no further (10).
    WaitForBatchInFlight = "wait-for-batch-in-flight",
    /// A panic rolls a vnode back to its last committed envelope, past one that was handed to the journal (1).
    RollBackInFlight = "roll-back-in-flight",
    /// A session ends because the store doesn't answer (12).
    EndOnOutage = "end-on-outage",
    /// A batch with a checkpoint names the checkpoint before it, whose objects are about to go (7).
    CheckpointNamesPrevious = "checkpoint-names-previous",
    /// A vnode forgets its requests after a while, whether or not somebody may repeat one (10).
    WindowByAge = "window-by-age",
    /// A vnode remembers no requests, so that one that is sent again runs again (10).
    NoWindow = "no-window",
    /// What a session remembers of a slot it released counts when the slot comes back (1).
    KeepCache = "keep-cache",
    /// Answers leave without a look whether the store still is the one that the cluster lives in (14).
    SkipWitness = "skip-witness",
    /// The newest committed batch is taken as witness of the store, though it may stand in one that took its place (14).
    WitnessTooNew = "witness-too-new",
    /// What is held against a session counts against the one that has its host's name by then, so that a process that
    /// replaces a leader under its name is sealed when another takes over (12).
    JudgeByName = "judge-by-name",
    /// A read leaves when its barrier finds nothing and what it has seen is committed, though another batch below the
    /// barrier is in flight, in whose place a seal may stand (10).
    IgnoreBatchInFlight = "ignore-batch-in-flight",
    /// A client that a full window lets go leaves no mark, so that what it sends again runs again (10).
    ForgetClientWithoutMark = "forget-client-without-mark",
    /// An answer that a full window lets go leaves no mark, so that what is sent again runs again (10).
    ForgetAnswerWithoutMark = "forget-answer-without-mark",
    /// Packs that were written for the checkpoint to come are deleted after the one before it (7).
    DeletePacksToCome = "delete-packs-to-come",
    /// A Release of a later epoch than the reader's counts for it (5).
    ReleaseAhead = "release-ahead",
    /// A vnode's record is appended after the Release of its slot was (5).
    AppendAfterRelease = "append-after-release",
    /// Packs are deleted though a new owner may still be reading them (7).
    DeletePacksInUse = "delete-packs-in-use",
    /// A recovery that waits for a Release or a repaired journal never looks again (12).
    NeverLookAgain = "never-look-again",
    /// A session joins though its end mark was looked up before the newest record was read: it may be detached by now (5).
    AdmitWithoutClearance = "admit-without-clearance",
    /// A host whose name another process has taken rejoins, so that the two seal each other again and again (12).
    RejoinWhenReplaced = "rejoin-when-replaced",
    /// A host that leaves is removed while it owns slots, so that its callers wait for a seal instead of a handoff (12).
    RemoveUndrained = "remove-undrained",
    /// A host is sealed for being slow though the store doesn't answer this host either (12).
    BlameHostForStore = "blame-host-for-store",
}

impl Bug {
    /// The bug of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

/// The bug that is planted in this process: 0 for none, else its place among all of them and one.
#[cfg(debug_assertions)]
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Plants a bug in this process, for as long as it runs.
///
/// # Panics
///
/// When another one is planted already: what is caught then would show nothing about either.
#[cfg(debug_assertions)]
pub fn plant(bug: Bug) {
    let number = bug as usize + 1;
    let before = PLANTED.swap(number, Ordering::Relaxed);
    assert!(before == 0 || before == number, "one bug at a time, and {bug:?} is not the first");
}

/// Whether that bug is planted in this process.
#[cfg(debug_assertions)]
#[inline]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as usize + 1
}

/// Whether that bug is planted in this process. In a release build none ever is.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub const fn is_planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name_and_no_other() {
        for bug in Bug::ALL {
            assert_eq!(Bug::from_name(bug.name()), Some(*bug));
        }
        assert_eq!(Bug::from_name("none"), None);
    }

    #[test]
    fn names_are_for_command_lines() {
        for bug in Bug::ALL {
            let plain = bug.name().bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
            assert!(plain, "{bug:?}");
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_bug_is_there_once_it_is_planted_and_no_other_is() {
        assert!(!is_planted(Bug::NoWindow));
        plant(Bug::NoWindow);
        let planted = |bug: &&Bug| is_planted(**bug);
        assert!(Bug::ALL.iter().filter(planted).eq(&[Bug::NoWindow]));
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_release_build_has_none() {
        assert!(!Bug::ALL.iter().any(|bug| is_planted(*bug)));
    }
}
