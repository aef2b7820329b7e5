//! Backups of hosts that run, in this process.

use std::sync::atomic::{AtomicBool, Ordering};

use holocron_protocol::{backup::manifest, format::keys, ids::Nonce};
use holocron_store::Memory;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{Client, Context, Host, Settings, Vnode};

#[derive(Default, Serialize, Deserialize)]
struct Count(u64);

impl Vnode for Count {
    const KIND: &'static str = "count";
    type Command = ();
    type Reply = u64;
    type Query = ();
    type Answer = u64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, (): ()) -> u64 {
        self.0 += 1;
        self.0
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
        self.0
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::default())
}

async fn host(store: &Arc<dyn Store>, name: &str) -> Host {
    // Small, so that checkpoints and trims happen meanwhile.
    let settings =
        Settings { slots: 8, segment_len: 4, checkpoint_batches: 8, ..Settings::default() };
    let builder = Host::builder("memory://").store(Arc::clone(store)).name(name).settings(settings);
    builder.vnode::<Count>().start().await.expect("it starts")
}

async fn add_one(client: &Client, key: &str) -> u64 {
    client.get::<Count>(key).command(()).await.expect("it runs")
}

async fn read(client: &Client, key: &str) -> u64 {
    client.get::<Count>(key).query(()).await.expect("it answers")
}

/// Pairs of vnodes. The second of each is written after the first was acknowledged.
const PAIRS: usize = 12;

fn cause(pair: usize) -> String {
    format!("cause-{pair}")
}

fn effect(pair: usize) -> String {
    format!("effect-{pair}")
}

/// Writes to pairs until it is told to stop.
async fn write_pairs(client: Client, stop: Arc<AtomicBool>) {
    let pairs = (0..PAIRS).map(|pair| {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let first = add_one(&client, &cause(pair)).await;
                assert_eq!(add_one(&client, &effect(pair)).await, first);
            }
        })
    });
    for writing in futures::future::join_all(pairs).await {
        writing.expect("no panic");
    }
}

