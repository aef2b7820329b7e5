//! What a simulated store does wrong, and how often.

use core::time::Duration;

/// How the store misbehaves; each is a probability per request but where it says otherwise.
#[derive(Clone, Debug)]
pub struct StoreFaults {
    /// The usual latency of a request.
    pub latency: Duration,
    /// A request fails and does nothing.
    pub fail_before: f64,
    /// A request is carried out and reported failed.
    pub fail_after: f64,
    /// A create is reported failed and lands later.
    pub land_late: f64,
    /// A create lands, and lands again later if nothing stands there then.
    pub land_twice: f64,
    /// A create lands and is reported to have met an object.
    pub conflict_after: f64,
    /// A create does nothing and is reported to have met an object.
    pub conflict_before: f64,
    /// How late is late.
    pub late: Duration,
}

impl StoreFaults {
    /// A store that only takes its time.
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

    /// A store at its worst that still keeps its promises.
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
