//! Backup, restore and clone: a consistent copy of a cluster, taken while it runs.
//!
//! [`Snapshot::take`] takes a cut of a running cluster: one moment of it, all that was committed then and nothing else. Commits
//! wait for some milliseconds meanwhile, at most two seconds. What belongs to the cut is immutable and is copied afterwards, at
//! any pace: into a place of backups ([`Backups::add`]), where what an earlier backup has copied isn't copied again, or as a new cluster
//! ([`restore`]). `docs/design/0028-backup.md` says why the copy is consistent, also for callers outside.
//!
//! ```no_run
//! use std::sync::Arc;
//! use holocron::backup::{Backups, Original, Snapshot, restore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let original = Original::new(holocron_store::open("s3://bucket/cluster", &[])?);
//! let backups = Backups::new(holocron_store::open("file:///backups", &[])?);
//! let added = backups.add(&Snapshot::take(&original).await?, Default::default()).await?;
//!
//! // Later, elsewhere:
//! let snapshot = backups.open(added.number).await?;
//! restore(&snapshot, holocron_store::open_or_make("file:///restored", &[])?, Default::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Imports `client`, `store_io`, `transport`, `api` and `audit`.

mod copy;
mod cut;
mod keeping;
mod place;
mod restore;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;

use core::sync::atomic::AtomicU64;
use std::sync::Arc;

use holocron_protocol::{audit::finding::Finding, format::codec::Malformed};
use holocron_store::{GaveUp, Store};

pub use self::{
    place::{Added, Backups, Summary},
    restore::{Restored, restore},
    snapshot::Snapshot,
};
use crate::{
    api::{
        clock::{Clock, SystemClock},
        random::Random,
    },
    audit::AuditError,
    store_io::{cluster_object::NoCluster, epoch_log::LogError},
    transport::net::{Network, Tcp},
};

/// A running cluster, of which a cut can be taken.
#[derive(Clone, Debug)]
pub struct Original {
    store: Arc<dyn Store>,
    network: Arc<dyn Network>,
    random: Random,
    clock: Arc<dyn Clock>,
}

impl Original {
    /// The cluster in a store, whose hosts are reached without TLS.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            network: Arc::new(Tcp),
            random: Random::from_system(),
            clock: Arc::new(SystemClock),
        }
    }

    /// How its hosts are reached. With TLS, the certificate needs the role of an operator.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Where random numbers come from: the operating system if not set.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Whose wall clock says when the backup was taken: the machine's if not set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// How far copying has come; readable while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Objects that were copied.
    pub objects: AtomicU64,
    /// Their bytes.
    pub bytes: AtomicU64,
    /// Objects to copy, once that is known.
    pub objects_known: AtomicU64,
}

/// Why there is no backup, or no cluster was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no cluster in the store; the sentence is for the operator.
    #[error("{0}")]
    NoCluster(String),
    /// No cut could be taken now: a host can't be reached, or slots moved each time. Try again.
    #[error("no cut could be taken: {0}")]
    NoCut(String),
    /// The cluster has a part of which no backup can be made.
    #[error("{0}")]
    NotSupported(String),
    /// A store gave no answer in time, or refuses a request. Nothing is half done: try again.
    #[error(transparent)]
    Store(#[from] GaveUp),
    /// An object is damaged.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An object is missing, or another one than it should be; which, and why that is wrong.
    #[error("{key}: {why}")]
    Object {
        /// Its key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A copy was checked and isn't sound. It wasn't made a backup.
    #[error("the copy is not sound: {}", first_of(.0))]
    Unsound(Vec<Finding>),
    /// The place has backups of another cluster.
    #[error("{0}")]
    OtherCluster(String),
    /// The place has no such backup.
    #[error("{0}")]
    NoBackup(String),
    /// The store to restore to isn't empty.
    #[error("the store to restore to is not empty, it has {0}: use an empty prefix")]
    NotEmpty(String),
}

fn first_of(findings: &[Finding]) -> String {
    let more = findings.len().saturating_sub(1);
    findings.first().map_or_else(String::new, |finding| {
        format!("{}: {} ({more} more)", finding.key, finding.why)
    })
}

impl From<LogError> for BackupError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::GaveUp(gave_up) => Self::Store(gave_up),
            LogError::Malformed(malformed) => Self::Malformed(malformed),
        }
    }
}

impl From<NoCluster> for BackupError {
    fn from(none: NoCluster) -> Self {
        match none {
            NoCluster::GaveUp(gave_up) => Self::Store(gave_up),
            NoCluster::Absent(why) => Self::NoCluster(why),
        }
    }
}

impl From<AuditError> for BackupError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(gave_up) => Self::Store(gave_up),
            other
            @ (AuditError::NoCluster | AuditError::Cluster(_) | AuditError::Domain { .. }) => {
                Self::NoCluster(other.to_string())
            }
        }
    }
}
