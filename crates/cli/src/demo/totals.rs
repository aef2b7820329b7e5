//! What every report of the demo says of all its calls.

use serde::Serialize;

use super::{Outcome, history::Faults, load::Tally};
use crate::table::thousands;

/// The calls of a whole run, and what was found wrong with them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Totals {
    /// Commands acknowledged.
    acknowledged: u64,
    /// Linearizable queries answered.
    queries: u64,
    /// Acknowledged commands that are missing.
    lost: u64,
    /// Commands that took effect more than once.
    doubled: u64,
    /// Queries that missed what had been acknowledged before.
    stale_reads: u64,
    /// Calls that ended in an error.
    failed_calls: u64,
    /// Of these, commands that may have taken effect.
    unclear_calls: u64,
    /// Vnodes that could not be read at the end.
    unread: usize,
}

impl Totals {
    /// Prints the newest failed call, if there is one.
    pub(super) fn of(tally: &Tally, faults: &Faults, unread: usize) -> Self {
        if let Some(failure) = tally.newest_failure() {
            eprintln!("newest failed call: {failure}");
        }
        Self {
            acknowledged: tally.acknowledged(),
            queries: tally.queries(),
            lost: faults.lost,
            doubled: faults.doubled,
            stale_reads: faults.stale,
            failed_calls: tally.failed(),
            unclear_calls: tally.unclear(),
            unread,
        }
    }

    /// What came of a run with this report, whose own rows come first.
    pub(super) fn outcome(
        &self,
        report: &impl Serialize,
        own: Vec<(&'static str, String)>,
    ) -> Outcome {
        let broken = (self.lost + self.doubled + self.stale_reads > 0).then(|| {
            format!(
                "{} acknowledged commands lost, {} doubled, {} reads stale",
                self.lost, self.doubled, self.stale_reads
            )
        });
        let rows = own.into_iter().chain(self.rows());
        Outcome {
            broken,
            unread: self.unread,
            json: serde_json::to_string(report).expect("a report is plain data"),
            text: rows.map(|(name, value)| format!("{name:<24}  {value}\n")).collect(),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let of_all = |some: u64, all: u64| format!("{} of {}", thousands(some), thousands(all));
        let (failed, unclear) = (thousands(self.failed_calls), thousands(self.unclear_calls));
        let mut rows = vec![
            ("acknowledged", format!("{} commands", thousands(self.acknowledged))),
            ("lost", thousands(self.lost)),
            ("doubled", thousands(self.doubled)),
            ("stale reads", of_all(self.stale_reads, self.queries)),
            ("failed calls", format!("{failed} ({unclear} unclear)")),
        ];
        if self.unread > 0 {
            rows.push(("could not be read", format!("{} vnodes", self.unread)));
        }
        rows
    }
}
