//! Shards that keep something outside: each holds a door, which remembers the largest token that has opened it.
//!
//! Opening and closing a door take their time, and fail now and then. The doors are an outside observer's knowledge: they see
//! who holds which door under which token.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use holocron::{
    Activation, BoxError, CallError, Client, Context, Epoch, HostBuilder, Kind, Lifecycle, Vnode,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::{Busy, Caller, Ended, READ_BACK_WITHIN, Work, lock};
use crate::{chance::Chance, trace::Trace, watch::invariant::Invariant};

/// The number of shards. In a cluster of 32 slots, each is in a slot of its own.
pub(crate) const COUNT: u16 = 8;
/// Other vnodes of the kind, which are evicted like any.
const OTHERS: u16 = 4;
/// The longest an open or close usually takes.
const HOOK_MAX: Duration = Duration::from_millis(60);
/// How often an attempt to open fails, and how often a close never ends.
const FAILS: f64 = 0.15;
const HANGS: f64 = 0.02;
/// The longest pause of a caller of shards.
const PAUSE_MAX: Duration = Duration::from_millis(120);

/// The doors of all shards.
#[derive(Debug)]
pub(crate) struct Doors {
    doors: Mutex<BTreeMap<String, Door>>,
    trace: Trace,
    chance: Chance,
    processes: Mutex<u64>,
}

/// One door.
#[derive(Debug, Default)]
struct Door {
    /// Which processes hold it, or are opening or closing it, and under which token.
    held: BTreeMap<u64, Epoch>,
    /// The largest token that has opened it. Smaller ones change nothing any more.
    token: Epoch,
    /// Commands acknowledged, and sent.
    counted: (u64, u64),
}

impl Doors {
    pub(crate) fn new(trace: Trace, seed: u64) -> Self {
        let chance = Chance::new(seed ^ 0xd005);
        Self { doors: Mutex::default(), trace, chance, processes: Mutex::default() }
    }

    /// Adds the kind to a host that starts.
    pub(crate) fn equip(self: &Arc<Self>, builder: HostBuilder) -> HostBuilder {
        let process = {
            let mut processes = lock(&self.processes);
            *processes += 1;
            *processes
        };
        let keys = Keys { process, doors: Arc::clone(self) };
        builder.kind(Kind::<Shard>::new(keys).shards(COUNT))
    }

    /// A process begins to hold a door.
    fn take(&self, key: &str, process: u64, epoch: Epoch) {
        let mut doors = lock(&self.doors);
        let door = doors.entry(key.to_owned()).or_default();
        for (&other, &held) in &door.held {
            if other == process || held == epoch {
                let number = Invariant::OpenOnce as u8;
                self.trace.violate(format_args!(
                    "invariant {number} ({}): shard {key} is opened by process {process} under {epoch} while {other} holds it under {held}",
                    Invariant::OpenOnce.words()
                ));
            }
        }
        door.held.insert(process, epoch);
    }

    fn let_go(&self, key: &str, process: u64) {
        if let Some(door) = lock(&self.doors).get_mut(key) {
            door.held.remove(&process);
        }
    }
}

/// The hooks of one process.
pub(crate) struct Keys {
    process: u64,
    doors: Arc<Doors>,
}

/// An open door.
pub(crate) struct Open {
    key: String,
    process: u64,
    doors: Arc<Doors>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.doors.let_go(&self.key, self.process);
    }
}

impl Lifecycle<Shard> for Keys {
    type Resource = Open;

    async fn open(&self, activation: &Activation) -> Result<Open, BoxError> {
        let (key, epoch) = (activation.key(), activation.epoch());
        self.doors.take(key, self.process, epoch);
        // Let go when it is dropped, also if this attempt is.
        let open =
            Open { key: key.to_owned(), process: self.process, doors: Arc::clone(&self.doors) };
        tokio::time::sleep(self.doors.chance.between(Duration::ZERO, HOOK_MAX)).await;
        if self.doors.chance.happens(FAILS) {
            return Err("the door is stuck".into());
        }
        let mut doors = lock(&self.doors.doors);
        let door = doors.get_mut(key).expect("it was taken");
        if epoch < door.token {
            return Err(format!("it was opened under {}", door.token).into());
        }
        door.token = epoch;
        drop(doors);
        self.doors.trace.note(format_args!("shard {key} is open under {epoch}"));
        Ok(open)
    }

    async fn close(&self, open: Open, _: &Activation) {
        tokio::time::sleep(self.doors.chance.between(Duration::ZERO, HOOK_MAX)).await;
        if self.doors.chance.happens(HANGS) {
            core::future::pending::<()>().await;
        }
        drop(open);
    }
}

/// Counts its commands.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Shard(u64);

impl Vnode for Shard {
    const KIND: &'static str = "index";
    type Command = ();
    type Reply = u64;
    type Query = ();
    type Answer = u64;
    type Env = Keys;

    fn command(&mut self, context: &mut Context<'_, Self>, (): ()) -> u64 {
        let epoch = context.epoch();
        let Open { key, process, doors } = context.resource_mut();
        let is_held =
            lock(&doors.doors).get(key).is_some_and(|door| door.held.get(process) == Some(&epoch));
        assert!(is_held, "a command runs while its door is closed");
        self.0 += 1;
        self.0
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
        self.0
    }
}

/// Starts a caller that counts in shards until the work is over.
pub(crate) fn call(work: &Arc<Work>, client: &Client, seed: u64) -> Option<JoinHandle<()>> {
    let doors = work.doors.clone()?;
    let caller = Caller {
        client: client.clone(),
        chance: Chance::new(seed ^ 0x5ad),
        work: Arc::clone(work),
    };
    Some(tokio::spawn(async move {
        let _busy = Busy::new(&caller.work);
        while !caller.work.is_over() {
            count(&caller, &doors).await;
            tokio::time::sleep(caller.chance.between(Duration::ZERO, PAUSE_MAX)).await;
        }
    }))
}

async fn count(caller: &Caller, doors: &Doors) {
    let key = caller.chance.below((COUNT + OTHERS).into()).to_string();
    lock(&doors.doors).entry(key.clone()).or_default().counted.1 += 1;
    let result = caller.vnode::<Shard>(&key).command(()).await;
    let ended = caller.work.ended(&key, result);
    let mut all = lock(&doors.doors);
    let door = all.entry(key).or_default();
    match ended {
        Ended::Replied(_) => door.counted.0 += 1,
        Ended::NotRun | Ended::Undone => door.counted.1 -= 1,
        Ended::Unclear => {}
    }
}

/// Reads every vnode of the kind, and compares it with what was acknowledged and sent.
pub(crate) async fn read_back(client: &Client, work: &Work) {
    let Some(doors) = &work.doors else { return };
    for number in 0..COUNT + OTHERS {
        let shard = client.shard::<Shard>(number).with_deadline(READ_BACK_WITHIN);
        let read: Result<u64, CallError> = shard.query(()).await;
        let (least, most) =
            lock(&doors.doors).get(&number.to_string()).map_or((0, 0), |door| door.counted);
        match read {
            Ok(count) if (least..=most).contains(&count) => {}
            other => work.trace.violate(format_args!(
                "invariant 1 (acknowledged implies recovered): shard {number} reads {other:?}, {least} to {most} commands were counted"
            )),
        }
    }
}
