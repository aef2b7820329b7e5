//! A second process under a host's name. It replaces the first one, and suspicion of the first doesn't count against
//! it: a suspect is a session, not a name.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{Epoch, SessionId},
};
use holocron_sim::Cluster;

use crate::tally::{count_all, three};

/// How long a replacement is observed after it was admitted: longer than any timeout of heartbeats.
const WATCHED: Duration = Duration::from_secs(5);

fn twin_of(host: &str) -> String {
    format!("{host}-twin")
}

/// Every epoch record in the store.
fn records(cluster: &mut Cluster) -> BTreeMap<Epoch, EpochRecord> {
    let store = cluster.world.store("historian");
    let keys = cluster.world.shelf.keys("epochs/");
    let reading = cluster.world.start("historian", async move {
        let mut records = BTreeMap::new();
        for key in keys {
            let stored = holocron_store::Store::get(&store, &key).await.unwrap().unwrap();
            let record = EpochRecord::decode(&key, &stored).unwrap();
            records.insert(record.epoch, record);
        }
        records
    });
    cluster.finish(reading, Duration::from_secs(30))
}

/// Waits until the first process has stopped, then checks for a while that the second keeps its session.
fn replaces(cluster: &mut Cluster, first: &str, says: &str) -> SessionId {
    cluster.until("the earlier process stops", Duration::from_secs(30), |cluster| {
        cluster.stopped(first).is_some_and(|why| why.contains(says))
    });
    cluster.world.run(WATCHED);
    let session = cluster.status(&twin_of(first)).unwrap().session;
    let (records, mut lived) = (records(cluster), false);
    for record in records.values().filter(|record| record.sessions.contains_key(&session)) {
        assert!(record.is_open(session), "{}: {}", record.epoch, record.reason);
        lived = true;
    }
    assert!(lived, "the replacement is a member");
    session
}

/// The sessions of a name, in the order of their admission.
fn sessions_of(cluster: &mut Cluster, name: &str) -> Vec<SessionId> {
    let mut sessions = Vec::new();
    for record in records(cluster).values() {
        for (session, entry) in &record.sessions {
            if entry.host.as_str() == name && !sessions.contains(session) {
                sessions.push(*session);
            }
        }
    }
    sessions
}

#[test]
fn a_leader_replaced_under_its_own_name_does_not_cost_the_replacement_its_session() {
    for seed in 0..4 {
        let mut cluster = three(700 + seed);
        let leader = cluster.leader().expect("a host leads");
        let counting = cluster.client("client", |client| count_all(client, 8, 40));
        let led = records(&mut cluster).len();
        cluster.world.pause(&leader, Duration::from_millis(500));
        cluster.start_at(&twin_of(&leader), &leader);
        let session = replaces(&mut cluster, &leader, "a later host named");
        assert_eq!(sessions_of(&mut cluster, &leader).last(), Some(&session), "{seed}");
        assert_eq!(sessions_of(&mut cluster, &leader).len(), 2, "{seed}: one each");
        let after = records(&mut cluster);
        let mut leaders: Vec<_> =
            after.values().skip(led).map(|record| record.leader.session).collect();
        leaders.dedup();
        assert!(leaders.len() <= 2, "{seed}: the leadership changed hands once, not {leaders:?}");
        cluster.finish(counting, Duration::from_secs(60));
    }
}

#[test]
fn suspicion_of_a_host_does_not_count_against_its_replacement() {
    // It crashes, and a process under its name starts elsewhere at about the time when the leader notices.
    for millis in (0..=48).step_by(4) {
        let mut cluster = three(720 + millis);
        let leader = cluster.leader().expect("a host leads");
        let victim = ["a", "b", "c"].into_iter().find(|name| *name != leader).unwrap();
        cluster.world.crash(victim);
        cluster.world.run(Duration::from_millis(millis));
        cluster.start_at(&twin_of(victim), victim);
        cluster.world.run(WATCHED);
        assert_eq!(sessions_of(&mut cluster, victim).len(), 2, "{millis} ms: one each");
    }
    // It is silent, and its replacement starts just before it becomes suspect.
    for millis in (600..=1_050).step_by(50) {
        let mut cluster = three(740 + millis);
        let leader = cluster.leader().expect("a host leads");
        let victim = ["a", "b", "c"].into_iter().find(|name| *name != leader).unwrap();
        cluster.world.pause(victim, Duration::from_secs(3));
        cluster.world.run(Duration::from_millis(millis));
        cluster.start_at(&twin_of(victim), victim);
        cluster.world.run(WATCHED);
        assert!(cluster.stopped(victim).is_some(), "{millis} ms");
        assert_eq!(sessions_of(&mut cluster, victim).len(), 2, "{millis} ms: one each");
    }
}

#[test]
fn a_host_that_leaves_does_not_remove_its_replacement() {
    for millis in [0, 5, 20, 50, 100, 300] {
        let mut cluster = three(800 + millis);
        let victim = "b";
        cluster.start_at(&twin_of(victim), victim);
        // It has read the log and asks to join while the first is leaving.
        cluster.leave(victim);
        cluster.world.run(Duration::from_millis(millis));
        cluster.until("the earlier process is gone", Duration::from_secs(40), |cluster| {
            cluster.stopped(victim).is_some()
        });
        cluster.world.run(WATCHED);
        let sessions = sessions_of(&mut cluster, victim);
        assert_eq!(sessions.len(), 2, "{millis} ms: one each");
        let twin = cluster.status(&twin_of(victim)).unwrap();
        assert_eq!(Some(&twin.session), sessions.last(), "{millis} ms");
        assert!(twin.slots_serving > 0, "{millis} ms: it has its share");
    }
}

#[test]
fn a_replacement_that_crashes_too_is_detected_at_once() {
    let mut cluster = three(760);
    let leader = cluster.leader().expect("a host leads");
    let victim = ["a", "b", "c"].into_iter().find(|name| *name != leader).unwrap();
    cluster.start_at(&twin_of(victim), victim);
    replaces(&mut cluster, victim, "a later host named");
    cluster.world.crash(&twin_of(victim));
    let others: Vec<_> = ["a", "b", "c"].into_iter().filter(|name| *name != victim).collect();
    cluster.until("the others serve everything", Duration::from_millis(500), |cluster| {
        others
            .iter()
            .filter_map(|name| cluster.status(name))
            .map(|it| it.slots_serving)
            .sum::<u32>()
            == 32
    });
}
