//! What has to happen though nobody asks for it: copies, garbage, and looking whether the leader is still there.

use core::{ops::Range, time::Duration};

use holocron::Client;
use holocron_sim::Cluster;

use crate::tally::{count_all, count_on, kinds, read_all, three, tiny};

/// Objects of sessions that aren't there for ever: no marks, and of each journal not the last object, which is a seal
/// or the newest batch.
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
fn adopters_that_nobody_calls_copy_what_they_adopted_and_let_the_dead_session_go() {
    let mut cluster = three(31);
    let counting = cluster.client("client", |client| count_all(client, 24, 12));
    cluster.finish(counting, Duration::from_secs(60));
    let before = journals(&cluster);
    cluster.world.crash("a");
    // Nobody calls anything.
    cluster.world.run(Duration::from_secs(30));
    let after = journals(&cluster);
    let gone: Vec<_> = before
        .iter()
        .filter(|&(session, &had)| had > 1 && after.get(session) == Some(&1))
        .collect();
    assert_eq!(gone.len(), 1, "of one session only its seal is left: {before:?}, then {after:?}");
    let reading = cluster.client("reader", |client| read_all(client, 24, 12));
    cluster.finish(reading, Duration::from_secs(60));
}

#[test]
fn a_leader_that_stops_right_after_an_epoch_is_missed_like_any_other() {
    let mut cluster = three(32);
    let leader = cluster.leader().expect("somebody leads");
    let epochs = cluster.world.shelf.keys("epochs/").len();
    // A host that joins makes the leader write an epoch.
    cluster.start("d");
    cluster.until("an epoch is written", Duration::from_secs(20), |cluster| {
        cluster.world.shelf.keys("epochs/").len() > epochs
    });
    cluster.world.pause(&leader, Duration::from_secs(60));
    let epochs = cluster.world.shelf.keys("epochs/").len();
    // Four heartbeats of 250 ms, the back-off by rank, a few requests; not the 24 s it takes to miss a hint.
    cluster.until("another leads", Duration::from_secs(4), |cluster| {
        let written = cluster.world.shelf.keys("epochs/").len() > epochs;
        written && cluster.leader().is_some_and(|now| now != leader)
    });
}

/// A process that is killed resets, for a moment, even what is new. That says nothing yet; that nobody listens there soon
/// after says enough, long before silence does.
#[test]
fn a_leader_whose_process_dies_is_followed_at_once() {
    for seed in 50..58 {
        let mut cluster = three(seed);
        cluster.world.run(Duration::from_secs(2));
        let leader = cluster.leader().expect("somebody leads");
        cluster.world.crash(&leader);
        // Reconnects a millisecond apart, the back-off by rank, one create; not four heartbeats of 250 ms.
        cluster.until("another leads", Duration::from_millis(400), |cluster| {
            cluster.leader().is_some_and(|now| now != leader)
        });
    }
}

/// Counts at one vnode after the other, so that each checkpoint finds few of them written.
async fn count_one_by_one(client: Client, vnodes: Range<u64>, rounds: u64) {
    for number in vnodes {
        count_on(client.clone(), number, rounds).await;
    }
}

/// A checkpoint takes several requests. When one that merges packs has begun, an epoch may come and with it a Release,
/// whose reader goes by the checkpoint before: its packs must stay until the reader has copies of its own.
#[test]
fn packs_merged_while_slots_are_given_away_stay_for_those_who_read_them() {
    // What meets is a few milliseconds long. Judged by the epoch at its beginning, it did after 70 to 74 ms.
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
