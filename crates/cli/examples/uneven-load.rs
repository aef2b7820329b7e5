//! A load tool: 100,000 vnodes of which one in a hundred takes nine calls of ten, on four hosts.
//!
//! It runs four hosts on a directory store below the temporary directory, in one process so that they share the machine
//! evenly, and callers that add 1 to counters. Of the hot vnodes more than half are in slots that the first host has at the
//! start: spread by chance they would be nearly even already. Every five seconds it prints each host's part of the calls and
//! the slots that were moved so far. It fails if after 30 seconds a host is more than a tenth off its share in fifteen
//! seconds, or if a slot moves in the minute after that.
//!
//! ```text
//! uneven-load [SEED]
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{error::Error, sync::Arc};

use holocron::{Client, Host, Settings, Vnode as _};
use holocron_kinds::{Counter, CounterClient as _};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, VnodeName},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const HOSTS: usize = 4;
const CALLERS: u64 = 128;
const VNODES: u64 = 100_000;
/// One of so many vnodes is hot; which ones, the seed decides.
const HOT_OF: u64 = 100;
/// How many of the hot ones are chosen among those of the first host; the others among all.
const HOT_AT_FIRST: f64 = 0.4;
/// How a caller chooses: nine calls of ten go to a hot vnode.
const HOT_CALLS: f64 = 0.9;
/// How long until the load must be even, and how long nothing may move after that.
const EVEN_AFTER: Duration = Duration::from_secs(30);
const STILL_FOR: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(5);
/// Looks that a host's part is averaged over before it is judged: fewer show chance.
const AVERAGED: usize = 3;
/// A rest after each call, so that the machine isn't saturated: then every host would get what it can take, not its share.
const PAUSE: Duration = Duration::from_millis(15);

fn main() -> Outcome<()> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |seed| seed.parse())?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(seed))
}

async fn measure(seed: u64) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().display());
    let mut hosts = Vec::new();
    for number in 1..=HOSTS {
        let host = Host::builder(&url).name(&format!("h{number}")).vnode::<Counter>();
        let settings = Settings { vnodes_active_max: VNODES, ..Settings::default() };
        hosts.push(host.settings(settings).start().await?);
        println!("h{number} has started");
    }
    settle(&hosts).await;
    let hot: Arc<Vec<u64>> = Arc::new(hot(seed, &newest(&hosts))?);
    for caller in 0..CALLERS {
        let client = hosts[usize::try_from(caller)? % HOSTS].client();
        drop(tokio::spawn(call(
            client,
            Arc::clone(&hot),
            StdRng::seed_from_u64(seed ^ caller << 32),
        )));
    }
    let began = Instant::now();
    println!("seconds  calls/s  parts of {HOSTS} hosts, %     slots moved  epoch");
    let (mut looks, mut moved, mut last) = (vec![calls(&hosts)], 0, newest(&hosts));
    let (mut worst, mut still) = (0.0_f64, 0);
    while began.elapsed() < EVEN_AFTER + STILL_FOR {
        tokio::time::sleep(EVERY).await;
        let record = newest(&hosts);
        looks.push(calls(&hosts));
        let changed = differ(&last, &record);
        moved += changed;
        if began.elapsed() > EVEN_AFTER + EVERY * u32::try_from(AVERAGED)? {
            worst = worst.max(off(&parts(&looks, AVERAGED)));
        }
        if began.elapsed() > EVEN_AFTER {
            still += changed;
        }
        let shown: Vec<String> =
            parts(&looks, 1).iter().map(|part| format!("{part:5.1}")).collect();
        let all: u64 = rates(&looks, 1).iter().sum();
        let (seconds, rate) = (began.elapsed().as_secs(), all / EVERY.as_secs());
        println!("{seconds:7}  {rate:7}  {}  {moved:11}  {}", shown.join(" "), record.epoch);
        last = record;
    }
    println!(
        "after {EVEN_AFTER:?}: at most {:.1} % off an even share; {still} slots moved in {STILL_FOR:?}",
        worst * 100.0
    );
    if worst > 0.1 || still > 0 {
        return Err("the load is not even and still".into());
    }
    Ok(())
}

/// Waits until every host serves an even number of slots.
async fn settle(hosts: &[Host]) {
    loop {
        let serving: Vec<u32> = hosts.iter().map(|host| host.status().slots_serving).collect();
        let (most, least) = (serving.iter().max(), serving.iter().min());
        if most.zip(least).is_some_and(|(most, least)| *least > 0 && most - least <= 1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The hot vnodes.
fn hot(seed: u64, record: &EpochRecord) -> Outcome<Vec<u64>> {
    let mut chance = StdRng::seed_from_u64(seed);
    let first = record.hosts.values().next().and_then(|host| host.sessions.get(&DomainId::HOME));
    let first = *first.ok_or("no host")?;
    let mut at_first = Vec::new();
    for vnode in 0..VNODES {
        let slot = VnodeName::new(Counter::KIND, &key(vnode))?.hash().slot(record.slot_count);
        if record.domains[&DomainId::HOME].slots.holding(slot).is_owned_by(first) {
            at_first.push(vnode);
        }
    }
    let hot = (0..VNODES / HOT_OF).map(|_| match chance.random_bool(HOT_AT_FIRST) {
        true => at_first[chance.random_range(0..at_first.len())],
        false => chance.random_range(0..VNODES),
    });
    Ok(hot.collect())
}

fn key(vnode: u64) -> String {
    format!("v{vnode}")
}

/// The calls of each host in the last so many looks.
fn rates(looks: &[Vec<u64>], last: usize) -> Vec<u64> {
    let now = &looks[looks.len() - 1];
    let before = &looks[looks.len() - 1 - last];
    now.iter().zip(before).map(|(now, before)| now - before).collect()
}

/// The same, in percent of all.
fn parts(looks: &[Vec<u64>], last: usize) -> Vec<f64> {
    let rates = rates(looks, last);
    let all: u64 = rates.iter().sum();
    rates.iter().map(|&rate| 100.0 * rate as f64 / all as f64).collect()
}

/// How far the host that is furthest off its share is off, as a part of the share.
fn off(parts: &[f64]) -> f64 {
    let share = 100.0 / HOSTS as f64;
    parts.iter().map(|part| (part / share - 1.0).abs()).fold(0.0, f64::max)
}

async fn call(client: Client, hot: Arc<Vec<u64>>, mut chance: StdRng) {
    loop {
        let vnode = match chance.random_bool(HOT_CALLS) {
            true => hot[chance.random_range(0..hot.len())],
            false => chance.random_range(0..VNODES),
        };
        let counter = client.get::<Counter>(&key(vnode));
        counter.add(1).await.expect("no host fails");
        tokio::time::sleep(PAUSE).await;
    }
}

fn calls(hosts: &[Host]) -> Vec<u64> {
    hosts.iter().map(|host| host.status().commands).collect()
}

fn newest(hosts: &[Host]) -> Arc<EpochRecord> {
    let views = hosts.iter().filter_map(|host| host.views().borrow().clone());
    let newest = views.max_by_key(|view| view.record.epoch);
    Arc::clone(&newest.expect("the cluster is founded").record)
}

/// The slots whose owner changed.
fn differ(before: &EpochRecord, after: &EpochRecord) -> usize {
    let owner = |record: &EpochRecord| -> Vec<_> {
        let slots = &record.domains[&DomainId::HOME].slots;
        slots.iter().map(|(_, holding)| holding.owner.map(|owner| owner.session)).collect()
    };
    owner(before).iter().zip(owner(after)).filter(|(before, after)| *before != after).count()
}
