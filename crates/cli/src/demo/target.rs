//! One vnode under load: its calls and their history.
//!
//! Invariants:
//!
//! * One call in flight at a time, so exactly one reply is legal unless a call ended unclear.
//! * Every call is in its history when it ends.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use holocron::{CallError, Client, Ran, Vnode as _, VnodeRef};
use holocron_kinds::{Counter, CounterClient as _, Kv, KvClient as _};
use holocron_protocol::ids::VnodeName;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use super::history::{CounterHistory, Ended, Faults, FieldHistory, Look};

/// One vnode in this many is a map, the others are counters.
const KV_EVERY: usize = 4;
/// Fields of a map, set in turn.
const FIELDS: usize = 4;

/// A vnode under load.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: VnodeName,
    vnode: Vnode,
    history: Mutex<History>,
    in_flight: AtomicBool,
    /// When its owner failed.
    orphaned: OnceLock<Instant>,
    /// When the first command sent after that was acknowledged.
    served: OnceLock<Instant>,
}

#[derive(Debug)]
enum Vnode {
    Counter(VnodeRef<Counter>),
    Kv(VnodeRef<Kv>),
}

#[derive(Debug, Default)]
struct History {
    /// Calls so far.
    calls: u64,
    counter: CounterHistory,
    fields: [FieldHistory; FIELDS],
}

/// The right to call a target, held by one caller at a time.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    target: &'a Target,
    history: MutexGuard<'a, History>,
}

impl Target {
    /// A vnode that doesn't exist yet.
    pub(super) fn new(client: &Client, key: &str, number: usize) -> Self {
        let is_kv = number % KV_EVERY == KV_EVERY - 1;
        let (kind, vnode) = if is_kv {
            (Kv::KIND, Vnode::Kv(client.get(key)))
        } else {
            (Counter::KIND, Vnode::Counter(client.get(key)))
        };
        Self {
            name: VnodeName::new(kind, key).expect("a short key"),
            vnode,
            history: Mutex::default(),
            in_flight: AtomicBool::new(false),
            orphaned: OnceLock::new(),
            served: OnceLock::new(),
        }
    }

    /// Waits for the right to call it.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn { target: self, history: self.history.lock().await }
    }

    /// Whether a command is in flight.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Notes that its owner has just failed: commands sent from now on are served by another host.
    pub(super) fn orphan(&self, at: Instant) {
        self.orphaned.get_or_init(|| at);
    }

    /// When the next owner acknowledged its first command.
    pub(super) fn served(&self) -> Option<Instant> {
        self.served.get().copied()
    }
}

impl Turn<'_> {
    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        self.history.calls
    }

    pub(super) fn faults(&self) -> Faults {
        let mut faults = self.history.counter.faults();
        for field in &self.history.fields {
            faults += field.faults();
        }
        faults
    }

    /// Sends a command.
    pub(super) async fn command(&mut self) -> Result<(), CallError> {
        let Self { target, history } = self;
        history.calls += 1;
        let number = history.calls;
        let asked_at = Instant::now();
        target.in_flight.store(true, Ordering::Release);
        let outcome = match &target.vnode {
            Vnode::Counter(counter) => {
                let (ended, outcome) = split(counter.add(1).await);
                history.counter.added(ended);
                outcome
            }
            Vnode::Kv(kv) => {
                let field = usize::try_from(number).expect("64 bits") % FIELDS;
                let replied = kv.put(&field.to_string(), number.to_string(), None).await;
                let before = replied.map(|put| {
                    let change = put.expect("some short fields are within the limits");
                    number_in(change.before.as_ref())
                });
                let (ended, outcome) = split(before);
                history.fields[field].put(number, ended);
                outcome
            }
        };
        target.in_flight.store(false, Ordering::Release);
        if outcome.is_ok() && target.orphaned.get().is_some_and(|&orphaned| asked_at >= orphaned) {
            target.served.get_or_init(Instant::now);
        }
        outcome
    }

    /// Sends a linearizable query, which must see every command acknowledged so far.
    pub(super) async fn query(&mut self, look: Look) -> Result<(), CallError> {
        let Self { target, history } = self;
        history.calls += 1;
        match &target.vnode {
            Vnode::Counter(counter) => {
                let value = counter.value().await?;
                history.counter.read(value, look);
            }
            Vnode::Kv(kv) => {
                let values = kv.all().await?;
                for (field, history) in history.fields.iter_mut().enumerate() {
                    history.read(number_in(values.get(&field.to_string())), look);
                }
            }
        }
        Ok(())
    }
}

/// What the end of a command means for its history, and for its caller.
fn split<T>(replied: Result<T, CallError>) -> (Ended<T>, Result<(), CallError>) {
    match replied {
        Ok(reply) => (Ended::Acknowledged(reply), Ok(())),
        Err(error) => match error.ran() {
            Ran::No => (Ended::NotRun, Err(error)),
            // If it ran, its result is unknown.
            Ran::Yes | Ran::Unclear => (Ended::Unclear, Err(error)),
        },
    }
}

/// The number in a field; 0 if it is absent. Callers write only numbers, so any other value counts as a number that no
/// caller wrote.
fn number_in(value: Option<&String>) -> u64 {
    value.map_or(0, |value| value.parse().unwrap_or(u64::MAX))
}
