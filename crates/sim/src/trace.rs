//! The trace of events: a hash of all, and the last lines.

use core::{fmt, time::Duration};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use xxhash_rust::xxh3::Xxh3;

/// Lines kept for debugging.
const TAIL_LEN_MAX: usize = 400;

/// The trace of a run; clones share it.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    hash: Xxh3,
    now: Duration,
    lines: u64,
    tail: VecDeque<String>,
    violations: Vec<String>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("lines", &self.recorded().lines).finish_non_exhaustive()
    }
}

impl Trace {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        // A panic while recording loses one line at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the world's time for the following lines.
    pub(crate) fn set_now(&self, now: Duration) {
        self.recorded().now = now;
    }

    /// Adds a line.
    pub fn note(&self, line: fmt::Arguments<'_>) {
        let mut recorded = self.recorded();
        let text = format!("{:>12.6} {line}", recorded.now.as_secs_f64());
        recorded.hash.update(text.as_bytes());
        recorded.lines += 1;
        if recorded.tail.len() == TAIL_LEN_MAX {
            recorded.tail.pop_front();
        }
        recorded.tail.push_back(text);
    }

    /// Records a violation.
    pub fn violate(&self, promise: fmt::Arguments<'_>) {
        self.note(format_args!("VIOLATION {promise}"));
        let mut recorded = self.recorded();
        let text = format!("at {:.6} s: {promise}", recorded.now.as_secs_f64());
        recorded.violations.push(text);
    }

    /// The violations.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.recorded().violations.clone()
    }

    /// The hash of all lines so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.recorded().hash.digest()
    }

    /// The number of lines.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.recorded().lines
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.recorded().tail.iter().cloned().collect()
    }
}
