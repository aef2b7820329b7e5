//! What a host counts and measures since it started, over all its sessions.

use core::sync::atomic::AtomicU64;

use crate::{api::meter::CallMeter, metrics::Histogram};

/// Counters of a host since it started.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) commands: AtomicU64,
    pub(crate) queries: AtomicU64,
    /// Commands answered from a request window.
    pub(crate) repeats: AtomicU64,
    /// Vnodes that left memory because they were not used.
    pub(crate) evictions: AtomicU64,
    /// Handlers that ran longer than [`Settings::handler_warn_after`](crate::Settings::handler_warn_after).
    pub(crate) slow_handlers: AtomicU64,
    /// Calls, from arrival to answer.
    pub(crate) calls: CallMeter,
    /// From the closing of a batch until it was committed.
    pub(crate) commits: Histogram,
    /// Bytes of the committed batches.
    pub(crate) batch_bytes: Histogram,
    /// Answers that waited for a batch.
    pub(crate) batch_answers: Histogram,
    /// Phases of taking slots over.
    pub(crate) takeovers: Takeovers,
    /// From the plan of a checkpoint until it was committed and what it made garbage was deleted.
    pub(crate) checkpoints: Histogram,
}

/// Phases of taking slots over from sessions that are over, or that gave them away.
#[derive(Debug)]
pub(crate) struct Takeovers {
    /// From the order to seal a session until its seal is known, by the leader.
    pub(crate) seal: Histogram,
    /// Fetching one journal with the indexes of its packs; sealing it first, if nobody had.
    pub(crate) fetch: Histogram,
    /// From an epoch that gave this session slots until all of them were adopted.
    pub(crate) recover: Histogram,
}

impl Counts {
    /// For a host with these kinds.
    pub(crate) fn new(kinds: impl Iterator<Item = &'static str>) -> Self {
        Self {
            commands: AtomicU64::new(0),
            queries: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            slow_handlers: AtomicU64::new(0),
            calls: CallMeter::new(kinds),
            commits: Histogram::durations(),
            batch_bytes: Histogram::sizes(),
            batch_answers: Histogram::sizes(),
            takeovers: Takeovers {
                seal: Histogram::durations(),
                fetch: Histogram::durations(),
                recover: Histogram::durations(),
            },
            checkpoints: Histogram::durations(),
        }
    }
}
