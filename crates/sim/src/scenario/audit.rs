//! The store at the end of a run: nothing is left that no host needs, and a scrub finds no damage.

use core::{future::Future, time::Duration};
use std::sync::Arc;

use holocron::{
    Audit,
    audit::{AuditError, GarbageReport},
};
use holocron_protocol::audit::garbage::{Fate, Judged};

use super::{Story, domain};
use crate::watch::{Place, invariant::Invariant};

/// How long garbage may stay after the cluster has settled: former owners' data is copied, sources are dropped, sessions
/// are sealed, collected and looked at again.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an audit may take.
const AUDIT_WITHIN: Duration = Duration::from_secs(60);
/// The node that audits.
const NODE: &str = "auditor";

impl Story {
    /// Waits until all garbage is gone, then scrubs the store. Hosts run meanwhile.
    pub(super) fn audit(&mut self) {
        self.audit_at(Place::Home);
        if domain::drawn(self.scenario.seed).is_some() {
            self.audit_at(Place::Further);
        }
    }

    fn audit_at(&mut self, place: Place) {
        let until = self.cluster.world.now() + GONE_WITHIN;
        loop {
            let Some(report) = self.ask(place, |audit| async move { audit.garbage(0).await })
            else {
                return;
            };
            let left = left(&report);
            if left.is_empty() {
                break;
            }
            if self.cluster.world.now() >= until {
                self.trace.violate(format_args!(
                    "{}: {place}{GONE_WITHIN:?} after the cluster has settled: {}",
                    Invariant::NoGarbage,
                    left.join("; ")
                ));
                return;
            }
            self.cluster.world.run(LOOK_EVERY);
        }
        let Some(report) = self.ask(place, |audit| async move { audit.scrub().await }) else {
            return;
        };
        for finding in report.findings {
            self.trace.violate(format_args!(
                "{place}scrub finds damage in a store that only hosts wrote: {}: {} ({})",
                finding.damage, finding.why, finding.key
            ));
        }
    }

    fn ask<T, F>(
        &mut self,
        place: Place,
        work: impl FnOnce(Audit) -> F + Send + 'static,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AuditError>> + Send + 'static,
    {
        let home = Arc::new(self.cluster.world.store(NODE));
        let audit = match place {
            Place::Home => Audit::new(home),
            Place::Further => {
                Audit::of_domain(home, "acme", Arc::new(self.cluster.world.further.of(NODE)))
            }
        };
        let asking = self.cluster.world.start(NODE, work(audit));
        if !self.cluster.world.run_until(&asking, AUDIT_WITHIN) {
            self.trace.violate(format_args!("an audit takes longer than {AUDIT_WITHIN:?}"));
            return None;
        }
        match self.cluster.world.result(asking) {
            Ok(report) => Some(report),
            Err(error) => {
                self.trace.violate(format_args!("an audit fails: {error}"));
                None
            }
        }
    }
}

/// What should be gone by now.
fn left(report: &GarbageReport) -> Vec<String> {
    let garbage = report.totals.iter().filter(|(judged, _)| is_garbage(judged));
    garbage
        .map(|(judged, total)| {
            format!("{} {}, such as {}: {}", total.objects, judged.what, total.example, judged.why)
        })
        .collect()
}

/// Whether an object must go within a minute. What processes without a session leave behind may stay for longer.
fn is_garbage(judged: &Judged) -> bool {
    match judged.fate {
        Fate::Needed | Fate::Permanent => false,
        Fate::Goes => !matches!(judged.what, "hints" | "probe objects"),
        // Batches wait for the rest of their segment.
        Fate::Kept => judged.what != "batches" || !judged.why.contains("segment"),
        Fate::Stray | Fate::Foreign => true,
    }
}
