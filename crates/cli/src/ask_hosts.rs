//! One question to each host of a cluster.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};
use holocron::net::Network;
use holocron_protocol::{epoch::record::EpochRecord, ids::HostName};

use crate::deadline::Deadline;

/// How long one host may take to answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Hosts asked at a time.
const ASKED_AT_ONCE: usize = 64;

/// What each host answers, or why it did not.
pub(crate) type Answers<T> = BTreeMap<HostName, Result<T, String>>;

/// Asks each host, at its address and within a time.
pub(crate) async fn ask_all<T>(
    network: &Arc<dyn Network>,
    record: &EpochRecord,
    deadline: Deadline,
    ask: impl AsyncFn(&dyn Network, &str, Duration) -> Result<T, String>,
) -> Answers<T> {
    let (network, ask) = (&**network, &ask);
    let asked = record.hosts.iter().map(|(name, host)| async move {
        let within = deadline.left().min(ANSWER_WITHIN);
        (name.clone(), ask(network, &host.address, within).await)
    });
    stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await
}
