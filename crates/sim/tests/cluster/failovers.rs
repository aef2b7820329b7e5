//! Hosts crash, pause and come back, and no acknowledged command is lost.

use core::time::Duration;

use holocron::Settings;
use holocron_sim::{Cluster, StoreFaults};

use crate::tally::{Tally, count_all, count_on, key, kinds, read_all, three, tiny};

#[test]
fn twenty_failovers_in_a_row_keep_every_command_and_few_objects() {
    let mut cluster = three(11);
    cluster.world.shelf.set_faults(StoreFaults::all());
    let counting = cluster.client("client", |client| count_all(client, 24, 400));
    for round in 0..20 {
        let victim = ["a", "b", "c"][round % 3];
        cluster.world.run(Duration::from_millis(400));
        cluster.world.crash(victim);
        if round % 4 == 1 {
            // The adopter crashes too, in the middle of its recovery.
            let adopter = ["a", "b", "c"][(round + 1) % 3];
            cluster.world.run(Duration::from_millis(25));
            cluster.world.crash(adopter);
            cluster.world.run(Duration::from_millis(700));
            cluster.start(adopter);
        }
        cluster.world.run(Duration::from_millis(600));
        cluster.start(victim);
        cluster.world.run(Duration::from_millis(1_500));
    }
    let total = cluster.finish(counting, Duration::from_secs(600));
    assert_eq!(total, 24 * 400);
    let reading = cluster.client("reader", |client| read_all(client, 24, 400));
    cluster.finish(reading, Duration::from_secs(60));

    // Wait for garbage collection, then count what is left.
    cluster.world.shelf.set_faults(StoreFaults::none());
    cluster.world.run(Duration::from_secs(30));
    let keys = cluster.world.shelf.keys("sessions/");
    let live: Vec<_> = keys.iter().filter(|key| !key.contains("/trims/")).collect();
    assert!(live.len() < 300, "{} objects remain:\n{live:#?}", live.len());
}

#[test]
fn a_paused_host_answers_nothing_it_queued_and_rejoins() {
    let mut cluster = three(12);
    let warm = cluster.client("warm", |client| count_all(client, 30, 3));
    cluster.finish(warm, Duration::from_secs(30));
    let victim = ["a", "b", "c"]
        .into_iter()
        .find(|name| cluster.leader().as_deref() != Some(*name))
        .unwrap();
    let before = cluster.status(victim).unwrap();
    // Commands and linearizable queries are in flight to it, and queued in it, when it is paused.
    let counting = cluster.client("client", |client| count_all(client, 30, 0));
    cluster.finish(counting, Duration::from_secs(5));
    let counting = cluster.client("client", |client| async move {
        let one: Vec<_> = (0..30)
            .map(|number| {
                let vnode =
                    client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(60));
                tokio::spawn(async move { (vnode.command(4).await, vnode.query(()).await) })
            })
            .collect();
        for (number, one) in (0_u64..).zip(one) {
            let (command, query) = one.await.unwrap();
            assert_eq!(command, Ok(4), "{number}");
            assert_eq!(query, Ok((4, 10)), "{number}");
        }
    });
    cluster.world.run(Duration::from_millis(4));
    cluster.world.pause(victim, Duration::from_secs(20));
    // All callers are answered while it is paused: by other hosts.
    cluster.finish(counting, Duration::from_secs(15));
    assert!(!cluster.world.is_running(victim), "the answers came while it was paused");
    let committed = cluster.world.shelf.counts();
    cluster.until("it wakes and rejoins with a new session", Duration::from_secs(40), |cluster| {
        cluster.world.is_running(victim)
            && cluster
                .status(victim)
                .is_some_and(|now| now.session != before.session && now.slots_serving > 0)
    });
    drop(committed);
    let reading = cluster.client("reader", |client| async move {
        for number in 0..30 {
            assert_eq!(client.get::<Tally>(&key(number)).query(()).await, Ok((4, 10)), "{number}");
        }
    });
    cluster.finish(reading, Duration::from_secs(30));
}

