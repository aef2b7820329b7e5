//! Listings, through failovers, moves and checkpoints.

use core::time::Duration;
use std::collections::BTreeSet;

use holocron::{Client, Settings};
use holocron_sim::Cluster;

use crate::tally::{Tally, kinds, tiny};

const MINUTE: Duration = Duration::from_secs(60);

fn cluster_of(seed: u64, hosts: &[&str]) -> Cluster {
    let settings = Settings { idle_after: Duration::from_secs(1), ..tiny() };
    let mut cluster = Cluster::new(seed, settings, kinds);
    cluster.start_all(hosts);
    cluster
}

/// Vnodes that exist while a test runs.
fn steady(number: u64) -> String {
    format!("steady/{number:04}")
}

async fn create(client: &Client, key: &str) {
    client.get::<Tally>(key).with_deadline(MINUTE).command(1).await.unwrap();
}

/// Lists all pages; each key must come once.
async fn list(client: Client, prefix: &'static str) -> BTreeSet<String> {
    let mut listing = client.with_deadline(MINUTE).list("tally", prefix);
    let mut all = BTreeSet::new();
    while let Some(keys) = listing.next_page().await.unwrap() {
        for key in keys {
            assert!(all.insert(key.clone()), "{key} is listed twice");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    all
}

fn listed(cluster: &mut Cluster, prefix: &'static str) -> BTreeSet<String> {
    let listing = cluster.client("lister", move |client| list(client, prefix));
    cluster.finish(listing, 2 * MINUTE)
}

#[test]
fn a_listing_shows_what_was_acknowledged_wherever_its_record_is() {
    let mut cluster = cluster_of(41, &["a", "b", "c"]);
    let creating = cluster.client("creator", |client| async move {
        for number in 0..120 {
            create(&client, &steady(number)).await;
        }
        create(&client, "other").await;
    });
    cluster.finish(creating, MINUTE);
    let wanted: BTreeSet<String> = (0..120).map(steady).collect();
    // In the tail and in packs; then what a new owner has recovered; then what it has copied.
    assert_eq!(listed(&mut cluster, "steady/"), wanted);
    cluster.world.crash("a");
    assert_eq!(listed(&mut cluster, "steady/"), wanted);
    cluster.world.run(MINUTE);
    assert_eq!(listed(&mut cluster, "steady/"), wanted);
    assert_eq!(listed(&mut cluster, "steady/001").len(), 10);
    assert_eq!(listed(&mut cluster, "").len(), 121);
    assert_eq!(listed(&mut cluster, "nothing"), BTreeSet::new());

    // A deleted vnode isn't listed: neither at once, nor after its tombstone was copied.
    let deleting = cluster.client("deleter", |client| async move {
        for number in 0..60 {
            let vnode = client.get::<Tally>(&steady(number)).with_deadline(MINUTE);
            vnode.delete().await.unwrap();
        }
        // Asking for it doesn't make it exist.
        client.get::<Tally>("steady/asked").query(()).await.unwrap();
    });
    cluster.finish(deleting, MINUTE);
    let wanted: BTreeSet<String> = (60..120).map(steady).collect();
    assert_eq!(listed(&mut cluster, "steady/"), wanted);
    cluster.world.crash("b");
    cluster.world.run(MINUTE);
    assert_eq!(listed(&mut cluster, "steady/"), wanted);
}

#[test]
fn hosts_killed_and_slots_moved_in_the_middle_of_listings_hide_nothing() {
    let mut cluster = cluster_of(42, &["a", "b", "c"]);
    let creating = cluster.client("creator", |client| async move {
        for number in 0..100 {
            create(&client, &steady(number)).await;
        }
    });
    cluster.finish(creating, MINUTE);
    // Vnodes that come and go.
    let churning = cluster.client("churner", |client| async move {
        for number in 0..2_000_u64 {
            let vnode =
                client.get::<Tally>(&format!("brief/{}", number % 40)).with_deadline(MINUTE);
            if number % 3 == 0 {
                vnode.delete().await.unwrap();
            } else {
                vnode.command(number).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let listing = cluster.client("lister", |client| async move {
        let mut listings = 0_u32;
        for _ in 0..12 {
            let all = list(client.clone(), "").await;
            let steadies = all.iter().filter(|key| key.starts_with("steady/"));
            assert!(steadies.cloned().eq((0..100).map(steady)), "{all:?}");
            assert!(all.len() <= 140, "{all:?}");
            listings += 1;
        }
        listings
    });
    for round in 0..8 {
        let victim = ["a", "b", "c"][round % 3];
        cluster.world.run(Duration::from_millis(1_300));
        if round % 2 == 0 {
            cluster.world.crash(victim);
        } else {
            cluster.leave(victim);
        }
        cluster.world.run(Duration::from_millis(1_900));
        cluster.start(victim);
    }
    assert_eq!(cluster.finish(listing, 5 * MINUTE), 12);
    cluster.finish(churning, 5 * MINUTE);
}
