//! The load: callers that add to counters and put into maps over the network, and record the replies.
//!
//! Invariants:
//!
//! * No caller is stopped with a call in flight: every call that was sent is in a history.

use core::{
    mem,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use std::sync::{Arc, Mutex, PoisonError};

use holocron::{CallError, Client};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, HostName, VnodeName},
};
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    history::{Faults, Look},
    target::Target,
};

/// Concurrent callers, each with one call in flight.
const CALLERS_MAX: usize = 512;
/// How long a caller pauses after each call. Without the pause, callers and hosts would compete for the machine and the
/// latencies would show that.
const PAUSE: Duration = Duration::from_millis(20);
/// Every so many calls of a vnode, one is a linearizable query.
const QUERY_EVERY: u64 = 8;
/// Failed queries at the end after which a vnode counts as unread. The client repeats each until its deadline.
pub(super) const READS_MAX: u32 = 3;

/// All vnodes under load.
#[derive(Debug)]
pub(super) struct Load {
    targets: Vec<Target>,
    tally: Tally,
    /// Notified when a vnode that failed over is served again.
    served: Notify,
}

/// Counts over all vnodes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    acknowledged: AtomicU64,
    queries: AtomicU64,
    failed: AtomicU64,
    unclear: AtomicU64,
    /// The newest call that ended in an error.
    newest_failure: Mutex<Option<String>>,
    /// How long each call took, since they were taken last.
    times: Mutex<Vec<Duration>>,
}

impl Tally {
    /// Commands acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Queries answered.
    pub(super) fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Calls that ended in an error.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Of these, the commands that may have taken effect.
    pub(super) fn unclear(&self) -> u64 {
        self.unclear.load(Ordering::Relaxed)
    }

    /// The newest call that ended in an error, for messages.
    pub(super) fn newest_failure(&self) -> Option<String> {
        self.newest_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn took(&self, since: Instant) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(since.elapsed());
    }

    fn note(&self, name: &VnodeName, error: &CallError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        if *error == CallError::Unclear {
            self.unclear.fetch_add(1, Ordering::Relaxed);
        }
        let failure = format!("{name}: {error}");
        *self.newest_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }
}

/// When some vnodes were served again after their owner had failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// Number of vnodes served again.
    pub(super) vnodes: usize,
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

