//! A scenario: a whole cluster from one seed, under load and faults, with checks at the end.
//!
//! It has six phases: hosts start; callers call during faults; faults are healed and callers finish; the cluster must
//! settle, with one leader and every slot served; garbage must go, and a scrub must find no damage; everything is read
//! back and compared with what was acknowledged. A run never panics: panics in it are reported as violations.

mod audit;
mod backup;
mod domain;
mod lost;
mod members;
mod operator;
mod rest;
mod strikes;

use core::{any::Any, time::Duration};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use holocron::Settings;
use holocron_protocol::request::window::{WindowLimits, WindowSize};
use serde::{Deserialize, Serialize};

use self::{members::Members, strikes::Strikes};
use crate::{
    chance::Chance,
    cluster::Cluster,
    counters::Counters,
    fault::{Fault, Faults},
    panics,
    store::StoreFaults,
    trace::Trace,
    workload::{self, Habit, Plan, Work, bank, cell, edition, relay, shards, tally},
};

/// How long callers may take to finish after the load: their longest deadline, and retried deposits.
const FINISH_WITHIN: Duration = Duration::from_secs(60);
/// How long the final read of everything may take.
const READ_BACK_WITHIN: Duration = Duration::from_secs(240);
/// Nodes with only callers.
const CALLING_NODES: [&str; 2] = ["c1", "c2"];
/// In scenarios with a crowd: clients per node that all call one vnode. In total more than a window keeps.
const CROWD: u32 = 20;
/// Slots of the cluster.
const SLOTS: u16 = 32;
/// A run with fewer answered calls per vnode is invalid.
const ANSWERED_MIN: u64 = 2;

/// The parameters of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The source of all randomness.
    pub seed: u64,
    /// Hosts at the start, 1 to 26; another one joins and leaves if that is among the faults.
    pub hosts: usize,
    /// Vnodes of all workloads together: at least six.
    pub vnodes: u32,
    /// Simulated time under load and faults. A long outage of the store extends it.
    pub load: Duration,
    /// The kinds of faults.
    pub faults: Faults,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of the trace; the same for the same seed.
    pub hash: u64,
    /// Lines of its trace.
    pub lines: u64,
    /// Simulated time.
    pub span: Duration,
    /// What the run exercised.
    pub counters: Counters,
    /// The violations: each a sentence that names the invariant.
    pub broken: Vec<String>,
    /// The end of its trace.
    pub tail: Vec<String>,
}

impl Scenario {
    /// The default scenario of a seed: three hosts, and faults that the seed chooses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            hosts: 3,
            vnodes: 24,
            load: Duration::from_secs(8),
            faults: Faults::drawn(seed),
        }
    }
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario) -> Outcome {
    panics::watch();
    let mut story = Story::new(scenario);
    let told = catch_unwind(AssertUnwindSafe(|| story.tell()));
    story.outcome(&told)
}

/// A running scenario.
struct Story {
    scenario: Scenario,
    cluster: Cluster,
    chance: Chance,
    work: Arc<Work>,
    /// Members of an election used alone, in some seeds.
    members: Option<Members>,
    trace: Trace,
}

