//! Eviction of vnodes: those that were not called for a while, and the longest unused when there are too many.
//!
//! The sweep is the clock algorithm of page replacement: active vnodes are in a queue; one that was used since the
//! last pass goes to the back, one that was not is asked to leave. So no call reads a clock or moves an entry of a
//! list.

use std::sync::{Arc, atomic::Ordering};

use super::Session;
use crate::session::actor::Message;

/// Vnodes checked in one go, so that a large sweep does not delay calls.
const SWEEP_LEN_MAX: usize = 10_000;

impl Session {
    /// Sweeps until the session ends.
    pub(crate) async fn run_sweep(self: Arc<Self>) {
        let full_round = self.settings.idle_after;
        // Often enough to keep the memory limit, rarely enough to be cheap.
        let pause = (full_round / 8)
            .clamp(core::time::Duration::from_millis(10), core::time::Duration::from_secs(1));
        let mut round_began = self.clock.now();
        let mut left_in_round = 0;
        loop {
            tokio::select! {
                biased;
                () = self.journal.ended().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let over_budget = self.active_count().saturating_sub(self.settings.vnodes_active_max);
            if over_budget > 0 {
                let look_at =
                    usize::try_from(over_budget.saturating_mul(2)).unwrap_or(SWEEP_LEN_MAX);
                self.sweep(look_at.clamp(64, SWEEP_LEN_MAX));
            }
            if self.clock.now().since(round_began) >= full_round {
                round_began = self.clock.now();
                left_in_round = self.sweep_len();
            }
            if left_in_round > 0 {
                let now = left_in_round.min(SWEEP_LEN_MAX);
                left_in_round -= now;
                self.sweep(now);
            }
        }
    }

    fn sweep_len(&self) -> usize {
        self.sweep.lock().expect("the queue's lock is held for a push or a pop").len()
    }

    fn sweep(&self, count: usize) {
        for _ in 0..count {
            let next = self
                .sweep
                .lock()
                .expect("the queue's lock is held for a push or a pop")
                .pop_front();
            let Some(handle) = next else {
                return;
            };
            let active =
                self.active.get(&handle.hash).filter(|entry| Arc::ptr_eq(&entry.handle, &handle));
            let Some(entry) = active else {
                continue;
            };
            if !handle.used.swap(false, Ordering::Relaxed) {
                drop(entry.actor.cast(Message::Passivate));
            }
            drop(entry);
            self.sweep
                .lock()
                .expect("the queue's lock is held for a push or a pop")
                .push_back(handle);
        }
    }
}