impl Load {
    /// A load on `vnodes` vnodes. None of them exists yet, because `run` is a new word.
    pub(super) fn new(client: &Client, run: &str, vnodes: usize) -> Self {
        let target = |number| Target::new(client, &format!("{run}-{number}"), number);
        let targets = (0..vnodes).map(target).collect();
        Self { targets, tally: Tally::default(), served: Notify::new() }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How long each call took that ended since these times were taken last.
    pub(super) fn take_times(&self) -> Vec<Duration> {
        mem::take(&mut self.tally.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn vnodes(&self) -> usize {
        self.targets.len()
    }

    /// Calls all vnodes in turn until `stop` is cancelled.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let callers = CALLERS_MAX.min(self.targets.len());
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            tasks.spawn(Arc::clone(&self).be_caller(caller, callers, stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            // A panic of a caller is one of the demo.
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
    }

    /// One caller: calls its share of the vnodes in turn.
    async fn be_caller(self: Arc<Self>, caller: usize, callers: usize, stop: CancellationToken) {
        // The callers start one after the other.
        let share = f64::from(u32::try_from(caller).unwrap_or(0))
            / f64::from(u32::try_from(callers).unwrap_or(1));
        sleep(PAUSE.mul_f64(share)).await;
        for target in self.targets.iter().skip(caller).step_by(callers).cycle() {
            if stop.is_cancelled() {
                return;
            }
            let query = {
                let turn = target.turn().await;
                turn.calls() % QUERY_EVERY == QUERY_EVERY - 1
            };
            if query {
                self.query(target, Look::Meanwhile).await;
            } else {
                self.command(target).await;
            }
            sleep(PAUSE).await;
        }
    }

    /// Sends one command to each of these vnodes, all at once. Dropping the result doesn't stop them: an aborted call
    /// would be missing in its history.
    pub(super) fn sweep(self: &Arc<Self>, places: &[usize]) -> Sweep {
        let command = |&place: &usize| {
            let load = Arc::clone(self);
            tokio::spawn(async move { load.command(&load.targets[place]).await })
        };
        Sweep(places.iter().map(command).collect())
    }

    /// The places of the vnodes that a host owns.
    pub(super) fn places_of(&self, host: &HostName, record: &EpochRecord) -> Vec<usize> {
        let owns = |&place: &usize| owner(record, &self.targets[place].name) == Some(host);
        (0..self.targets.len()).filter(owns).collect()
    }

    /// How many of these vnodes have a command in flight.
    pub(super) fn in_flight(&self, places: &[usize]) -> u64 {
        places.iter().filter(|&&place| self.targets[place].is_in_flight()).count() as u64
    }

    /// Notes that the owner of these vnodes has just failed.
    pub(super) fn orphan(&self, places: &[usize], at: Instant) {
        for &place in places {
            self.targets[place].orphan(at);
        }
    }

    /// How many of these orphaned vnodes are served again, and since when.
    pub(super) fn served(&self, places: &[usize]) -> Served {
        let times: Vec<Instant> =
            places.iter().filter_map(|&place| self.targets[place].served()).collect();
        let (first, last) = (times.iter().min().copied(), times.iter().max().copied());
        Served { vnodes: times.len(), first, last }
    }

    /// Completes when another orphaned vnode is served again.
    pub(super) async fn more_served(&self) {
        self.served.notified().await;
    }

    /// Reads every vnode and compares it with its history. Returns how many could not be read.
    pub(super) async fn read_all(self: &Arc<Self>) -> usize {
        let mut places = 0..self.targets.len();
        let mut tasks = JoinSet::new();
        let mut unread = 0;
        loop {
            while tasks.len() < CALLERS_MAX
                && let Some(place) = places.next()
            {
                let load = Arc::clone(self);
                tasks.spawn(async move { load.read(&load.targets[place]).await });
            }
            match tasks.join_next().await {
                Some(Ok(Answered::Yes)) => {}
                Some(Ok(Answered::No)) => unread += 1,
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => return unread,
            }
        }
    }

    /// Reads a vnode at the end of the demo.
    async fn read(&self, target: &Target) -> Answered {
        for _ in 1..READS_MAX {
            if let Answered::Yes = self.query(target, Look::AtLast).await {
                return Answered::Yes;
            }
        }
        self.query(target, Look::AtLast).await
    }

    /// The faults of all histories together.
    pub(super) async fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for target in &self.targets {
            faults += target.turn().await.faults();
        }
        faults
    }

    async fn command(&self, target: &Target) {
        let mut turn = target.turn().await;
        let since = Instant::now();
        let outcome = turn.command().await;
        self.tally.took(since);
        drop(turn);
        match outcome {
            Ok(()) => {
                self.tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                if target.served().is_some() {
                    self.served.notify_one();
                }
            }
            Err(error) => self.tally.note(&target.name, &error),
        }
    }

    async fn query(&self, target: &Target, look: Look) -> Answered {
        let mut turn = target.turn().await;
        let since = Instant::now();
        let outcome = turn.query(look).await;
        self.tally.took(since);
        drop(turn);
        match outcome {
            Ok(()) => {
                self.tally.queries.fetch_add(1, Ordering::Relaxed);
                Answered::Yes
            }
            Err(error) => {
                self.tally.note(&target.name, &error);
                Answered::No
            }
        }
    }
}

enum Answered {
    Yes,
    No,
}

/// Commands in flight.
#[derive(Debug)]
pub(super) struct Sweep(Vec<JoinHandle<()>>);

impl Sweep {
    /// Waits until all have ended, with success or not.
    pub(super) async fn ended(self) {
        for command in self.0 {
            command.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
    }
}

/// Which host owns a vnode.
pub(super) fn owner<'a>(record: &'a EpochRecord, name: &VnodeName) -> Option<&'a HostName> {
    let slot = name.hash().slot(record.slot_count);
    let owner = record.holding(DomainId::HOME, slot)?.owner?;
    record.host_of(owner.session).map(|(name, _)| name)
}