impl Story {
    fn new(scenario: &Scenario) -> Self {
        let chance = Chance::new(scenario.seed ^ 0x5ce7_a210);
        let callers = 2 + u32::try_from(chance.below(4)).expect("below four");
        let pause_max = [40, 100, 250][usize::try_from(chance.below(3)).expect("below three")];
        // From a separate generator, so that other draws of the seed don't change.
        let habit = match Chance::new(scenario.seed ^ 0x4ab1).below(3) {
            0 => Habit::Reading,
            _ => Habit::Everything,
        };
        let mut plan = Plan::new(scenario.vnodes, callers, Duration::from_millis(pause_max), habit);
        if Chance::new(scenario.seed ^ 0xc0d).below(4) == 0 {
            plan.crowd = CROWD;
        }
        let settings = settings(scenario.seed, &chance);
        let mut cluster = Cluster::new(scenario.seed, settings, workload::kinds);
        if let Some(rule) = domain::drawn(scenario.seed) {
            cluster.set_domain(rule);
        }
        let trace = cluster.world.trace.clone();
        let mut work = Work::new(plan, trace.clone());
        if Chance::new(scenario.seed ^ 0x5a4d).below(3) == 0 {
            let doors = Arc::new(shards::Doors::new(trace.clone(), scenario.seed));
            work.doors = Some(doors);
        }
        if Chance::new(scenario.seed ^ 0x5e1a).below(3) == 0 {
            work.outside = Some(Arc::new(relay::Outside::new(scenario.seed)));
        }
        if Chance::new(scenario.seed ^ 0x0ed1_7104).below(3) == 0 {
            work.editions = Some(Arc::new(edition::Editions::new(scenario.seed)));
        }
        let (doors, outside) = (work.doors.clone(), work.outside.clone());
        let editions = work.editions.clone();
        cluster.equip(move |_, mut builder| {
            if let Some(doors) = &doors {
                builder = doors.equip(builder);
            }
            if let Some(editions) = &editions {
                builder = editions.equip(builder);
            }
            match &outside {
                Some(outside) => outside.equip(builder),
                None => builder,
            }
        });
        let work = Arc::new(work);
        let residents = Arc::clone(&work);
        cluster.set_resident(Arc::new(move |client, seed| {
            drop(workload::call(&residents, &client, seed));
            workload::look(&residents, &client, seed);
        }));
        // A store that is lost ends the members too.
        let faults = &scenario.faults;
        let struck = faults.contains(Fault::Crash) && !faults.contains(Fault::Lost);
        let members = struck.then(|| Members::new(scenario.seed)).flatten();
        Self { scenario: scenario.clone(), cluster, chance, work, members, trace }
    }

    fn tell(&mut self) {
        let names: Vec<String> = (b'a'..=b'z')
            .take(self.scenario.hosts.max(1))
            .map(|name| char::from(name).into())
            .collect();
        let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
        self.cluster.start_all(&hosts);
        for node in CALLING_NODES {
            let (work, seed) = (Arc::clone(&self.work), self.chance.bits());
            let door = self.cluster.door(node);
            drop(self.cluster.world.start(node, async move {
                let client = door.client(0).await;
                let callers = workload::call(&work, &client, seed);
                let crowd = workload::crowd(&work, &door, seed);
                let counting = shards::call(&work, &client, seed);
                let relaying = relay::call(&work, &client, seed);
                let editing = edition::call(&work, &client, seed);
                let further = counting.into_iter().chain(relaying).chain(editing);
                for caller in callers.into_iter().chain(crowd).chain(further) {
                    // Panics are recorded elsewhere.
                    drop(caller.await);
                }
            }));
        }
        self.cluster.world.run(Duration::from_millis(300));
        if self.scenario.faults.contains(Fault::Store) {
            self.cluster.world.shelf.set_faults(store_faults(&self.chance));
        }
        let backup = self.begin_backup();
        let mut strikes = Strikes::new(self, names);
        strikes.go_on();
        if strikes.lose_store() {
            return;
        }
        strikes.heal();
        let nodes = strikes.nodes();
        self.work.end();
        self.finish_calls();
        self.rest(&nodes);
        if let Some(members) = self.members.take() {
            let led = members.finish(self);
            self.work.counters().member_leaderships += led;
        }
        self.audit();
        self.read_back();
        self.check_backup(&backup);
        cell::check(&self.work);
    }

    /// Waits until every caller is done, also those in hosts, so that all outcomes are known.
    fn finish_calls(&mut self) {
        let until = self.cluster.world.now() + FINISH_WITHIN;
        while !self.work.is_done() {
            if self.cluster.world.now() >= until {
                self.trace.violate(format_args!(
                    "callers are not done {FINISH_WITHIN:?} after their last call began: calls outlive their deadlines"
                ));
                return;
            }
            self.cluster.world.step();
        }
    }

    fn read_back(&mut self) {
        let work = Arc::clone(&self.work);
        let newest = self.newest_record();
        let reading = self.cluster.client("reader", move |client| async move {
            bank::read_back(&client, &work).await;
            tally::read_back(&client, &work).await;
            cell::read_back(&client, &work).await;
            shards::read_back(&client, &work).await;
            relay::read_back(&client, &work).await;
            if let Some(newest) = newest {
                edition::read_back(&client, &work, &newest).await;
            }
        });
        if !self.cluster.world.run_until(&reading, READ_BACK_WITHIN) {
            self.trace.violate(format_args!(
                "invariant 12 (every slot is served in the end): not everything could be read within {READ_BACK_WITHIN:?}"
            ));
        }
    }

