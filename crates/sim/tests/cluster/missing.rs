//! A vnode's state is read and its object is missing: because another host owns the vnode by now, or because the object
//! was deleted from outside.

use core::time::Duration;
use std::{collections::BTreeSet, sync::Arc};

use holocron::{CallError, Host, Random, Settings, TokioClock};
use holocron_sim::Cluster;
use holocron_store::Store;

use crate::tally::{Tally, count_all, count_on, key, kinds, tiny};

const VNODES: u64 = 40;

/// Vnodes leave memory early, so that their states are read again.
fn settings() -> Settings {
    Settings { idle_after: Duration::from_millis(500), ..tiny() }
}

fn sessions(cluster: &Cluster) -> BTreeSet<String> {
    let keys = cluster.world.shelf.keys("sessions/");
    keys.iter().filter_map(|key| key.split('/').nth(1).map(ToOwned::to_owned)).collect()
}

/// Counts every vnode to 1, and others until checkpoints cover that; then waits until all vnodes have left memory.
fn fill(cluster: &mut Cluster) {
    let filling = cluster.client("filler", |client| async move {
        count_all(client.clone(), VNODES, 1).await;
        let more = (100..140).map(|number| tokio::spawn(count_on(client.clone(), number, 20)));
        for one in more.collect::<Vec<_>>() {
            one.await.unwrap();
        }
    });
    cluster.finish(filling, Duration::from_secs(60));
    cluster.world.run(Duration::from_secs(5));
}

#[test]
fn a_host_that_was_replaced_while_paused_does_not_take_collected_objects_for_damage() {
    let mut cluster = Cluster::new(61, settings(), kinds);
    cluster.start_all(&["a", "b"]);
    let others = sessions(&cluster);
    let (network, store) = (cluster.world.network("v"), cluster.world.store("v"));
    let asking = cluster.world.start("v", async move {
        let host = Host::builder("memory://")
            .store(Arc::new(store))
            .network(Arc::new(network))
            .clock(Arc::new(TokioClock::new()))
            .random(Random::from_seed(612))
            .name("v")
            .listen("v:0")
            .vnode::<Tally>()
            .settings(settings())
            .start()
            .await
            .expect("a healthy store");
        let client = host.client();
        // The host is paused when this ends, and the read is sent when it wakes.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let asked = (0..VNODES).map(|number| {
            let vnode = client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(120));
            tokio::spawn(async move { vnode.query(()).await })
        });
        let mut answers = Vec::new();
        for answer in asked.collect::<Vec<_>>() {
            answers.push(answer.await.expect("it asks until the end"));
        }
        answers
    });
    cluster.world.run(Duration::from_secs(5));
    let own: Vec<String> = sessions(&cluster).difference(&others).cloned().collect();
    let [own] = own.as_slice() else { panic!("one new session, not {own:?}") };
    fill(&mut cluster);
    let packs = format!("sessions/{own}/packs/");
    assert!(!cluster.world.shelf.keys(&packs).is_empty(), "its states are in packs");

    for other in ["a", "b"] {
        cluster.world.wire.cut("v", other);
        cluster.world.wire.cut(other, "v");
    }
    cluster.world.pause("v", Duration::from_secs(90));
    cluster.until("its packs are collected", Duration::from_secs(60), |cluster| {
        cluster.world.shelf.keys(&packs).is_empty()
    });
    cluster.until("it wakes", Duration::from_secs(100), |cluster| cluster.world.is_running("v"));
    cluster.world.run(Duration::from_secs(1));
    cluster.world.wire.heal();
    let answers = cluster.finish(asking, Duration::from_secs(120));
    assert_eq!(answers, vec![Ok((1, 1)); usize::try_from(VNODES).unwrap()]);
}

#[test]
fn a_state_that_was_deleted_from_outside_is_reported_as_unreadable() {
    let mut cluster = Cluster::new(62, settings(), kinds);
    cluster.start_all(&["a"]);
    fill(&mut cluster);
    let packs: Vec<String> = cluster.world.shelf.keys("sessions/");
    let packs: Vec<String> = packs.into_iter().filter(|key| key.contains("/packs/")).collect();
    let store = cluster.world.store("vandal");
    let deleting = cluster.world.start("vandal", async move {
        for pack in packs {
            store.delete(&pack).await.unwrap();
        }
    });
    cluster.world.run_until(&deleting, Duration::from_secs(5));
    let asking = cluster.client("asker", |client| async move {
        let mut answers = Vec::new();
        for number in 0..VNODES {
            let vnode = client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(5));
            answers.push(vnode.query(()).await);
        }
        // No other vnode is affected.
        (answers, client.get::<Tally>("new").command(1).await)
    });
    assert!(cluster.world.run_until(&asking, Duration::from_secs(300)), "all calls are answered");
    let (answers, new) = cluster.world.result(asking);
    let is_said = |answer: &Result<_, CallError>| match answer {
        Err(CallError::Unavailable { why, .. }) => why.contains("is missing"),
        _ => false,
    };
    let said = answers.iter().filter(|answer| is_said(answer)).count();
    assert!(said > 10, "only {said} are reported as missing: {answers:?}");
    assert!(answers.iter().all(|answer| *answer == Ok((1, 1)) || is_said(answer)), "{answers:?}");
    assert_eq!(new, Ok(1));
    // The watch detects the deletions, too.
    let violations = cluster.world.trace.violations();
    assert!(violations.iter().any(|it| it.contains("invariant 7") && it.contains("vandal")));
}
