//! The number of requests, which is the cost of a store, doesn't grow with vnodes.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron::Settings;
use holocron_sim::Cluster;

use crate::tally::{Tally, key, kinds};

fn grown(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
    verb: &str,
) -> u64 {
    after.get(verb).copied().unwrap_or(0) - before.get(verb).copied().unwrap_or(0)
}

fn settings() -> Settings {
    Settings { slots: 64, checkpoint_batches: 4, ..Settings::default() }
}

/// A cluster of two hosts; the states of all vnodes are only in packs of the host that will crash.
fn packed(vnodes: u64, seed: u64, settings: Settings) -> Cluster {
    let mut cluster = Cluster::new(seed, settings, kinds);
    cluster.start_all(&["a", "b"]);
    let filling = cluster.client("filler", move |client| async move {
        let all: Vec<_> = (0..vnodes)
            .map(|number| {
                let vnode =
                    client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(60));
                tokio::spawn(async move { vnode.command(1).await.expect("a healthy cluster") })
            })
            .collect();
        for one in all {
            one.await.unwrap();
        }
        // Some more batches, so that a checkpoint covers those above.
        for _ in 0..12 {
            client.get::<Tally>("last").command(1).await.unwrap();
            client.get::<Tally>("last too").command(1).await.unwrap();
            client.get::<Tally>("and last").command(1).await.unwrap();
        }
    });
    cluster.finish(filling, Duration::from_secs(240));
    cluster.world.run(Duration::from_secs(20));
    cluster
}

/// The victim, which isn't the leader, and the survivor, which is.
fn roles(cluster: &Cluster) -> (&'static str, &'static str) {
    if cluster.leader().as_deref() == Some("a") { ("b", "a") } else { ("a", "b") }
}

fn take_over(cluster: &mut Cluster, victim: &str, survivor: &str) {
    cluster.world.crash(victim);
    cluster.until("all its slots are served", Duration::from_secs(10), |cluster| {
        cluster.status(survivor).is_some_and(|status| status.slots_serving == 64)
    });
}

/// Reads ten vnodes.
fn read_ten(cluster: &mut Cluster) {
    let asking = cluster.client("asker", |client| async move {
        for number in 0..10 {
            assert_eq!(client.get::<Tally>(&key(number)).query(()).await, Ok((1, 1)));
        }
    });
    cluster.finish(asking, Duration::from_secs(30));
}

/// The requests from the crash of one host until the other serves all slots, with all states in packs.
fn takeover_requests(vnodes: u64) -> u64 {
    let mut cluster = packed(vnodes, 31, settings());
    let (victim, survivor) = roles(&cluster);
    let status = cluster.status(victim).expect("it runs");
    assert!(status.packs > 0, "its states are in packs");
    let tail = status.progress.committed.get() - status.progress.low_water.get();
    let before = cluster.world.shelf.counts();
    take_over(&mut cluster, victim, survivor);
    let after = cluster.world.shelf.counts();
    read_ten(&mut cluster);
    let verbs = ["create", "get", "get a range", "list", "put", "delete"];
    let requests: u64 = verbs.iter().map(|verb| grown(&before, &after, verb)).sum();
    println!("{requests} requests, {tail} tail batches, {} packs", status.packs);
    // A journal costs one get per tail batch and per pack index, for any number of vnodes.
    requests - tail - u64::from(status.packs)
}

#[test]
fn a_takeover_takes_as_many_requests_for_ten_vnodes_as_for_ten_thousand() {
    let (few, many) = (takeover_requests(10), takeover_requests(10_000));
    println!("requests of a takeover: {few} with 10 vnodes, {many} with 10,000");
    assert!(many.abs_diff(few) <= 4, "{few} with 10 vnodes, {many} with 10,000");
}

/// A small pack is read completely with its index, so its vnodes are in memory when their slots are served.
#[test]
fn vnodes_of_a_small_pack_are_used_after_a_takeover_without_a_request_each() {
    // Copying would cause requests too.
    let without_copies = Settings { copy_pause: Duration::from_secs(60), ..settings() };
    let mut shown = 0;
    for seed in 33..39 {
        let mut cluster = packed(10, seed, without_copies.clone());
        let (victim, survivor) = roles(&cluster);
        let checkpoint =
            |cluster: &Cluster| cluster.status(survivor).expect("it runs").progress.checkpoint_at;
        let checkpoint_before = checkpoint(&cluster);
        take_over(&mut cluster, victim, survivor);
        let before = cluster.world.shelf.counts();
        // Local, because a barrier looks for a witness, which is a ranged get too.
        let asking = cluster.client("asker", |client| async move {
            for number in 0..10 {
                assert_eq!(client.get::<Tally>(&key(number)).local(()).await, Ok((1, 1)));
            }
        });
        cluster.finish(asking, Duration::from_secs(30));
        let gets = grown(&before, &cluster.world.shelf.counts(), "get a range");
        cluster.world.run(Duration::from_secs(1));
        // A checkpoint that came due just then has copied the states into packs of the survivor.
        if checkpoint(&cluster) == checkpoint_before {
            assert_eq!(gets, 0, "{seed}");
            shown += 1;
        }
    }
    assert!(shown >= 2, "checkpoints came due in nearly every run");
}

#[test]
fn creates_per_second_do_not_grow_with_dirty_vnodes() {
    let creates = |vnodes: u64| {
        let mut cluster =
            Cluster::new(32, Settings { checkpoint_batches: 256, ..settings() }, kinds);
        cluster.start_all(&["a"]);
        let writing = cluster.client("writer", move |client| async move {
            let all: Vec<_> = (0..vnodes)
                .map(|number| {
                    let vnode =
                        client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(60));
                    tokio::spawn(async move {
                        loop {
                            vnode.command(1).await.expect("a healthy cluster");
                        }
                    })
                })
                .collect();
            for one in all {
                drop(one.await);
            }
        });
        cluster.world.run(Duration::from_secs(1));
        let before = cluster.world.shelf.counts();
        cluster.world.run(Duration::from_secs(2));
        assert!(!writing.is_finished(), "the load still runs");
        grown(&before, &cluster.world.shelf.counts(), "create")
    };
    let (few, many) = (creates(20), creates(1_000));
    println!("creates in 2 s: {few} with 20 dirty vnodes, {many} with 1,000");
    // One batch in flight: at most one create per usual latency of 5 ms, for any number of dirty vnodes.
    assert!(few <= 400 && many <= 400, "{few} with 20 dirty vnodes, {many} with 1,000");
}

#[test]
fn an_idle_cluster_makes_only_hint_requests() {
    let mut cluster = packed(100, 33, settings());
    cluster.world.run(Duration::from_secs(10));
    let before = cluster.world.shelf.counts();
    cluster.world.run(Duration::from_secs(120));
    let after = cluster.world.shelf.counts();
    let verb = |verb| grown(&before, &after, verb);
    assert_eq!((verb("create"), verb("delete")), (0, 0), "an idle cluster commits nothing");
    let total = verb("put") + verb("get") + verb("get a range") + verb("list");
    println!("two idle hosts make {total} requests in 120 s");
    // At most one per host and 2 s.
    assert!(total <= 120, "{total} requests in 120 s");
}
