//! How long calls took.

use core::time::Duration;

use serde::Serialize;

/// A summary of the times of some calls, failed ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) longest_ms: f64,
}

impl Latency {
    /// Sorts the times.
    pub(super) fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = times.len().saturating_sub(1) * percent / 100;
            times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
        };
        let count = times.len() as u64;
        Self { count, p50_ms: at(50), p99_ms: at(99), longest_ms: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_of_calls() {
        let mut times: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(&mut times);
        assert_eq!(latency, Latency { count: 101, p50_ms: 51.0, p99_ms: 100.0, longest_ms: 101.0 });
        assert_eq!(Latency::of(&mut []), Latency::default());
    }
}
