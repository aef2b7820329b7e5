//! Kinds with shards: each shard is open at one host at all times, and the hosts have their shares of them.

use core::time::Duration;
use std::sync::{Arc, atomic::Ordering};

use holocron::Settings;
use holocron_protocol::{
    epoch::{record::EpochRecord, shards::Shards},
    format::keys,
};
use holocron_sim::Cluster;

use crate::hooks::{Street, street_of};

const SHARDS: usize = 64;

/// A cluster of the usual 4,096 slots.
fn sharded(seed: u64) -> (Cluster, Arc<Street>) {
    let (cluster, street) = street_of(seed, Settings::default(), |kind| kind.shards(64));
    street.closes_fast.store(true, Ordering::Relaxed);
    (cluster, street)
}

/// Whether every shard is open at these hosts, and their numbers differ by at most one.
fn is_spread(street: &Street, hosts: &[&str]) -> bool {
    let holders = street.holders();
    let counts: Vec<usize> =
        hosts.iter().map(|host| holders.get(*host).copied().unwrap_or(0)).collect();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    counts.iter().sum::<usize>() == SHARDS
        && holders.len() <= hosts.len()
        && most <= least.map(|least| least + 1).as_ref()
}

fn until_spread(cluster: &mut Cluster, street: &Street, hosts: &[&str]) {
    let what = format!("64 shards are spread over {hosts:?}");
    cluster.until(&what, Duration::from_secs(30), |cluster| {
        let told = hosts.iter().filter_map(|host| cluster.status(host)).map(|status| status.shards);
        let open: u32 = told
            .filter(|told| told.serving == told.open && told.not_open.is_empty())
            .map(|told| told.open)
            .sum();
        is_spread(street, hosts) && open == 64
    });
}

fn newest(cluster: &Cluster) -> EpochRecord {
    let keys = cluster.world.shelf.keys(keys::EPOCHS);
    let key = keys.last().expect("there is an epoch");
    EpochRecord::decode(key, &cluster.world.shelf.read(key).expect("it is listed")).unwrap()
}

#[test]
fn sixty_four_shards_are_within_one_on_one_two_four_and_three_hosts() {
    let (mut cluster, street) = sharded(51);
    cluster.start("a");
    until_spread(&mut cluster, &street, &["a"]);
    cluster.start("b");
    until_spread(&mut cluster, &street, &["a", "b"]);
    cluster.start("c");
    cluster.start("d");
    until_spread(&mut cluster, &street, &["a", "b", "c", "d"]);
    cluster.leave("b");
    until_spread(&mut cluster, &street, &["a", "c", "d"]);
    // The other slots follow. Then nothing moves any more.
    cluster.world.run(Duration::from_secs(20));
    let settled = newest(&cluster).epoch;
    cluster.world.run(Duration::from_secs(60));
    let newest = newest(&cluster);
    let moved = newest
        .home()
        .slots
        .iter()
        .any(|(_, holding)| holding.owner.is_some_and(|owner| owner.epoch > settled));
    assert!(!moved, "slots move in a quiet minute: {}", newest.reason);
    assert!(is_spread(&street, &["a", "c", "d"]));
}

#[test]
fn the_shards_of_a_crashed_host_are_open_elsewhere_within_a_second_of_its_detection() {
    let (mut cluster, street) = sharded(52);
    let hosts = ["a", "b", "c"];
    for host in hosts {
        cluster.start(host);
        cluster.world.run(Duration::from_millis(300));
    }
    until_spread(&mut cluster, &street, &hosts);
    for round in 0..6 {
        let victim = hosts[round % 3];
        let rest: Vec<&str> = hosts.into_iter().filter(|host| *host != victim).collect();
        cluster.world.crash(victim);
        let gone =
            |cluster: &Cluster| !newest(cluster).hosts.keys().any(|host| host.as_str() == victim);
        cluster.until("it is detected", Duration::from_secs(20), gone);
        let detected = cluster.world.now();
        cluster.until("its shards are open elsewhere", Duration::from_secs(20), |_| {
            is_spread(&street, &rest)
        });
        let took = cluster.world.now() - detected;
        assert!(took <= Duration::from_secs(1), "round {round}: {took:?}");
        cluster.start(victim);
        until_spread(&mut cluster, &street, &hosts);
    }
}

#[test]
fn in_a_rolling_upgrade_shards_go_to_hosts_that_have_the_kind() {
    let (mut cluster, street) = street_of(53, Settings::default(), |kind| kind);
    street.closes_fast.store(true, Ordering::Relaxed);
    cluster.start_all(&["a", "b"]);
    assert!(street.holders().is_empty() && newest(&cluster).shards.is_empty());
    let on = Arc::clone(&street);
    cluster.equip(move |node, builder| builder.kind(crate::hooks::guests(node, &on).shards(64)));
    cluster.start("c");
    until_spread(&mut cluster, &street, &["c"]);
    cluster.leave("a");
    cluster.until("a leaves", Duration::from_secs(20), |cluster| cluster.stopped("a").is_some());
    cluster.start("a");
    until_spread(&mut cluster, &street, &["a", "c"]);
}

#[test]
fn a_host_that_declares_another_number_stops_and_says_why() {
    let (mut cluster, street) = sharded(54);
    cluster.start_all(&["a", "b"]);
    let on = Arc::clone(&street);
    cluster.equip(move |node, builder| builder.kind(crate::hooks::guests(node, &on).shards(32)));
    cluster.start("c");
    cluster.until("c stops", Duration::from_secs(20), |cluster| cluster.stopped("c").is_some());
    let why = cluster.stopped("c").unwrap();
    assert!(why.contains("kind guest has 64 shards in this cluster"), "{why}");
    assert_ne!(newest(&cluster).shards, Shards::default());
    until_spread(&mut cluster, &street, &["a", "b"]);
}
