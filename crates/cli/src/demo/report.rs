//! The demo's report, as text and as JSON.

use serde::Serialize;

use super::{Outcome, totals::Totals};
use crate::table::thousands;

/// The results of the demo. Times are measured from the victim's failure.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) hosts: usize,
    pub(super) vnodes: usize,
    /// How the victim failed.
    pub(super) kill: &'static str,
    pub(super) victim: String,
    pub(super) victim_led: bool,
    /// Vnodes under load that the victim owned.
    pub(super) victim_vnodes: usize,
    /// Commands it had in flight.
    pub(super) victim_in_flight: u64,
    pub(super) victim_packs: u32,
    #[serde(flatten)]
    pub(super) totals: Totals,
    /// The victim's vnodes that another host has served since.
    pub(super) vnodes_failed_over: usize,
    /// Time to the epoch record in which the victim's session is no longer open.
    pub(super) detect_ms: f64,
    /// Time to the first command acknowledged by a new owner.
    pub(super) first_served_ms: f64,
    /// Time until every vnode of the victim has acknowledged a command at its new owner.
    pub(super) last_served_ms: f64,
    /// Store requests of all other hosts until the first command was served.
    pub(super) takeover_requests: u64,
    /// Time from SIGCONT to the rejoin; only for a victim that was stopped.
    pub(super) rejoined_ms: Option<f64>,
    /// Time from sealing a host by mistake to its rejoin, if one was sealed.
    pub(super) alarm_back_ms: Option<f64>,
}

impl Report {
    pub(super) fn outcome(&self) -> Outcome {
        self.totals.outcome(self, self.rows())
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let milliseconds = |time: f64| format!("{time:.0} ms");
        let role = if self.victim_led { "the leader" } else { "not the leader" };
        let mut rows = Vec::new();
        if let Some(back) = self.alarm_back_ms {
            rows.push(("false alarm cost", milliseconds(back)));
        }
        rows.extend([
            (
                "victim",
                format!(
                    "{} ({role}, {}): {} vnodes, {} commands in flight, {} packs",
                    self.victim,
                    self.kill,
                    thousands(self.victim_vnodes as u64),
                    thousands(self.victim_in_flight),
                    self.victim_packs,
                ),
            ),
            ("noticed after", milliseconds(self.detect_ms)),
            ("served again after", milliseconds(self.first_served_ms)),
            (
                "all served after",
                format!(
                    "{} ({} vnodes moved)",
                    milliseconds(self.last_served_ms),
                    thousands(self.vnodes_failed_over as u64),
                ),
            ),
            ("takeover requests", thousands(self.takeover_requests)),
        ]);
        if let Some(rejoined) = self.rejoined_ms {
            rows.push(("rejoined after SIGCONT", milliseconds(rejoined)));
        }
        rows
    }
}
