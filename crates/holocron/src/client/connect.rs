//! Setting up a client, and its first view: from the store, from given hosts, or from the host in its process.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use holocron_access::Tls;
use holocron_protocol::{control::loss::Look, format::keys, ids::Epoch};
use holocron_store::{GaveUp, OpenError, Patience, Store, get_until};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::random::Random,
    client::{
        Client, ClientParts, DEADLINE_DEFAULT, DEADLINE_MAX, IN_FLIGHT_MAX_DEFAULT, NoViews, Views,
    },
    store_io::{
        cluster_object::{NoCluster, read_cluster},
        epoch_log::EpochLog,
        loss::{EMPTIED, FOREIGN},
        source::{MissingDirectory, StoreSource},
    },
    transport::{
        frame::Hello,
        link::{self, Link},
        net::{Network, Tcp},
        peer::{PeerMessage, PeerReply},
        serve::View,
    },
};

/// Why a client could not connect.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL or its options are wrong.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store gave no answer, or can't be used with this setup.
    #[error(transparent)]
    Unreachable(#[from] GaveUp),
    /// There is no cluster under the prefix, or one of another format version.
    #[error("{0}")]
    Cluster(String),
    /// No host could be reached.
    #[error(transparent)]
    Call(#[from] crate::client::CallError),
}

impl From<NoCluster> for ConnectError {
    fn from(none: NoCluster) -> Self {
        match none {
            NoCluster::GaveUp(gave_up) => Self::Unreachable(gave_up),
            NoCluster::Absent(why) => Self::Cluster(why),
        }
    }
}

/// Sets up a client.
#[derive(Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    store: StoreSource,
    seeds: Vec<String>,
    network: Arc<dyn Network>,
    random: Random,
    in_flight_max: usize,
    connect_deadline: Duration,
}

impl ClientBuilder {
    fn new(url: Option<&str>) -> Self {
        Self {
            store: StoreSource::new(url),
            seeds: Vec::new(),
            network: Arc::new(Tcp),
            random: Random::from_system(),
            in_flight_max: IN_FLIGHT_MAX_DEFAULT,
            connect_deadline: DEADLINE_DEFAULT,
        }
    }

    /// An option of the store, such as an endpoint; overrides the environment.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.store.option(key, value);
        self
    }

    /// A store that is open already, instead of opening the URL.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store.opened(store);
        self
    }

    /// Adds the address of a host that can give a first view.
    pub fn seed(mut self, address: &str) -> Self {
        self.seeds.push(address.to_owned());
        self
    }

    /// Connections to hosts use TLS, with these certificates: for clusters whose hosts do.
    pub fn tls(self, tls: Tls) -> Self {
        self.network(Arc::new(tls))
    }

    /// Another network than TCP.
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Another source of randomness than the operating system. Two clients must never share a seed: client ids are
    /// drawn from it.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Maximum of calls in flight; further ones wait. Higher: more memory when hosts are slow.
    pub fn in_flight_max(mut self, calls: usize) -> Self {
        self.in_flight_max = calls;
        self
    }

    /// How long connecting may take in all: opening and reading the store, and reaching a host. Default: 10 s;
    /// [`DEADLINE_MAX`] at most. Calls have their own deadlines, see [`Client::with_deadline`].
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.connect_deadline = deadline;
        self
    }

    /// Connects: returns when the client has a view, or at the [deadline](Self::connect_deadline).
    ///
    /// # Errors
    ///
    /// [`ConnectError`], with a message for the operator.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let deadline = Instant::now() + self.connect_deadline.min(DEADLINE_MAX);
        let store = open_store(self.store, deadline).await?;
        let (mut views, mut cluster) = (None, None);
        if let Some(store) = store {
            let found = StoreViews::open(store, left_until(deadline)).await?;
            cluster = Some(found.log.cluster.cluster);
            views = Some(Arc::new(found) as Arc<dyn Views>);
        }
        let client = Client::new(ClientParts {
            network: self.network,
            seeds: self.seeds,
            views,
            local: None,
            cluster,
            random: self.random,
            in_flight_max: self.in_flight_max,
        });
        client.clone().with_deadline(left_until(deadline)).ready().await?;
        Ok(client)
    }
}

fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Opens a store in its own thread: a directory may be on a mount that hangs. One that is open already takes no thread,
/// because a simulated run must not depend on when a thread is scheduled.
async fn open_store(
    source: StoreSource,
    deadline: Instant,
) -> Result<Option<Arc<dyn Store>>, ConnectError> {
    if !source.is_to_be_opened() {
        return Ok(source.open(MissingDirectory::Refused)?);
    }
    let opening = spawn_blocking(move || source.open(MissingDirectory::Refused));
    match timeout_at(deadline, opening).await {
        Ok(Ok(opened)) => Ok(opened?),
        Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        Err(_elapsed) => Err(GaveUp::Spent { last: None }.into()),
    }
}

