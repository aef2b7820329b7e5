//! The records of kinds in the home domain's store: read and created at a host's start, before it serves any of them.

use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{
    format::{
        codec::Malformed,
        keys::{self, Key},
    },
    ids::Nonce,
    schema::record::{KindRecord, Refusal},
};
use holocron_store::{Created, GaveUp, Patience, Store, create_once, get_until, list_until};
use tokio_util::sync::CancellationToken;

use crate::api::kinds::Kinds;

/// Why a host can't serve a kind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unserved {
    /// Its state has another shape than its version was recorded with.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store doesn't answer.
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
    /// A record is damaged.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The records of a store.
pub(crate) struct KindRecords<'a> {
    store: &'a Arc<dyn Store>,
    patience: Patience,
    stop: &'a CancellationToken,
    /// The versions of each kind that are recorded.
    versions: BTreeMap<String, Vec<u32>>,
}

impl<'a> KindRecords<'a> {
    /// Lists which there are.
    pub(crate) async fn list(
        store: &'a Arc<dyn Store>,
        patience: Patience,
        stop: &'a CancellationToken,
    ) -> Result<Self, GaveUp> {
        let mut versions: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for object in list_until(&**store, keys::KINDS, patience, stop).await? {
            if let Some(Key::Kind(kind, version)) = keys::parse(&object.key) {
                versions.entry(kind).or_default().push(version);
            }
        }
        Ok(Self { store, patience, stop, versions })
    }

    /// Records each kind of a host, unless it is recorded, and compares those that are.
    pub(crate) async fn settle_all(
        &self,
        kinds: &Kinds,
        nonce: impl Fn() -> Nonce,
    ) -> Result<(), Unserved> {
        for kind in kinds.iter() {
            let own = kind.record();
            if !own.state.is_known() {
                tracing::warn!(
                    kind = own.kind,
                    state = own.state.definition(),
                    "parts of the kind's state don't show what they are; changes of them can't be noticed"
                );
            }
            kind.keep(self.settle(&own, nonce()).await?);
        }
        Ok(())
    }

    /// Records what a host runs, unless it is recorded, and returns all recorded versions of the kind up to that one.
    async fn settle(&self, own: &KindRecord, nonce: Nonce) -> Result<Vec<KindRecord>, Unserved> {
        let mut recorded = Vec::new();
        for &version in self.versions.get(&own.kind).into_iter().flatten() {
            if version > own.version {
                tracing::warn!(
                    kind = own.kind,
                    version = own.version,
                    recorded = version,
                    "store has a newer version of the kind; vnodes that were stored under it can't be read by this host"
                );
                continue;
            }
            let key = keys::kind(&own.kind, version);
            // One that has gone since was deleted by an operator.
            if let Some(object) = get_until(&**self.store, &key, self.patience, self.stop).await? {
                recorded.push(KindRecord::decode(&key, &object)?);
            }
        }
        if !recorded.iter().any(|record| record.version == own.version) {
            recorded.push(self.create(own, nonce).await?);
        }
        let refusal = recorded.iter().filter(|record| record.version == own.version);
        match refusal.filter_map(|record| record.refuses(own)).next() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(recorded),
        }
    }

    /// Creates the record, or returns the one that another host has created.
    async fn create(&self, own: &KindRecord, nonce: Nonce) -> Result<KindRecord, Unserved> {
        let key = own.key();
        let created =
            create_once(self.store, &key, own.encode(nonce), self.patience, self.stop).await;
        match created {
            Created::Won => {
                tracing::info!(kind = own.kind, version = own.version, "kind is recorded");
                Ok(own.clone())
            }
            Created::Lost(object) => Ok(KindRecord::decode(&key, &object)?),
            Created::Unknown => Err(GaveUp::Spent { last: None }.into()),
        }
    }
}
