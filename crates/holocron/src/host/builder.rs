//! How a host is set up and started.

use std::sync::Arc;

use holocron_access::Tls;
use holocron_protocol::{
    control::founding::Founding,
    epoch::{
        domain::{Rule, check_rules},
        record::LABEL_LEN_MAX,
        shards::Shards,
    },
    format::{cluster::Cluster, keys},
    ids::HostName,
};
use holocron_store::{Counting, Patience, Probe, Store};
use tokio_util::sync::CancellationToken;

use super::{Host, Parts, StartError, domain::Domain, found::Finder, reach::Reach};
use crate::{
    api::{
        clock::{Clock, SystemClock},
        env::Environments,
        kinds::{DeclaredKinds, Kind},
        random::Random,
        settings::Settings,
        vnode::Vnode,
    },
    store_io::source::{MissingDirectory, StoreSource},
    store_io::{
        kind_records::KindRecords,
        loss::{Identity, LossWatch},
        store_watch::WatchedStore,
    },
    transport::net::{Network, Tcp},
};

/// Sets up a host. Everything except the store has a default.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct HostBuilder {
    store: StoreSource,
    name: Option<String>,
    listen: String,
    advertise: Option<String>,
    weight: u32,
    zone: Option<String>,
    founding: Founding,
    settings: Settings,
    kinds: DeclaredKinds,
    envs: Environments,
    home_rules: Vec<Rule>,
    domains: Vec<Domain>,
    clock: Arc<dyn Clock>,
    network: Arc<dyn Network>,
    reach: Reach,
    random: Random,
}

impl HostBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            store: StoreSource::new(Some(url)),
            name: None,
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            weight: holocron_protocol::epoch::record::WEIGHT_DEFAULT,
            zone: None,
            founding: Founding::default(),
            settings: Settings::default(),
            kinds: DeclaredKinds::default(),
            envs: Environments::default(),
            home_rules: Vec::new(),
            domains: Vec::new(),
            clock: Arc::new(SystemClock),
            network: Arc::new(Tcp),
            reach: Reach::Loopback,
            random: Random::from_system(),
        }
    }

    /// The host's stable name; a random one if not set. Of two hosts with one name, the later seals the earlier.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// A kind of vnode this host runs. Give every host of a cluster the same kinds.
    ///
    /// # Panics
    ///
    /// When another kind has the same name.
    pub fn vnode<V: Vnode>(self) -> Self {
        self.kind(Kind::<V>::default())
    }

    /// The environment of all kinds that name its type as their [`Vnode::Env`], except kinds that are given their own with
    /// [`Kind::new`]. Kinds with different environments: call it once for each type.
    ///
    /// # Panics
    ///
    /// When it was given one of that type already.
    pub fn env<E: Send + Sync + 'static>(mut self, env: E) -> Self {
        self.envs.add(env);
        self
    }

    /// A kind with an environment of its own, or with shards.
    ///
    /// # Panics
    ///
    /// When another kind has the same name.
    pub fn kind<V: Vnode>(mut self, kind: Kind<V>) -> Self {
        self.kinds.add(kind);
        self
    }

    /// A domain besides the home domain, which is where [`Host::builder`]'s URL leads. If this host founds the cluster, its
    /// domains are added to it; later, a domain is added by the leader if its vnodes can't exist elsewhere, and otherwise
    /// by an operator (`holocron domain add`). A host that can't reach a domain's store starts all the same, and serves the
    /// others.
    pub fn domain(mut self, domain: Domain) -> Self {
        self.domains.push(domain);
        self
    }

    /// Only vnodes that one of these rules takes live in the home domain, if this host founds the cluster. Without rules, it
    /// takes what no other domain takes; then domains can't be added later without an operator's word that their vnodes
    /// don't exist yet.
    pub fn home_rules(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        self.home_rules = rules.into_iter().collect();
        self
    }

    /// Where to listen; `127.0.0.1:0`, any free port on loopback, if not set. Beyond loopback, a host needs [`tls`](Self::tls) or
    /// [`allow_remote`](Self::allow_remote).
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// The address at which others reach this host; the listening address if not set.
    pub fn advertise(mut self, address: &str) -> Self {
        self.advertise = Some(address.to_owned());
        self
    }

    /// This host's share of the slots, relative to the other hosts; 100 if not set.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The host's zone, such as a rack or an availability zone: hosts of one zone tend to fail together. What is left over
    /// after every host got its whole share is spread evenly over zones. At most 64 bytes.
    pub fn zone(mut self, zone: &str) -> Self {
        self.zone = Some(zone.to_owned());
        self
    }

    /// What to do if there is no cluster. Default: found one if the prefix is empty. With [`Founding::Never`] a restarted
    /// host never treats an emptied store as a new one.
    pub fn founding(mut self, founding: Founding) -> Self {
        self.founding = founding;
        self
    }

    /// The settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// An option of the store, such as an endpoint; overrides the environment.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.store.option(key, value);
        self
    }

    /// A store that is open already, instead of opening the URL: for tests, or to share one `memory://` store between
    /// hosts of one process.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store.opened(store);
        self
    }

    /// The clock; the machine's if not set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Connections between hosts and from clients use TLS, with these certificates: the cluster's authority, and one with the role
    /// host. Every host of the cluster and every client needs its own.
    pub fn tls(self, tls: Tls) -> Self {
        self.network(Arc::new(tls))
    }

    /// Lets this host listen beyond loopback without TLS: any process that reaches its address can then read and change everything.
    /// Only for a network in which every machine is trusted.
    pub fn allow_remote(mut self) -> Self {
        self.reach = Reach::Anywhere;
        self
    }

    /// The network; TCP if not set.
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// The source of random numbers; the operating system if not set. Two hosts must never share a seed: session ids are
    /// drawn from it.
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Starts the host: probes the store, finds or founds the cluster, opens a session, and begins to join. Returns when
    /// the host listens; calls wait until this host, or another one, serves their slots.
    ///
    /// # Errors
    ///
    /// [`StartError`]; its text is for the operator.
    pub async fn start(self) -> Result<Host, StartError> {
        let name = self.checked_name()?;
        self.reach.check(&*self.network, &self.listen).await?;
        let kinds = self.kinds.in_environments(&self.envs).map_err(StartError::Environment)?;
        Shards::default().check_declared(&kinds.shards()).map_err(StartError::Shards)?;
        check_domains(&self.home_rules, &self.domains, self.settings.store_start_timeout).await?;
        // A missing directory may be on a file system that isn't mounted, so only an operator may create it.
        let missing = match self.founding {
            Founding::Anew => MissingDirectory::Made,
            Founding::IfEmpty | Founding::Never => MissingDirectory::Refused,
        };
        let store = self.store.open(missing)?.expect("a host has a URL");
        let store: Arc<Counting> = Arc::new(Counting::new(store, keys::purpose));
        let stop = CancellationToken::new();
        let dyn_store: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let probe =
            Probe { deadline: self.settings.store_start_timeout, ..Probe::new(self.random.bits()) };
        holocron_store::probe(&dyn_store, &probe).await?;
        let patience = Patience {
            try_timeout: self.settings.store_try_timeout,
            ..Patience::within(self.settings.store_start_timeout)
        };
        let proposed = Cluster {
            slots: self.settings.slots,
            journal_segment_len: self.settings.segment_len,
            epoch_segment_len: self.settings.epoch_segment_len,
            ..Cluster::new(self.random.cluster())
        };
        let finder = Finder { store: &dyn_store, patience, stop: &stop, founding: self.founding };
        let found = finder.find_or_found(proposed, self.random.nonce()).await?;
        let records = KindRecords::list(&dyn_store, patience, &stop).await?;
        records.settle_all(&kinds, || self.random.nonce()).await?;
        let listener = self
            .network
            .listen(&self.listen)
            .await
            .map_err(|source| StartError::Listen { address: self.listen.clone(), source })?;
        let address = self.advertise.unwrap_or_else(|| listener.local_address());
        let watched = Arc::new(WatchedStore::new(Arc::clone(&store) as Arc<dyn Store>));
        let loss = LossWatch::new(
            Arc::clone(&watched) as Arc<dyn Store>,
            Identity::Cluster(found.object),
            Arc::clone(&self.clock),
            self.settings.store_try_timeout,
        );
        let parts = Parts {
            name,
            address,
            weight: self.weight,
            zone: self.zone,
            founding: self.founding,
            cluster: found.cluster,
            watched,
            loss: Arc::new(loss),
            keep: Arc::default(),
            store,
            clock: self.clock,
            network: self.network,
            random: self.random,
            settings: Arc::new(self.settings),
            kinds,
            home_rules: self.home_rules,
            domains: self.domains,
            stop,
        };
        Host::launch(parts, listener).await
    }
}

