//! Patience: timeouts, retries and back-off of requests to a store. The one place that decides them.
//!
//! Invariants:
//!
//! * The same key and attempt give the same wait, so that a simulated run repeats; different keys get different waits.
//! * A try that timed out gives the next try more time. Otherwise a body that needs longer than the first timeout would
//!   never be sent.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::Error;

/// A try that timed out doubles the time of the next, up to this many times the first limit.
const TRY_TIMEOUT_GROWTH_MAX: u32 = 8;

/// How long to wait for one try, between tries, and for all tries together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Timeout of one try (which may still land later). Higher: a lost answer is noticed later. Lower: needless
    /// requests when the store is slow. Each try that times out doubles it for the next try, up to 8 times the first.
    pub try_timeout: Duration,
    /// The wait after the first failed try; it doubles with each further failure.
    pub backoff_min: Duration,
    /// The longest wait between tries. It bounds how late the end of an outage is noticed.
    pub backoff_max: Duration,
    /// The time for all tries and waits together. `None` retries until stopped.
    pub budget: Option<Duration>,
    /// Gives up after this many refusals ([`Error::Denied`]) in a row: for a start, which should report at once a
    /// problem that waiting can't solve. `None` waits, because an operator may fix the problem meanwhile.
    pub refusals_max: Option<u32>,
}

/// Refusals of one request after which it is given up. More than one, because a token may just have expired.
pub(crate) const REFUSALS_MAX: u32 = 3;

impl Patience {
    /// Retries until stopped.
    #[must_use]
    pub const fn forever() -> Self {
        Self {
            try_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
            budget: None,
            refusals_max: None,
        }
    }

    /// Gives up after `budget`.
    #[must_use]
    pub const fn within(budget: Duration) -> Self {
        Self { budget: Some(budget), ..Self::forever() }
    }

    /// Gives up after `budget`, or earlier if the store refuses the request.
    #[must_use]
    pub const fn at_start(budget: Duration) -> Self {
        Self { refusals_max: Some(REFUSALS_MAX), ..Self::within(budget) }
    }

    /// The wait after failed try number `attempt` (from 0): it doubles up to the maximum; then up to half of it is
    /// subtracted.
    fn backoff(&self, key: &str, attempt: u32) -> Duration {
        let doubled = self.backoff_min.saturating_mul(2_u32.saturating_pow(attempt));
        let longest = doubled.min(self.backoff_max);
        let hash = xxh3_64_with_seed(key.as_bytes(), u64::from(attempt));
        // The upper 16 bits as a fraction of 65,536.
        let fraction = u32::from((hash >> 48) as u16);
        longest / 2 + (longest / 2).saturating_mul(fraction) / 65_536
    }

    /// Returns when the budget is spent; without a budget it never returns.
    pub(crate) fn spent(&self) -> impl Future<Output = ()> + Send + 'static {
        // A budget beyond the clock's range is no budget.
        let until = self.budget.and_then(|budget| Instant::now().checked_add(budget));
        async move {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// The tries of one request so far.
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    key: &'a str,
    patience: Patience,
    /// Failed tries.
    failed: u32,
    /// The timeout of the next try.
    timeout: Duration,
}

impl<'a> Tries<'a> {
    pub(crate) fn new(key: &'a str, patience: Patience) -> Self {
        Self { key, patience, failed: 0, timeout: patience.try_timeout }
    }

    /// One try with its timeout. The caller decides what an error means.
    pub(crate) async fn run<T>(
        &mut self,
        one: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = match tokio::time::timeout(self.timeout, one).await {
            Ok(answer) => answer,
            Err(elapsed) => {
                let longest = self.patience.try_timeout.saturating_mul(TRY_TIMEOUT_GROWTH_MAX);
                self.timeout = self.timeout.saturating_mul(2).min(longest);
                Err(Error::unclear(self.key, elapsed))
            }
        };
        if let Err(error) = &answer {
            self.failed = self.failed.saturating_add(1);
            // Logs the 1st, 2nd, 4th, 8th ... failure, so that an outage of hours logs a dozen lines, not thousands.
            if self.failed.is_power_of_two() && !matches!(error, Error::Conflict { .. }) {
                tracing::warn!(
                    key = self.key,
                    failed = self.failed,
                    error = crate::explain(error),
                    "store request failed"
                );
            }
        }
        answer
    }

    /// Waits before the next try.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(self.patience.backoff(self.key, self.failed.saturating_sub(1))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_never_vanish() {
        let patience = Patience::forever();
        for attempt in 0..100 {
            let wait = patience.backoff("epochs/1", attempt);
            let longest = patience
                .backoff_min
                .saturating_mul(2_u32.saturating_pow(attempt))
                .min(patience.backoff_max);
            assert!(wait >= longest / 2 && wait <= longest, "attempt {attempt}: {wait:?}");
        }
    }

    #[test]
    fn waits_repeat_for_one_key_and_spread_over_keys() {
        let patience = Patience::forever();
        assert_eq!(patience.backoff("a", 9), patience.backoff("a", 9));
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|key| patience.backoff(&format!("k{key}"), 9)).collect();
        assert!(waits.len() > 90, "{} different waits", waits.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_times_out_gives_the_next_one_more_time() {
        let mut tries = Tries::new("k", Patience::forever());
        let mut spent = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            tries.run(std::future::pending::<Result<(), Error>>()).await.unwrap_err();
            spent.push(start.elapsed().as_secs());
        }
        assert_eq!(spent, [5, 10, 20, 40, 40]);
    }
}
