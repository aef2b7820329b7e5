//! A place of backups: manifests, and the objects that they share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holocron_protocol::{
    backup::manifest::{self, Entry, Manifest, checksum},
    format::keys,
    ids::{ClusterId, Epoch},
};
use holocron_store::{
    Below, Created, GaveUp, Store, create_once, delete_until, get_until, list_until,
};
use tokio_util::sync::CancellationToken;

use super::{
    BackupError, Progress, Snapshot,
    copy::{Copied, copy},
    snapshot::{Parts, patience},
    view::Known,
};
use crate::api::random::Random;

/// A place where backups of one cluster are kept: a directory, a bucket or a prefix of one. Let one process at a time change
/// it.
#[derive(Debug)]
pub struct Backups {
    store: Arc<dyn Store>,
    /// The copied objects, under their own keys.
    objects: Arc<dyn Store>,
    random: Random,
}

/// A backup, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its number in the place; later ones have larger numbers.
    pub number: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// When it was taken, by the clock of the machine that took it, in milliseconds since 1970.
    pub taken_ms: u64,
    /// The newest epoch of the cluster then.
    pub epoch: Epoch,
    /// The number of its objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A backup that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its number.
    pub number: u64,
    /// Objects that were copied.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that an earlier backup had copied.
    pub shared: u64,
}

