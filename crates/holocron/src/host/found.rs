//! Finds the cluster under a prefix, or founds it, by the rules of [`holocron_protocol::control::founding`].

use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    control::founding::{Absent, Founding},
    format::{cluster::Cluster, keys},
    ids::Nonce,
};
use holocron_store::{Created, GaveUp, Patience, Store, create_once, get_until};
use tokio_util::sync::CancellationToken;

use super::{StartError, driver::Driver};
use crate::store_io::{epoch_log::LogError, remains::remains};

/// Finds or founds the cluster of a starting host.
pub(super) struct Finder<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) patience: Patience,
    pub(super) stop: &'a CancellationToken,
    pub(super) founding: Founding,
}

/// A cluster and its `cluster` object.
pub(super) struct Found {
    pub(super) cluster: Cluster,
    pub(super) object: Bytes,
}

impl Finder<'_> {
    /// The cluster under the prefix. If there is none, founds `proposed` where that is allowed.
    pub(super) async fn find_or_found(
        &self,
        proposed: Cluster,
        nonce: Nonce,
    ) -> Result<Found, StartError> {
        if let Some(found) = self.find().await? {
            return Ok(found);
        }
        let election = get_until(&**self.store, keys::ELECTION, self.patience, self.stop).await?;
        if election.is_some() {
            return Err(StartError::IsElection);
        }
        if self.founding == Founding::Never {
            return Err(StartError::NoCluster);
        }
        let remains = remains(&**self.store, Absent::Cluster, self.patience, self.stop).await?;
        if !remains.is_empty() {
            // Another host may have founded the cluster since, and these objects are of that cluster.
            if let Some(found) = self.find().await? {
                return Ok(found);
            }
            if !remains.allow(self.founding) {
                return Err(StartError::Remains { absent: "the `cluster` object", remains });
            }
            tracing::warn!(%remains, "host founds a cluster where objects of an earlier one remain");
        }
        let object = proposed.encode(nonce);
        let created =
            create_once(self.store, keys::CLUSTER, object.clone(), self.patience, self.stop).await;
        match created {
            Created::Won => Ok(Found { cluster: proposed, object }),
            Created::Lost(object) => decode(object),
            Created::Unknown => Err(GaveUp::Spent { last: None }.into()),
        }
    }

    async fn find(&self) -> Result<Option<Found>, StartError> {
        let found = get_until(&**self.store, keys::CLUSTER, self.patience, self.stop).await?;
        found.map(decode).transpose()
    }
}

impl Driver {
    /// If there is no epoch, this host may write the first one, unless the objects that remain show that the log was lost.
    pub(super) async fn check_first_epoch(&mut self) -> Result<(), StartError> {
        if self.view.is_some() {
            return Ok(());
        }
        let log = &self.log;
        let remains = remains(&*log.store, Absent::Epochs, log.patience, &log.stop).await?;
        if remains.is_empty() || remains.allow(self.shared.parts.founding) {
            return Ok(());
        }
        // Another host may have written epoch 1 since, and these objects are of its cluster.
        match log.newest(None).await {
            Ok(Some(view)) => {
                self.learn(&view);
                Ok(())
            }
            Ok(None) => Err(StartError::Remains { absent: "the epoch log (epochs/)", remains }),
            Err(LogError::GaveUp(gave_up)) => Err(gave_up.into()),
            Err(LogError::Malformed(malformed)) => Err(malformed.into()),
        }
    }
}

fn decode(object: Bytes) -> Result<Found, StartError> {
    Ok(Found { cluster: Cluster::decode(keys::CLUSTER, &object)?, object })
}

#[cfg(test)]
mod tests {
    use holocron_protocol::ids::ClusterId;
    use holocron_store::Memory;

    use super::*;

    async fn start(store: &Arc<dyn Store>, founding: Founding) -> Result<Found, StartError> {
        let stop = CancellationToken::new();
        let finder = Finder { store, patience: Patience::forever(), stop: &stop, founding };
        finder.find_or_found(Cluster::new(ClusterId::new(7)), Nonce::new(1)).await
    }

    fn memory() -> Arc<dyn Store> {
        Arc::new(Memory::default())
    }

    #[tokio::test]
    async fn a_cluster_is_founded_once_and_found_from_then_on() {
        let store = memory();
        assert!(matches!(start(&store, Founding::Never).await, Err(StartError::NoCluster)));
        let founded = start(&store, Founding::IfEmpty).await.unwrap();
        for founding in [Founding::IfEmpty, Founding::Anew, Founding::Never] {
            let found = start(&store, founding).await.unwrap();
            assert_eq!((found.cluster, &found.object), (founded.cluster, &founded.object));
        }
    }

    #[tokio::test]
    async fn remains_of_a_cluster_are_named_and_prevent_founding() {
        let store = memory();
        store.put("hints/hosts/h1", Bytes::from_static(b"{}")).await.unwrap();
        let key = "sessions/0000000000000000000000000000000a/journal/00000000000000000009";
        store.put(key, Bytes::from_static(b"x")).await.unwrap();
        let Err(error) = start(&store, Founding::IfEmpty).await else { panic!("it was founded") };
        let sentence = error.to_string();
        assert!(
            sentence.contains("1 objects of sessions") && sentence.contains("1 hints"),
            "{sentence}"
        );
        assert!(sentence.contains("--found-anew"), "{sentence}");
        assert!(store.get(keys::CLUSTER).await.unwrap().is_none());
        assert!(start(&store, Founding::Anew).await.is_ok(), "an operator has looked");
    }

    #[tokio::test]
    async fn no_cluster_is_founded_where_epochs_remain_even_with_found_anew() {
        let store = memory();
        store
            .put(&keys::epoch(holocron_protocol::ids::Epoch::new(15)), Bytes::from_static(b"{}"))
            .await
            .unwrap();
        assert!(matches!(start(&store, Founding::Anew).await, Err(StartError::Remains { .. })));
        assert!(store.get(keys::CLUSTER).await.unwrap().is_none());
    }
}