#[test]
fn a_leader_that_was_paused_seals_no_host_when_it_wakes() {
    let mut cluster = three(13);
    let leader = cluster.leader().expect("a host leads");
    let others: Vec<&str> = ["a", "b", "c"].into_iter().filter(|name| *name != leader).collect();
    cluster.world.pause(&leader, Duration::from_secs(30));
    cluster.world.run(Duration::from_secs(25));
    let sessions: Vec<_> =
        others.iter().map(|name| cluster.status(name).unwrap().session).collect();
    assert!(cluster.leader().is_some_and(|now| now != leader), "another leads");
    let counting = cluster.client("client", |client| count_all(client, 20, 100));
    cluster.finish(counting, Duration::from_secs(120));
    cluster.world.run(Duration::from_secs(20));
    let after: Vec<_> = others.iter().map(|name| cluster.status(name).unwrap().session).collect();
    assert_eq!(sessions, after, "no session was sealed by a leader that was paused");
}

#[test]
fn all_hosts_crash_after_trims_and_everything_is_back_after_a_restart() {
    let mut cluster = three(14);
    let counting = cluster.client("client", |client| count_all(client, 40, 60));
    cluster.finish(counting, Duration::from_secs(120));
    let trims =
        cluster.world.shelf.keys("sessions/").iter().filter(|key| key.contains("/trims/")).count();
    assert!(trims > 10, "only {trims} trims: too few for this test");
    for name in ["a", "b", "c"] {
        cluster.world.crash(name);
    }
    cluster.world.run(Duration::from_secs(5));
    cluster.start_all(&["a", "b", "c"]);
    let reading = cluster.client("reader", |client| read_all(client, 40, 60));
    cluster.finish(reading, Duration::from_secs(60));
}

#[test]
fn a_host_that_crashes_right_after_a_checkpoint_and_its_trim_is_recovered() {
    // The last objects of the journal are then a checkpoint and its marks: everything that the seal names must exist.
    for seed in 0..6 {
        let mut cluster = three(150 + seed);
        let counting = cluster.client("client", |client| count_all(client, 12, 50));
        cluster.world.run(Duration::from_millis(400));
        let victim = ["a", "b", "c"][usize::try_from(seed % 3).unwrap()];
        let session = cluster.status(victim).unwrap().session;
        let trims = |cluster: &Cluster| {
            cluster.world.shelf.keys(&format!("sessions/{session}/trims/")).len()
        };
        let before = trims(&cluster);
        cluster.until("it trims", Duration::from_secs(60), |cluster| trims(cluster) > before);
        cluster.world.crash(victim);
        cluster.finish(counting, Duration::from_secs(240));
    }
}

#[test]
fn of_two_hosts_of_one_name_the_later_replaces_the_earlier() {
    let mut cluster = three(16);
    // Another process of that name, on another machine: another node, the same name.
    let (network, store) = (cluster.world.network("elsewhere"), cluster.world.store("elsewhere"));
    let later = cluster.world.start("elsewhere", async move {
        let mut host = holocron::Host::builder("memory://")
            .store(std::sync::Arc::new(store))
            .network(std::sync::Arc::new(network))
            .clock(std::sync::Arc::new(holocron::TokioClock::new()))
            .random(holocron::Random::from_seed(777))
            .name("b")
            .listen("elsewhere:0")
            .vnode::<Tally>()
            .settings(tiny())
            .start()
            .await
            .unwrap();
        host.stopped().await.to_string()
    });
    cluster.until("the earlier process stops", Duration::from_secs(30), |cluster| {
        cluster.stopped("b").is_some()
    });
    assert!(
        cluster.stopped("b").unwrap().contains("a later host named b"),
        "{:?}",
        cluster.stopped("b")
    );
    assert!(!later.is_finished(), "the later process continues");
    let counting = cluster.client("client", |client| count_on(client, 1, 20));
    cluster.finish(counting, Duration::from_secs(60));
}

