//! The clocks of simulated hosts.

use holocron::{Clock, TokioClock};
use holocron_protocol::time::Time;

/// The clocks of a host's process. Wall clocks of hosts are seconds apart.
#[derive(Debug)]
pub(crate) struct HostClock {
    steady: TokioClock,
    wall_ms: u64,
}

impl Clock for HostClock {
    fn now(&self) -> Time {
        self.steady.now()
    }

    fn wall_ms(&self) -> u64 {
        self.wall_ms + self.steady.now().as_micros() / 1_000
    }
}

impl HostClock {
    /// Clocks of a process that starts now, whose wall clock says this.
    pub(crate) fn new(wall_ms: u64) -> Self {
        Self { steady: TokioClock::new(), wall_ms }
    }
}