    fn outcome(self, told: &Result<(), Box<dyn Any + Send>>) -> Outcome {
        let mut counters = *self.work.counters();
        counters += self.cluster.world.shelf.census();
        counters += self.cluster.world.further.census();
        counters.duplicates = self.cluster.repeats();
        counters.passivations = self.cluster.evictions();
        let span = self.cluster.world.now();
        let (hash, lines, tail) = (self.trace.hash(), self.trace.lines(), self.trace.tail());
        // Panics while the world is dropped count as well.
        let ended = catch_unwind(AssertUnwindSafe(|| drop(self.cluster)));
        let panics = panics::taken();
        counters.planned_panics = panics.planned;
        let mut broken = self.trace.violations();
        broken.extend(panics.unplanned.iter().map(|panic| format!("an assertion failed: {panic}")));
        if broken.is_empty() && (told.is_err() || ended.is_err()) {
            broken.push("the run came to no end".to_owned());
        }
        if broken.is_empty() {
            broken.extend(shows_nothing(&self.scenario, &counters));
        }
        Outcome { seed: self.scenario.seed, hash, lines, span, counters, broken, tail }
    }
}

/// Why a run without violations is invalid, if it is: it exercised too little.
fn shows_nothing(scenario: &Scenario, counters: &Counters) -> Option<String> {
    let wanted = ANSWERED_MIN * u64::from(scenario.vnodes);
    let answered = counters.acknowledged + counters.reads;
    if answered < wanted {
        return Some(format!(
            "the run shows nothing: {answered} answered calls, less than {wanted}"
        ));
    }
    let strikes = counters.crashes
        + counters.pauses
        + counters.partitions
        + counters.resets
        + counters.skewed_clocks
        + counters.outages
        + counters.slow_stores
        + counters.false_alarms
        + counters.orders
        + counters.refused_orders
        + counters.joins
        + counters.leaves
        + counters.namesakes
        + counters.domain_strikes
        + counters.lost_stores;
    let asked = scenario.faults.iter().any(|fault| fault != Fault::Store && fault != Fault::Lost);
    if asked && strikes == 0 {
        return Some(format!("the run shows nothing: of {} nothing happened", scenario.faults));
    }
    // A host that served nothing when it crashed leaves nothing to take over, and a lost store ends the run at once.
    let owed = counters.owner_crashes > 0 && counters.lost_stores == 0;
    if owed && counters.takeovers == 0 {
        return Some(format!(
            "the run shows nothing: {} crashes of hosts that served slots, and no takeover",
            counters.owner_crashes
        ));
    }
    None
}

/// Frequent checkpoints and trims, little memory, small states; varied by seed.
fn settings(seed: u64, chance: &Chance) -> Settings {
    let batches = [6, 12, 40][usize::try_from(chance.below(3)).expect("below three")];
    Settings {
        slots: SLOTS,
        segment_len: 4,
        checkpoint_batches: batches,
        state_len_max: tally::STATE_LEN_MAX,
        vnodes_active_max: 2 + chance.below(8),
        idle_after: Duration::from_millis(400),
        copy_pause: Duration::from_millis(50),
        copy_len: 8 << 10,
        window: window(seed),
        // Longer than a request of this store may take to land.
        collect_again_after: Duration::from_secs(4),
        ..Settings::default()
    }
}

/// Limits of request windows: the defaults, or so small that eviction is constant. From a separate generator, so that
/// other draws of the seed don't change.
fn window(seed: u64) -> WindowLimits {
    let usual = WindowLimits::default();
    let few_clients = WindowSize { clients: 2, ..usual.soft };
    let few_answers = WindowSize { answers: 3, ..usual.soft };
    match Chance::new(seed ^ 0x317d).below(5) {
        0 => WindowLimits::exactly(few_clients),
        1 => WindowLimits::exactly(few_answers),
        // A low soft limit, and a higher hard one.
        2 => WindowLimits { soft: few_clients, hard: WindowSize { clients: 12, ..usual.soft } },
        _ => usual,
    }
}

/// Store faults between few and the worst.
fn store_faults(chance: &Chance) -> StoreFaults {
    let worst = StoreFaults::all();
    let share = [0.1, 0.5, 1.0][usize::try_from(chance.below(3)).expect("below three")];
    StoreFaults {
        fail_before: worst.fail_before * share,
        fail_after: worst.fail_after * share,
        land_late: worst.land_late * share,
        land_twice: worst.land_twice * share,
        conflict_after: worst.conflict_after * share,
        conflict_before: worst.conflict_before * share,
        ..worst
    }
}
