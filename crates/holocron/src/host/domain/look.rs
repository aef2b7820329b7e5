//! Looks at a domain's store: opens it, probes it, and reads or creates the object that says whose store it is.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    control::domain_member::{Create, Look},
    epoch::domain::DomainStore as Identity,
    format::keys,
    ids::{ClusterId, StoreId},
};
use holocron_store::{
    Counting, Created, OpenError, Patience, Probe, Store, create_once, get_until,
};

use super::{Domain, DomainStore};
use crate::{
    host::Shared,
    store_io::{
        loss::{self, LossWatch},
        source::{MissingDirectory, StoreSource},
        store_watch::WatchedStore,
    },
};

/// One look at one domain's store.
pub(crate) struct Looking {
    pub(crate) shared: Arc<Shared>,
    pub(crate) domain: Domain,
    pub(crate) create: Create,
}

impl Looking {
    /// Looks. What can't be used comes with a sentence for the operator.
    pub(crate) async fn look(self) -> (Look, Option<DomainStore>) {
        match self.try_look().await {
            Ok(store) => (Look::Found(store.id), Some(store)),
            Err(why) => (Look::Unusable(why), None),
        }
    }

    fn patience(&self) -> Patience {
        let settings = &self.shared.parts.settings;
        Patience {
            try_timeout: settings.store_try_timeout,
            ..Patience::within(settings.store_start_timeout)
        }
    }

    async fn try_look(&self) -> Result<DomainStore, String> {
        let parts = &self.shared.parts;
        let within = parts.settings.store_start_timeout;
        let opened = open(self.domain.source.clone(), within).await;
        let opened = opened.map_err(|(NotOpened::Mistake(why) | NotOpened::Passing(why))| why)?;
        let counted = Arc::new(Counting::new(opened, keys::purpose));
        let store: Arc<dyn Store> = Arc::clone(&counted) as Arc<dyn Store>;
        let found = self.get(&store, keys::DOMAIN).await?;
        // Before anything relies on it, and also if another host has prepared it: this host may go through a proxy.
        let probe = Probe { deadline: within, ..Probe::new(parts.random.bits()) };
        holocron_store::probe(&store, &probe).await.map_err(|error| error.to_string())?;
        let object = match (found, self.create) {
            (Some(object), _) => object,
            (None, Create::IfAbsent) => self.prepare(&store).await?,
            (None, Create::Never) => {
                return Err(
                    "its store has no `domain` object, though the cluster uses one for this domain: the URL is wrong, \
                     or the store was emptied"
                        .to_owned(),
                );
            }
        };
        let id = self.check(&object)?;
        let watched = Arc::new(WatchedStore::new(store));
        let loss = LossWatch::new(
            Arc::clone(&watched) as Arc<dyn Store>,
            loss::Identity::Domain(object),
            Arc::clone(&parts.clock),
            parts.settings.store_try_timeout,
        );
        Ok(DomainStore { id, counted, watched, loss: Arc::new(loss) })
    }

    async fn get(&self, store: &Arc<dyn Store>, key: &str) -> Result<Option<Bytes>, String> {
        let got = get_until(&**store, key, self.patience(), &self.shared.parts.stop).await;
        got.map_err(|gave_up| format!("its store can't be used: {gave_up}"))
    }

    /// Says whose store it is, unless another host has said so.
    async fn prepare(&self, store: &Arc<dyn Store>) -> Result<Bytes, String> {
        for (key, what) in [(keys::CLUSTER, "a cluster"), (keys::ELECTION, "an election")] {
            if self.get(store, key).await?.is_some() {
                return Err(format!(
                    "its URL is the root of {what}: give the domain a prefix or bucket of its own"
                ));
            }
        }
        let parts = &self.shared.parts;
        let identity = Identity {
            cluster: parts.cluster.cluster,
            name: self.domain.name.clone(),
            store: StoreId::new(parts.random.bits()),
        };
        let object = identity.encode(parts.random.nonce());
        let created =
            create_once(store, keys::DOMAIN, object.clone(), self.patience(), &parts.stop).await;
        match created {
            Created::Won => Ok(object),
            Created::Lost(theirs) => Ok(theirs),
            Created::Unknown => {
                Err("its store gave no clear answer to a create; it is looked at again".to_owned())
            }
        }
    }

    fn check(&self, object: &[u8]) -> Result<StoreId, String> {
        let found = Identity::decode(keys::DOMAIN, object).map_err(|error| error.to_string())?;
        let ours: ClusterId = self.shared.parts.cluster.cluster;
        if found.cluster != ours {
            return Err(format!(
                "its store belongs to another cluster ({}), this is {ours}: check the URL",
                found.cluster
            ));
        }
        if found.name != self.domain.name {
            return Err(format!("its store is that of domain {}: check the URL", found.name));
        }
        Ok(found.store)
    }
}

/// Why a store was not opened.
pub(super) enum NotOpened {
    /// The URL or an option is wrong.
    Mistake(String),
    /// It may be opened later.
    Passing(String),
}

/// Opens a store in a thread of its own: a directory may be on a mount that hangs. One that is open already takes no
/// thread, because a simulated run must not depend on when a thread is scheduled.
pub(super) async fn open(
    source: StoreSource,
    within: Duration,
) -> Result<Arc<dyn Store>, NotOpened> {
    let opened = if source.is_to_be_opened() {
        let opening = tokio::task::spawn_blocking(move || source.open(MissingDirectory::Refused));
        match tokio::time::timeout(within, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_elapsed) => {
                let why = format!("its store can't be opened within {within:.0?}");
                return Err(NotOpened::Passing(why));
            }
        }
    } else {
        source.open(MissingDirectory::Refused)
    };
    match opened {
        Ok(store) => Ok(store.expect("a domain has a URL")),
        Err(error @ (OpenError::Url { .. } | OpenError::Setting { .. })) => {
            Err(NotOpened::Mistake(error.to_string()))
        }
        Err(error @ OpenError::Setup { .. }) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            Err(NotOpened::Passing(format!("{error}{cause}")))
        }
    }
}
