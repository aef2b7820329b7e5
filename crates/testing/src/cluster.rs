//! A cluster in memory.

use core::time::Duration;

use holocron::{Client, HostBuilder, HostStatus, Settings};
use holocron_sim::{Cluster, Slow};

/// How long work on a cluster may take, in the cluster's time.
const WORK_MAX: Duration = Duration::from_secs(24 * 60 * 60);

type Equip = Box<dyn Fn(HostBuilder) -> HostBuilder + Send + Sync>;

/// How a [`TestCluster`] is set up.
pub struct ClusterBuilder {
    equip: Equip,
    seed: u64,
    hosts: usize,
    settings: Settings,
}

impl ClusterBuilder {
    /// The number of hosts; their names are `h1`, `h2` and so on. By default 3.
    #[must_use]
    pub fn hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// The seed of everything that is random in the cluster: latencies, ids, pauses between retries. By default 1.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The settings of all hosts. By default those of a host, with few slots and small checkpoints, so that a short test
    /// meets moves, takeovers, checkpoints and trimming.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Starts the hosts and waits until they serve.
    #[must_use]
    pub fn start(self) -> TestCluster {
        let Self { equip, seed, hosts, settings } = self;
        let mut cluster = Cluster::new(seed, settings, |builder| builder);
        cluster.equip(move |_, builder| equip(builder));
        let names: Vec<String> = (1..=hosts).map(|number| format!("h{number}")).collect();
        let mut cluster = TestCluster { cluster, names, clients: 0 };
        let names: Vec<&str> = cluster.names.iter().map(String::as_str).collect();
        cluster.cluster.start_all(&names);
        cluster
    }
}

impl core::fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ClusterBuilder").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// A cluster in memory: real hosts, simulated time, network and store.
///
/// Time passes only in its methods. When a promise of Holocron is broken, the method in which that is noticed panics.
#[derive(Debug)]
pub struct TestCluster {
    pub(crate) cluster: Cluster,
    pub(crate) names: Vec<String>,
    clients: u64,
}

impl TestCluster {
    /// A cluster whose hosts are equipped with kinds, environments and the like.
    #[expect(clippy::new_ret_no_self, reason = "it begins with what every cluster must be told")]
    #[must_use]
    pub fn new(
        equip: impl Fn(HostBuilder) -> HostBuilder + Send + Sync + 'static,
    ) -> ClusterBuilder {
        let settings =
            Settings { slots: 32, segment_len: 4, checkpoint_batches: 6, ..Settings::default() };
        ClusterBuilder { equip: Box::new(equip), seed: 1, hosts: 3, settings }
    }

    /// Runs work with a client, in a process of its own, until it is done.
    ///
    /// # Panics
    ///
    /// When the work panics, or isn't done in a day of the cluster's time.
    pub fn run<F, T>(&mut self, work: impl FnOnce(Client) -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.clients += 1;
        let working = self.cluster.client(&format!("client{}", self.clients), work);
        self.cluster.finish(working, WORK_MAX)
    }

    /// Lets time pass.
    ///
    /// # Panics
    ///
    /// When a promise is broken meanwhile.
    pub fn advance(&mut self, span: Duration) {
        self.cluster.world.run(span);
        self.check();
    }

    /// The names of the hosts.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.names
    }

    /// The recent status of a host.
    #[must_use]
    pub fn status(&self, host: &str) -> Option<HostStatus> {
        self.cluster.status(host)
    }

    /// Kills a host without warning, as `kill -9` does.
    pub fn crash(&mut self, host: &str) {
        self.cluster.world.crash(host);
    }

    /// Starts a host that has crashed or left, or another one.
    pub fn start(&mut self, host: &str) {
        self.cluster.start(host);
    }

    /// Tells a host to hand off its slots and to stop.
    pub fn leave(&mut self, host: &str) {
        self.cluster.leave(host);
    }

    /// Stops a host for a while, as a long pause of its machine does. It goes on without knowing.
    pub fn pause(&mut self, host: &str, span: Duration) {
        self.cluster.world.pause(host, span);
    }

    /// Cuts the network between two hosts, in both directions, until [`TestCluster::mend`].
    pub fn cut(&mut self, one: &str, other: &str) {
        self.cluster.world.wire.cut(one, other);
        self.cluster.world.wire.cut(other, one);
    }

    /// Mends the network between two hosts.
    pub fn mend(&mut self, one: &str, other: &str) {
        self.cluster.world.wire.mend(one, other);
        self.cluster.world.wire.mend(other, one);
    }

    /// The store answers no request for a while.
    pub fn store_fails(&mut self, span: Duration) {
        self.cluster.world.shelf.set_outage(span);
    }

    /// Each of a host's store requests takes so much longer from now on; `None` for no longer.
    pub fn store_is_slow(&mut self, host: &str, extra: Option<Duration>) {
        self.cluster.world.shelf.set_slow(host, extra.map(Slow::Requests));
    }

    /// The requests that the store has had so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.cluster.world.shelf.counts().values().sum()
    }

    fn check(&self) {
        let broken = self.cluster.world.trace.violations();
        assert!(broken.is_empty(), "{broken:#?}\n{}", self.cluster.world.trace.tail().join("\n"));
    }
}
