//! What a host counts and measures since it started, over all its sessions.

use core::sync::atomic::AtomicU64;

use crate::{api::meter::CallMeter, metrics::Histogram, session::takeovers::Takeovers};

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
            takeovers: Takeovers::new(),
            checkpoints: Histogram::durations(),
        }
    }
}
