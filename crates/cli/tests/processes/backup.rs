//! Backups of real clusters under load: what was acknowledged before is there, also if a host is killed meanwhile.

use core::time::Duration;

use holocron::{Client, PeerMessage, PeerReply};
use holocron_protocol::ids::CutId;
use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use super::support::{
    Callers, Host, PATIENCE, Place, add_to_all, all_served, run, text, turn, values_of,
};

/// Small settings, so that journals are checkpointed and trimmed meanwhile.
const SMALL: [&str; 6] = ["--checkpoint-batches", "8", "--segment-len", "4", "--slots", "64"];
/// No answer before the deadline, and damage.
const LATER: i32 = 5;
const DAMAGED: i32 = 8;

fn counters() -> Vec<String> {
    (0..24).map(|number| format!("c{number}")).collect()
}

async fn in_json(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A backup under load, with the least and the most that each counter can have in it.
struct Taken {
    number: u64,
    least: Vec<i64>,
    most: Vec<i64>,
    told: Value,
}

async fn take(place: &Place, to: &str, client: &Client) -> Taken {
    let least = values_of(client, &counters()).await;
    let url = place.url();
    let told = in_json(&["backup", "--store", &url, "--to", to]).await;
    let most = values_of(client, &counters()).await;
    let number = told["backup"].as_u64().expect("a number");
    Taken { number, least, most, told }
}

/// Restores a backup, starts a host there, and compares.
async fn check(taken: &Taken, backups: &str) {
    let restored = Place::new();
    let (url, number) = (restored.url(), taken.number.to_string());
    let told = in_json(&["restore", "--from", backups, "--to", &url, "--number", &number]).await;
    assert!(told["objects"].as_u64() > Some(0), "{told}");
    let host = restored.host("elsewhere", &SMALL[4..]).await;
    let client = restored.client().await;
    let values = values_of(&client, &counters()).await;
    for (at, value) in values.iter().enumerate() {
        let (least, most) = (taken.least[at], taken.most[at]);
        assert!((least..=most).contains(value), "c{at}: {value}, not {least} to {most}");
    }
    assert_eq!(add_to_all(&client, &counters()).await[0], values[0] + 1);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_under_load_have_what_was_acknowledged_before_also_when_a_host_is_killed() {
    let _turn = turn().await;
    let (place, backups) = (Place::new(), Place::new());
    let to = backups.url();
    let mut hosts = Vec::new();
    for name in ["h1", "h2", "h3"] {
        hosts.push(place.host(name, &SMALL).await);
    }
    all_served(&place, &hosts.iter().collect::<Vec<&Host>>()).await;
    let client = place.client().await;
    add_to_all(&client, &counters()).await;
    let callers = Callers::start(&client, &counters());
    let mut taken = vec![take(&place, &to, &client).await, take(&place, &to, &client).await];
    hosts[1].signal(Signal::KILL);
    taken.push(take(&place, &to, &client).await);
    let ended = callers.stop().await;
    assert!(ended.iter().sum::<i64>() > taken[0].most.iter().sum(), "it was under load");
    for taken in &taken {
        let waited = taken.told["commits_waited_ms"].as_u64().expect("a number");
        assert!(waited <= 5_000, "{}", taken.told);
        check(taken, &to).await;
    }
    assert!(taken[1].told["objects_shared"].as_u64() > Some(0), "{}", taken[1].told);
    // The original goes on.
    assert_eq!(values_of(&client, &counters()).await, ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_listed_pruned_and_restored_by_time_and_a_cluster_is_cloned() {
    let _turn = turn().await;
    let (place, backups, copy) = (Place::new(), Place::new(), Place::new());
    let (url, to) = (place.url(), backups.url());
    let none = run(&["backups", "--from", &to]).await;
    assert_eq!(text(&none.stdout), "no backups\n");
    let _host = place.host("h1", &SMALL).await;
    let client = place.client().await;
    for _ in 0..3 {
        add_to_all(&client, &counters()).await;
        in_json(&["backup", "--store", &url, "--to", &to]).await;
    }
    let list = in_json(&["backups", "--from", &to]).await;
    let times: Vec<&str> = list["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["taken"].as_str().unwrap())
        .collect();
    assert_eq!(times.len(), 3);
    let back = Place::new();
    let second = in_json(&["restore", "--from", &to, "--to", &back.url(), "--at", times[1]]).await;
    assert_eq!(second["backup"], 2);
    let early = Place::new();
    let refused = run(&["restore", "--from", &to, "--to", &early.url(), "--at", "1d"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("the oldest is backup 1"), "{}", text(&refused.stderr));
    let refused = run(&["restore", "--from", &to, "--to", &back.url()]).await;
    assert!(text(&refused.stderr).contains("is not empty"), "{}", text(&refused.stderr));
    let kept = in_json(&["backup", "--store", &url, "--to", &to, "--keep", "1"]).await;
    assert_eq!((kept["backup"].as_u64(), kept["backups_deleted"].as_u64()), (Some(4), Some(3)));

    let cloned = in_json(&["clone", "--store", &url, "--to", &copy.url()]).await;
    assert_eq!(cloned["cluster"].as_str().map(str::len), Some(32), "{cloned}");
    let host = copy.host("h1", &SMALL).await;
    let cloned = copy.client().await;
    assert_eq!(values_of(&cloned, &counters()).await, vec![3; 24]);
    add_to_all(&cloned, &counters()).await;
    assert_eq!(values_of(&client, &counters()).await, vec![3; 24], "they are two clusters");
    let scrubbed = run(&["scrub", "--store", &copy.url()]).await;
    assert!(scrubbed.status.success(), "{}", text(&scrubbed.stdout));
    drop(host);

    // An object of the place is lost.
    let store = backups.store();
    let objects = store.list("objects/sessions").await.unwrap();
    store.delete(&objects[0].key).await.unwrap();
    let refused = run(&["restore", "--from", &to, "--to", &early.url()]).await;
    assert_eq!(refused.status.code(), Some(DAMAGED), "{}", text(&refused.stderr));
    let refused = early.try_host("h1", &[]).ended().await;
    assert!(!refused.success(), "no host starts in half a copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_nobody_ends_costs_callers_two_seconds() {
    let _turn = turn().await;
    let place = Place::new();
    let host = place.host("h1", &SMALL).await;
    let client = place.client().await;
    add_to_all(&client, &counters()).await;
    let network = holocron::net::Tcp;
    let session = place.session_of(&host.name).await.expect("it has joined");
    let (cut, other) = (CutId::new(1), CutId::new(2));
    let freeze = async |cut| {
        let message = PeerMessage::Freeze { session, cut };
        holocron::ask(&network, &host.address, message, PATIENCE).await.expect("it answers")
    };
    let begun = Instant::now();
    assert!(matches!(freeze(cut).await, PeerReply::Frozen(_)));
    assert!(matches!(freeze(other).await, PeerReply::Refused(_)), "one at a time");
    // Reads don't wait.
    values_of(&client, &counters()).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    add_to_all(&client, &counters()).await;
    let waited = begun.elapsed();
    assert!((2..20).contains(&waited.as_secs()), "{waited:?}");
    let thaw = PeerMessage::Thaw { session, cut };
    let thawed = holocron::ask(&network, &host.address, thaw, PATIENCE).await.unwrap();
    assert!(matches!(thawed, PeerReply::Refused(_)), "it has gone on: {thawed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_down_has_no_cut() {
    let _turn = turn().await;
    let place = Place::new();
    let host = place.host("h1", &SMALL).await;
    // Before that there may be no epoch yet, and so no cluster.
    all_served(&place, &[&host]).await;
    let backups = Place::new();
    host.kill().await;
    let refused = run(&["backup", "--store", &place.url(), "--to", &backups.url()]).await;
    assert_eq!(refused.status.code(), Some(LATER), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("no cut could be taken"), "{}", text(&refused.stderr));
}
