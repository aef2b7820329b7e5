//! Hosts of two versions of a kind: a rolling upgrade, and back.

use core::time::Duration;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use holocron::{CallError, Client, Context, OldState, Unavailable, Vnode};
use holocron_protocol::{epoch::record::EpochRecord, format::keys};
use holocron_sim::Cluster;
use serde::{Deserialize, Serialize};

use crate::tally::tiny;

const MINUTE: Duration = Duration::from_secs(60);
const SLOTS: usize = 32;
const VNODES: u64 = 40;

/// Counts its commands.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Volume<const VERSION: u32> {
    count: u64,
}

impl<const VERSION: u32> Vnode for Volume<VERSION> {
    const KIND: &'static str = "volume";
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

/// The version of the hosts that start from now on, and what callers saw.
#[derive(Debug, Default)]
struct Shelf {
    version: AtomicU32,
    /// By vnode, how often it has counted.
    counts: Vec<AtomicU64>,
    unreadable: AtomicU64,
    over: AtomicBool,
}

fn cluster(seed: u64) -> (Cluster, Arc<Shelf>) {
    let mut cluster = Cluster::new(seed, tiny(), |builder| builder);
    let counts = (0..VNODES).map(|_| AtomicU64::new(0)).collect();
    let shelf = Arc::new(Shelf { counts, ..Shelf::default() });
    let of_hosts = Arc::clone(&shelf);
    cluster.equip(move |_, builder| match of_hosts.version.load(Ordering::Relaxed) {
        1 => builder.vnode::<Volume<1>>(),
        _ => builder.vnode::<Volume<2>>(),
    });
    (cluster, shelf)
}

fn is_unreadable(error: &CallError) -> bool {
    matches!(error, CallError::Unavailable { reason: Unavailable::Unreadable, .. })
}

/// Calls one vnode after the other until it is told to end.
async fn read_on(client: Client, shelf: Arc<Shelf>) {
    let mut number = 0;
    while !shelf.over.load(Ordering::Relaxed) {
        let count = &shelf.counts[number];
        let vnode = client.get::<Volume<2>>(&format!("v{number}")).with_deadline(MINUTE);
        match vnode.command(()).await {
            Ok(reply) => assert_eq!(reply, count.fetch_add(1, Ordering::Relaxed) + 1, "v{number}"),
            Err(error) if is_unreadable(&error) => {
                shelf.unreadable.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("v{number}: {error}"),
        }
        number = (number + 1) % shelf.counts.len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn newest(cluster: &Cluster) -> EpochRecord {
    let key = cluster.world.shelf.keys(keys::EPOCHS).last().cloned().expect("there is an epoch");
    EpochRecord::decode(&key, &cluster.world.shelf.read(&key).expect("it is listed")).unwrap()
}

/// How many slots a host has by the newest record.
fn slots_of(cluster: &Cluster, host: &str) -> usize {
    let record = newest(cluster);
    let owners = record.home().slots.iter().filter_map(|(_, holding)| holding.owner);
    let hosts = owners.filter_map(|owner| record.host_of(owner.session));
    hosts.filter(|(name, _)| name.as_str() == host).count()
}

/// Stops a host and starts it again with another version.
fn restart(cluster: &mut Cluster, shelf: &Shelf, (host, version): (&str, u32)) {
    stop(cluster, host);
    start(cluster, shelf, (host, version));
}

fn stop(cluster: &mut Cluster, host: &str) {
    cluster.leave(host);
    cluster.until("it leaves", MINUTE, |cluster| cluster.stopped(host).is_some());
}

fn start(cluster: &mut Cluster, shelf: &Shelf, (host, version): (&str, u32)) {
    shelf.version.store(version, Ordering::Relaxed);
    cluster.start(host);
    cluster.world.run(Duration::from_secs(20));
    assert!(newest(cluster).hosts.keys().any(|name| name.as_str() == host), "{host} joins");
}

fn unreadable(shelf: &Shelf) -> u64 {
    shelf.unreadable.load(Ordering::Relaxed)
}

/// Reads all vnodes; the number of those that can't be read.
fn lost(cluster: &mut Cluster, shelf: &Arc<Shelf>) -> u64 {
    let shelf = Arc::clone(shelf);
    let reading = cluster.client("reader", move |client| async move {
        let mut lost = 0;
        for (number, count) in shelf.counts.iter().enumerate() {
            let vnode = client.get::<Volume<2>>(&format!("v{number}")).with_deadline(MINUTE);
            match vnode.query(()).await {
                Ok(answer) => assert_eq!(answer, count.load(Ordering::Relaxed), "v{number}"),
                Err(error) if is_unreadable(&error) => lost += 1,
                Err(error) => panic!("v{number}: {error}"),
            }
        }
        lost
    });
    cluster.finish(reading, 2 * MINUTE)
}

#[test]
fn calls_are_readable_in_a_rolling_upgrade_and_back_while_a_new_host_lives() {
    let (mut cluster, shelf) = cluster(81);
    start(&mut cluster, &shelf, ("a", 1));
    start(&mut cluster, &shelf, ("b", 1));
    let of_callers = Arc::clone(&shelf);
    let calling = cluster.client("caller", |client| read_on(client, of_callers));
    start(&mut cluster, &shelf, ("c", 2));
    assert!(slots_of(&cluster, "c").abs_diff(SLOTS / 3) <= 1, "slots go to a new host freely");
    cluster.world.crash("c");
    cluster.until("c is failed", MINUTE, |cluster| slots_of(cluster, "c") == 0);
    assert!(!newest(&cluster).home().unread.is_empty(), "no host can read all of its slots");
    start(&mut cluster, &shelf, ("c", 2));
    cluster.until("c has its slots again", MINUTE, |cluster| {
        newest(cluster).home().unread.is_empty() && slots_of(cluster, "c") > 0
    });
    cluster.world.run(Duration::from_secs(2));
    let before = unreadable(&shelf);
    restart(&mut cluster, &shelf, ("a", 2));
    restart(&mut cluster, &shelf, ("b", 2));
    for host in ["a", "b", "c"] {
        let slots = slots_of(&cluster, host);
        assert!(slots >= SLOTS / 6, "{host} has {slots} slots: all are alike again");
    }
    restart(&mut cluster, &shelf, ("a", 1));
    restart(&mut cluster, &shelf, ("b", 1));
    assert_eq!(slots_of(&cluster, "c"), SLOTS, "only c can read them");
    assert_eq!(unreadable(&shelf), before, "c lives");
    assert!(newest(&cluster).home().unread.is_empty());
    shelf.over.store(true, Ordering::Relaxed);
    cluster.finish(calling, MINUTE);
    assert_eq!(lost(&mut cluster, &shelf), 0);
}

#[test]
fn without_a_new_host_the_rest_is_served_and_a_new_one_gets_what_only_it_can_read() {
    let (mut cluster, shelf) = cluster(82);
    start(&mut cluster, &shelf, ("a", 2));
    start(&mut cluster, &shelf, ("b", 1));
    let of_callers = Arc::clone(&shelf);
    let calling = cluster.client("caller", |client| read_on(client, of_callers));
    cluster.world.run(Duration::from_secs(5));
    shelf.over.store(true, Ordering::Relaxed);
    cluster.finish(calling, MINUTE);
    stop(&mut cluster, "a");
    cluster.world.run(Duration::from_secs(5));
    assert_eq!(slots_of(&cluster, "b"), SLOTS, "every slot is served");
    let of_a = lost(&mut cluster, &shelf);
    assert!(of_a > 0, "what a has stored can't be read");
    let fresh = cluster.client("fresh", |client| async move {
        for number in 0..VNODES {
            let vnode = client.get::<Volume<1>>(&format!("fresh{number}")).with_deadline(MINUTE);
            assert_eq!(vnode.command(()).await, Ok(1), "the rest of its slot is served");
        }
    });
    cluster.finish(fresh, MINUTE);
    start(&mut cluster, &shelf, ("d", 2));
    assert!(newest(&cluster).home().unread.is_empty(), "d can read it");
    assert_eq!(lost(&mut cluster, &shelf), 0);
    let again = cluster.client("again", |client| async move {
        for number in 0..VNODES {
            let vnode = client.get::<Volume<2>>(&format!("fresh{number}")).with_deadline(MINUTE);
            assert_eq!(vnode.query(()).await, Ok(1));
        }
    });
    cluster.finish(again, MINUTE);
}
