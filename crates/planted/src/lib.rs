//! Planted bugs: switches in the real code that break one rule each, to test that the checkers catch it.
//!
//! A checker that catches nothing is useless. So every important rule has a [`Bug`] where the rule is, and a test shows
//! that every bug is caught: by the simulator's default workload within a bounded number of seeds, or by a model. The
//! same seeds have no violation without the bug.
//!
//! It is a switch, not a cargo feature per bug: one build has all bugs, and a seed runs with and without the bug in the
//! same binary, so that only the bug can make a difference. A process has at most one bug, planted permanently, because
//! half a run with a bug shows nothing.
//!
//! A release can't contain one: without `debug_assertions`, [`plant`] doesn't exist and [`is_planted`] is the constant
//! `false`, so that the compiler removes the bug. With them it is one relaxed load.
#![no_std]

#[cfg(debug_assertions)]
use core::sync::atomic::{AtomicUsize, Ordering};

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $bug:ident = $name:literal,)+) => {
        /// A bug that can be planted. The number at the end is that of the violated invariant in the protocol's list.
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

            /// What goes wrong, as a sentence that ends with the number of the invariant.
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
    /// A seal goes after the last batch instead of into the first gap, so that a batch in flight may still land below
    /// it: two seals, or a batch acknowledged above one (3).
    SealAtMax = "seal-at-max",
    /// "Already exists" is taken for our own write without reading whose object it is (2).
    TrustAlreadyExists = "trust-already-exists",
    /// Replies are sent when their state is appended to the journal, not when its batch is committed (9).
    ReplyBeforeCommit = "reply-before-commit",
    /// The journal is trimmed by a checkpoint whose record is still in flight (4).
    TrimBeforeCommit = "trim-before-commit",
    /// The collector of a detached session deletes its seal too (6).
    DeleteSeal = "delete-seal",
    /// A missing object of a journal is taken for an empty one (1).
    MissingIsEmpty = "missing-is-empty",
    /// A slot is served without an Adopt in the journal (5).
    ServeBeforeAdopt = "serve-before-adopt",
    /// A tenure counts as ended although its end was not read (5).
    UnseenEnd = "unseen-end",
    /// A linearizable read is answered from memory at once (10).
    SkipBarrier = "skip-barrier",
    /// Any Release of a slot counts as the end of any tenure of its session (5).
    LooseRelease = "loose-release",
    /// A slot that moves keeps only its last tenure as a source, although no full checkpoint made the older ones void
    /// (1).
    DropSourceEarly = "drop-source-early",
    /// A full checkpoint of an older tenure of the owner drops all sources, also later ones and that tenure itself (1).
    DropSourceOfOldTenure = "drop-source-of-old-tenure",
    /// A checkpoint that copied a part of a slot says that it has all of it (1).
    PartAsFull = "part-as-full",
    /// A host that lost its session opens the next one with the same id (2).
    ReuseSessionId = "reuse-session-id",
    /// A batch counts as committed when it is won, although one before it isn't (3).
    AcknowledgeOutOfOrder = "acknowledge-out-of-order",
    /// A batch without an answer is sent again with other bytes (2).
    RetryOtherBytes = "retry-other-bytes",
    /// A read that has seen the open batch is answered before that is committed (9).
    AnswerOpenBatch = "answer-open-batch",
    /// A read waits for the batch that was in flight when it arrived, instead of a barrier (10).
    WaitForBatchInFlight = "wait-for-batch-in-flight",
    /// A panic rolls a vnode back to its last committed envelope, past one that was appended to the journal (1).
    RollBackInFlight = "roll-back-in-flight",
    /// A session ends because the store doesn't answer (12).
    EndOnOutage = "end-on-outage",
    /// A batch with a checkpoint names the previous checkpoint, whose objects are about to be deleted (7).
    CheckpointNamesPrevious = "checkpoint-names-previous",
    /// A vnode forgets requests after a while, although they may be retried (10).
    WindowByAge = "window-by-age",
    /// A vnode records no requests, so that a retry runs again (10).
    NoWindow = "no-window",
    /// A session's stale cache of a slot it released is used when the slot comes back (1).
    KeepCache = "keep-cache",
    /// Answers are sent without a look at a witness of the store (14).
    SkipWitness = "skip-witness",
    /// The newest committed batch is the witness of the store, although a replacement store may have it too (14).
    WitnessTooNew = "witness-too-new",
    /// A suspicion of a session counts against the current session of its host name, so that a process that replaced a
    /// leader under its name is sealed at a takeover (12).
    JudgeByName = "judge-by-name",
    /// A read is answered when its barrier finds nothing and what it has seen is committed, although a batch below the
    /// barrier is in flight, whose position may have a seal (10).
    IgnoreBatchInFlight = "ignore-batch-in-flight",
    /// An evicted client doesn't raise the window's mark, so that its retries run again (10).
    ForgetClientWithoutMark = "forget-client-without-mark",
    /// An evicted answer doesn't raise the window's mark, so that a retry runs again (10).
    ForgetAnswerWithoutMark = "forget-answer-without-mark",
    /// Packs written for the next checkpoint are deleted after the current one (7).
    DeletePacksToCome = "delete-packs-to-come",
    /// A Release of a later epoch than the reader's ends a tenure for it (5).
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
    /// Slots are moved while a host fails, so that callers of more slots than need be wait for a takeover (12).
    MoveWhileFailing = "move-while-failing",
    /// A leader balances before every host has said what its slots cost, and undoes what the leader before it did (12).
    BalanceUnheard = "balance-unheard",
    /// Load that is uneven at one look moves slots, so that noise moves them for ever (12).
    BalanceNoise = "balance-noise",
    /// A leader of an election claims a lease from the time of the answer that confirmed it, not from when it asked (15).
    ClaimFromAnswer = "claim-from-answer",
    /// A new leader of an election claims at once, while the claim of the leader before may still run (15).
    ClaimAtOnce = "claim-at-once",
    /// A leader of an election counts as confirmed although it got no answer for longer than a lease (15).
    LeadUnconfirmed = "lead-unconfirmed",
    /// The last record of a leader that resigns says that it goes on to lead, so that the others wait for it (12).
    ResignAsLeader = "resign-as-leader",
    /// A session that ends deletes the packs of its last checkpoint although its record is in flight and may land (7).
    DeletePacksInFlight = "delete-packs-in-flight",
    /// A host opens its session in a store that isn't the one a domain is bound to, and finds its journals empty (1).
    OpenUnboundStore = "open-unbound-store",
    /// A new domain takes names whose vnodes exist in the home domain, where they aren't found any more (1).
    TakeOverNames = "take-over-names",
    /// A host that can't reach the store of one domain loses its sessions in all domains (12).
    EndHostForDomain = "end-host-for-domain",
    /// Every host is blamed for an outage of a domain's store, and loses its slots there (12).
    BlameHostsForOutage = "blame-hosts-for-outage",
    /// A detached session is forgotten after one look, so that what lands later stays for ever (16).
    ForgetAtOnce = "forget-at-once",
    /// A command runs before what its vnode holds outside its state is open (17).
    AdmitBeforeOpen = "admit-before-open",
    /// A slot is released while a vnode of it still holds something open (17).
    ReleaseBeforeClose = "release-before-close",
    /// A vnode leaves memory while it is being closed, so that a call opens it a second time (17).
    EvictBeforeClose = "evict-before-close",
    /// Slots are placed without regard to the shards in them (18).
    ShardsByChance = "shards-by-chance",
    /// A shard is active only after a call (18).
    ShardsByCall = "shards-by-call",
    /// A message is sent before the change that asked for it is committed (19).
    SendBeforeCommit = "send-before-commit",
    /// The lowest number that a target is told counts answers whose crossing out isn't committed (19).
    LowestUncommitted = "lowest-uncommitted",
    /// A message is sent with a newer base that isn't committed (19).
    RebaseUncommitted = "rebase-uncommitted",
    /// A target forgets answers that a vnode may still ask for (19).
    ForgetUnacknowledged = "forget-unacknowledged",
    /// The newest message to a target is sent first (19).
    NewestMessageFirst = "newest-message-first",
    /// A timer that has fired is not crossed out (20).
    KeepFiredTimer = "keep-fired-timer",
    /// A new owner doesn't look which of its vnodes want to be woken (20).
    ForgetWakes = "forget-wakes",
    /// An effect is crossed out when it starts (20).
    EffectOverAtStart = "effect-over-at-start",
    /// A host runs a version of a kind although its states have another shape than was recorded for it, and misreads them (21).
    TrustShape = "trust-shape",
    /// A host decodes a command that was encoded for other arguments, and runs it with false ones (21).
    IgnoreFingerprint = "ignore-fingerprint",
    /// A listing takes a vnode's record from the index although the tail has a newer one (22).
    ListIndexFirst = "list-index-first",
    /// A watcher waits for the next commit although the vnode has one that it hasn't seen (23).
    WatchNextOnly = "watch-next-only",
    /// A fork overwrites a vnode that exists (24).
    ForkOverwrites = "fork-overwrites",
    /// Slots are placed without regard to what their next owners can read (25).
    PlaceUnread = "place-unread",
    /// A session gives its position for a cut while a batch is in flight, which is acknowledged before the cut is whole (27).
    CutInFlight = "cut-in-flight",
    /// A session that stopped waiting for a cut says that it waited (27).
    CutThawed = "cut-thawed",
    /// A cut is taken at a record that isn't the newest any more, past sessions that it doesn't list (27).
    CutAcrossEpochs = "cut-across-epochs",
}

impl Bug {
    /// The bug of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

/// The bug planted in this process: 0 for none, else its index plus one.
#[cfg(debug_assertions)]
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Plants a bug in this process, permanently.
///
/// # Panics
///
/// When another bug is planted already.
#[cfg(debug_assertions)]
pub fn plant(bug: Bug) {
    let number = bug as usize + 1;
    let before = PLANTED.swap(number, Ordering::Relaxed);
    assert!(before == 0 || before == number, "one bug per process: {bug:?} is the second");
}

/// Whether that bug is planted in this process.
#[cfg(debug_assertions)]
#[inline]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as usize + 1
}

/// Whether that bug is planted in this process; never in a release build.
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
    fn only_the_planted_bug_is_planted() {
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
