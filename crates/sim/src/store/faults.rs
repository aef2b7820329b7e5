//! Faults of a simulated store, and their probabilities.

use core::time::Duration;

/// Faults of a store. Probabilities are per request.
#[derive(Clone, Debug)]
pub struct StoreFaults {
    /// The usual latency of a request.
    pub latency: Duration,
    /// Probability that a request fails without effect.
    pub fail_before: f64,
    /// Probability that a request is carried out and reported as failed.
    pub fail_after: f64,
    /// Probability that a create is reported as failed and lands later.
    pub land_late: f64,
    /// Probability that a create lands, and lands again later if the key is free then.
    pub land_twice: f64,
    /// Probability that a create lands and is reported as "already exists".
    pub conflict_after: f64,
    /// Probability that a create has no effect and is reported as "already exists".
    pub conflict_before: f64,
    /// The delay of late creates.
    pub late: Duration,
}

impl StoreFaults {
    /// A store with latency only.
    #[must_use]
    pub fn none() -> Self {
        Self {
            latency: Duration::from_millis(5),
            fail_before: 0.0,
            fail_after: 0.0,
            land_late: 0.0,
            land_twice: 0.0,
            conflict_after: 0.0,
            conflict_before: 0.0,
            late: Duration::ZERO,
        }
    }

    /// The worst store that still keeps its contract.
    #[must_use]
    pub fn all() -> Self {
        Self {
            latency: Duration::from_millis(5),
            fail_before: 0.02,
            fail_after: 0.02,
            land_late: 0.02,
            land_twice: 0.02,
            conflict_after: 0.02,
            conflict_before: 0.01,
            late: Duration::from_secs(3),
        }
    }
}
