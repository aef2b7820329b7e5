//! The callers of a scenario, and what they record: bank transfers, counters, cells with their whole history, shards, relays, and
//! a kind of two versions.
//!
//! The records are shared by all callers of a world, on any node: they are an outside observer's knowledge, in one
//! total order of events. A call without an answer stays recorded as invoked: its caller may have given up, or crashed
//! with its host.

pub(crate) mod bank;
pub(crate) mod cell;
pub(crate) mod edition;
pub(crate) mod relay;
pub(crate) mod shards;
pub(crate) mod tally;

use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::sync::{Arc, Mutex, MutexGuard};

use holocron::{CallError, Client, HostBuilder, VnodeRef};
use tokio::task::JoinHandle;

use crate::{chance::Chance, cluster::Door, counters::Counters, trace::Trace};

/// Deadlines of calls: from shorter than a short pause of a host to longer than a takeover.
const DEADLINES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(1_000), Duration::from_secs(4)];
/// The longest pause of a caller in a crowd.
const CROWD_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The longest pause of a caller that only reads a cell.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(400);
/// How long the final read waits for one vnode.
pub(crate) const READ_BACK_WITHIN: Duration = Duration::from_secs(60);

/// The kinds of all workloads.
pub(crate) fn kinds(builder: HostBuilder) -> HostBuilder {
    builder.vnode::<bank::Account>().vnode::<cell::Cell>().vnode::<tally::Tally>()
}

/// The number of vnodes of each kind, and the rate of calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) accounts: u32,
    pub(crate) cells: u32,
    pub(crate) tallies: u32,
    /// Callers at each node; each does one thing at a time.
    pub(crate) callers: u32,
    /// Additional clients at each calling node, which all call one vnode.
    pub(crate) crowd: u32,
    /// The longest pause of a caller between two calls.
    pub(crate) pause_max: Duration,
    /// What callers do mostly.
    pub(crate) habit: Habit,
}

/// What callers do mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// A mix: a fenced host notices soon, by its next batch.
    Everything,
    /// Reads: a fenced host without commits can notice only by its reads.
    Reading,
}

impl Plan {
    /// Distributes the vnodes among the kinds, at least two of each.
    pub(crate) fn new(vnodes: u32, callers: u32, pause_max: Duration, habit: Habit) -> Self {
        let share = (vnodes / 3).max(2);
        let cells = vnodes.saturating_sub(2 * share).max(2);
        Self { accounts: share, cells, tallies: share, callers, crowd: 0, pause_max, habit }
    }
}

/// The result of a call, as far as its caller may rely on it.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// It ran, and this is its reply.
    Replied(T),
    /// It has no effect and never will.
    NotRun,
    /// The vnode reports that it panicked or was rejected: no effect either.
    Undone,
    /// Unknown.
    Unclear,
}

/// The shared records of all callers of a world.
pub(crate) struct Work {
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) books: Mutex<bank::Books>,
    pub(crate) cells: Mutex<cell::Histories>,
    pub(crate) tallies: Mutex<tally::Tallies>,
    /// The doors of the shards, if there are shards.
    pub(crate) doors: Option<Arc<shards::Doors>>,
    /// The outside of the relays, if there are relays.
    pub(crate) outside: Option<Arc<relay::Outside>>,
    /// The vnodes of which hosts have two versions, if there are any.
    pub(crate) editions: Option<Arc<edition::Editions>>,
    order: AtomicU64,
    over: AtomicBool,
    /// Callers that aren't done, on all nodes.
    busy: AtomicU64,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Work {
    pub(crate) fn new(plan: Plan, trace: Trace) -> Self {
        Self {
            plan,
            trace,
            counters: Mutex::default(),
            books: Mutex::default(),
            cells: Mutex::default(),
            tallies: Mutex::default(),
            doors: None,
            outside: None,
            editions: None,
            order: AtomicU64::new(1),
            over: AtomicBool::new(false),
            busy: AtomicU64::new(0),
        }
    }

    /// The next number in the total order of events; unique.
    pub(crate) fn tick(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    /// Callers end after their current call.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether all callers are done; those that crashed with their host count as done.
    pub(crate) fn is_done(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn counters(&self) -> MutexGuard<'_, Counters> {
        lock(&self.counters)
    }

    /// The result of a command.
    pub(crate) fn ended<T>(&self, name: &str, result: Result<T, CallError>) -> Ended<T> {
        let mut counters = self.counters();
        match result {
            Ok(reply) => {
                counters.acknowledged += 1;
                Ended::Replied(reply)
            }
            Err(CallError::Unclear) => {
                counters.unclear += 1;
                Ended::Unclear
            }
            Err(CallError::Busy | CallError::Unavailable { .. }) => {
                counters.refused += 1;
                Ended::NotRun
            }
            Err(CallError::Panicked | CallError::Rejected { .. }) => Ended::Undone,
            Err(
                error @ (CallError::UnknownKind
                | CallError::UnknownCommand { .. }
                | CallError::OtherArguments { .. }
                | CallError::Unreadable { .. }),
            ) => {
                self.trace.violate(format_args!("{name}: a well-formed call was refused: {error}"));
                Ended::Unclear
            }
        }
    }

    /// The answer of a query; `None` if it wasn't answered.
    pub(crate) fn answered<T>(&self, name: &str, result: Result<T, CallError>) -> Option<T> {
        match result {
            Ok(answer) => Some(answer),
            Err(CallError::Busy | CallError::Unavailable { .. }) => None,
            Err(error) => {
                self.trace.violate(format_args!("{name}: an unexpected error of a query: {error}"));
                None
            }
        }
    }
}

/// Locks a mutex that is held only briefly. If a holder panicked, the run has failed already.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A caller: with a client, its own random generator, and the shared records.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) chance: Chance,
    pub(crate) work: Arc<Work>,
}

