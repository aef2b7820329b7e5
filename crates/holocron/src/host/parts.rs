//! A host's parts: its identity, its store and its settings.

use std::sync::Arc;

use holocron_protocol::{
    control::founding::Founding, epoch::domain::Rule, format::cluster::Cluster, ids::HostName,
};
use holocron_store::{Counting, Patience, Store};
use tokio_util::sync::CancellationToken;

use super::domain::Domain;
use crate::{
    api::{clock::Clock, kinds::Kinds, random::Random, settings::Settings},
    store_io::{keep::Keep, loss::LossWatch, sealer::Sealer, store_watch::WatchedStore},
    transport::net::Network,
};

/// A host's parts.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: HostName,
    pub(crate) address: String,
    pub(crate) weight: u32,
    pub(crate) zone: Option<String>,
    /// Whether it may write the first epoch.
    pub(crate) founding: Founding,
    pub(crate) cluster: Cluster,
    /// The store, counted.
    pub(crate) store: Arc<Counting>,
    /// The same store; also tells whether its requests succeed.
    pub(crate) watched: Arc<WatchedStore>,
    /// Whether the store is lost.
    pub(crate) loss: Arc<LossWatch>,
    /// What a backup may need isn't deleted meanwhile.
    pub(crate) keep: Arc<Keep>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) random: Random,
    pub(crate) settings: Arc<Settings>,
    pub(crate) kinds: Kinds,
    /// The rules of the home domain, if this host founds the cluster.
    pub(crate) home_rules: Vec<Rule>,
    /// The domains that it is configured with, besides the home domain.
    pub(crate) domains: Vec<Domain>,
    /// Cancelled to stop the host.
    pub(crate) stop: CancellationToken,
}

impl Parts {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.watched) as Arc<dyn Store>
    }

    /// Seals journals of the home domain in this host's name.
    pub(crate) fn sealer(&self) -> Sealer {
        self.sealer_of(&self.store())
    }

    /// Seals journals in this store in this host's name.
    pub(crate) fn sealer_of(&self, store: &Arc<dyn Store>) -> Sealer {
        Sealer {
            store: Arc::clone(store),
            by: self.name.clone(),
            random: self.random.clone(),
            segment_len: self.cluster.journal_segments(),
            patience: self.patience(),
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience { try_timeout: self.settings.store_try_timeout, ..Patience::forever() }
    }
}
