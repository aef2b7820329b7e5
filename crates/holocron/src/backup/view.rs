//! The copy of a cut as a store: the objects that belong to it, and those that end it. It can be read only.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use holocron_protocol::backup::manifest::checksum;
use holocron_store::{Error, Listed, Store};

/// An object of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) len: u64,
    /// `None` if it was never read.
    pub(super) checksum: Option<u32>,
}

/// A store of exactly these objects.
#[derive(Debug)]
pub(super) struct CutView {
    pub(super) from: Arc<dyn Store>,
    pub(super) objects: BTreeMap<String, Known>,
    /// What is created to end the copy, and what is different in it.
    pub(super) ending: BTreeMap<String, Bytes>,
}

impl CutView {
    /// The keys of all objects, with their lengths.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, u64)> {
        let same = self.objects.iter().filter(|(key, _)| !self.ending.contains_key(*key));
        let same = same.map(|(key, known)| (key, known.len));
        same.chain(self.ending.iter().map(|(key, object)| (key, object.len() as u64)))
    }
}

fn rejected(key: &str, why: &str) -> Error {
    Error::Rejected { key: key.to_owned(), source: why.into() }
}

fn read_only(key: &str) -> Error {
    rejected(key, "a backup is never changed")
}

#[async_trait]
impl Store for CutView {
    async fn create(&self, key: &str, _: Bytes) -> Result<(), Error> {
        Err(read_only(key))
    }

    async fn put(&self, key: &str, _: Bytes) -> Result<(), Error> {
        Err(read_only(key))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if let Some(object) = self.ending.get(key) {
            return Ok(Some(object.clone()));
        }
        let Some(known) = self.objects.get(key) else { return Ok(None) };
        let object = self.from.get(key).await?;
        if let (Some(object), Some(expected)) = (&object, known.checksum)
            && checksum(object) != expected
        {
            return Err(rejected(key, "damaged: its bytes are not those that were copied"));
        }
        Ok(object)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        let Some(object) = self.ending.get(key) else {
            return match self.objects.get(key) {
                Some(_) => self.from.get_range(key, range).await,
                None => Ok(None),
            };
        };
        let (from, to) = (usize::try_from(range.start), usize::try_from(range.end));
        match (from, to) {
            (Ok(from), Ok(to)) if from < to && to <= object.len() => {
                Ok(Some(object.slice(from..to)))
            }
            _ => Err(rejected(key, "a range beyond the object")),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        // By range: a scrub lists each of thousands of sessions.
        let same = self.objects.range(prefix.clone()..).map(|(key, known)| (key, known.len));
        let same = same.take_while(|(key, _)| key.starts_with(&prefix));
        let same = same.filter(|(key, _)| !self.ending.contains_key(*key));
        let ending = self.ending.range(prefix.clone()..);
        let ending = ending.map(|(key, object)| (key, object.len() as u64));
        let ending = ending.take_while(|(key, _)| key.starts_with(&prefix));
        Ok(same.chain(ending).map(|(key, len)| Listed { key: key.clone(), len }).collect())
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        Err(read_only(key))
    }
}
