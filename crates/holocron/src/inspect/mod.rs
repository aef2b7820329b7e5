//! Reading a cluster from its store alone: its history, and where a vnode's state is. For tools.
//!
//! Reads only, and needs no host: it works while all hosts are down. What it returns was true when it was read.
//!
//! Imports `store_io` and `transport`.

mod explain;
mod history;
mod vnode;

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use holocron_protocol::{
    control::loss::Look,
    epoch::{domain::DomainStore, record::DomainEntry},
    format::{cluster::Cluster, codec::Malformed, keys},
    ids::DomainId,
};
use holocron_store::{GaveUp, Patience, Store, get_until};
use tokio_util::sync::CancellationToken;

pub use self::{
    explain::{Explained, Given, Memory, Owner},
    history::{ENTRIES_MAX, Entry},
    vnode::{FoundVnode, JournalRead, NewestRecord, StoredAt},
};
use crate::store_io::{
    cluster_object::{NoCluster, read_cluster},
    epoch_log::{EpochLog, LogError},
    loss::{EMPTIED, FOREIGN},
};

/// Why something can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no cluster under the prefix, or it has no epoch; the sentence is for the operator.
    #[error("{0}")]
    NoCluster(String),
    /// The store is lost: emptied, or replaced by another cluster's.
    #[error("{0}")]
    StoreLost(String),
    /// The store gave no answer in time, or refuses the request.
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
    /// An object is damaged. Bring it back, from a version or a snapshot of the bucket.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A domain is needed that can't be read; the sentence is for the operator.
    #[error("{0}")]
    NoDomain(String),
    /// An object that must exist is missing, or changed each time it was read. Try again; if the error stays, the object
    /// was deleted from outside.
    #[error("{0} is missing each time it is read")]
    Missing(String),
}

impl From<NoCluster> for ReadError {
    fn from(none: NoCluster) -> Self {
        match none {
            NoCluster::GaveUp(gave_up) => Self::GaveUp(gave_up),
            NoCluster::Absent(why) => Self::NoCluster(why),
        }
    }
}

impl From<LogError> for ReadError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::GaveUp(gave_up) => Self::GaveUp(gave_up),
            LogError::Malformed(malformed) => Self::Malformed(malformed),
        }
    }
}

/// Reads a cluster from its store.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use holocron::inspect::{ClusterReader, ReadError};
///
/// # async fn example(store: Arc<dyn holocron_store::Store>) -> Result<(), ReadError> {
/// let reader = ClusterReader::open(store, Duration::from_secs(10)).await?;
/// let kept = reader.kept().await?;
/// for (epoch, entry) in reader.entries(kept.last(20)).await? {
///     println!("{epoch}: {}", entry.record().map_or("can't be read", |record| &record.reason));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClusterReader {
    log: EpochLog,
    /// The `cluster` object as it was first read. It never changes.
    cluster: Bytes,
    /// The stores of further domains, by the domain's name.
    domains: BTreeMap<String, Arc<dyn Store>>,
}

impl ClusterReader {
    /// A reader of the cluster in a store. `within` bounds this call, and later each request.
    ///
    /// # Errors
    ///
    /// [`ReadError`], with a message for the operator.
    pub async fn open(store: Arc<dyn Store>, within: Duration) -> Result<Self, ReadError> {
        let (patience, stop) = (Patience::at_start(within), CancellationToken::new());
        let (cluster, object) = read_cluster(&*store, patience, &stop).await?;
        let log = EpochLog { store, cluster, patience, stop };
        Ok(Self { log, cluster: object, domains: BTreeMap::new() })
    }

    /// The same reader, which also knows the store of this domain.
    #[must_use]
    pub fn with_domain(mut self, name: &str, store: Arc<dyn Store>) -> Self {
        self.domains.insert(name.to_owned(), store);
        self
    }

    /// A reader of what is in the store of a domain.
    pub(crate) async fn in_domain(
        &self,
        id: DomainId,
        domain: &DomainEntry,
    ) -> Result<Self, ReadError> {
        if id == DomainId::HOME {
            return Ok(self.clone());
        }
        let no_domain = |why: &str| ReadError::NoDomain(format!("domain {}: {why}", domain.name));
        let store = self
            .domains
            .get(&domain.name)
            .ok_or_else(|| no_domain("its store is needed: give its URL with --domain NAME=URL"))?;
        let mut there = self.clone();
        there.log.store = Arc::clone(store);
        let object = there.get(keys::DOMAIN).await?;
        let object =
            object.ok_or_else(|| no_domain("the store at its URL has no `domain` object"))?;
        if Some(DomainStore::decode(keys::DOMAIN, &object)?.store) != domain.store {
            return Err(no_domain("the store at its URL is another one"));
        }
        Ok(there)
    }

    /// The same reader; later requests take at most this time each.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.log.patience = Patience::at_start(within);
        self
    }

    /// What never changes of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.log.cluster
    }

    /// Checks that the store still holds the cluster: while nothing new is found, it may have been emptied or replaced.
    ///
    /// # Errors
    ///
    /// [`ReadError::StoreLost`] if it doesn't.
    pub async fn check_store(&self) -> Result<(), ReadError> {
        let found = self.get(keys::CLUSTER).await?;
        match Look::at_cluster(&self.cluster, found.as_deref()) {
            Look::There | Look::Detached => Ok(()),
            Look::Foreign => Err(ReadError::StoreLost(FOREIGN.to_owned())),
            Look::Missing => Err(ReadError::StoreLost(EMPTIED.to_owned())),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, GaveUp> {
        get_until(&*self.log.store, key, self.log.patience, &self.log.stop).await
    }
}
