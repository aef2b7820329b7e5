//! What has to happen though nobody asks for it: copies, garbage, and looking whether the leader is still there.

use core::time::Duration;

use holocron_sim::Cluster;

use crate::tally::{count_all, read_all, three};

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