impl Client {
    /// Connects to the cluster under a store's URL: its newest epoch record has the addresses of its hosts. Takes 10
    /// s at most; [`ClientBuilder::connect_deadline`] sets another deadline.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], with a message for the operator.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Sets up a client that finds the cluster through its store.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(Some(url))
    }

    /// Sets up a client that has no store, only the addresses of some hosts: see [`ClientBuilder::seed`].
    pub fn of_hosts() -> ClientBuilder {
        ClientBuilder::new(None)
    }
}

/// Why a host gave no reply to [`ask`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// The host was not asked: it can't be reached, or refuses the connection.
    #[error(transparent)]
    NotAsked(#[from] link::OpenError),
    /// The host was asked and gave no reply. It may have acted on the message.
    #[error("{address}: {why}")]
    Unanswered {
        /// Where.
        address: String,
        /// Why, in a few words.
        why: String,
    },
}

/// Sends one message to one host, over its own connection and within a deadline; for tools.
///
/// # Errors
///
/// [`AskError`], when the host can't be reached or does not answer.
pub async fn ask(
    network: &dyn Network,
    address: &str,
    message: PeerMessage,
    within: Duration,
) -> Result<PeerReply, AskError> {
    let deadline = Instant::now() + within.min(DEADLINE_MAX);
    let why = || format!("no answer within {within:.0?}");
    let hello = Hello { cluster: None, who: "a tool".to_owned() };
    let opening = timeout_at(deadline, Link::open(network, address, hello)).await;
    let link = opening.unwrap_or_else(|_elapsed| {
        Err(link::OpenError::Unreachable { address: address.to_owned(), why: why() })
    })?;
    let unanswered = |why| AskError::Unanswered { address: address.to_owned(), why };
    match timeout_at(deadline, link.message(message)).await {
        Ok(reply) => reply.map_err(|lost| unanswered(lost.to_string())),
        Err(_elapsed) => Err(unanswered(why())),
    }
}

/// Views from the epoch log.
#[derive(Debug)]
struct StoreViews {
    log: EpochLog,
    /// The `cluster` object as it was when the client connected. It never changes.
    cluster: Bytes,
    newest: tokio::sync::Mutex<Option<View>>,
}

/// How long one store request for a view may take, retries included.
const READ_BUDGET: Duration = Duration::from_secs(5);

impl StoreViews {
    async fn open(store: Arc<dyn Store>, within: Duration) -> Result<Self, ConnectError> {
        let (patience, stop) = (Patience::within(READ_BUDGET), CancellationToken::new());
        let first = Patience::at_start(within);
        let (cluster, found) = read_cluster(&*store, first, &stop).await?;
        let log = EpochLog { store, cluster, patience, stop };
        Ok(Self { log, cluster: found, newest: tokio::sync::Mutex::default() })
    }

    /// Checks that the store still holds this cluster. Otherwise a view of another cluster could be taken for one of
    /// this, or an old view for the newest after the store was emptied.
    async fn check_cluster(&self) -> Result<(), NoViews> {
        let EpochLog { store, patience, stop, .. } = &self.log;
        let found = get_until(&**store, keys::CLUSTER, *patience, stop).await;
        let found = found.map_err(|gave_up| NoViews::Unreadable(gave_up.to_string()))?;
        match Look::at_cluster(&self.cluster, found.as_deref()) {
            Look::There | Look::Detached => Ok(()),
            Look::Foreign => Err(NoViews::StoreLost(FOREIGN.to_owned())),
            Look::Missing => Err(NoViews::StoreLost(EMPTIED.to_owned())),
        }
    }
}

#[async_trait]
impl Views for StoreViews {
    async fn newer(&self, known: Epoch) -> Result<Option<View>, NoViews> {
        self.check_cluster().await?;
        let mut newest = self.newest.lock().await;
        let read = self.log.newest(newest.take()).await;
        let found = read.map_err(|error| NoViews::Unreadable(error.to_string()))?;
        newest.clone_from(&found);
        Ok(found.filter(|view| view.record.epoch > known))
    }
}

#[cfg(test)]
mod tests {
    use holocron_store::{Faults, Faulty, Memory, Outage};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connecting_ends_at_its_deadline_whatever_is_wrong_with_the_store() {
        for outage in [Outage::Refuses, Outage::Hangs] {
            let faulty = Faulty::new(Arc::new(Memory::new()), 1, Faults::default());
            faulty.set_outage(outage);
            let within = Duration::from_secs(1);
            let started = Instant::now();
            let connecting = Client::of_hosts().store(Arc::new(faulty)).connect_deadline(within);
            let error = connecting.connect().await.unwrap_err();
            assert!(matches!(error, ConnectError::Unreachable(GaveUp::Spent { .. })), "{error:?}");
            assert!(started.elapsed() <= within + Duration::from_millis(10), "{outage:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_ends_at_its_deadline_when_no_host_can_be_reached() {
        let within = Duration::from_secs(1);
        let started = Instant::now();
        // No process listens at port 1.
        let connecting = Client::of_hosts().seed("127.0.0.1:1").connect_deadline(within);
        let error = connecting.connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Call(_)), "{error:?}");
        assert!(started.elapsed() <= within + Duration::from_millis(10), "{error}");
    }
}
