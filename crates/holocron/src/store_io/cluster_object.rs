//! Reads the `cluster` object, for those that never found a cluster.

use bytes::Bytes;
use holocron_protocol::{
    control::founding::Absent,
    format::{cluster::Cluster, keys},
};
use holocron_store::{GaveUp, Patience, Store, get_until, list_until};
use tokio_util::sync::CancellationToken;

use crate::store_io::remains::remains;

/// Why there is no cluster to work with.
#[derive(Debug)]
pub(crate) enum NoCluster {
    /// The store gave no answer.
    GaveUp(GaveUp),
    /// There is none, or one that can't be read; the sentence is for the operator.
    Absent(String),
}

impl From<GaveUp> for NoCluster {
    fn from(gave_up: GaveUp) -> Self {
        Self::GaveUp(gave_up)
    }
}

/// The cluster under the prefix, and the object.
pub(crate) async fn read_cluster(
    store: &dyn Store,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<(Cluster, Bytes), NoCluster> {
    let Some(found) = get_until(store, keys::CLUSTER, patience, stop).await? else {
        // A list also exposes a server that is no store and answers "not found" to everything.
        let remains = remains(store, Absent::Cluster, patience, stop).await?;
        return Err(NoCluster::Absent(if remains.is_empty() {
            "there is no cluster under this prefix".to_owned()
        } else {
            format!(
                "the `cluster` object is missing under this prefix, but parts of a cluster remain: {remains}. The \
                 store was emptied, replaced or restored in part"
            )
        }));
    };
    match Cluster::decode(keys::CLUSTER, &found) {
        Ok(cluster) => Ok((cluster, found)),
        Err(malformed) => {
            // A list also exposes a server that is no store and answers everything with something else.
            list_until(store, keys::CLUSTER, patience, stop).await?;
            Err(NoCluster::Absent(malformed.to_string()))
        }
    }
}
