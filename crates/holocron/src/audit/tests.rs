//! Audits of small stores, and of one that changes while it is read.

use core::ops::Range;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use holocron_protocol::{
    audit::finding::Damage,
    epoch::{
        draft::Draft,
        record::{EpochRecord, HostEntry, HostState, Leader, RecordDigest},
        versions::KindVersions,
    },
    format::{cluster::Cluster, keys},
    ids::{ClusterId, DomainId, Epoch, HostName, Nonce, Position, SessionId},
    journal::batch::Opening,
};
use holocron_store::{Error, Memory};

use super::*;

const SESSION: SessionId = SessionId::new(7);

/// A cluster of one host that has done nothing, with this many epochs.
async fn founded(epochs: u64) -> Arc<Memory> {
    let store = Arc::new(Memory::default());
    let cluster = Cluster::new(ClusterId::new(1));
    store.put(keys::CLUSTER, cluster.encode(Nonce::new(1))).await.unwrap();
    let host = HostName::new("h1").unwrap();
    let opening = Opening {
        session: SESSION,
        host: host.clone(),
        domain: DomainId::HOME,
        cluster: cluster.cluster,
    };
    let key = keys::journal_position(SESSION, Position::ZERO);
    store.put(&key, opening.encode(Nonce::new(2))).await.unwrap();
    let entry = HostEntry {
        address: "h1:1".into(),
        sessions: BTreeMap::from([(DomainId::HOME, SESSION)]),
        state: HostState::Active,
        weight: 100,
        zone: None,
        versions: KindVersions::default(),
    };
    let leader = Leader { host: host.clone(), session: SESSION, address: "h1:1".into() };
    let mut draft = Draft::first(&cluster);
    draft.join(&host, entry).unwrap();
    for _ in 0..epochs {
        let record: EpochRecord = draft.finish(leader.clone(), "a test", 1);
        let stored = record.encode(Nonce::new(3));
        draft = Draft::after(&record, RecordDigest::of(&stored));
        store.put(&keys::epoch(record.epoch), stored).await.unwrap();
    }
    store
}

async fn damages(store: Arc<dyn Store>) -> Vec<(String, Damage)> {
    let report = Audit::new(store).scrub().await.unwrap();
    report.findings.into_iter().map(|finding| (finding.key, finding.damage)).collect()
}

#[tokio::test]
async fn a_cluster_that_has_done_nothing_is_sound() {
    let store = founded(5).await;
    let report = Audit::new(store).scrub().await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.epoch, report.epochs, report.sessions_open), (Epoch::new(5), 5, 1));
    assert!(report.unlisted_checked);
}

#[tokio::test]
async fn an_empty_prefix_is_no_cluster_and_a_missing_cluster_object_is_damage() {
    let empty: Arc<dyn Store> = Arc::new(Memory::default());
    assert!(matches!(Audit::new(empty).scrub().await, Err(AuditError::NoCluster)));
    let store = founded(2).await;
    store.delete(keys::CLUSTER).await.unwrap();
    assert_eq!(damages(store).await, [(keys::CLUSTER.to_owned(), Damage::ClusterMissing)]);
}

/// A store whose first lists of epochs lack one, as if that was created meanwhile.
#[derive(Debug)]
struct Racing {
    store: Arc<Memory>,
    lacking: String,
    lists: AtomicU32,
    racing: u32,
}

#[async_trait]
impl Store for Racing {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.store.create(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.store.put(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.store.get(key).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.store.get_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut listed = self.store.list(prefix).await?;
        if prefix == keys::EPOCHS && self.lists.fetch_add(1, Ordering::Relaxed) < self.racing {
            listed.retain(|object| object.key != self.lacking);
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.store.delete(key).await
    }
}

#[tokio::test]
async fn what_a_second_reading_finds_is_not_missing() {
    let lacking = keys::epoch(Epoch::new(3));
    for (racing, expected) in
        [(1, vec![]), (u32::MAX, vec![(lacking.clone(), Damage::EpochMissing)])]
    {
        let (store, lacking) = (founded(5).await, lacking.clone());
        let store = Racing { store, lacking, lists: AtomicU32::new(0), racing };
        assert_eq!(damages(Arc::new(store)).await, expected);
    }
}

#[tokio::test]
async fn a_fate_is_told_for_each_kind_of_object() {
    let store = founded(3).await;
    for key in ["probe/17-sample0", "hints/hosts/gone", "notes.txt"] {
        store.put(key, Bytes::from_static(b"x")).await.unwrap();
    }
    let never_joined = keys::journal_position(SessionId::new(9), Position::ZERO);
    store.put(&never_joined, Bytes::from_static(b"x")).await.unwrap();
    let report = Audit::new(store).garbage(0).await.unwrap();
    let told: Vec<(&str, &str, u64)> = report
        .totals
        .iter()
        .map(|(judged, total)| (judged.what, judged.fate.name(), total.objects))
        .collect();
    assert_eq!(
        told,
        [
            ("cluster", "needed", 1),
            ("epochs", "needed", 3),
            ("foreign objects", "foreign", 1),
            ("hints", "goes", 1),
            ("openings", "needed", 1),
            ("openings", "permanent", 1),
            ("probe objects", "goes", 1),
        ]
    );
}