impl Backups {
    /// The backups in a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let objects = Arc::new(Below::new(Arc::clone(&store), manifest::OBJECTS));
        Self { store, objects, random: Random::from_system() }
    }

    /// Where random numbers come from: the operating system if not set.
    #[must_use]
    pub fn random(mut self, random: Random) -> Self {
        self.random = random;
        self
    }

    /// Copies what no earlier backup has copied, checks the copy, and writes the manifest: only then it is a backup.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; then there is no new backup. What was copied stays, and the next one doesn't copy it again.
    pub async fn add(
        &self,
        snapshot: &Snapshot,
        progress: Arc<Progress>,
    ) -> Result<Added, BackupError> {
        let newest = self.newest(snapshot.cluster.cluster).await?;
        let number = newest.as_ref().map_or(1, |(number, _)| number + 1);
        let newest = newest.map(|(_, manifest)| manifest);
        let mut objects = self.still_there(snapshot, newest.as_ref()).await?;
        let shared = objects.len() as u64;
        let (mut copied, mut copied_bytes) = (0, 0);
        let wanted = snapshot.view.objects.iter();
        let wanted = wanted.map(|(key, known)| (key.clone(), known.len));
        let wanted: Vec<_> = wanted.filter(|(key, _)| !objects.contains_key(key)).collect();
        copy(&*snapshot.view.from, &self.objects, wanted.into_iter(), &progress, |one| match one {
            Copied::There(key, object) => {
                let entry = Entry { len: object.len() as u64, checksum: checksum(&object) };
                copied += 1;
                copied_bytes += entry.len;
                objects.insert(key, entry);
            }
            // It was garbage already, else the check below finds that it is missing.
            Copied::Missing(key) => tracing::debug!(key, "object was deleted before it was copied"),
        })
        .await?;
        let manifest = Manifest {
            cluster: snapshot.cluster.cluster,
            taken_ms: snapshot.taken_ms,
            cut: snapshot.cut.clone(),
            objects,
        };
        self.snapshot_of(&manifest).await?.verify().await?;
        let number = self.write(number, &manifest).await?;
        Ok(Added { number, copied, copied_bytes, shared })
    }

    /// What of a snapshot the newest backup has already, if it is still there.
    async fn still_there(
        &self,
        snapshot: &Snapshot,
        newest: Option<&Manifest>,
    ) -> Result<BTreeMap<String, Entry>, BackupError> {
        let Some(newest) = newest else { return Ok(BTreeMap::new()) };
        let listed = list_until(&*self.objects, "", patience(), &CancellationToken::new()).await?;
        let listed: BTreeMap<&str, u64> =
            listed.iter().map(|object| (object.key.as_str(), object.len)).collect();
        let wanted = newest.objects.iter().filter(|(key, entry)| {
            snapshot.view.objects.contains_key(*key) && listed.get(key.as_str()) == Some(&entry.len)
        });
        Ok(wanted.map(|(key, entry)| (key.clone(), *entry)).collect())
    }

    /// The newest backup, with its number; checks that the place is this cluster's.
    async fn newest(&self, of: ClusterId) -> Result<Option<(u64, Manifest)>, BackupError> {
        let Some(number) = self.numbers().await?.last().copied() else {
            if let Some(_cluster) = self.get(keys::CLUSTER).await? {
                let why = "there is a cluster, not a place of backups: use another prefix";
                return Err(BackupError::OtherCluster(why.to_owned()));
            }
            return Ok(None);
        };
        let newest = self.manifest(number).await?;
        if newest.cluster == of {
            return Ok(Some((number, newest)));
        }
        let why = format!(
            "the place has backups of the cluster {}, not of {of}: use another prefix",
            newest.cluster
        );
        Err(BackupError::OtherCluster(why))
    }

    /// Writes a manifest under this number, or the next that is free.
    async fn write(&self, mut number: u64, manifest: &Manifest) -> Result<u64, BackupError> {
        let object = manifest.encode(self.random.nonce());
        loop {
            let key = manifest::key(number);
            let stop = CancellationToken::new();
            match create_once(&self.store, &key, object.clone(), patience(), &stop).await {
                Created::Won => return Ok(number),
                Created::Lost(_) => number += 1,
                Created::Unknown => return Err(GaveUp::Spent { last: None }.into()),
            }
        }
    }

    /// The backups, oldest first.
    ///
    /// # Errors
    ///
    /// [`BackupError`], when one can't be read.
    pub async fn list(&self) -> Result<Vec<Summary>, BackupError> {
        let mut summaries = Vec::new();
        for number in self.numbers().await? {
            let Manifest { cluster, taken_ms, cut, objects } = self.manifest(number).await?;
            let bytes = objects.values().map(|entry| entry.len).sum();
            let (epoch, objects) = (cut.epoch, objects.len() as u64);
            summaries.push(Summary { number, cluster, taken_ms, epoch, objects, bytes });
        }
        Ok(summaries)
    }

    /// The snapshot of a backup.
    ///
    /// # Errors
    ///
    /// [`BackupError`], when there is no such backup, or it can't be read.
    pub async fn open(&self, number: u64) -> Result<Snapshot, BackupError> {
        self.snapshot_of(&self.manifest(number).await?).await
    }

    async fn snapshot_of(&self, manifest: &Manifest) -> Result<Snapshot, BackupError> {
        let known = |entry: &Entry| Known { len: entry.len, checksum: Some(entry.checksum) };
        let objects = manifest.objects.iter().map(|(key, entry)| (key.clone(), known(entry)));
        let parts = Parts {
            from: Arc::clone(&self.objects),
            objects: objects.collect(),
            cut: manifest.cut.clone(),
            taken_ms: manifest.taken_ms,
        };
        Snapshot::of(parts, &self.random).await
    }

    /// Deletes all backups but the newest, of which so many stay, and the objects that no backup has then. Returns how many
    /// backups and objects were deleted.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; some may be deleted by then.
    pub async fn keep_newest(&self, count: usize) -> Result<(u64, u64), BackupError> {
        let numbers = self.numbers().await?;
        let (old, kept) = numbers.split_at(numbers.len().saturating_sub(count.max(1)));
        let mut needed = BTreeSet::new();
        for &number in kept {
            needed.extend(self.manifest(number).await?.objects.into_keys());
        }
        for &number in old {
            // First the manifest: a backup whose objects are going is none.
            self.delete(&self.store, &manifest::key(number)).await?;
        }
        // Also what an interrupted backup has copied.
        let listed = list_until(&*self.objects, "", patience(), &CancellationToken::new()).await?;
        let mut objects = 0;
        for object in listed.iter().filter(|object| !needed.contains(&object.key)) {
            self.delete(&self.objects, &object.key).await?;
            objects += 1;
        }
        Ok((old.len() as u64, objects))
    }

    async fn delete(&self, store: &Arc<dyn Store>, key: &str) -> Result<(), BackupError> {
        Ok(delete_until(&**store, key, patience(), &CancellationToken::new()).await?)
    }

    async fn numbers(&self) -> Result<Vec<u64>, BackupError> {
        let stop = CancellationToken::new();
        let listed = list_until(&*self.store, manifest::MANIFESTS, patience(), &stop).await?;
        let numbers: BTreeSet<u64> =
            listed.iter().filter_map(|object| manifest::number(&object.key)).collect();
        Ok(numbers.into_iter().collect())
    }

    async fn manifest(&self, number: u64) -> Result<Manifest, BackupError> {
        let key = manifest::key(number);
        let none = || BackupError::NoBackup(format!("there is no backup {number} in this place"));
        let found = self.get(&key).await?.ok_or_else(none)?;
        Ok(Manifest::decode(&key, &found)?)
    }

    async fn get(&self, key: &str) -> Result<Option<bytes::Bytes>, BackupError> {
        Ok(get_until(&*self.store, key, patience(), &CancellationToken::new()).await?)
    }
}
