//! Slots that an operator moves, and hosts that are restarted in turn.

use serde_json::Value;

use super::support::{
    Callers, Host, Place, add_to_all, all_served, run, text, turn, until, values_of,
};

/// Runs a command of an operator, which must succeed. Returns what it prints.
async fn told(arguments: &[&str]) -> Value {
    let output = run(arguments).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until a host has that many slots.
async fn has_slots(place: &Place, host: &Host, count: usize) {
    until(&format!("{} has {count} slots", host.name), async || {
        let session = place.session_of(&host.name).await?;
        let record = place.record().await?;
        (record.home().slots.owned_by(session).count() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_drains_a_host_and_takes_it_back_and_no_call_fails() {
    let _turn = turn().await;
    let place = Place::new();
    let (one, two) = (place.host("h1", &[]).await, place.host("h2", &[]).await);
    let client = place.client().await;
    has_slots(&place, &two, 2_048).await;
    all_served(&place, &[&one, &two]).await;
    let keys = place.keys_of(&two.name, 20).await;
    add_to_all(&client, &keys).await;
    let callers = Callers::start(&client, &keys);
    let url = place.url();
    let drain = ["drain", "--store", &url, "h2", "--json", "--deadline", "40"];
    let drained = told(&drain).await;
    assert_eq!(drained["slots"], 2_048, "{drained}");
    has_slots(&place, &two, 0).await;
    // The last host that takes slots stays one.
    let refused = run(&["drain", "--store", &url, "h1"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("no other host"), "{}", text(&refused.stderr));
    told(&["drain", "--store", &url, "h2", "--undo", "--json"]).await;
    has_slots(&place, &two, 2_048).await;
    all_served(&place, &[&one, &two]).await;
    let values = callers.stop().await;
    assert_eq!(values_of(&client, &keys).await, values);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_moves_slots_and_they_stay() {
    let _turn = turn().await;
    let place = Place::new();
    let (one, two) = (place.host("h1", &[]).await, place.host("h2", &[]).await);
    let client = place.client().await;
    has_slots(&place, &two, 2_048).await;
    all_served(&place, &[&one, &two]).await;
    let keys = place.keys_of(&one.name, 20).await;
    add_to_all(&client, &keys).await;
    let callers = Callers::start(&client, &keys);
    let url = place.url();
    let moved = told(&["move", "--store", &url, "0-9,4000", "h2", "--json"]).await;
    assert_eq!(moved["slots"], 11, "{moved}");
    // Longer than the leader takes to look whether slots are spread evenly.
    tokio::time::sleep(core::time::Duration::from_secs(2)).await;
    let record = place.record().await.unwrap();
    let session = place.session_of(&two.name).await.unwrap();
    for slot in (0..10).chain([4_000]) {
        let holding = record.home().slots.holding(holocron_protocol::ids::Slot(slot));
        assert!(holding.is_owned_by(session), "slot {slot}: {holding:?}");
    }
    let wrong = run(&["move", "--store", &url, "4096", "h2"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("there is no slot"), "{}", text(&wrong.stderr));
    let values = callers.stop().await;
    assert_eq!(values_of(&client, &keys).await, values);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_call() {
    let _turn = turn().await;
    let report =
        told(&["demo", "--kill", "rolling", "--vnodes", "600", "--seconds", "2", "--json"]).await;
    for none in ["lost", "doubled", "stale_reads", "unread", "failed_calls"] {
        assert_eq!(report[none], 0, "{none}: {report}");
    }
    assert_eq!(report["restarts"].as_array().map(Vec::len), Some(3), "{report}");
    assert!(report["calls"]["count"].as_u64() > Some(500), "{report}");
}
