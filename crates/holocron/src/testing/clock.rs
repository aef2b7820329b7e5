//! A clock that a test moves.

use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use holocron_protocol::time::{Time, WallTime};

use crate::api::clock::Clock;

/// 2026-01-01, where the wall clock begins.
const BEGINS_MS: u64 = 1_767_225_600_000;

/// Milliseconds since the test began.
#[derive(Debug, Default)]
pub(super) struct TestClock(AtomicU64);

impl TestClock {
    pub(super) fn wall(&self) -> WallTime {
        WallTime::from_millis(self.wall_ms())
    }

    pub(super) fn set(&self, wall: WallTime) {
        self.0.store(wall.as_millis().saturating_sub(BEGINS_MS), Ordering::Relaxed);
    }

    pub(super) fn after(&self, span: Duration) -> WallTime {
        self.wall() + span
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        BEGINS_MS + self.0.load(Ordering::Relaxed)
    }
}
