//! A cluster in the world: hosts that can be started, crashed, paused and started again, and clients that call them.

use core::{future::Future, time::Duration};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use holocron::{Client, Host, HostBuilder, HostStatus, Random, Settings, TokioClock};
use tokio::task::JoinHandle;

use crate::world::World;

/// How often a host's status is noted for whoever looks from outside.
const NOTE_EVERY: Duration = Duration::from_millis(20);

/// Hosts on one simulated store and network.
#[derive(Debug)]
pub struct Cluster {
    /// Where everything happens.
    pub world: World,
    settings: Settings,
    kinds: fn(HostBuilder) -> HostBuilder,
    seed: u64,
    lives: u64,
    statuses: Arc<Mutex<BTreeMap<String, HostStatus>>>,
    stopped: Arc<Mutex<BTreeMap<String, String>>>,
    addresses: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Cluster {
    /// No hosts yet. Each will run with those settings and kinds.
    #[must_use]
    pub fn new(seed: u64, settings: Settings, kinds: fn(HostBuilder) -> HostBuilder) -> Self {
        Self {
            world: World::new(seed),
            settings,
            kinds,
            seed,
            lives: 0,
            statuses: Arc::default(),
            stopped: Arc::default(),
            addresses: Arc::default(),
        }
    }

    /// A seed that no life of a host or client had before.
    fn next_seed(&mut self) -> u64 {
        self.lives += 1;
        self.seed.wrapping_mul(1_000_003).wrapping_add(self.lives)
    }

    /// Starts a host, or a later life of it.
    pub fn start(&mut self, name: &str) {
        let (network, store) = (self.world.network(name), self.world.store(name));
        let random = Random::from_seed(self.next_seed());
        let (settings, kinds, trace) =
            (self.settings.clone(), self.kinds, self.world.trace.clone());
        let (statuses, stopped) = (Arc::clone(&self.statuses), Arc::clone(&self.stopped));
        let addresses = Arc::clone(&self.addresses);
        let name = name.to_owned();
        self.world.start(&name.clone(), async move {
            let builder = Host::builder("memory://")
                .store(Arc::new(store))
                .network(Arc::new(network))
                .clock(Arc::new(TokioClock::new()))
                .random(random)
                .name(&name)
                .listen(&format!("{name}:0"))
                .settings(settings);
            let why = match kinds(builder).start().await {
                Ok(mut host) => loop {
                    addresses
                        .lock()
                        .expect("a map's lock")
                        .insert(name.clone(), host.address().to_owned());
                    statuses.lock().expect("a map's lock").insert(name.clone(), host.status());
                    tokio::select! {
                        biased;
                        why = host.stopped() => break why.to_string(),
                        () = tokio::time::sleep(NOTE_EVERY) => {}
                    }
                },
                Err(error) => error.to_string(),
            };
            trace.note(format_args!("{name} stopped: {why}"));
            stopped.lock().expect("a map's lock").insert(name, why);
        });
    }

    /// Starts hosts one after the other and lets them settle.
    pub fn start_all(&mut self, names: &[&str]) {
        for name in names {
            self.start(name);
            self.world.run(Duration::from_millis(300));
        }
        self.world.run(Duration::from_secs(3));
    }

    /// How a host was a moment ago, if it ever ran.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<HostStatus> {
        self.statuses.lock().expect("a map's lock").get(name).cloned()
    }

    /// The host that leads, as far as it knows itself.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        let statuses = self.statuses.lock().expect("a map's lock");
        let newest =
            statuses.iter().filter(|(name, status)| status.leads && self.world.is_running(name));
        newest.max_by_key(|(_, status)| status.epoch).map(|(name, _)| name.clone())
    }

    /// Where a host listens, or last listened.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        self.addresses.lock().expect("a map's lock").get(name).cloned().unwrap_or_default()
    }

    /// Why a host stopped by itself, if it did.
    #[must_use]
    pub fn stopped(&self, name: &str) -> Option<String> {
        self.stopped.lock().expect("a map's lock").get(name).cloned()
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
        let (network, store) = (self.world.network(name), self.world.store(name));
        let seed = self.next_seed();
        self.world.start(name, async move {
            let client = loop {
                let connecting = Client::builder("memory://")
                    .store(Arc::new(store.clone()))
                    .network(Arc::new(network.clone()))
                    .random(Random::from_seed(seed))
                    .connect();
                if let Ok(client) = connecting.await {
                    break client;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            work(client).await
        })
    }

    /// Gives everybody time until a client's work is done, and returns what it came to.
    ///
    /// # Panics
    ///
    /// When it isn't done in time, with the tail of the trace; or when a promise was broken meanwhile.
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

    /// Gives everybody time until something is so.
    ///
    /// # Panics
    ///
    /// When it isn't so in time.
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