impl HostBuilder {
    /// The host's name, or a random one; checks its labels.
    fn checked_name(&self) -> Result<HostName, StartError> {
        let too_long = |zone: &&String| zone.is_empty() || zone.len() > LABEL_LEN_MAX;
        if let Some(zone) = self.zone.as_ref().filter(too_long) {
            return Err(StartError::Zone(zone.clone()));
        }
        Ok(match &self.name {
            Some(name) => HostName::new(name)?,
            None => HostName::new(&format!("host-{:08x}", self.random.bits() >> 96))?,
        })
    }
}

/// Finds mistakes in the configuration of domains. What may pass by itself, a missing directory among it, is none: the host
/// starts, and looks again.
async fn check_domains(
    home: &[Rule],
    domains: &[Domain],
    within: core::time::Duration,
) -> Result<(), StartError> {
    check_rules(home).map_err(StartError::Domain)?;
    for (at, domain) in domains.iter().enumerate() {
        domain.check().map_err(StartError::Domain)?;
        if domains[..at].iter().any(|other| other.name == domain.name) {
            return Err(StartError::Domain(format!("domain {} is configured twice", domain.name)));
        }
        if let Some(why) = domain.mistake(within).await {
            return Err(StartError::Domain(format!("domain {}: {why}", domain.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use holocron_store::{Lie, Lying, Memory, ProbeError};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_host_starts_on_a_store_that_lies_and_the_error_names_the_broken_promise() {
        for lie in Lie::ALL {
            let store: Arc<dyn Store> = Arc::new(Lying::new(Arc::new(Memory::new()), lie));
            let started = Host::builder("memory://").store(Arc::clone(&store)).start().await;
            let error = match started {
                Err(StartError::Store(error)) => error,
                other => panic!("{lie:?}: {other:?}"),
            };
            match &error {
                ProbeError::Broken { promise, .. } => {
                    let sentence = error.to_string();
                    assert!(
                        sentence.starts_with(&format!("this store is unfit: {promise}")),
                        "{sentence}"
                    );
                }
                // An unclear answer proves nothing; the probe retries it until the start timeout.
                ProbeError::Unreachable { .. } if lie == Lie::FailsConflicts => {
                    let sentence = error.to_string();
                    assert!(
                        sentence.contains("must be answered with \"exists already\""),
                        "{sentence}"
                    );
                }
                ProbeError::Unreachable { .. } | ProbeError::Refused { .. } => {
                    panic!("{lie:?}: {error}")
                }
            }
            assert!(store.list("epochs").await.is_ok_and(|epochs| epochs.is_empty()), "{lie:?}");
        }
    }
}
