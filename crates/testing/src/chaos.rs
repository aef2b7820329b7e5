//! A scenario under many schedules of faults.

use core::time::Duration;
use std::{
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use holocron::{Client, HostBuilder, Settings};
use holocron_sim::Chance;

use crate::TestCluster;

/// The variable that names the one seed to run.
const SEED_VARIABLE: &str = "HOLOCRON_CHAOS_SEED";
/// How long a scenario may take, and its check, in the cluster's time.
const SCENARIO_MAX: Duration = Duration::from_secs(60 * 60);
/// The longest time between two strikes.
const GAP_MAX: Duration = Duration::from_millis(1_500);
/// How long everything is quiet before the check.
const QUIET: Duration = Duration::from_secs(10);

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// A host is killed, and started again after a while.
    Crash,
    /// A host stops for a while, and goes on without knowing.
    Pause,
    /// Two hosts can't reach each other for a while.
    Partition,
    /// The store answers nobody for a while.
    Outage,
    /// A host's store requests are slow for a while.
    Slow,
    /// A host leaves by itself, and is started again after a while.
    Leave,
}

impl Strike {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Crash, Self::Pause, Self::Partition, Self::Outage, Self::Slow, Self::Leave];
}

/// What ends a strike.
enum End {
    Start(String),
    Mend(String, String),
    Quicken(String),
}

/// Runs a scenario under many schedules of faults, each from a seed.
///
/// ```
/// # use holocron::{Context, Vnode};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Counter(u64);
/// # impl Vnode for Counter {
/// #     const KIND: &'static str = "counter";
/// #     type Command = u64;
/// #     type Reply = u64;
/// #     type Query = ();
/// #     type Answer = u64;
/// #     type Env = ();
/// #     fn command(&mut self, _: &mut Context<'_, Self>, add: u64) -> u64 { self.0 += add; self.0 }
/// #     fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 { self.0 }
/// # }
/// use core::time::Duration;
///
/// use holocron_testing::Chaos;
///
/// Chaos::new(|host| host.vnode::<Counter>()).seeds(1..=3).run(
///     |client, _| async move {
///         let visits = client.get::<Counter>("visits").with_deadline(Duration::from_secs(600));
///         for _ in 0..20 {
///             visits.command(1).await.unwrap();
///         }
///     },
///     |client| async move {
///         assert_eq!(client.get::<Counter>("visits").query(()).await, Ok(20));
///     },
/// );
/// ```
pub struct Chaos {
    equip: Arc<dyn Fn(HostBuilder) -> HostBuilder + Send + Sync>,
    seeds: RangeInclusive<u64>,
    hosts: usize,
    settings: Option<Settings>,
    strikes: Vec<Strike>,
}

impl Chaos {
    /// With hosts that are equipped with kinds, environments and the like: three hosts, seeds 1 to 20, and all strikes.
    #[must_use]
    pub fn new(equip: impl Fn(HostBuilder) -> HostBuilder + Send + Sync + 'static) -> Self {
        Self {
            equip: Arc::new(equip),
            seeds: 1..=20,
            hosts: 3,
            settings: None,
            strikes: Strike::ALL.to_vec(),
        }
    }

    /// The seeds to run. If the variable `HOLOCRON_CHAOS_SEED` is set, only that one is run.
    #[must_use]
    pub fn seeds(mut self, seeds: RangeInclusive<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// The number of hosts.
    #[must_use]
    pub const fn hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// The settings of all hosts; see [`crate::ClusterBuilder::settings`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Which strikes there are.
    #[must_use]
    pub fn strikes(mut self, strikes: &[Strike]) -> Self {
        self.strikes = strikes.to_vec();
        self
    }

    /// Runs a scenario for each seed while faults strike, then a check when everything is healed and quiet. The scenario gets
    /// its seed, for choices of its own. Give its calls deadlines that are longer than a takeover.
    ///
    /// # Panics
    ///
    /// When the scenario or the check panics, one of them isn't done in an hour of the cluster's time, or a promise of Holocron
    /// is broken. The message of the panic stands above one line that says how to run that seed alone.
    #[expect(clippy::print_stderr, reason = "a test that fails says how to repeat it")]
    pub fn run<F, C>(
        self,
        scenario: impl Fn(Client, u64) -> F + Clone + Send + 'static,
        check: impl Fn(Client) -> C + Clone + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let only = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok());
        let seeds = only.map_or_else(|| self.seeds.clone(), |seed| seed..=seed);
        for seed in seeds {
            let (scenario, check) = (scenario.clone(), check.clone());
            let ran = catch_unwind(AssertUnwindSafe(|| self.run_seed(seed, scenario, check)));
            if let Err(panic) = ran {
                eprintln!("chaos: seed {seed} failed; run it alone with {SEED_VARIABLE}={seed}");
                resume_unwind(panic);
            }
        }
    }

