//! A store that is emptied, or replaced by another cluster's, while hosts under load use it.

use core::time::Duration;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use holocron::{CallError, Client, VnodeRef};
use holocron_kinds::{Counter, CounterClient as _};
use holocron_protocol::{
    format::{cluster::Cluster, keys},
    ids::{ClusterId, Nonce},
};
use holocron_store::Store;
use tokio::time::Instant;

use super::support::{Host, Place, add_to_all, all_served, run, text, turn};

/// The exit code of a host that has noticed.
const UNFIT: i32 = 7;

/// Deletes everything below the prefix.
async fn empty(store: &dyn Store) {
    // Several times, because a request in flight may land after the list.
    for _ in 0..3 {
        for object in store.list("").await.unwrap() {
            store.delete(&object.key).await.unwrap();
        }
    }
}

/// When each call was sent, and how it ended.
type Calls = Vec<(Instant, Result<i64, CallError>)>;

/// Callers that add or read until they are stopped, and record their calls.
struct Load {
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<Calls>>,
}

impl Load {
    fn start(client: &Client, keys: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = client.clone().with_deadline(Duration::from_secs(5));
        let callers = keys.iter().enumerate().map(|(at, key)| {
            let (counter, stop): (VnodeRef<Counter>, _) = (client.get(key), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut calls = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let ended =
                        if at % 2 == 0 { counter.add(1).await } else { counter.value().await };
                    calls.push((asked, ended));
                }
                calls
            })
        });
        Self { callers: callers.collect(), stop }
    }

    async fn end(self) -> Calls {
        self.stop.store(true, Ordering::Relaxed);
        let mut calls = Vec::new();
        for caller in self.callers {
            calls.extend(caller.await.unwrap());
        }
        calls
    }
}

/// Two hosts under load lose their store. No later call is answered, and both hosts log why they stop.
async fn loses(place: &Place, lose: impl AsyncFnOnce(&dyn Store)) {
    let mut hosts = [place.host("h1", &[]).await, place.host("h2", &[]).await];
    all_served(place, &[&hosts[0], &hosts[1]]).await;
    let client = place.client().await;
    let keys =
        [place.keys_of(&hosts[0].name, 4).await, place.keys_of(&hosts[1].name, 4).await].concat();
    add_to_all(&client, &keys).await;
    let load = Load::start(&client, &keys);
    tokio::time::sleep(Duration::from_millis(500)).await;

    lose(&*place.store()).await;
    let lost = Instant::now();
    for host in &mut hosts {
        assert_eq!(host.ended().await.code(), Some(UNFIT), "{}", host.log());
        assert!(host.log().contains("the store is lost"), "{}", host.log());
    }
    // Calls sent before the hosts stopped end at their deadline.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let calls = load.end().await;
    assert!(calls.iter().any(|(asked, ended)| *asked < lost && ended.is_ok()), "there was load");
    let late: Vec<_> = calls.iter().filter(|(asked, _)| *asked > lost).collect();
    assert!(late.len() >= keys.len(), "there was load afterwards: {}", late.len());
    assert!(late.iter().all(|(_, ended)| ended.is_err()), "answered from memory: {late:?}");
    let says = |ended: &Result<i64, CallError>| matches!(ended, Err(CallError::Unavailable { why, .. }) if why.contains("the store is lost"));
    assert!(late.iter().any(|(_, ended)| says(ended)), "no caller got the reason: {late:?}");
}

async fn refuses(host: &mut Host, words: &str) {
    assert_eq!(host.ended().await.code(), Some(1), "{}", host.log());
    assert!(host.log().contains(words), "{}", host.log());
}

/// A third host starts on the remains, as an operator might try.
async fn a_third_host_starts_on_an_emptied_store(place: &Place) {
    let mut joins = place.try_host("h3", &["--join"]);
    refuses(&mut joins, "there is no cluster under this prefix").await;
    let store = place.store();
    empty(&*store).await;
    store.put("hints/hosts/h1", bytes::Bytes::from_static(b"{}")).await.unwrap();
    let mut founds = place.try_host("h4", &[]);
    refuses(&mut founds, "1 hints").await;
    assert!(store.get(keys::CLUSTER).await.unwrap().is_none());
    let called = run(&["call", "--store", &place.url(), "counter", "c0", "value"]).await;
    assert!(!called.status.success(), "{called:?}");
    assert!(text(&called.stderr).contains(": 1 hints"), "{}", text(&called.stderr));

    let anew = place.host("h5", &["--found-anew"]).await;
    all_served(place, &[&anew]).await;
    let value: VnodeRef<Counter> = place.client().await.get("c0");
    assert_eq!(value.value().await.unwrap(), 0, "a new cluster");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_an_emptied_directory_stop_and_no_host_founds_another_cluster_by_default() {
    let _turn = turn().await;
    let place = Place::new();
    loses(&place, empty).await;
    a_third_host_starts_on_an_emptied_store(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_stop_when_their_store_has_another_cluster() {
    let _turn = turn().await;
    let place = Place::new();
    loses(&place, async |store: &dyn Store| {
        empty(store).await;
        let other = Cluster::new(ClusterId::new(7)).encode(Nonce::new(1));
        store.put(keys::CLUSTER, other).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_an_emptied_bucket_stop_and_no_host_founds_another_cluster_by_default() {
    let _turn = turn().await;
    let Some(place) = Place::on_s3("lost") else { return };
    loses(&place, empty).await;
    a_third_host_starts_on_an_emptied_store(&place).await;
}
