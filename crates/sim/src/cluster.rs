//! A cluster in the world: hosts that can be started, crashed, paused and restarted, and their clients.

use core::{fmt, future::Future, time::Duration};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use holocron::{Client, Domain, Host, HostBuilder, HostStatus, Random, Rule, Settings};
use tokio::task::JoinHandle;

use crate::{
    chance::Chance, host_clock::HostClock, network::SimNetwork, sessions::Sessions,
    store::SimStore, trace::Trace, watch::Watch, world::World,
};

/// 2026-01-01, where simulated wall clocks start.
pub(crate) const WALL_BEGINS_MS: u64 = 1_767_225_600_000;
/// How far the wall clocks of hosts may be apart.
const WALL_APART_MS: u64 = 2_000;
/// How often a host's status is copied for observers.
const NOTE_EVERY: Duration = Duration::from_millis(20);

/// Callers within a host's process: called with the host's client when it has started, and with its own seed.
pub(crate) type Resident = Arc<dyn Fn(Client, u64) + Send + Sync>;

/// Adds kinds to a host, given its node.
type Equip = Box<dyn Fn(&str, HostBuilder) -> HostBuilder + Send + Sync>;

/// Hosts on one simulated store and network.
pub struct Cluster {
    /// The world.
    pub world: World,
    settings: Settings,
    kinds: fn(HostBuilder) -> HostBuilder,
    equip: Option<Equip>,
    seed: u64,
    processes: u64,
    notes: Arc<Mutex<Notes>>,
    resident: Option<Resident>,
    /// What lives in the domain acme, if there is one.
    domain: Option<Rule>,
}

/// What observers know of hosts, by node.
#[derive(Debug, Default)]
struct Notes {
    statuses: BTreeMap<String, HostStatus>,
    stopped: BTreeMap<String, String>,
    addresses: BTreeMap<String, String>,
    /// Hosts that are told to leave.
    to_leave: BTreeSet<String>,
    /// Hosts that are leaving.
    leaving: BTreeSet<String>,
    /// Commands answered from a request window, by all processes of all hosts.
    repeats: u64,
    /// Vnodes that left memory because they were not used, likewise.
    evictions: u64,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Cluster {
    /// No hosts yet. All hosts use these settings and kinds.
    #[must_use]
    pub fn new(seed: u64, settings: Settings, kinds: fn(HostBuilder) -> HostBuilder) -> Self {
        Self {
            world: World::new(seed),
            settings,
            kinds,
            equip: None,
            seed,
            processes: 0,
            notes: Arc::default(),
            resident: None,
            domain: None,
        }
    }

    /// Adds kinds whose hooks know at which node they run to every host that starts from now on.
    pub fn equip(
        &mut self,
        equip: impl Fn(&str, HostBuilder) -> HostBuilder + Send + Sync + 'static,
    ) {
        self.equip = Some(Box::new(equip));
    }

    /// Every host that starts from now on is configured with a domain acme, which has these vnodes and a store of its own.
    pub fn set_domain(&mut self, rule: Rule) {
        self.domain = Some(rule);
    }

    /// Every host that starts from now on has callers in its own process.
    pub(crate) fn set_resident(&mut self, resident: Resident) {
        self.resident = Some(resident);
    }

    /// The settings of all hosts.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("nothing panics under the lock of notes")
    }

    /// A seed that no process had before.
    fn next_seed(&mut self) -> u64 {
        self.processes += 1;
        self.seed.wrapping_mul(1_000_003).wrapping_add(self.processes)
    }

    /// What the wall clock of a new process says: the world's time, and up to so much more.
    fn wall_ms(&self) -> u64 {
        let world = u64::try_from(self.world.now().as_millis()).expect("a run is short");
        let chance = Chance::new(self.seed ^ self.processes << 32);
        WALL_BEGINS_MS + world + chance.below(WALL_APART_MS)
    }