    fn run_seed<F, C>(
        &self,
        seed: u64,
        scenario: impl Fn(Client, u64) -> F + Send + 'static,
        check: impl Fn(Client) -> C + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
        C: Future<Output = ()> + Send + 'static,
    {
        let equip = Arc::clone(&self.equip);
        let mut builder = TestCluster::new(move |host| equip(host)).hosts(self.hosts).seed(seed);
        if let Some(settings) = &self.settings {
            builder = builder.settings(settings.clone());
        }
        let mut storm = Storm {
            cluster: builder.start(),
            chance: Chance::new(seed ^ 0xc4a0),
            ends: Vec::new(),
        };
        let working =
            storm.cluster.cluster.client("scenario", move |client| scenario(client, seed));
        let until = storm.now() + SCENARIO_MAX;
        while !working.is_finished() {
            assert!(storm.now() < until, "the scenario isn't done after {SCENARIO_MAX:?}");
            if !self.strikes.is_empty() {
                let strike = self.strikes[storm.below(self.strikes.len())];
                storm.strike(strike);
            }
            let gap = storm.chance.between(Duration::ZERO, GAP_MAX);
            storm.go_on(gap);
        }
        storm.cluster.cluster.finish(working, Duration::ZERO);
        storm.heal();
        storm.cluster.advance(QUIET);
        let checking = storm.cluster.cluster.client("check", check);
        storm.cluster.cluster.finish(checking, SCENARIO_MAX);
    }
}

impl core::fmt::Debug for Chaos {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Chaos").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// The faults of one run.
struct Storm {
    cluster: TestCluster,
    chance: Chance,
    /// When which strike ends.
    ends: Vec<(Duration, End)>,
}

impl Storm {
    fn now(&self) -> Duration {
        self.cluster.cluster.world.now()
    }

    fn below(&self, many: usize) -> usize {
        let below = self.chance.below(many as u64);
        usize::try_from(below).expect("it is below a usize")
    }

    fn span(&self, least_ms: u64, most_ms: u64) -> Duration {
        self.chance.between(Duration::from_millis(least_ms), Duration::from_millis(most_ms))
    }

    fn after(&mut self, span: Duration, end: End) {
        self.ends.push((self.now() + span, end));
    }

    /// A host that runs.
    fn victim(&self) -> Option<String> {
        let world = &self.cluster.cluster.world;
        let runs = |name: &&String| world.is_running(name);
        let running: Vec<&String> = self.cluster.names.iter().filter(runs).collect();
        if running.is_empty() {
            return None;
        }
        Some(running[self.below(running.len())].clone())
    }

    fn strike(&mut self, strike: Strike) {
        let Some(victim) = self.victim() else { return };
        match strike {
            Strike::Crash => {
                self.cluster.crash(&victim);
                let down = self.span(50, 4_000);
                self.after(down, End::Start(victim));
            }
            Strike::Leave => {
                self.cluster.leave(&victim);
                let away = self.span(3_000, 9_000);
                self.after(away, End::Start(victim));
            }
            Strike::Pause => {
                let span = self.span(200, 6_000);
                self.cluster.pause(&victim, span);
            }
            Strike::Partition => {
                let Some(other) = self.victim().filter(|other| *other != victim) else { return };
                self.cluster.cut(&victim, &other);
                let span = self.span(100, 5_000);
                self.after(span, End::Mend(victim, other));
            }
            Strike::Outage => {
                let span = self.span(100, 3_000);
                self.cluster.store_fails(span);
            }
            Strike::Slow => {
                let extra = self.span(20, 500);
                self.cluster.store_is_slow(&victim, Some(extra));
                let span = self.span(500, 5_000);
                self.after(span, End::Quicken(victim));
            }
        }
    }

    /// Lets time pass, and ends the strikes that are over by then.
    fn go_on(&mut self, span: Duration) {
        self.cluster.advance(span);
        let now = self.now();
        let over: Vec<End> =
            self.ends.extract_if(.., |(at, _)| *at <= now).map(|(_, end)| end).collect();
        over.into_iter().for_each(|end| self.end(end));
    }

    fn end(&mut self, end: End) {
        match end {
            End::Start(host) => self.start(&host),
            End::Mend(one, other) => self.cluster.mend(&one, &other),
            End::Quicken(host) => self.cluster.store_is_slow(&host, None),
        }
    }

    fn start(&mut self, host: &str) {
        let cluster = &self.cluster.cluster;
        if !cluster.world.is_up(host) || cluster.stopped(host).is_some() {
            self.cluster.start(host);
        }
    }

    /// Ends all strikes, and starts the hosts that don't run.
    fn heal(&mut self) {
        for (_, end) in core::mem::take(&mut self.ends) {
            self.end(end);
        }
        // Those that are paused wake, and notice what they have missed; those that leave have left.
        self.cluster.advance(QUIET);
        for host in self.cluster.names.clone() {
            self.start(&host);
        }
    }
}
