//! The files of one shard: segments with entries, and a chain of manifests that says which segments count.
//!
//! Each manifest is created under the next number if no object stands there, and names the token of its writer. So the chain
//! is the fence: a new owner appends a manifest with its own, larger token before it reads anything, and the next manifest of
//! the former owner is lost to it, however late it comes. Manifests are never deleted: a number that was free again would let
//! a late writer in.

use std::{collections::BTreeMap, sync::Arc};

use holocron::BoxError;
use holocron_store::{
    Created, Patience, Store, create_once, delete_until, get_until, list_until, put_until,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// Segments of a shard above which the next flush merges them all into one.
const SEGMENTS_MAX: usize = 8;

/// What a shard's segments hold: keys with their values.
pub(crate) type Entries = BTreeMap<String, String>;

/// One link of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) number: u64,
    /// The fencing token of its writer: the epoch that gave it the shard.
    pub(crate) token: u64,
    /// The process that wrote it.
    pub(crate) writer: String,
    /// The segments that count, oldest first.
    pub(crate) segments: Vec<String>,
}

/// Another owner has the shard, under this token.
#[derive(Debug, thiserror::Error)]
#[error(
    "manifest {number} of shard {shard} stands there, written by {writer} under token {token}; ours is {ours}"
)]
pub(crate) struct Overruled {
    pub(crate) shard: String,
    pub(crate) number: u64,
    pub(crate) writer: String,
    pub(crate) token: u64,
    pub(crate) ours: u64,
}

/// The files of a shard, open for writing under a token.
pub(crate) struct Files {
    store: Arc<dyn Store>,
    shard: String,
    writer: String,
    token: u64,
    newest: Manifest,
}

impl Files {
    /// Opens the files: fences every earlier owner, then reads what they wrote.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        shard: &str,
        token: u64,
        writer: &str,
    ) -> Result<(Self, Entries), BoxError> {
        let newest = manifests(&store, shard).await?.pop().unwrap_or_default();
        let mut files = Self { store, shard: shard.into(), writer: writer.into(), token, newest };
        loop {
            if files.newest.token > token {
                return Err(files.overruled(files.newest.clone()).into());
            }
            match files.next(files.newest.segments.clone()).await? {
                Ok(()) => break,
                // Written meanwhile by the owner before, or by a later one.
                Err(found) => files.newest = found,
            }
        }
        let mut entries = Entries::new();
        for segment in &files.newest.segments {
            let object =
                get(&files.store, segment).await?.ok_or(format!("{segment} is missing"))?;
            entries.extend(serde_json::from_slice::<Entries>(&object)?);
        }
        Ok((files, entries))
    }

    /// Adds entries, which count once this returns `Ok(Ok(()))`. `all` is what the shard holds with them, for a merge.
    /// `pause` is called between the two writes.
    pub(crate) async fn append(
        &mut self,
        added: &Entries,
        all: &Entries,
        pause: impl Future<Output = ()>,
    ) -> Result<Result<(), Overruled>, BoxError> {
        let merges = self.newest.segments.len() >= SEGMENTS_MAX;
        let name = format!("{}/segments/{:020}-{}", self.shard, self.newest.number + 1, self.token);
        let object = serde_json::to_vec(if merges { all } else { added })?;
        let never = CancellationToken::new();
        // The name has the token, so only this process writes it; a retry after a failure writes it anew.
        put_until(&*self.store, &name, object.into(), Patience::forever(), &never).await?;
        pause.await;
        let mut segments = if merges { Vec::new() } else { self.newest.segments.clone() };
        segments.push(name);
        let before = self.newest.segments.clone();
        if let Err(found) = self.next(segments).await? {
            return Ok(Err(self.overruled(found)));
        }
        for old in before.iter().filter(|old| !self.newest.segments.contains(old)) {
            delete_until(&*self.store, old, Patience::forever(), &never).await?;
        }
        Ok(Ok(()))
    }

    /// Creates the next manifest; or returns the one that stands there.
    async fn next(&mut self, segments: Vec<String>) -> Result<Result<(), Manifest>, BoxError> {
        let number = self.newest.number + 1;
        let (token, writer) = (self.token, self.writer.clone());
        let manifest = Manifest { number, token, writer, segments };
        let (key, body) = (key(&self.shard, number), serde_json::to_vec(&manifest)?);
        // Never given up: only a definite answer says whether the entries count.
        let never = CancellationToken::new();
        let created =
            create_once(&self.store, &key, body.into(), Patience::forever(), &never).await;
        Ok(match created {
            Created::Won => {
                self.newest = manifest;
                Ok(())
            }
            Created::Lost(found) => Err(serde_json::from_slice(&found)?),
            Created::Unknown => return Err("the process stops".into()),
        })
    }

    fn overruled(&self, found: Manifest) -> Overruled {
        let Manifest { number, token, writer, .. } = found;
        Overruled { shard: self.shard.clone(), number, writer, token, ours: self.token }
    }
}

fn key(shard: &str, number: u64) -> String {
    format!("{shard}/manifests/{number:020}")
}

async fn get(store: &Arc<dyn Store>, key: &str) -> Result<Option<bytes::Bytes>, BoxError> {
    let never = CancellationToken::new();
    Ok(get_until(&**store, key, Patience::forever(), &never).await?)
}

/// The chain of a shard, oldest first.
pub(crate) async fn manifests(
    store: &Arc<dyn Store>,
    shard: &str,
) -> Result<Vec<Manifest>, BoxError> {
    let never = CancellationToken::new();
    let prefix = format!("{shard}/manifests");
    let mut listed = list_until(&**store, &prefix, Patience::forever(), &never).await?;
    listed.sort();
    let mut manifests = Vec::new();
    for object in listed {
        let body = get(store, &object.key).await?.ok_or("a manifest is gone")?;
        manifests.push(serde_json::from_slice(&body)?);
    }
    Ok(manifests)
}