/// A slot moves from A to B and back while A still has its old records of it in memory: B's acknowledged commands must
/// count.
#[test]
fn a_slot_that_comes_back_is_served_with_the_records_written_meanwhile() {
    // There are no checkpoints, so every record stays in the tails.
    let settings = Settings { checkpoint_batches: 100_000, ..tiny() };
    let mut cluster = Cluster::new(17, settings, kinds);
    cluster.start_all(&["a"]);
    for round in 1..=6 {
        let rounds = round * 2;
        let writing = cluster.client("writer", move |client| async move {
            for number in 0..40 {
                let vnode =
                    client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(60));
                for count in rounds - 1..=rounds {
                    assert_eq!(
                        vnode.command(count).await,
                        Ok(count),
                        "{}: lost or counted twice",
                        key(number)
                    );
                }
            }
        });
        cluster.finish(writing, Duration::from_secs(120));
        // Odd rounds are written by A alone, even ones by A and B. B's slots come back to A when B crashes.
        if round % 2 == 1 {
            cluster.start("b");
            cluster.until("b has its share", Duration::from_secs(30), |cluster| {
                cluster.status("b").is_some_and(|status| status.slots_serving > 10)
            });
        } else {
            cluster.world.crash("b");
            cluster.until("a has everything", Duration::from_secs(30), |cluster| {
                cluster.status("a").is_some_and(|status| status.slots_serving == 32)
            });
        }
    }
    let reading = cluster.client("reader", |client| read_all(client, 40, 12));
    cluster.finish(reading, Duration::from_secs(60));
}

/// The leader's own session is sealed on request: it continues to lead with a new session, without a timeout.
#[test]
fn a_leader_that_loses_its_session_continues_to_lead_with_the_next() {
    let mut cluster = three(18);
    let leader = cluster.leader().expect("a host leads");
    let before = cluster.status(&leader).unwrap();
    let (network, address) = (cluster.world.network("operator"), cluster.address(&leader));
    let name = holocron_protocol::ids::HostName::new(&leader).unwrap();
    drop(cluster.world.start("operator", async move {
        let (seal, within) = (holocron::PeerMessage::Seal(name), Duration::from_secs(10));
        drop(holocron::ask(&network, &address, seal, within).await);
    }));
    cluster.until("a later epoch has a leader", Duration::from_millis(600), |cluster| {
        let now = cluster.leader().and_then(|leader| cluster.status(&leader));
        now.is_some_and(|now| now.epoch > before.epoch && now.session != before.session)
    });
    let counting = cluster.client("client", |client| count_all(client, 20, 30));
    cluster.finish(counting, Duration::from_secs(30));
}

#[test]
fn a_host_that_was_paused_for_its_whole_membership_leads_with_a_new_session() {
    let mut cluster = three(17);
    let counting = cluster.client("client", |client| count_all(client, 16, 20));
    cluster.finish(counting, Duration::from_secs(60));
    let epochs = cluster.world.shelf.keys("epochs/").len();
    cluster.start("d");
    cluster.until("it is admitted", Duration::from_secs(20), |cluster| {
        cluster.world.shelf.keys("epochs/").len() > epochs
    });
    // It never learns that it was admitted. Meanwhile its session is sealed, detached and removed.
    cluster.world.pause("d", Duration::from_secs(60));
    cluster.world.run(Duration::from_secs(59));
    for host in ["a", "b", "c"] {
        cluster.world.crash(host);
    }
    // Alone, it leads. It must be able to serve the slots it assigns to itself, now and after a restart.
    let reading = cluster.client("reader", |client| read_all(client, 16, 20));
    cluster.finish(reading, Duration::from_secs(120));
    cluster.world.crash("d");
    cluster.start("a");
    let reading = cluster.client("reader", |client| read_all(client, 16, 20));
    cluster.finish(reading, Duration::from_secs(120));
}
