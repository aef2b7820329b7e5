//! Reading a whole store to judge it, beside running hosts or without any: what is damaged ([`Audit::scrub`]), and what no
//! host needs ([`Audit::garbage`]). It only reads. The judgement is in [`holocron_protocol::audit`].
//!
//! Imports no other folder.

mod garbage;
mod reading;
mod scrub;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use holocron_protocol::epoch::domain::HOME_NAME;
use holocron_store::{GaveUp, Listed, Patience, Store, get_until, list_until};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::{garbage::GarbageReport, scrub::ScrubReport};

/// Gets in flight.
const GETS_MAX: usize = 32;
/// Packs in memory; each has up to 64 MiB.
const PACKS_MAX: usize = 2;
/// Sessions read at a time.
const SESSIONS_MAX: usize = 4;

/// Reads a store to judge it.
///
/// ```
/// use std::sync::Arc;
/// use holocron::Audit;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store: Arc<dyn holocron_store::Store> = holocron_store::open("file:///var/holocron", &[])?;
/// let report = Audit::new(store).scrub().await?;
/// assert!(report.findings.is_empty(), "{:#?}", report.findings);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Audit {
    /// The home domain's store, with the cluster's epoch log.
    log: Arc<dyn Store>,
    /// The store that is judged.
    store: Arc<dyn Store>,
    /// The domain whose store it is.
    domain: String,
    patience: Patience,
    stop: CancellationToken,
    gets: Semaphore,
    packs: Semaphore,
    progress: Arc<Progress>,
}

/// How far an audit has come; readable while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Objects read.
    pub objects: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Sessions read.
    pub sessions: AtomicU64,
    /// Sessions to read, as far as known.
    pub sessions_known: AtomicU64,
}

/// Why an audit came to no result.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A request got no answer in time, or the store refuses it.
    #[error(transparent)]
    Store(#[from] GaveUp),
    /// There is nothing below the prefix.
    #[error("there is no cluster under this prefix: check the URL")]
    NoCluster,
    /// The `cluster` object can't be read, so the keys of everything else can't be known.
    #[error("{0}: nothing else can be judged without it")]
    Cluster(holocron_protocol::format::codec::Malformed),
    /// The store isn't that of the domain; the text says why.
    #[error("domain {name}: {why}: check its URL")]
    Domain {
        /// The domain.
        name: String,
        /// Why.
        why: String,
    },
}

impl Audit {
    /// An audit of the store of one cluster. Each request is repeated for up to 30 s.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            log: Arc::clone(&store),
            store,
            domain: HOME_NAME.to_owned(),
            patience: Patience::within(Duration::from_secs(30)),
            stop: CancellationToken::new(),
            gets: Semaphore::new(GETS_MAX),
            packs: Semaphore::new(PACKS_MAX),
            progress: Arc::default(),
        }
    }

    /// An audit of the store of a further domain. What is there is judged by the epoch log, which is in the home domain's
    /// store.
    #[must_use]
    pub fn of_domain(home: Arc<dyn Store>, name: &str, store: Arc<dyn Store>) -> Self {
        Self { store, domain: name.to_owned(), ..Self::new(home) }
    }

    /// How long each request is repeated while the store doesn't answer. Longer: survives longer outages. Shorter: a store
    /// that is gone is reported sooner.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.patience = Patience::at_start(timeout);
        self
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, GaveUp> {
        let _permit = self.gets.acquire().await.expect("the semaphore is never closed");
        get_until(&*self.store, key, self.patience, &self.stop)
            .await
            .inspect(|got| self.count(got.as_ref()))
    }

    /// Gets an object of the cluster or its epoch log.
    async fn get_logged(&self, key: &str) -> Result<Option<Bytes>, GaveUp> {
        let _permit = self.gets.acquire().await.expect("the semaphore is never closed");
        get_until(&*self.log, key, self.patience, &self.stop)
            .await
            .inspect(|got| self.count(got.as_ref()))
    }

    fn count(&self, got: Option<&Bytes>) {
        if let Some(body) = got {
            self.progress.objects.fetch_add(1, Ordering::Relaxed);
            self.progress.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
    }

    async fn list_logged(&self, prefix: &str) -> Result<Vec<Listed>, GaveUp> {
        list_until(&*self.log, prefix, self.patience, &self.stop).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, GaveUp> {
        list_until(&*self.store, prefix, self.patience, &self.stop).await
    }
}