async fn effects(client: &Client) -> Vec<u64> {
    let mut counts = Vec::new();
    for pair in 0..PAIRS {
        counts.push(read(client, &effect(pair)).await);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_moment_and_can_be_restored() {
    let (store, place) = (memory(), memory());
    let (h1, _h2) = (host(&store, "h1").await, host(&store, "h2").await);
    let (client, stop) = (h1.client(), Arc::new(AtomicBool::new(false)));
    let writing = tokio::spawn(write_pairs(client.clone(), Arc::clone(&stop)));
    let (original, backups) = (Original::new(Arc::clone(&store)), Backups::new(Arc::clone(&place)));
    let mut known = Vec::new();
    for _ in 0..4 {
        tokio::time::sleep(core::time::Duration::from_millis(150)).await;
        let before = effects(&client).await;
        let snapshot = Snapshot::take(&original).await.expect("a cut");
        let after = effects(&client).await;
        let added = backups.add(&snapshot, Arc::default()).await.expect("a backup");
        known.push((added, before, after));
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.expect("no panic");
    assert!(known[3].2 > known[0].1, "it was under load: {known:?}");
    assert!(known[1..].iter().any(|(added, ..)| added.shared > 0), "incremental: {known:?}");

    for (added, before, after) in &known {
        let restored = memory();
        let snapshot = backups.open(added.number).await.expect("a backup");
        let done = restore(&snapshot, Arc::clone(&restored), Arc::default()).await;
        assert_eq!(done.expect("it is restored").cluster, snapshot.becomes());
        let again = host(&restored, "elsewhere").await;
        let client = again.client();
        for pair in 0..PAIRS {
            let (caused, caused_by) =
                (read(&client, &effect(pair)).await, read(&client, &cause(pair)).await);
            assert!(caused <= caused_by, "{caused} effects of {caused_by} causes: {known:?}");
            assert!((before[pair]..=after[pair] + 1).contains(&caused), "pair {pair}: {caused}");
            assert_eq!(add_one(&client, &effect(pair)).await, caused + 1);
        }
    }
}

#[tokio::test]
async fn old_backups_go_and_those_that_stay_lack_nothing() {
    let (store, place) = (memory(), memory());
    let h1 = host(&store, "h1").await;
    let original = Original::new(Arc::clone(&store));
    let backups = Backups::new(Arc::clone(&place));
    for count in 1..=3 {
        for _ in 0..20 {
            add_one(&h1.client(), "one").await;
        }
        let snapshot = Snapshot::take(&original).await.expect("a cut");
        let added = backups.add(&snapshot, Arc::default()).await.expect("a backup");
        assert_eq!(added.number, count);
    }
    place.put("objects/left-by-an-interrupted-one", "x".into()).await.unwrap();
    let objects = place.list("objects/").await.unwrap().len();
    let (gone, gone_objects) = backups.keep_newest(1).await.unwrap();
    assert_eq!(gone, 2);
    assert!(gone_objects > 0, "trimmed batches are needed by old backups only");
    let left = place.list("objects/").await.unwrap().len();
    assert_eq!(left as u64, objects as u64 - gone_objects);
    let list = backups.list().await.unwrap();
    assert_eq!(list.iter().map(|summary| summary.number).collect::<Vec<_>>(), [3]);
    assert_eq!(list[0].objects, left as u64);
    let restored = memory();
    let snapshot = backups.open(3).await.unwrap();
    restore(&snapshot, Arc::clone(&restored), Arc::default()).await.unwrap();
    assert_eq!(read(&host(&restored, "x").await.client(), "one").await, 60);
    assert!(matches!(backups.open(1).await, Err(BackupError::NoBackup(_))));
}

#[tokio::test]
async fn a_place_of_another_cluster_and_a_store_that_is_not_empty_are_refused() {
    let (store, other, place) = (memory(), memory(), memory());
    let (h1, h2) = (host(&store, "h1").await, host(&other, "h2").await);
    add_one(&h1.client(), "one").await;
    add_one(&h2.client(), "one").await;
    let backups = Backups::new(Arc::clone(&place));
    let snapshot = Snapshot::take(&Original::new(Arc::clone(&store))).await.unwrap();
    backups.add(&snapshot, Arc::default()).await.unwrap();
    let refused = restore(&snapshot, Arc::clone(&other), Arc::default()).await;
    assert!(matches!(refused, Err(BackupError::NotEmpty(_))), "{refused:?}");
    let foreign = Snapshot::take(&Original::new(other)).await.unwrap();
    let refused = backups.add(&foreign, Arc::default()).await;
    assert!(matches!(refused, Err(BackupError::OtherCluster(_))), "{refused:?}");
    let refused = Backups::new(store).add(&snapshot, Arc::default()).await;
    assert!(matches!(refused, Err(BackupError::OtherCluster(_))), "{refused:?}");
}

#[tokio::test]
async fn an_object_that_was_changed_or_lost_in_the_place_is_noticed() {
    let (store, place) = (memory(), memory());
    let h1 = host(&store, "h1").await;
    add_one(&h1.client(), "one").await;
    let original = Original::new(Arc::clone(&store));
    let snapshot = Snapshot::take(&original).await.unwrap();
    let backups = Backups::new(Arc::clone(&place));
    backups.add(&snapshot, Arc::default()).await.unwrap();
    let objects = place.list("objects/").await.unwrap();
    let batch = objects.iter().find(|object| object.key.ends_with("/journal/00000000000000000001"));
    let key = &batch.expect("a batch").key;
    let body = place.get(key).await.unwrap().unwrap();
    let mut changed = body.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    place.put(key, changed.into()).await.unwrap();
    let opened = backups.open(1).await.unwrap();
    let refused = restore(&opened, memory(), Arc::default()).await;
    assert!(matches!(refused, Err(BackupError::Store(_))), "{refused:?}");
    place.delete(key).await.unwrap();
    let to = memory();
    let refused = restore(&opened, Arc::clone(&to), Arc::default()).await;
    assert!(matches!(refused, Err(BackupError::Object { .. })), "{refused:?}");
    assert_eq!(to.get(keys::CLUSTER).await.unwrap(), None, "no host starts there");
    // The next backup copies it again.
    let added = backups.add(&Snapshot::take(&original).await.unwrap(), Arc::default()).await;
    assert!(added.unwrap().copied >= 1);
    let opened = backups.open(2).await.unwrap();
    restore(&opened, memory(), Arc::default()).await.unwrap();
    assert!(place.get(&manifest::key(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_copied_as_it_was_and_is_not_sound_does_not_become_a_cluster() {
    let (store, place) = (memory(), memory());
    let h1 = host(&store, "h1").await;
    add_one(&h1.client(), "one").await;
    let snapshot = Snapshot::take(&Original::new(Arc::clone(&store))).await.unwrap();
    let backups = Backups::new(Arc::clone(&place));
    backups.add(&snapshot, Arc::default()).await.unwrap();
    let key = manifest::key(1);
    let stored = place.get(&key).await.unwrap().unwrap();
    let mut lacking = manifest::Manifest::decode(&key, &stored).unwrap();
    lacking.objects.retain(|key, _| !key.ends_with("/journal/00000000000000000001"));
    place.put(&key, lacking.encode(Nonce::new(1))).await.unwrap();
    let to = memory();
    let opened = backups.open(1).await.unwrap();
    let refused = restore(&opened, Arc::clone(&to), Arc::default()).await;
    assert!(matches!(refused, Err(BackupError::Unsound(_))), "{refused:?}");
    assert_eq!(to.get(keys::CLUSTER).await.unwrap(), None, "no host starts there");
}

#[tokio::test]
async fn a_cluster_whose_host_does_not_answer_has_no_cut() {
    let store = memory();
    let h1 = host(&store, "h1").await;
    add_one(&h1.client(), "one").await;
    drop(h1);
    let refused = Snapshot::take(&Original::new(store)).await;
    assert!(matches!(refused, Err(BackupError::NoCut(_))), "{refused:?}");
}