    /// Starts or restarts a host.
    pub fn start(&mut self, name: &str) {
        self.start_at(name, name);
    }

    /// Starts or restarts a host at a node that may have another name.
    pub fn start_at(&mut self, node: &str, name: &str) {
        let (network, store) = (self.world.network(node), self.world.store(node));
        let random = Random::from_seed(self.next_seed());
        let builder = Host::builder("memory://")
            .store(Arc::new(store))
            .network(Arc::new(network))
            .random(random)
            .name(name)
            .listen(&format!("{node}:0"))
            .settings(self.settings.clone());
        let builder = (self.kinds)(builder);
        let builder = match &self.domain {
            Some(rule) => {
                let store = Arc::new(self.world.further.of(node));
                builder.domain(Domain::new("acme", "memory://").store(store).rule(rule.clone()))
            }
            None => builder,
        };
        let process = HostProcess {
            node: node.to_owned(),
            builder: match &self.equip {
                Some(equip) => equip(node, builder),
                None => builder,
            },
            seed: self.next_seed(),
            notes: Arc::clone(&self.notes),
            resident: self.resident.clone(),
            trace: self.world.trace.clone(),
            watch: self.world.watch.clone(),
            wall_ms: self.wall_ms(),
            sessions: Sessions::new(
                node.to_owned(),
                self.world.shelf.clone(),
                self.world.trace.clone(),
            ),
        };
        let mut notes = self.notes();
        notes.statuses.remove(node);
        notes.stopped.remove(node);
        notes.to_leave.remove(node);
        notes.leaving.remove(node);
        drop(notes);
        self.world.start(node, process.run());
    }

    /// Starts hosts one after the other, and waits until they have settled.
    pub fn start_all(&mut self, names: &[&str]) {
        for name in names {
            self.start(name);
            self.world.run(Duration::from_millis(300));
        }
        self.world.run(Duration::from_secs(3));
    }

    /// Tells the host at a node to hand off its slots, leave and stop.
    pub fn leave(&mut self, node: &str) {
        self.world.trace.note(format_args!("{node} is told to leave"));
        self.notes().to_leave.insert(node.to_owned());
    }

    /// Whether the host at a node is leaving and has not stopped yet.
    #[must_use]
    pub fn leaves(&self, node: &str) -> bool {
        let notes = self.notes();
        notes.leaving.contains(node) && !notes.stopped.contains_key(node)
    }

    /// The recent status of the host at a node, if it has started.
    #[must_use]
    pub fn status(&self, node: &str) -> Option<HostStatus> {
        self.notes().statuses.get(node).cloned()
    }

    /// The node of the host that believes it leads.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        let notes = self.notes();
        let leading = notes
            .statuses
            .iter()
            .filter(|(node, status)| status.leads && self.world.is_running(node));
        leading.max_by_key(|(_, status)| status.epoch).map(|(node, _)| node.clone())
    }

    /// The address where the host at a node listens, or last listened.
    #[must_use]
    pub fn address(&self, node: &str) -> String {
        self.notes().addresses.get(node).cloned().unwrap_or_default()
    }

    /// Why the host at a node stopped by itself, if it did.
    #[must_use]
    pub fn stopped(&self, node: &str) -> Option<String> {
        self.notes().stopped.get(node).cloned()
    }

    /// Commands that hosts answered from a request window, as far as they were reported before a crash.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.notes().repeats
    }

    /// Vnodes that left their host's memory because they were not used, as far as they were reported before a crash.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.notes().evictions
    }

    /// Starts a process that calls the cluster through a client of its own.
    pub fn client<F, T>(
        &mut self,
        name: &str,
        work: impl FnOnce(Client) -> F + Send + 'static,
    ) -> JoinHandle<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let door = self.door(name);
        self.world.start(name, async move { work(door.client(0).await).await })
    }

    /// A maker of clients for one process.
    pub(crate) fn door(&mut self, node: &str) -> Door {
        let (network, store) = (self.world.network(node), self.world.store(node));
        Door { network, store, seed: self.next_seed() }
    }

    /// Runs the world until a client's work is done; returns its result.
    ///
    /// # Panics
    ///
    /// When it isn't done in time, with the tail of the trace; or when an invariant was violated.
    pub fn finish<T>(&mut self, work: JoinHandle<T>, span: Duration) -> T {
        let done = self.world.run_until(&work, span);
        if !done || !self.world.trace.violations().is_empty() {
            let tail = self.world.trace.tail().join("\n");
            panic!(
                "done: {done}, violations: {:#?}; the end of the trace:\n{tail}",
                self.world.trace.violations()
            );
        }
        self.world.result(work)
    }

    /// Runs the world until a condition holds.
    ///
    /// # Panics
    ///
    /// When it doesn't hold in time.
    pub fn until(&mut self, what: &str, span: Duration, mut so: impl FnMut(&Self) -> bool) {
        let until = self.world.now() + span;
        while !so(self) {
            assert!(
                self.world.now() < until,
                "{what}: not within {span:?}\n{}",
                self.world.trace.tail().join("\n")
            );
            self.world.step();
        }
    }
}

