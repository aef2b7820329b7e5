//! Watchers, through failovers, moves and evictions.

use core::time::Duration;

use holocron::{Client, CommitNumber, Settings, VnodeRef};
use holocron_sim::Cluster;

use crate::tally::{Tally, key, kinds, tiny};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn cluster_of(seed: u64, settings: Settings, hosts: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(seed, settings, kinds);
    cluster.start_all(hosts);
    cluster
}

fn tally(client: &Client, number: u64) -> VnodeRef<Tally> {
    client.get::<Tally>(&key(number)).with_deadline(MINUTE)
}

/// Watches until a count is reached; returns how many commits it was shown. Each is newer than the one before and fits its
/// count, because each command is committed alone or with others.
async fn watch_until(client: Client, number: u64, last: u64) -> usize {
    let mut watch = tally(&client, number).watch(());
    let (mut newest, mut counted, mut shown) = (CommitNumber::ZERO, 0, 0);
    while counted < last {
        let (commit, (count, sum)) = watch.next().await.expect("it is shown in time");
        assert!(commit > newest, "{commit:?} after {newest:?}");
        assert!(count >= counted && sum == count * (count + 1) / 2, "{count} and {sum}");
        (newest, counted) = (commit, count);
        shown += 1;
    }
    shown
}

#[test]
fn watchers_through_kills_see_only_newer_commits_and_the_last_one() {
    let settings = Settings { idle_after: SECOND, ..tiny() };
    let mut cluster = cluster_of(51, settings, &["a", "b", "c"]);
    let watching: Vec<_> = (0..6)
        .flat_map(|number| [(number, "first"), (number, "second")])
        .map(|(number, name)| {
            let name = format!("{name}{number}");
            cluster.client(&name, move |client| watch_until(client, number, 60))
        })
        .collect();
    let counting = cluster.client("counter", |client| async move {
        for round in 1..=60 {
            for number in 0..6 {
                let count = tally(&client, number).command(round).await.unwrap();
                assert_eq!(count, round);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    for round in 0..9 {
        let victim = ["a", "b", "c"][round % 3];
        cluster.world.run(Duration::from_millis(1_100));
        match round % 3 {
            0 => cluster.world.crash(victim),
            1 => cluster.leave(victim),
            _ => cluster.world.pause(victim, 6 * SECOND),
        }
        cluster.world.run(Duration::from_millis(1_500));
        if round % 3 < 2 {
            cluster.start(victim);
        }
    }
    cluster.finish(counting, 5 * MINUTE);
    for watching in watching {
        let shown = cluster.finish(watching, MINUTE);
        assert!((10..=60).contains(&shown), "{shown} commits were shown");
    }
}

#[test]
fn an_idle_watcher_costs_no_store_request_and_leaves_its_vnode_out_of_memory() {
    let settings = Settings { idle_after: SECOND, ..tiny() };
    let mut cluster = cluster_of(52, settings, &["a"]);
    let creating = cluster.client("creator", |client| async move {
        for number in 0..20 {
            tally(&client, number).command(1).await.unwrap();
        }
    });
    cluster.finish(creating, MINUTE);
    cluster.world.run(10 * SECOND);
    let requests = |cluster: &Cluster| cluster.status("a").unwrap().requests;
    let idle = requests(&cluster);
    cluster.world.run(5 * MINUTE);
    let idle = requests(&cluster) - idle;
    let watching: Vec<_> = (0..20)
        .map(|number| {
            cluster
                .client(&format!("watcher{number}"), move |client| watch_until(client, number, 2))
        })
        .collect();
    cluster.world.run(10 * SECOND);
    let before = cluster.status("a").unwrap();
    assert_eq!((before.vnodes_active, before.in_flight), (0, 0), "nobody uses them");
    cluster.world.run(5 * MINUTE);
    let after = cluster.status("a").unwrap();
    assert_eq!(after.vnodes_active, 0);
    assert!(after.queries >= before.queries + 20 * 10, "watchers have come again");
    let watched = after.requests - before.requests;
    assert!(watched <= idle + 5, "{watched} requests, of which an idle host makes {idle}");
    let counting = cluster.client("counter", |client| async move {
        for number in 0..20 {
            tally(&client, number).command(2).await.unwrap();
        }
    });
    cluster.finish(counting, MINUTE);
    for watching in watching {
        assert_eq!(cluster.finish(watching, SECOND), 2, "told with the commit, not later");
    }
}

#[test]
fn a_watch_goes_on_after_a_commit_and_waits_for_a_vnode_to_begin() {
    let mut cluster = cluster_of(53, tiny(), &["a", "b"]);
    let waiting = cluster.client("early", |client| watch_until(client, 7, 3));
    cluster.world.run(30 * SECOND);
    let resuming = cluster.client("resumer", |client| async move {
        let vnode = tally(&client, 7);
        for round in 1..=3 {
            vnode.command(round).await.unwrap();
        }
        let (newest, _) = vnode.watch(()).next().await.unwrap();
        let mut watch = vnode.watch_commits().after(newest);
        let nothing = tokio::time::timeout(45 * SECOND, watch.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        vnode.command(4).await.unwrap();
        let next = watch.next().await.unwrap();
        assert!(next > newest, "{next:?}");
        let (commit, (count, _)) = vnode.watch(()).after(newest).next().await.unwrap();
        assert_eq!((commit, count), (next, 4));
    });
    cluster.finish(resuming, 3 * MINUTE);
    assert!(cluster.finish(waiting, SECOND) <= 3);
}