impl Caller {
    /// A vnode, with a random deadline.
    pub(crate) fn vnode<V: holocron::Vnode>(&self, key: &str) -> VnodeRef<V> {
        let deadline = DEADLINES[usize::try_from(self.chance.below(3)).expect("below three")];
        self.client.get::<V>(key).with_deadline(deadline)
    }

    /// A random number below `many`; in one of three cases one of the first two, so that some vnodes are hot.
    pub(crate) fn one_of(&self, many: u32) -> u32 {
        let below = if self.chance.happens(0.3) { many.min(2) } else { many };
        u32::try_from(self.chance.below(below.into())).expect("below a u32")
    }

    async fn run(self) {
        let _busy = Busy::new(&self.work);
        while !self.work.is_over() {
            let reads = self.work.plan.habit == Habit::Reading && self.chance.happens(0.85);
            if reads {
                cell::read_one(&self).await;
            } else {
                self.do_one_thing().await;
            }
            tokio::time::sleep(self.chance.between(Duration::ZERO, self.work.plan.pause_max)).await;
        }
    }

    /// A caller in a crowd: calls only that vnode.
    async fn crowd_in(self) {
        let _busy = Busy::new(&self.work);
        while !self.work.is_over() {
            tally::count_crowded(&self).await;
            tokio::time::sleep(self.chance.between(Duration::ZERO, CROWD_PAUSE_MAX)).await;
        }
    }

    /// Reads only one cell, so that no call to another vnode, which may be unreachable, keeps it from reading from its
    /// own host.
    async fn look_at(self, cell: u32) {
        let _busy = Busy::new(&self.work);
        while !self.work.is_over() {
            cell::look_at(&self, cell).await;
            tokio::time::sleep(self.chance.between(Duration::ZERO, LOOK_PAUSE_MAX)).await;
        }
    }

    async fn do_one_thing(&self) {
        match self.chance.below(40) {
            0..10 => bank::transfer(self).await,
            10..20 => tally::count(self).await,
            20 => tally::count_many(self).await,
            _ => cell::operate(self).await,
        }
    }
}

/// Counts a caller as busy until it is dropped.
struct Busy(Arc<Work>);

impl Busy {
    fn new(work: &Arc<Work>) -> Self {
        work.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(work))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts callers with one client; they run until the work is over.
pub(crate) fn call(work: &Arc<Work>, client: &Client, seed: u64) -> Vec<JoinHandle<()>> {
    let calls = |caller: u32| {
        let chance = Chance::new(seed.wrapping_add(u64::from(caller) << 48));
        let caller = Caller { client: client.clone(), chance, work: Arc::clone(work) };
        tokio::spawn(caller.run())
    };
    (0..work.plan.callers).map(calls).collect()
}

/// Starts a reader of each cell within a host, if callers mostly read.
pub(crate) fn look(work: &Arc<Work>, client: &Client, seed: u64) {
    if work.plan.habit == Habit::Everything {
        return;
    }
    for cell in 0..work.plan.cells {
        let chance = Chance::new(seed.wrapping_add(u64::from(cell) << 32));
        let caller = Caller { client: client.clone(), chance, work: Arc::clone(work) };
        drop(tokio::spawn(caller.look_at(cell)));
    }
}

/// Starts clients that all call one vnode until the work is over.
pub(crate) fn crowd(work: &Arc<Work>, door: &Door, seed: u64) -> Vec<JoinHandle<()>> {
    let calls = |number: u32| {
        let (work, door) = (Arc::clone(work), door.clone());
        let chance = Chance::new(seed.wrapping_sub(u64::from(number) << 48));
        tokio::spawn(async move {
            let client = door.client(number).await;
            Caller { client, chance, work }.crowd_in().await;
        })
    };
    (1..=work.plan.crowd).map(calls).collect()
}
