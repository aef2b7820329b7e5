//! Randomness: the one place that draws random numbers, from a seed that is passed in.

use std::sync::{Arc, Mutex};

use holocron_protocol::ids::{ClientId, ClusterId, ElectionId, Nonce, SessionId};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// A source of random numbers, shared by all its clones.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<StdRng>>);

impl Random {
    /// From the operating system. Session ids are never reused because they come from here.
    #[must_use]
    pub fn from_system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// From a seed: the same seed gives the same numbers. For simulation.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// 128 random bits.
    #[must_use]
    pub fn bits(&self) -> u128 {
        self.0.lock().expect("drawing a number does not panic").random()
    }

    /// A number below `end`.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        if end == 0 {
            return 0;
        }
        self.0.lock().expect("drawing a number does not panic").random_range(0..end)
    }

    pub(crate) fn nonce(&self) -> Nonce {
        Nonce::new(self.bits())
    }

    pub(crate) fn session(&self) -> SessionId {
        SessionId::new(self.bits())
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        ClusterId::new(self.bits())
    }

    pub(crate) fn election(&self) -> ElectionId {
        ElectionId::new(self.bits())
    }

    pub(crate) fn client(&self) -> ClientId {
        ClientId::drawn(self.bits())
    }
}
