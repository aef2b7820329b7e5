//! Failures of the store and the network.

use core::time::Duration;
use std::collections::BTreeSet;

use holocron::{CallError, Client};
use holocron_sim::{Cluster, StoreFaults};

use crate::tally::{Tally, count_all, key, kinds, read_all, three, tiny};

fn sessions(cluster: &Cluster) -> BTreeSet<String> {
    let keys = cluster.world.shelf.keys("sessions/");
    keys.iter().filter_map(|key| key.split('/').nth(1).map(ToOwned::to_owned)).collect()
}

#[test]
fn an_outage_of_a_minute_ends_no_session_and_causes_no_epoch() {
    let mut cluster = three(21);
    let counting = cluster.client("client", |client| count_all(client, 20, 1_500));
    cluster.world.run(Duration::from_secs(8));
    assert!(!counting.is_finished(), "the load still runs");
    // Garbage collection, which leads to epochs, is finished by now.
    let (before, epochs) = (sessions(&cluster), cluster.world.shelf.keys("epochs/"));
    cluster.world.shelf.set_outage(Duration::from_secs(60));
    cluster.world.run(Duration::from_secs(62));
    assert_eq!(sessions(&cluster), before, "a session ended");
    assert_eq!(cluster.world.shelf.keys("epochs/"), epochs, "an epoch was written");
    assert_eq!(cluster.finish(counting, Duration::from_secs(240)), 20 * 1_500);
    assert_eq!(sessions(&cluster), before, "a session ended");
}

#[test]
fn a_store_that_fails_in_every_way_loses_nothing_while_hosts_come_and_go() {
    for seed in 0..3 {
        let mut cluster = Cluster::new(220 + seed, tiny(), kinds);
        cluster.world.shelf.set_faults(StoreFaults::all());
        cluster.start_all(&["a", "b"]);
        let counting = cluster.client("client", |client| count_all(client, 16, 150));
        cluster.world.run(Duration::from_millis(800));
        cluster.start("c");
        cluster.world.run(Duration::from_secs(2));
        cluster.world.crash("a");
        cluster.world.run(Duration::from_secs(2));
        cluster.start("a");
        cluster.finish(counting, Duration::from_secs(300));
        let reading = cluster.client("reader", |client| read_all(client, 16, 150));
        cluster.finish(reading, Duration::from_secs(60));
    }
}

#[test]
fn a_host_cut_off_from_the_others_is_replaced_and_comes_back() {
    let mut cluster = three(23);
    let counting = cluster.client("client", |client| count_all(client, 20, 200));
    cluster.world.run(Duration::from_millis(300));
    let victim = ["a", "b", "c"]
        .into_iter()
        .find(|name| cluster.leader().as_deref() != Some(*name))
        .unwrap();
    for other in ["a", "b", "c", "client"] {
        cluster.world.wire.cut(victim, other);
        cluster.world.wire.cut(other, victim);
    }
    cluster.world.run(Duration::from_secs(8));
    cluster.world.wire.heal();
    assert_eq!(cluster.finish(counting, Duration::from_secs(240)), 20 * 200);
    cluster.until("it serves again", Duration::from_secs(60), |cluster| {
        cluster.status(victim).is_some_and(|status| status.slots_serving > 0)
    });
}

/// Reads every vnode once; returns how many could be read.
async fn read_what_can_be(client: Client, vnodes: u64, rounds: u64) -> u64 {
    let mut read = 0;
    for number in 0..vnodes {
        let vnode = client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(2));
        match vnode.query(()).await {
            Ok((count, _)) => {
                assert_eq!(count, rounds, "{}: what was acknowledged is lost", key(number));
                read += 1;
            }
            Err(CallError::Unavailable { .. }) => {}
            Err(error) => panic!("{}: {error}", key(number)),
        }
    }
    read
}

#[test]
fn a_batch_deleted_from_a_dead_journal_blocks_its_slots_and_is_not_taken_for_the_end() {
    let mut cluster = Cluster::new(25, tiny(), kinds);
    cluster.start_all(&["a"]);
    let counting = cluster.client("client", |client| count_all(client, 16, 10));
    cluster.finish(counting, Duration::from_secs(60));
    cluster.world.crash("a");
    let journal = cluster.world.shelf.keys("sessions/");
    let journal: Vec<_> = journal.iter().filter(|key| key.contains("/journal/")).collect();
    let [.., deleted, _newest] = journal.as_slice() else { panic!("{journal:?}") };
    cluster.world.shelf.delete_outside(deleted);
    cluster.start("b");
    cluster.world.run(Duration::from_secs(20));
    let seal_at_the_gap = cluster.world.shelf.keys(deleted);
    assert_eq!(seal_at_the_gap, Vec::<String>::new(), "a seal there loses the batches above it");
    let reading = cluster.client("reader", |client| read_what_can_be(client, 16, 10));
    assert_eq!(cluster.finish(reading, Duration::from_secs(60)), 0, "every slot needs the journal");
}