/// Makes clients within one process.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    network: SimNetwork,
    store: SimStore,
    seed: u64,
}

impl Door {
    /// Connects the client with this number.
    pub(crate) async fn client(&self, number: u32) -> Client {
        let seed = self.seed.wrapping_add(u64::from(number) << 32);
        loop {
            let connecting = Client::builder("memory://")
                .store(Arc::new(self.store.clone()))
                .network(Arc::new(self.network.clone()))
                .random(Random::from_seed(seed))
                .connect();
            if let Ok(client) = connecting.await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// One process of a host.
struct HostProcess {
    node: String,
    builder: HostBuilder,
    seed: u64,
    notes: Arc<Mutex<Notes>>,
    resident: Option<Resident>,
    trace: Trace,
    watch: Watch,
    sessions: Sessions,
    /// What its wall clock says at its start.
    wall_ms: u64,
}

impl HostProcess {
    async fn run(self) {
        let Self { node, builder, seed, notes, resident, trace, watch, sessions, wall_ms } = self;
        let clock = HostClock::new(wall_ms);
        let why = match builder.clock(Arc::new(clock)).start().await {
            Ok(host) => {
                if let Some(resident) = resident {
                    resident(host.client(), seed);
                }
                follow(host, &notes, &watch, sessions).await
            }
            Err(error) => error.to_string(),
        };
        trace.note(format_args!("{node} stopped: {why}"));
        notes.lock().expect("nothing panics under the lock of notes").stopped.insert(node, why);
    }
}

/// Records a host's status until it stops; returns why it stopped.
async fn follow(
    mut host: Host,
    notes: &Mutex<Notes>,
    watch: &Watch,
    mut sessions: Sessions,
) -> String {
    let node = sessions.node().to_owned();
    let (mut repeats, mut evictions) = (0, 0);
    loop {
        let status = host.status();
        watch.says(&node, status.epoch);
        sessions.note(&status);
        let leaves = {
            let mut notes = notes.lock().expect("nothing panics under the lock of notes");
            notes.repeats += status.repeats - repeats;
            notes.evictions += status.evictions - evictions;
            (repeats, evictions) = (status.repeats, status.evictions);
            notes.addresses.insert(node.to_owned(), host.address().to_owned());
            notes.statuses.insert(node.to_owned(), status);
            if notes.to_leave.remove(&node) {
                notes.leaving.insert(node.to_owned());
                true
            } else {
                false
            }
        };
        if leaves {
            return host.leave().await.to_string();
        }
        tokio::select! {
            biased;
            why = host.stopped() => return why.to_string(),
            () = tokio::time::sleep(NOTE_EVERY) => {}
        }
    }
}
