//! A load tool: 100,000 vnodes of which one in a hundred takes nine calls of ten, on four hosts.
//!
//! It runs four hosts on a directory store below the temporary directory, in one process so that they share the machine
//! evenly, and callers that add 1 to counters. Every five seconds it prints each host's part of the calls and the slots that
//! were moved so far. It fails if after 30 seconds a host is more than a tenth off its share, or if a slot moves in the minute
//! after that.
//!
//! ```text
//! uneven-load [SEED]
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{error::Error, sync::Arc};

use holocron::{Client, Host, Settings, Vnode};
use holocron_cli::kinds::Counter;
use holocron_protocol::{epoch::record::EpochRecord, ids::DomainId};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

type Command = <Counter as Vnode>::Command;
type Outcome<T> = Result<T, Box<dyn Error>>;

const HOSTS: usize = 4;
const CALLERS: u64 = 128;
const VNODES: u64 = 100_000;
/// Every so many vnodes, one is hot; which ones, the seed decides.
const HOT_OF: u64 = 100;
/// How a caller chooses: nine calls of ten go to a hot vnode.
const HOT_CALLS: f64 = 0.9;
/// How long until the load must be even, and how long nothing may move after that.
const EVEN_AFTER: Duration = Duration::from_secs(30);
const STILL_FOR: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(5);
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
    let hot: Arc<Vec<u64>> = Arc::new(hot(seed));
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
    let (mut before, mut moved, mut last) = (calls(&hosts), 0, newest(&hosts));
    let (mut worst, mut still) = (0.0_f64, 0);
    while began.elapsed() < EVEN_AFTER + STILL_FOR {
        tokio::time::sleep(EVERY).await;
        let (now, record) = (calls(&hosts), newest(&hosts));
        let rates: Vec<u64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
        let all: u64 = rates.iter().sum();
        let parts: Vec<f64> = rates.iter().map(|&rate| 100.0 * rate as f64 / all as f64).collect();
        let changed = differ(&last, &record);
        moved += changed;
        if began.elapsed() > EVEN_AFTER {
            let share = 100.0 / HOSTS as f64;
            let off = parts.iter().map(|part| (part / share - 1.0).abs()).fold(0.0, f64::max);
            worst = worst.max(off);
            still += changed;
        }
        let shown: Vec<String> = parts.iter().map(|part| format!("{part:5.1}")).collect();
        let seconds = began.elapsed().as_secs();
        println!(
            "{seconds:7}  {:7}  {}  {moved:11}  {}",
            all / EVERY.as_secs(),
            shown.join(" "),
            record.epoch
        );
        (before, last) = (now, record);
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

fn hot(seed: u64) -> Vec<u64> {
    let mut chance = StdRng::seed_from_u64(seed);
    (0..VNODES / HOT_OF).map(|at| at * HOT_OF + chance.random_range(0..HOT_OF)).collect()
}

async fn call(client: Client, hot: Arc<Vec<u64>>, mut chance: StdRng) {
    loop {
        let vnode = match chance.random_bool(HOT_CALLS) {
            true => hot[chance.random_range(0..hot.len())],
            false => chance.random_range(0..VNODES),
        };
        let counter = client.get::<Counter>(&format!("v{vnode}"));
        counter.command(Command::Add(1)).await.expect("no host fails");
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
