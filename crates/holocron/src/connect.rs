//! How a client comes to its first view: from the store, from hosts it is told of, or from the host it lives beside.

use std::sync::Arc;

use async_trait::async_trait;
use holocron_protocol::{cluster::Cluster, ids::Epoch, keys};
use holocron_store::{OpenError, Patience, Store, get_until, list_until};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{Client, ClientParts, IN_FLIGHT_MAX_DEFAULT, LocalHost, Views},
    epoch_log::EpochLog,
    frame::Hello,
    host::Shared,
    link::Link,
    net::{Network, Tcp},
    peer::{PeerMessage, PeerReply},
    random::Random,
    serve::{Serve, View},
};

/// Why a client could not connect.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL or its options are wrong.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store gave no answer, or can't be used as things are set up.
    #[error(transparent)]
    Unreachable(#[from] holocron_store::GaveUp),
    /// There is no cluster under the prefix, or one of another format version.
    #[error("{0}")]
    Cluster(String),
    /// No host could be reached.
    #[error(transparent)]
    Call(#[from] crate::client::CallError),
}

/// Sets a client up.
#[derive(Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    url: Option<String>,
    options: Vec<(String, String)>,
    store: Option<Arc<dyn Store>>,
    seeds: Vec<String>,
    network: Arc<dyn Network>,
    random: Random,
    in_flight_max: usize,
}

impl ClientBuilder {
    fn new(url: Option<&str>) -> Self {
        Self {
            url: url.map(ToOwned::to_owned),
            options: Vec::new(),
            store: None,
            seeds: Vec::new(),
            network: Arc::new(Tcp),
            random: Random::from_system(),
            in_flight_max: IN_FLIGHT_MAX_DEFAULT,
        }
    }

    /// An option of the store, such as an endpoint; goes before the environment's.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.options.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A store that is open already, instead of opening the URL.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// The address of a host to begin with.
    pub fn seed(mut self, address: &str) -> Self {
        self.seeds.push(address.to_owned());
        self
    }

    /// Another network than TCP.
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Another source of chance than the operating system. Two clients must never share a seed: client ids come from it.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Calls in flight; more wait. More means more memory when hosts are slow.
    pub fn in_flight_max(mut self, calls: usize) -> Self {
        self.in_flight_max = calls;
        self
    }

    /// Connects: returns when the client knows who serves what.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], with a sentence for whoever runs it.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let store = match (self.store, &self.url) {
            (Some(store), _) => Some(store),
            (None, Some(url)) => Some(holocron_store::open(url, &self.options)?),
            (None, None) => None,
        };
        let (mut views, mut cluster) = (None, None);
        if let Some(store) = store {
            let found = StoreViews::open(store).await?;
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
        client.ready().await?;
        Ok(client)
    }
}

impl Client {
    /// Connects to the cluster under a store's URL: the newest epoch there says where its hosts are.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], with a sentence for whoever runs it.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Sets a client up that finds the cluster through its store.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(Some(url))
    }

    /// Sets a client up that knows no store, only the addresses of some hosts: see [`ClientBuilder::seed`].
    pub fn of_hosts() -> ClientBuilder {
        ClientBuilder::new(None)
    }

    /// The client of a host, for callers in its process.
    pub(crate) fn of_host(shared: &Arc<Shared>) -> Self {
        let parts = &shared.parts;
        Self::new(ClientParts {
            network: Arc::clone(&parts.network),
            seeds: Vec::new(),
            views: None,
            local: Some(LocalHost {
                name: parts.name.clone(),
                serve: Arc::clone(shared) as Arc<dyn Serve>,
            }),
            cluster: Some(parts.cluster.cluster),
            random: parts.random.clone(),
            in_flight_max: IN_FLIGHT_MAX_DEFAULT,
        })
    }
}

/// Asks one host something, over a connection of its own; for tools.
///
/// # Errors
///
/// A sentence, when the host can't be reached or does not answer.
pub async fn ask(
    network: &dyn Network,
    address: &str,
    message: PeerMessage,
) -> Result<PeerReply, String> {
    let hello = Hello { cluster: None, who: "a tool".to_owned() };
    let link = Link::open(network, address, hello).await.map_err(|error| error.to_string())?;
    let asking = tokio::time::timeout(crate::client::DEADLINE_DEFAULT, link.message(message));
    match asking.await {
        Ok(reply) => reply.map_err(|lost| lost.to_string()),
        Err(_) => Err(format!("{address} does not answer")),
    }
}

/// Views from the epoch log.
#[derive(Debug)]
struct StoreViews {
    log: EpochLog,
    newest: tokio::sync::Mutex<Option<View>>,
}

/// How long a client waits for the store to tell it of a view.
const READ_BUDGET: core::time::Duration = core::time::Duration::from_secs(5);

impl StoreViews {
    async fn open(store: Arc<dyn Store>) -> Result<Self, ConnectError> {
        let (patience, stop) = (Patience::within(READ_BUDGET), CancellationToken::new());
        let first = Patience::at_start(READ_BUDGET);
        let found = get_until(&*store, keys::CLUSTER, first, &stop).await?;
        let Some(found) = found else {
            // What answers "not found" to everything is no store. A listing tells.
            list_until(&*store, keys::CLUSTER, first, &stop).await?;
            return Err(ConnectError::Cluster("there is no cluster under this prefix".to_owned()));
        };
        let cluster = match Cluster::decode(keys::CLUSTER, &found) {
            Ok(cluster) => cluster,
            Err(malformed) => {
                // So is what answers everything with something else.
                list_until(&*store, keys::CLUSTER, first, &stop).await?;
                return Err(ConnectError::Cluster(malformed.to_string()));
            }
        };
        let log = EpochLog { store, cluster, patience, stop };
        Ok(Self { log, newest: tokio::sync::Mutex::default() })
    }
}

#[async_trait]
impl Views for StoreViews {
    async fn newer(&self, known: Epoch) -> Result<Option<View>, String> {
        let mut newest = self.newest.lock().await;
        let found = self.log.newest(newest.take()).await.map_err(|error| error.to_string())?;
        newest.clone_from(&found);
        Ok(found.filter(|view| view.record.epoch > known))
    }
}
