//! The host's own monotonic clock, as a number that only grows.
//!
//! A [`Time`] is valid only on its own host; it is never stored, sent or compared with another host's. Spans are
//! [`Duration`]s.

use core::{
    fmt,
    ops::{Add, AddAssign},
    time::Duration,
};

/// Microseconds of a host's own monotonic clock (which includes time in suspend).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// Microseconds since the start of the clock.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Milliseconds since the start of the clock.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// As microseconds since the start of the clock.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span since `earlier`; zero when `earlier` is in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates: a span of centuries means "never".
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

/// Milliseconds since 1970 by a host's wall clock. Clocks of hosts differ, and jump: for people, and for timers, which are
/// early or late by as much. No rule of safety uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(u64);

impl WallTime {
    /// Milliseconds since 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// As milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for WallTime {
    type Output = Self;

    /// Saturates. Parts of a millisecond are rounded up, so that nothing that waits for it is early.
    fn add(self, span: Duration) -> Self {
        let millis = span.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_span_of_centuries_saturates() {
        let later = Time::from_millis(5) + Duration::MAX;
        assert_eq!(later, Time::from_micros(u64::MAX));
        assert_eq!(Time::from_millis(5).since(later), Duration::ZERO);
        assert_eq!(later.since(later), Duration::ZERO);
    }

    #[test]
    fn it_is_printed_in_seconds() {
        assert_eq!(format!("{}", Time::from_micros(1_250_000)), "@1.250000s");
    }
}
