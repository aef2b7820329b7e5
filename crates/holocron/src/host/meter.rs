//! What a host measures, as values for exporters.

use std::sync::{Arc, Weak};

use super::{memory, shared::Shared};
use crate::{api::meter::CallCounts, metrics::Distribution, transport::peer::HostStatus};

/// Reads what a host measures. Keeps no host alive.
///
/// ```
/// # async fn example(host: &holocron::Host) {
/// let meter = host.meter();
/// if let Some(metrics) = meter.read() {
///     println!("a commit takes {:?} ns in the median", metrics.commits.quantile(500));
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Meter(Weak<Shared>);

impl Meter {
    pub(super) fn new(host: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(host))
    }

    /// What was measured since the host started; none once it is gone.
    #[must_use]
    pub fn read(&self) -> Option<Metrics> {
        let host = self.0.upgrade()?;
        let counts = &host.counts;
        Some(Metrics {
            status: host.status(),
            calls: counts.calls.read(),
            commits: counts.commits.read(),
            batch_bytes: counts.batch_bytes.read(),
            batch_answers: counts.batch_answers.read(),
            takeovers: vec![
                ("seal", counts.takeovers.seal.read()),
                ("fetch", counts.takeovers.fetch.read()),
                ("recover", counts.takeovers.recover.read()),
            ],
            checkpoints: counts.checkpoints.read(),
            requests: host.parts.store.counts(),
            resident_bytes: memory::resident(),
        })
    }
}

/// What a host has measured since it started. Durations are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Its status: slots, vnodes, what it leads.
    pub status: HostStatus,
    /// Calls by kind, mode and outcome.
    pub calls: Vec<CallCounts>,
    /// From the closing of a batch until it was committed.
    pub commits: Distribution,
    /// Bytes of the committed batches.
    pub batch_bytes: Distribution,
    /// Answers that waited for each batch.
    pub batch_answers: Distribution,
    /// Phases of taking slots over: `seal`, by the leader, from the order to seal a session until its seal is known; `fetch`, one
    /// journal with the indexes of its packs; `recover`, from an epoch that gave this host slots until all were adopted.
    pub takeovers: Vec<(&'static str, Distribution)>,
    /// From the plan of a checkpoint until it was committed and what it made garbage was deleted.
    pub checkpoints: Distribution,
    /// Requests to the home domain's store, by verb and purpose.
    pub requests: holocron_store::Counts,
    /// Resident memory of the process; none where the operating system doesn't say.
    pub resident_bytes: Option<u64>,
}
