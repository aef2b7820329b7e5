//! Hosts that are killed and restarted: every acknowledged command is there.

use rustix::process::Signal;

use super::support::{Place, add_to_all, all_served, turn, until, values_of};

/// Small settings, so that journals are checkpointed and trimmed within a test.
const SMALL: [&str; 6] = ["--checkpoint-batches", "8", "--segment-len", "4", "--slots", "64"];

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_all_hosts_are_killed_after_trimming() {
    let _turn = turn().await;
    let place = Place::new();
    let (one, two) = (place.host("h1", &SMALL).await, place.host("h2", &SMALL).await);
    let client = place.client().await;
    all_served(&place, &[&one, &two]).await;
    let keys = keys(100);
    let store = place.store();
    let mut values = add_to_all(&client, &keys).await;
    // Until both journals have been trimmed.
    let trimmed = until("both journals are trimmed", async || {
        values = add_to_all(&client, &keys).await;
        let listed = store.list("sessions").await.unwrap();
        let mut trimmed: Vec<String> = listed
            .iter()
            .filter_map(|object| Some(object.key.split_once("/trims/")?.0.to_owned()))
            .collect();
        trimmed.dedup();
        trimmed.sort();
        trimmed.dedup();
        (trimmed.len() >= 2).then_some(trimmed)
    })
    .await;
    for session in trimmed {
        let first = format!("{session}/journal/{:020}", 1);
        assert_eq!(store.get(&first).await.unwrap(), None, "{first} is deleted after its mark");
    }
    one.signal(Signal::KILL);
    two.signal(Signal::KILL);
    one.kill().await;
    two.kill().await;

    let (one, two) = (place.host("h1", &SMALL).await, place.host("h2", &SMALL).await);
    assert_eq!(values_of(&client, &keys).await, values, "of a client that was there before");
    let client = place.client().await;
    all_served(&place, &[&one, &two]).await;
    assert_eq!(values_of(&client, &keys).await, values);
    let next: Vec<i64> = values.iter().map(|value| value + 1).collect();
    assert_eq!(add_to_all(&client, &keys).await, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_right_after_a_checkpoint_loses_nothing() {
    let _turn = turn().await;
    let place = Place::new();
    let keys = keys(30);
    let mut values = vec![0; keys.len()];
    let mut host = place.host("h1", &SMALL).await;
    for _ in 0..3 {
        let client = place.client().await;
        all_served(&place, &[&host]).await;
        let before = host.status().await.unwrap().progress.checkpoint_at;
        until("there is a newer checkpoint", async || {
            let added = add_to_all(&client, &keys).await;
            values.iter_mut().for_each(|value| *value += 1);
            assert_eq!(added, values);
            let status = host.status().await.unwrap();
            (status.progress.checkpoint_at > before).then_some(())
        })
        .await;
        host.kill().await;
        host = place.host("h1", &SMALL).await;
    }
    let client = place.client().await;
    assert_eq!(values_of(&client, &keys).await, values);
}
