//! Stores that break a promise for good. Nothing can be built on them: they are here to be refused by the probe.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::store::{Listed, Store};

/// How long a store that checks and then writes takes in between.
const CHECK_TO_WRITE: Duration = Duration::from_millis(2);

/// How many of the newest objects a lagging listing leaves out.
const LIST_LAG_LEN: usize = 3;

/// Which promise is broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A create overwrites: the condition isn't known and goes unnoticed.
    IgnoresCondition,
    /// A create over an object is refused, and overwrites it.
    RefusesAndOverwrites,
    /// A create looks first and writes then; two may look before one writes.
    ChecksThenWrites,
    /// A get that found nothing goes on finding nothing: a cache keeps the answer.
    CachesMissing,
    /// A listing leaves the newest objects out.
    ListsLate,
    /// A ranged get answers with the start of the object.
    IgnoresRangeStart,
    /// A delete says it is done and isn't.
    KeepsDeleted,
}

/// A store that tells one lie.
#[derive(Debug)]
pub struct Lying {
    inner: Arc<dyn Store>,
    lie: Lie,
    newest: Mutex<VecDeque<String>>,
    missing: Mutex<BTreeSet<String>>,
}

impl Lying {
    /// Tells `lie` about `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, lie: Lie) -> Self {
        Self { inner, lie, newest: Mutex::default(), missing: Mutex::default() }
    }

    fn note_newest(&self, key: &str) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.push_back(key.to_owned());
        if newest.len() > LIST_LAG_LEN {
            newest.pop_front();
        }
    }
}

#[async_trait]
impl Store for Lying {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.note_newest(key);
        match self.lie {
            Lie::IgnoresCondition => self.inner.put(key, body).await,
            Lie::RefusesAndOverwrites => {
                let existed = self.inner.get(key).await?.is_some();
                self.inner.put(key, body).await?;
                if existed { Err(Error::conflict(key)) } else { Ok(()) }
            }
            Lie::ChecksThenWrites => {
                if self.inner.get(key).await?.is_some() {
                    return Err(Error::conflict(key));
                }
                tokio::time::sleep(CHECK_TO_WRITE).await;
                self.inner.put(key, body).await
            }
            Lie::CachesMissing | Lie::ListsLate | Lie::IgnoresRangeStart | Lie::KeepsDeleted => {
                self.inner.create(key, body).await
            }
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if self.lie != Lie::CachesMissing {
            return self.inner.get(key).await;
        }
        if self.missing.lock().unwrap_or_else(PoisonError::into_inner).contains(key) {
            return Ok(None);
        }
        let found = self.inner.get(key).await?;
        if found.is_none() {
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        }
        Ok(found)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        let wrong = self.lie == Lie::IgnoresRangeStart;
        let range = if wrong { 0..range.end - range.start } else { range };
        self.inner.get_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut listed = self.inner.list(prefix).await?;
        if self.lie == Lie::ListsLate {
            let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            listed.retain(|object| !newest.contains(&object.key));
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        if self.lie == Lie::KeepsDeleted { Ok(()) } else { self.inner.delete(key).await }
    }
}
