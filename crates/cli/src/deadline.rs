//! The deadline of a subcommand: it bounds everything the subcommand does, connecting included.

use core::time::Duration;
use std::sync::Arc;

use clap::Args;
use holocron::{
    Client, ConnectError,
    inspect::{ClusterReader, ReadError},
};
use holocron_store::{GaveUp, OpenError, Store, explain};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout_at},
};

use crate::{
    exit::{Fail, Failure},
    store::{ClusterArguments, StoreArguments, StoreOptions},
};

/// How long a subcommand may take.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DeadlineArguments {
    /// Seconds after which the command gives up, connecting included. A request sent before may still take effect.
    #[arg(
        long = "deadline",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    seconds: u64,
}

impl DeadlineArguments {
    /// Starts the deadline.
    pub(crate) fn start(self) -> Deadline {
        Deadline::within(Duration::from_secs(self.seconds))
    }
}

/// A running deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    within: Duration,
    at: Instant,
}

impl Deadline {
    /// A deadline that begins now.
    pub(crate) fn within(within: Duration) -> Self {
        Self { within, at: Instant::now() + within }
    }

    /// The time left.
    pub(crate) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// A client of the cluster in a store. Its calls end at the deadline.
    pub(crate) async fn connect(self, cluster: &ClusterArguments) -> Result<Client, Fail> {
        let ClusterArguments { store, tls } = cluster;
        let mut builder =
            Client::builder(&store.url).network(tls.network()?).connect_deadline(self.left());
        for (key, value) in &store.options.pairs {
            builder = builder.option(key, value);
        }
        let client = builder.connect().await.map_err(|error| match error {
            ConnectError::Unreachable(GaveUp::Spent { last }) => self.no_answer(last.as_ref()),
            other @ (ConnectError::Open(_)
            | ConnectError::Unreachable(GaveUp::Stopped | GaveUp::Rejected(_))
            | ConnectError::Cluster(_)
            | ConnectError::Call(_)) => other.into(),
        })?;
        Ok(client.with_deadline(self.left()))
    }

    /// A reader of the cluster in a store, which needs no host.
    pub(crate) async fn reader(self, store: &StoreArguments) -> Result<ClusterReader, Fail> {
        let opened = self.open(&store.url, &store.options).await?;
        self.read(ClusterReader::open(opened, self.left())).await
    }

    /// Runs a part of the subcommand that reads the store, and ends it at the deadline.
    pub(crate) async fn read<T>(
        self,
        reading: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, Fail> {
        match timeout_at(self.at, reading).await {
            Ok(read) => read.map_err(|error| self.unread(error)),
            Err(_elapsed) => Err(self.no_answer(None)),
        }
    }

    fn unread(self, error: ReadError) -> Fail {
        match error {
            ReadError::GaveUp(GaveUp::Spent { last }) => self.no_answer(last.as_ref()),
            other @ (ReadError::GaveUp(GaveUp::Stopped | GaveUp::Rejected(_))
            | ReadError::NoCluster(_)
            | ReadError::StoreLost(_)
            | ReadError::NoDomain(_)
            | ReadError::Malformed(_)
            | ReadError::Missing(_)) => other.into(),
        }
    }

    /// Opens a store, in a separate thread: a directory may be on a mount that hangs.
    pub(crate) async fn open(
        self,
        url: &str,
        options: &StoreOptions,
    ) -> Result<Arc<dyn Store>, Fail> {
        let (url, pairs) = (url.to_owned(), options.pairs.clone());
        self.opened(spawn_blocking(move || holocron_store::open(&url, &pairs))).await
    }

    /// The same for a store that is written to: a directory that is missing is made.
    pub(crate) async fn open_or_make(
        self,
        url: &str,
        options: &StoreOptions,
    ) -> Result<Arc<dyn Store>, Fail> {
        let (url, pairs) = (url.to_owned(), options.pairs.clone());
        self.opened(spawn_blocking(move || holocron_store::open_or_make(&url, &pairs))).await
    }

    async fn opened(
        self,
        opening: JoinHandle<Result<Arc<dyn Store>, OpenError>>,
    ) -> Result<Arc<dyn Store>, Fail> {
        match timeout_at(self.at, opening).await {
            Ok(Ok(opened)) => Ok(opened?),
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_elapsed) => Err(self.no_answer(None)),
        }
    }

    /// The failure when the store gave no answer in time. `last` is its newest error, if there was one.
    pub(crate) fn no_answer(self, last: Option<&holocron_store::Error>) -> Fail {
        let within = self.within;
        let sentence = match last {
            None => format!("the store did not answer within {within:?}"),
            Some(error) => {
                format!("the store gave no clear answer within {within:?}: {}", explain(error))
            }
        };
        Fail::new(Failure::Later, sentence)
    }
}
