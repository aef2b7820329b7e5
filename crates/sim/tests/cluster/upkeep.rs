//! Background work: copies, garbage collection, and watching the leader.

use core::{ops::Range, time::Duration};

use holocron::Client;
use holocron_sim::Cluster;

use crate::tally::{count_all, count_on, kinds, read_all, three, tiny};

/// Objects of sessions that are deleted eventually: without marks, and without the last object of each journal, which
/// is a seal or the newest batch.
fn journals(cluster: &Cluster) -> std::collections::BTreeMap<String, usize> {
    let mut journals = std::collections::BTreeMap::new();
    for key in cluster.world.shelf.keys("sessions/") {
        let mut parts = key.split('/').skip(1);
        let (Some(session), Some("journal" | "packs")) = (parts.next(), parts.next()) else {
            continue;
        };
        *journals.entry(session.to_owned()).or_default() += 1;
    }
    journals
}

#[test]
fn idle_adopters_copy_what_they_adopted_and_release_the_dead_session() {
    let mut cluster = three(31);
    let counting = cluster.client("client", |client| count_all(client, 24, 12));
    cluster.finish(counting, Duration::from_secs(60));
    let before = journals(&cluster);
    cluster.world.crash("a");
    // There are no calls.
    cluster.world.run(Duration::from_secs(30));
    let after = journals(&cluster);
    let gone: Vec<_> = before
        .iter()
        .filter(|&(session, &had)| had > 1 && after.get(session) == Some(&1))
        .collect();
    assert_eq!(gone.len(), 1, "one session has only its seal left: {before:?}, then {after:?}");
    let reading = cluster.client("reader", |client| read_all(client, 24, 12));
    cluster.finish(reading, Duration::from_secs(60));
}

#[test]
fn a_leader_that_stops_right_after_an_epoch_is_replaced_as_fast_as_usual() {
    let mut cluster = three(32);
    let leader = cluster.leader().expect("a host leads");
    let epochs = cluster.world.shelf.keys("epochs/").len();
    // A host that joins causes an epoch.
    cluster.start("d");
    cluster.until("an epoch is written", Duration::from_secs(20), |cluster| {
        cluster.world.shelf.keys("epochs/").len() > epochs
    });
    cluster.world.pause(&leader, Duration::from_secs(60));
    let epochs = cluster.world.shelf.keys("epochs/").len();
    // Four heartbeats of 250 ms, the delay by rank, some requests; not the 24 s of the timeout for hints.
    cluster.until("another leads", Duration::from_secs(4), |cluster| {
        let written = cluster.world.shelf.keys("epochs/").len() > epochs;
        written && cluster.leader().is_some_and(|now| now != leader)
    });
}

/// A killed process resets even new connections for a moment. That proves nothing yet; refused connections soon after
/// do, long before the heartbeat timeout.
#[test]
fn a_leader_whose_process_dies_is_replaced_at_once() {
    for seed in 50..58 {
        let mut cluster = three(seed);
        cluster.world.run(Duration::from_secs(2));
        let leader = cluster.leader().expect("a host leads");
        cluster.world.crash(&leader);
        // Reconnects every millisecond, the delay by rank, one create; not four heartbeats of 250 ms.
        cluster.until("another leads", Duration::from_millis(400), |cluster| {
            cluster.leader().is_some_and(|now| now != leader)
        });
    }
}

/// Counts at one vnode after the other, so that each checkpoint has few dirty vnodes.
async fn count_one_by_one(client: Client, vnodes: Range<u64>, rounds: u64) {
    for number in vnodes {
        count_on(client.clone(), number, rounds).await;
    }
}

/// A checkpoint takes several requests. While one merges packs, an epoch may cause a Release, whose reader uses the
/// previous checkpoint: its packs must stay until the reader has its own copies.
#[test]
fn packs_merged_during_a_handoff_stay_for_their_readers() {
    // The race is a few milliseconds long. When the epoch at the checkpoint's start still decided, waits of 70 to 74 ms
    // hit it.
    for wait in (60..84).step_by(2) {
        let mut cluster = Cluster::new(43, tiny(), kinds);
        cluster.start("a");
        let counting = cluster.client("client", |client| count_one_by_one(client, 0..40, 1));
        cluster.finish(counting, Duration::from_secs(60));
        let busy = cluster.client("busy", |client| count_one_by_one(client, 100..400, 1));
        cluster.world.run(Duration::from_millis(wait));
        cluster.start("b");
        cluster.world.run(Duration::from_secs(2));
        let reading = cluster.client("reader", |client| read_all(client, 40, 1));
        cluster.finish(reading, Duration::from_secs(60));
        drop(busy);
    }
}
