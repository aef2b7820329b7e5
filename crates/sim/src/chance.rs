//! The only source of randomness of a simulated world.

use std::sync::{Arc, Mutex};

use core::time::Duration;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Random numbers from a seed; clones share the generator. The world is one thread, so the order of draws is
/// deterministic.
#[derive(Clone, Debug)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// 64 random bits.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.0.lock().expect("drawing a number does not panic").random()
    }

    /// Whether something of that probability happens.
    #[must_use]
    pub fn happens(&self, probability: f64) -> bool {
        probability > 0.0
            && self
                .0
                .lock()
                .expect("drawing a number does not panic")
                .random_bool(probability.min(1.0))
    }

    /// A number below `end`, which is at least 1.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        self.0.lock().expect("drawing a number does not panic").random_range(0..end.max(1))
    }

    /// A span between two bounds, uniformly distributed.
    #[must_use]
    pub fn between(&self, min: Duration, max: Duration) -> Duration {
        let width = u64::try_from(max.saturating_sub(min).as_micros()).unwrap_or(u64::MAX);
        min + Duration::from_micros(self.below(width.saturating_add(1)))
    }

    /// A latency: mostly near `usual`, sometimes ten or a hundred times that.
    #[must_use]
    pub fn latency(&self, usual: Duration) -> Duration {
        let spread = self.between(usual / 2, usual * 3 / 2);
        match self.below(1_000) {
            0..5 => spread * 100,
            5..30 => spread * 10,
            _ => spread,
        }
    }
}
