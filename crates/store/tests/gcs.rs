//! `gs://` against an emulator of GCS's XML API: the contract, the probe, and lost answers.
//!
//! What this doesn't prove is listed in `support/gcs/mod.rs` and in `docs/verification/stores.md`.

#[path = "support/gcs/mod.rs"]
mod gcs;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holocron_store::{
    Created, Error, Patience, Probe, ProbeError, Store, contract, create_once, explain, open, probe,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use gcs::Emulator;

const KEY: &str = "epochs/00000000000000000001";

async fn emulator() -> Emulator {
    Emulator::start("bucket-1", 0).await.expect("some port is free")
}

/// The store at `prefix`, with the emulator's options changed by `changes`.
fn store(emulator: &Emulator, prefix: &str, changes: &[(&str, &str)]) -> Arc<dyn Store> {
    let mut options = emulator.options();
    options.extend(changes.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    open(&format!("{}{prefix}", emulator.url()), &options).expect("the options fit")
}

async fn create(store: &Arc<dyn Store>, body: &'static str) -> Created {
    let never = CancellationToken::new();
    create_once(store, KEY, Bytes::from_static(body.as_bytes()), Patience::forever(), &never).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gcs_keeps_the_contract() {
    let emulator = emulator().await;
    let below = store(&emulator, "/below/it", &[]);
    contract::check(&below).await;
    probe(&below, &Probe::new(1)).await.unwrap();

    // The whole bucket is also a store, with the same objects under longer keys.
    let root = store(&emulator, "", &[]);
    below.put("a/b", "x".into()).await.unwrap();
    assert_eq!(root.get("below/it/a/b").await.unwrap(), Some("x".into()));
    let listed: Vec<_> =
        root.list("").await.unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(listed, ["below/it/a/b"], "the contract and the probe leave nothing behind");
}

#[tokio::test]
async fn a_missing_bucket_and_a_wrong_token_are_refusals() {
    let emulator = emulator().await;
    let elsewhere = open("gs://bucket-2", &emulator.options()).unwrap();
    let unauthorized = store(&emulator, "", &[("bearer_token", "wrong")]);
    for (store, code) in [(elsewhere, "NoSuchBucket"), (unauthorized, "AuthenticationRequired")] {
        for answer in [
            store.get(KEY).await.err(),
            store.get_range(KEY, 0..1).await.err(),
            store.create(KEY, "x".into()).await.err(),
            store.put(KEY, "x".into()).await.err(),
            store.list("").await.err(),
            store.delete(KEY).await.err(),
        ] {
            let Some(error @ Error::Denied { .. }) = answer else { panic!("{code}: {answer:?}") };
            assert!(explain(&error).contains(code), "{code}: {}", explain(&error));
        }
        let refused = probe(&store, &Probe::new(1)).await.unwrap_err();
        assert!(matches!(refused, ProbeError::Refused { .. }), "{refused}");
    }
}

#[tokio::test]
async fn the_endpoint_may_be_given_under_each_of_its_names() {
    let emulator = emulator().await;
    let options = emulator.options();
    let endpoint = &options[0].1;
    for (name, value) in [
        ("endpoint", endpoint.clone()),
        ("ENDPOINT", endpoint.clone()),
        ("base_url", endpoint.clone()),
        ("endpoint", format!("{endpoint}/")),
    ] {
        let mut options = options.clone();
        options[0] = (name.to_owned(), value);
        let store = open(&emulator.url(), &options).unwrap();
        assert_eq!(store.get(KEY).await.unwrap(), None, "{:?}", options[0]);
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_at_once() {
    for name in ["endpoint", "base_url"] {
        for value in ["127.0.0.1:4443", "localhost:4443", "emulator", "", "http://", "ftp://host"] {
            let error = open("gs://bucket", &[(name.to_owned(), value.to_owned())]).unwrap_err();
            let sentence =
                format!("gs://bucket: option {name}: write a URL such as http://127.0.0.1:9000");
            assert!(explain(&error).starts_with(&sentence), "{name}={value}: {}", explain(&error));
        }
    }
}

#[tokio::test]
async fn writes_without_signature_request_no_token() {
    let emulator = emulator().await;
    let mut options = emulator.options();
    options.retain(|(name, _)| name != "bearer_token");
    options.push(("skip_signature".to_owned(), "true".to_owned()));
    let store = open(&emulator.url(), &options).unwrap();
    // A request to the machine's metadata service would time out after seconds.
    tokio::time::timeout(Duration::from_secs(1), store.create(KEY, "x".into()))
        .await
        .expect("at once")
        .unwrap();
    assert_eq!(store.get(KEY).await.unwrap(), Some("x".into()));
    store.delete(KEY).await.unwrap();
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_recognized_by_its_bytes() {
    let emulator = emulator().await;
    let store = store(&emulator, "/p", &[]);
    emulator.lose_every(1);
    let unclear = store.create("other", "x".into()).await;
    assert!(matches!(unclear, Err(Error::Unclear { .. })), "{unclear:?}");
    assert_eq!(store.get("other").await.unwrap(), Some("x".into()), "it took effect");

    let before = emulator.requests();
    assert_eq!(create(&store, "mine").await, Created::Won);
    // No layer below us retries a write: the retry would be answered "exists already".
    assert_eq!(emulator.requests(), (before.0 + 1, before.1 + 1));
    assert_eq!(create(&store, "theirs").await, Created::Lost("mine".into()));
    assert_eq!(store.get(KEY).await.unwrap(), Some("mine".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_creates_exactly_one_wins_with_lost_answers() {
    const WRITERS: usize = 12;
    const KEYS: usize = 12;
    let emulator = emulator().await;
    emulator.lose_every(3);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        // One client each, like hosts.
        let store = store(&emulator, "/races", &[]);
        writers.spawn(async move {
            let never = CancellationToken::new();
            let mut outcomes = Vec::new();
            for key in 0..KEYS {
                let body = Bytes::from(format!("writer {writer} key {key}"));
                let key = format!("k/{key}");
                let created =
                    create_once(&store, &key, body.clone(), Patience::forever(), &never).await;
                outcomes.push((body, created));
            }
            outcomes
        });
    }
    let outcomes = writers.join_all().await;
    let reader = store(&emulator, "/races", &[]);
    for key in 0..KEYS {
        let stands = reader.get(&format!("k/{key}")).await.unwrap().unwrap();
        for (body, created) in outcomes.iter().map(|outcomes| &outcomes[key]) {
            let truth = if *body == stands { Created::Won } else { Created::Lost(stands.clone()) };
            assert_eq!(*created, truth, "key {key}");
        }
    }
}

#[tokio::test]
async fn a_name_written_too_often_is_waited_for() {
    let emulator = emulator().await;
    emulator.limit_writes();
    let store = store(&emulator, "", &[]);
    assert_eq!(create(&store, "mine").await, Created::Won);
    let at_once = store.delete(KEY).await;
    assert!(matches!(at_once, Err(Error::Unclear { .. })), "{at_once:?}");
    assert!(explain(&at_once.unwrap_err()).contains("SlowDown"));
    let never = CancellationToken::new();
    holocron_store::delete_until(&*store, KEY, Patience::forever(), &never).await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap(), None);
}
