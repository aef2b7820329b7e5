//! What callers do in a scenario, and what they remember of it: money that moves, counters that count on, cells whose
//! whole history is kept.
//!
//! What is remembered is shared by all callers of a world, wherever they run: it is the outside observer's knowledge, in
//! the one order in which things happened. A call that was never answered stays remembered as invoked: its caller may
//! have given up, or have died with its host.

pub(crate) mod bank;
pub(crate) mod cell;
pub(crate) mod tally;

use core::{
    cell::Cell as Count,
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::sync::{Arc, Mutex, MutexGuard};

use holocron::{CallError, Client, HostBuilder, VnodeRef};
use tokio::task::JoinHandle;

use crate::{chance::Chance, cluster::Door, counters::Counters, trace::Trace};

/// How long callers wait for one call: from "gives up at once when a host stands still" to "sits a takeover out".
const DEADLINES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(1_000), Duration::from_secs(4)];
/// The longest pause of one of a crowd.
const CROWD_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The longest pause of one who looks at a cell.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(400);
/// How long the last reading waits for one vnode.
pub(crate) const READ_BACK_WITHIN: Duration = Duration::from_secs(60);

thread_local! {
    static PASSIVATIONS: Count<u64> = const { Count::new(0) };
}

/// A vnode leaves memory.
pub(crate) fn note_passivation() {
    PASSIVATIONS.set(PASSIVATIONS.get() + 1);
}

/// Vnodes that left memory on this thread since this was last asked.
pub(crate) fn passivations() -> u64 {
    PASSIVATIONS.replace(0)
}

/// The kinds of all workloads.
pub(crate) fn kinds(builder: HostBuilder) -> HostBuilder {
    builder.vnode::<bank::Account>().vnode::<cell::Cell>().vnode::<tally::Tally>()
}

/// How many vnodes there are of each kind, and how fast they are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) accounts: u32,
    pub(crate) cells: u32,
    pub(crate) tallies: u32,
    /// Callers at each node, each with one thing to do at a time.
    pub(crate) callers: u32,
    /// Clients besides at each calling node, all of which call one vnode.
    pub(crate) crowd: u32,
    /// The longest pause between two things.
    pub(crate) pause_max: Duration,
    /// What callers do mostly.
    pub(crate) habit: Habit,
}

/// What callers do mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// A bit of everything: whoever was fenced finds out by the next batch, moments later.
    Everything,
    /// Reading: a host that was fenced and commits nothing has only its reads to find out by.
    Reading,
}

impl Plan {
    /// Shares so many vnodes among the kinds, at least two of each.
    pub(crate) fn new(vnodes: u32, callers: u32, pause_max: Duration, habit: Habit) -> Self {
        let share = (vnodes / 3).max(2);
        let cells = vnodes.saturating_sub(2 * share).max(2);
        Self { accounts: share, cells, tallies: share, callers, crowd: 0, pause_max, habit }
    }
}

/// How a call ended, as far as its caller may rely on it.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// It ran, and this is its reply.
    Replied(T),
    /// It left no effect and never will.
    NotRun,
    /// It panicked or was refused as it is: no effect either, and the vnode says so.
    Undone,
    /// Nobody knows.
    Unclear,
}

/// What all callers of a world remember.
pub(crate) struct Work {
    pub(crate) plan: Plan,
    pub(crate) trace: Trace,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) books: Mutex<bank::Books>,
    pub(crate) cells: Mutex<cell::Histories>,
    pub(crate) tallies: Mutex<tally::Tallies>,
    order: AtomicU64,
    over: AtomicBool,
    /// Callers that aren't done, wherever they run.
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
            order: AtomicU64::new(1),
            over: AtomicBool::new(false),
            busy: AtomicU64::new(0),
        }
    }

    /// The next place in the order of everything that happens; never the same twice.
    pub(crate) fn tick(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed)
    }

    /// Callers end when they are done with what they are at.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether no caller is at anything any more; those that died with their host aren't.
    pub(crate) fn is_done(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn counters(&self) -> MutexGuard<'_, Counters> {
        lock(&self.counters)
    }

    /// What a command came to.
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
            Err(error @ (CallError::UnknownKind | CallError::Unreadable { .. })) => {
                self.trace.violate(format_args!("{name}: a call that is well-formed: {error}"));
                Ended::Unclear
            }
        }
    }

    /// What a query came to; none when it wasn't answered.
    pub(crate) fn answered<T>(&self, name: &str, result: Result<T, CallError>) -> Option<T> {
        match result {
            Ok(answer) => Some(answer),
            Err(CallError::Busy | CallError::Unavailable { .. }) => None,
            Err(error) => {
                self.trace.violate(format_args!("{name}: a query ended so: {error}"));
                None
            }
        }
    }
}

/// Locks what is only ever locked for a moment. Whoever panicked meanwhile has failed the run already.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One who calls: with a client, a seed's chance, and the memory of all.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) chance: Chance,
    pub(crate) work: Arc<Work>,
}

impl Caller {
    /// A vnode, with a deadline that chance chooses.
    pub(crate) fn vnode<V: holocron::Vnode>(&self, key: &str) -> VnodeRef<V> {
        let deadline = DEADLINES[usize::try_from(self.chance.below(3)).expect("below three")];
        self.client.get::<V>(key).with_deadline(deadline)
    }

    /// One of so many; one in three times one of the first two, so that some are hot.
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

    /// One of a crowd: never does anything else.
    async fn crowd_in(self) {
        let _busy = Busy::new(&self.work);
        while !self.work.is_over() {
            tally::count_crowded(&self).await;
            tokio::time::sleep(self.chance.between(Duration::ZERO, CROWD_PAUSE_MAX)).await;
        }
    }

    /// Looks at one cell and does nothing else, so that no call to another vnode, which may be out of reach, keeps it
    /// from finding out what its own host still says.
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

/// Counts a caller as busy for as long as it lives.
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

/// Callers with one client, until the work is over.
pub(crate) fn call(work: &Arc<Work>, client: &Client, seed: u64) -> Vec<JoinHandle<()>> {
    let calls = |caller: u32| {
        let chance = Chance::new(seed.wrapping_add(u64::from(caller) << 48));
        let caller = Caller { client: client.clone(), chance, work: Arc::clone(work) };
        tokio::spawn(caller.run())
    };
    (0..work.plan.callers).map(calls).collect()
}

/// Those who look at each cell from within a host, where callers mostly read.
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

/// Clients that all call one vnode, each its own, until the work is over.
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
