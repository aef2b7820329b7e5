//! A kind of two versions: each process of a host draws its own, so that clusters are upgraded and rolled back, host by host
//! and with crashes in between.
//!
//! A vnode that a host of version 2 has stored can't be read by one of version 1. Its calls are refused then; they never count
//! less than what was acknowledged.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use holocron::{CallError, Client, Context, HostBuilder, OldState, Unavailable, Vnode};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, VnodeName},
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::{Busy, Caller, Ended, READ_BACK_WITHIN, Work, lock};
use crate::{chance::Chance, watch::invariant::Invariant};

const KIND: &str = "edition";
/// Vnodes of the kind.
const COUNT: u32 = 12;
/// The longest pause of a caller.
const PAUSE_MAX: Duration = Duration::from_millis(150);

/// Counts its commands. Every version has the same state; only the number differs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Edition<const VERSION: u32> {
    count: u64,
}

impl<const VERSION: u32> Vnode for Edition<VERSION> {
    const KIND: &'static str = KIND;
    const VERSION: u32 = VERSION;
    type Command = ();
    type Reply = u64;
    type Query = ();
    type Answer = u64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, (): ()) -> u64 {
        self.count += 1;
        self.count
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
        self.count
    }

    fn migrate(old: OldState<'_>) -> Result<Self, String> {
        old.read()
    }
}

/// What is known of all vnodes of the kind, and the version of the next process.
#[derive(Debug)]
pub(crate) struct Editions {
    chance: Chance,
    /// By vnode, commands acknowledged, and sent.
    counted: Mutex<BTreeMap<u32, (u64, u64)>>,
}

impl Editions {
    pub(crate) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed ^ 0xed17), counted: Mutex::default() }
    }

    /// Adds the kind to a host that starts, in either version.
    pub(crate) fn equip(&self, builder: HostBuilder) -> HostBuilder {
        match self.chance.below(2) {
            0 => builder.vnode::<Edition<1>>(),
            _ => builder.vnode::<Edition<2>>(),
        }
    }
}

fn key(number: u32) -> String {
    format!("e{number}")
}

/// Starts a caller, if there are vnodes of the kind.
pub(crate) fn call(work: &Arc<Work>, client: &Client, seed: u64) -> Option<JoinHandle<()>> {
    let editions = Arc::clone(work.editions.as_ref()?);
    let chance = Chance::new(seed ^ 0xed);
    let caller = Caller { client: client.clone(), chance, work: Arc::clone(work) };
    Some(tokio::spawn(async move {
        let _busy = Busy::new(&caller.work);
        while !caller.work.is_over() {
            count(&caller, &editions).await;
            tokio::time::sleep(caller.chance.between(Duration::ZERO, PAUSE_MAX)).await;
        }
    }))
}

async fn count(caller: &Caller, editions: &Editions) {
    let number = u32::try_from(caller.chance.below(COUNT.into())).expect("below a u32");
    lock(&editions.counted).entry(number).or_default().1 += 1;
    let result = caller.vnode::<Edition<2>>(&key(number)).command(()).await;
    let is_unreadable = result.as_ref().is_err_and(is_unreadable);
    let ended = caller.work.ended(&key(number), result);
    let mut counted = lock(&editions.counted);
    let (acknowledged, sent) = counted.entry(number).or_default();
    match ended {
        Ended::Replied(_) => {
            *acknowledged += 1;
            caller.work.counters().editions += 1;
        }
        Ended::NotRun | Ended::Undone => *sent -= 1,
        Ended::Unclear => {}
    }
    if is_unreadable {
        caller.work.counters().unreadable += 1;
    }
}

fn is_unreadable(error: &CallError) -> bool {
    matches!(error, CallError::Unavailable { reason: Unavailable::Unreadable, .. })
}

/// Whether a host that takes slots has the newer version.
fn has_newer(record: &EpochRecord) -> bool {
    record.hosts.values().any(|host| host.share() > 0 && host.versions.of(KIND) >= 2)
}

/// Reads every vnode and compares. A vnode that can't be read needs a host of version 2, which isn't there.
pub(crate) async fn read_back(client: &Client, work: &Work, newest: &EpochRecord) {
    let Some(editions) = &work.editions else { return };
    for number in 0..COUNT {
        let edition = client.get::<Edition<2>>(&key(number)).with_deadline(READ_BACK_WITHIN);
        let (least, most) = lock(&editions.counted).get(&number).copied().unwrap_or_default();
        match edition.query(()).await {
            Ok(count) if least <= count && count <= most => {}
            Ok(count) => work.trace.violate(format_args!(
                "{}: {} says {count}; it is {least} to {most}",
                Invariant::Recovered,
                key(number)
            )),
            Err(error) if is_unreadable(&error) && !has_newer(newest) => {}
            Err(error) => {
                let name = VnodeName::new(KIND, &key(number)).expect("it is valid");
                let slot = name.hash().slot(newest.slot_count);
                let owner = newest.home().slots.holding(slot).owner;
                work.trace.violate(format_args!(
                    "{}: {}, in {slot} of {owner:?} in domain {}: {error}",
                    Invariant::GoesToReaders,
                    key(number),
                    newest.domain_of(&name).map_or(0, |DomainId(id)| id),
                ));
            }
        }
    }
}
