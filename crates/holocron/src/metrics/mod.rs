//! Distributions of what a host measures: durations and sizes.
//!
//! Imports nothing of this crate.

use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of durations, in nanoseconds: from a commit in memory to a request that has timed out.
const DURATIONS: &[u64] = &[
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];
/// Upper bounds of numbers of bytes or things.
const SIZES: &[u64] =
    &[1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22];

/// Counts values by bucket. Noting a value takes no lock.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// One per bound, and one for what is larger.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Of durations.
    pub(crate) fn durations() -> Self {
        Self::new(DURATIONS)
    }

    /// Of numbers of bytes or things.
    pub(crate) fn sizes() -> Self {
        Self::new(SIZES)
    }

    fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Notes a number of bytes or things.
    pub(crate) fn note(&self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Notes a duration.
    pub(crate) fn took(&self, duration: Duration) {
        self.note(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was noted so far.
    pub(crate) fn read(&self) -> Distribution {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Distribution { bounds: self.bounds, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// How often values of which size were noted: durations in nanoseconds, or numbers of bytes or things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    bounds: &'static [u64],
    counts: Vec<u64>,
    sum: u64,
}

impl Distribution {
    /// The buckets in order: the largest value that counts in each (none: any), and how many did. Not cumulative.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().copied())
    }

    /// The sum of all values.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bound below which this share of the values is, in thousandths; none without values, or if it is above all bounds.
    #[must_use]
    pub fn quantile(&self, thousandths: u64) -> Option<u64> {
        let wanted = (self.count() * thousandths).div_ceil(1_000);
        if wanted == 0 {
            return None;
        }
        let mut seen = 0;
        self.buckets().find_map(|(bound, count)| {
            seen += count;
            (seen >= wanted).then_some(bound)
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_that_holds_it() {
        let sizes = Histogram::sizes();
        for value in [0, 1, 2, 4, 5, 1 << 22, (1 << 22) + 1] {
            sizes.note(value);
        }
        let read = sizes.read();
        let filled: Vec<_> = read.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            filled,
            [(Some(1), 2), (Some(4), 2), (Some(16), 1), (Some(1 << 22), 1), (None, 1)]
        );
        assert_eq!(read.count(), 7);
        assert_eq!(read.sum(), 12 + (1 << 23) + 1);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let durations = Histogram::durations();
        assert_eq!(durations.read().quantile(500), None);
        for micros in 1..=100 {
            durations.took(Duration::from_micros(micros * 10));
        }
        assert_eq!(durations.read().quantile(500), Some(500_000));
        assert_eq!(durations.read().quantile(990), Some(1_000_000));
        durations.took(Duration::from_secs(3_600));
        assert_eq!(durations.read().quantile(1_000), None, "above all bounds");
    }
}
