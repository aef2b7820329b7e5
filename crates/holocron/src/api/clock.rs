//! Time: the one place that reads a clock.
//!
//! Durations come from the host's own steady clock. Clocks of different machines are never compared, and no safety
//! rule depends on them. The steady clock includes time in suspend (`CLOCK_BOOTTIME`), so that a laptop notices that
//! it slept.

use core::fmt::Debug;

use holocron_protocol::time::Time;

/// Where a host reads the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The host's own steady clock.
    fn now(&self) -> Time;

    /// Milliseconds since 1970, for people and for records; may jump.
    fn wall_ms(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time::from_micros(read(rustix::time::ClockId::Boottime, 1_000_000))
    }

    fn wall_ms(&self) -> u64 {
        read(rustix::time::ClockId::Realtime, 1_000)
    }
}

/// Tokio's clock, which a test can pause; its wall time starts at a fixed date.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    started: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that starts now, in the runtime it is called in.
    #[must_use]
    pub fn new() -> Self {
        Self { started: tokio::time::Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

/// 2026-01-01, where simulated wall clocks start.
const SIMULATED_WALL_MS: u64 = 1_767_225_600_000;

impl Clock for TokioClock {
    fn now(&self) -> Time {
        Time::from_micros(
            u64::try_from(self.started.elapsed().as_micros())
                .expect("a u64 holds 580,000 years of microseconds"),
        )
    }

    fn wall_ms(&self) -> u64 {
        SIMULATED_WALL_MS + self.now().as_micros() / 1_000
    }
}

fn read(clock: rustix::time::ClockId, per_second: u64) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * per_second + nanos / (1_000_000_000 / per_second)
}
