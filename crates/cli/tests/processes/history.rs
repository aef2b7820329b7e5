//! `history` and `explain`: the story of a cluster, told by its store alone.

use std::process::{Output, Stdio};

use holocron_protocol::{
    format::{cluster::Cluster, keys},
    ids::{ClusterId, Epoch, Nonce, Segment, VnodeName},
    journal::batch,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::time::timeout;

use super::support::{PATIENCE, Place, add_to_all, all_served, holocron, run, text, turn, until};

/// Runs a subcommand on the place's store.
async fn on(place: &Place, arguments: &[&str]) -> Output {
    let url = place.url();
    let mut all = arguments.to_vec();
    all.splice(1..1, ["--store", &url]);
    run(&all).await
}

/// The standard output of a subcommand that succeeds.
async fn said(place: &Place, arguments: &[&str]) -> String {
    let output = on(place, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Exit code and standard error of a subcommand that fails.
async fn fails(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let output = on(place, arguments).await;
    (output.status.code(), text(&output.stderr))
}

/// The lines of a subcommand that prints a JSON object per line.
async fn told(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let said = said(place, arguments).await;
    said.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

async fn explain(place: &Place, key: &str) -> Value {
    serde_json::from_str(&said(place, &["explain", "counter", key, "--json"]).await).unwrap()
}

/// Checks that the bytes that `explain` names are the counter's record with that commit number.
async fn check_bytes(place: &Place, key: &str, newest: &Value) {
    let number = |field: &str| newest[field].as_u64().unwrap();
    let (begin, end) = (number("offset"), number("offset") + number("length"));
    let object = newest["key"].as_str().unwrap();
    let bytes = place.store().get_range(object, begin..end).await.unwrap().unwrap();
    let facts = batch::state_facts(object, &bytes).unwrap();
    assert_eq!(facts.hash, VnodeName::new("counter", key).unwrap().hash());
    assert_eq!(facts.commit.get(), number("commit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_is_told_by_the_store_alone() {
    let _turn = turn().await;
    let place = Place::new();
    let (first, second) = (place.host("h1", &[]).await, place.host("h2", &[]).await);
    all_served(&place, &[&first, &second]).await;
    let client = place.client().await;
    let keys = place.keys_of(&second.name, 1).await;
    let key = keys[0].as_str();
    for _ in 0..3 {
        add_to_all(&client, &keys).await;
    }

    let before = explain(&place, key).await;
    assert_eq!(before["owner"]["host"], "h2", "{before:#}");
    assert_eq!(before["owner"]["from"]["host"], "h1", "{before:#}");
    assert_eq!(before["owner"]["how"], "handed_over", "{before:#}");
    assert_eq!(before["memory"], json!({ "state": "active", "waiting": 0 }), "{before:#}");
    assert_eq!(before["newest"]["commit"], 3, "{before:#}");
    check_bytes(&place, key, &before["newest"]).await;
    let epoch_before = before["epoch"].as_u64().unwrap();

    second.kill().await;
    until("h1 has recovered h2's slots", async || {
        let record = place.record().await?;
        let status = first.status().await?;
        let owns_all = record.hosts.len() == 1;
        (owns_all && status.slots_serving == u32::from(record.slot_count)).then_some(())
    })
    .await;
    let after = explain(&place, key).await;
    assert_eq!(after["owner"]["host"], "h1", "{after:#}");
    assert_eq!(after["owner"]["from"]["host"], "h2", "{after:#}");
    assert_eq!(after["owner"]["how"], "taken_over", "{after:#}");
    let reason = after["owner"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("h2 "), "{after:#}");
    assert_eq!(after["newest"]["commit"], 3, "{after:#}");
    check_bytes(&place, key, &after["newest"]).await;
    let never = explain(&place, "never-called").await;
    assert_eq!(never["newest"], Value::Null, "{never:#}");

    let since = after["owner"]["since_epoch"].as_u64().unwrap();
    let (a, b) = (epoch_before.to_string(), since.to_string());
    let diff = said(&place, &["history", "--diff", &a, &b]).await;
    for part in ["h2 is out of the cluster", "moved from h2 to h1", reason] {
        assert!(diff.contains(part), "{part}: {diff}");
    }

    // No host is left: everything is still told, except what only a host's memory has.
    first.kill().await;
    let list = said(&place, &["history"]).await;
    for part in ["h1 founds the cluster", "h2 joined at", "(planned)", "(takeover)", reason] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let last = explain(&place, key).await;
    assert_eq!(last["memory"]["state"], "unknown", "{last:#}");
    assert_eq!(last["newest"]["commit"], 3, "{last:#}");
    let words = said(&place, &["explain", "counter", key]).await;
    for part in ["owner      h1", "from     h2 (takeover", "commit 3", "no process listens", reason]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
    let then = said(&place, &["history", "--at", "0s"]).await;
    assert!(then.contains("h1 leads; 4,096 slots"), "{then}");
    let (code, why) = fails(&place, &["history", "--at", "3h"]).await;
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("the cluster was not founded yet"), "{why}");
}

/// The next line of a stream.
async fn next_line<R: tokio::io::AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> String {
    let line = timeout(PATIENCE, lines.next_line()).await.expect("a line in time");
    line.unwrap().expect("it goes on")
}

/// Reads what `--follow` tells until a line matches.
async fn follow_until(
    lines: &mut Lines<BufReader<ChildStdout>>,
    wanted: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        all.push(serde_json::from_str(&next_line(lines).await).unwrap());
        if wanted(&all[all.len() - 1]) {
            return all;
        }
    }
}

fn joined(told: &Value, host: &str) -> bool {
    let changes = told["changes"].as_array().into_iter().flatten();
    changes.into_iter().any(|change| change["change"] == "host_joined" && change["host"] == host)
}

#[tokio::test(flavor = "multi_thread")]
async fn new_epochs_are_followed_through_an_outage_and_a_damaged_record_is_named() {
    let _turn = turn().await;
    let place = Place::new();
    let host = place.host("h1", &[]).await;
    all_served(&place, &[&host]).await;
    let mut following = holocron(&["history", "--store", &place.url(), "--follow", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(following.stdout.take().unwrap()).lines();
    let stderr: ChildStderr = following.stderr.take().unwrap();
    let mut errors = BufReader::new(stderr).lines();
    follow_until(&mut out, |told| joined(told, "h1")).await;
    let second = place.host("h2", &[]).await;
    follow_until(&mut out, |told| joined(told, "h2")).await;

    host.kill().await;
    second.kill().await;
    let aside = place.path().with_extension("aside");
    std::fs::rename(place.path(), &aside).unwrap();
    assert!(next_line(&mut errors).await.contains("still trying"));
    std::fs::rename(&aside, place.path()).unwrap();
    assert!(next_line(&mut errors).await.contains("the store answers again"));
    let third = place.host("h3", &[]).await;
    let all = follow_until(&mut out, |told| joined(told, "h3")).await;
    let numbers: Vec<u64> = all.iter().map(|told| told["epoch"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one + 1 == *next), "{numbers:?}");
    following.kill().await.unwrap();
    third.kill().await;

    let path = place.path().join(keys::epoch(Epoch::new(2)));
    std::fs::write(path, b"damaged").unwrap();
    let list = told(&place, &["history", "--json", "--limit", "1000"]).await;
    assert_eq!(list[1]["key"], keys::epoch(Epoch::new(2)), "{list:?}");
    assert!(list[1]["error"].as_str().is_some_and(|why| !why.is_empty()), "{list:?}");
    let since: Vec<&Value> = list.iter().map(|told| &told["since"]).take(4).collect();
    assert_eq!(since, [&Value::Null, &Value::Null, &json!(1), &json!(3)], "{list:?}");
    let last = list[list.len() - 1]["epoch"].as_u64().unwrap();
    assert_eq!(list.len() as u64, last, "each epoch is told");
    for limit in [last - 2, 1] {
        let cut = told(&place, &["history", "--json", "--limit", &limit.to_string()]).await;
        let end = &list[list.len() - cut.len()..];
        assert_eq!((cut.len() as u64, &cut[..]), (limit, end), "a short list tells the same");
    }
    let (code, why) = fails(&place, &["history", "--diff", "2", "4"]).await;
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains(&keys::epoch(Epoch::new(2))), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_is_no_longer_kept_is_said_to_be() {
    let _turn = turn().await;
    let place = Place::new();
    let cluster = Cluster { slots: 64, epoch_segment_len: 4, ..Cluster::new(ClusterId::new(7)) };
    place.store().create(keys::CLUSTER, cluster.encode(Nonce::new(1))).await.unwrap();
    let keep = ["--history-epochs", "16", "--history-age", "0s"];
    let host = place.host("h1", &keep).await;
    // Without slots, so that h1 owns all of them since epoch 1.
    let mut idle = keep.to_vec();
    idle.extend(["--weight", "0"]);
    let other = place.host("h2", &idle).await;
    until("the first epochs are deleted", async || {
        let session = place.session_of(&other.name).await?;
        let (store, mark) = (place.store(), keys::epoch_mark(Segment::ZERO));
        let is_marked = store.get(&mark).await.unwrap().is_some();
        if is_marked && store.get(&keys::epoch(Epoch::new(3))).await.unwrap().is_none() {
            return Some(());
        }
        said(&place, &["seal", "h2"]).await;
        until("h2 has rejoined", async || {
            place.session_of(&other.name).await.filter(|now| *now != session)
        })
        .await;
        None
    })
    .await;
    host.kill().await;
    other.kill().await;

    let list = told(&place, &["history", "--json", "--limit", "1000"]).await;
    let deleted = list[0]["deleted_through"].as_u64().unwrap();
    assert!(deleted >= 3 && deleted % 4 == 3, "whole segments: {deleted}");
    assert_eq!(list[1]["epoch"], deleted + 1);
    assert_eq!(list[1]["state"]["hosts"][0]["slots"], 64, "{:#}", list[1]);
    assert!(list.len() > 16, "{}", list.len());
    let words = said(&place, &["history"]).await;
    let line = format!("Epochs 1 to {deleted} are no longer kept");
    assert!(words.starts_with(&line), "{words}");
    let (code, why) = fails(&place, &["history", "--diff", "1", "12"]).await;
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains(&format!("keeps epochs {} to", deleted + 1)), "{why}");
    let (_, why) = fails(&place, &["history", "--at", "10h"]).await;
    assert!(why.contains(&format!("epochs 1 to {deleted} are no longer kept")), "{why}");
    let explained = said(&place, &["explain", "counter", "any"]).await;
    assert!(explained.contains("unknown: its record is no longer kept"), "{explained}");
    assert!(explained.contains("since    epoch 1\n"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_ends_early_is_no_failure() {
    let _turn = turn().await;
    let place = Place::new();
    let host = place.host("h1", &[]).await;
    all_served(&place, &[&host]).await;
    let mut history = holocron(&["history", "--store", &place.url(), "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(history.stdout.take());
    let ended = timeout(PATIENCE, history.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}
