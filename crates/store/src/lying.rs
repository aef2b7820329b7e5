//! Stores that permanently break a promise. They are for tests: the probe must refuse them.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::store::{Listed, Store};

/// Time between check and write of a store that checks first and then writes.
const CHECK_TO_WRITE: Duration = Duration::from_millis(2);

/// Number of the newest objects that a lagging listing omits.
const LIST_LAG_LEN: usize = 3;

/// A store whose failures look like missing objects fails every so many gets.
const FAILURE_EVERY: u64 = 4;

/// Bodies above this length are large to a gateway.
const LARGE_LEN: usize = 5 << 20;

/// Which promise is broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A create overwrites: the store ignores the condition.
    IgnoresCondition,
    /// A create over an object is refused, but overwrites it.
    RefusesAndOverwrites,
    /// A create checks first and then writes; two may check before one writes.
    ChecksThenWrites,
    /// A get that found nothing continues to find nothing: a cache keeps the answer.
    CachesMissing,
    /// A listing omits the newest objects.
    ListsLate,
    /// A ranged get answers with the start of the object.
    IgnoresRangeStart,
    /// A delete reports success and does nothing.
    KeepsDeleted,
    /// A create or put reports success and writes nothing: a gateway loses the bytes.
    LosesWrites,
    /// A create over an object is answered "forbidden", not as a conflict.
    RefusesConflicts,
    /// A create over an object fails like an outage, not as a conflict.
    FailsConflicts,
    /// A get of a missing object is refused, so "missing" can't be told from "forbidden".
    RefusesMissing,
    /// A get that fails is answered "not found".
    FailuresAreMissing,
    /// A create with a large body overwrites: a gateway handles large bodies differently and drops the condition.
    IgnoresConditionOfLarge,
    /// A get finds an object under every name.
    AnswersAnything,
}

impl Lie {
    /// All lies, for tests.
    pub const ALL: [Self; 14] = [
        Self::IgnoresCondition,
        Self::RefusesAndOverwrites,
        Self::ChecksThenWrites,
        Self::CachesMissing,
        Self::ListsLate,
        Self::IgnoresRangeStart,
        Self::KeepsDeleted,
        Self::LosesWrites,
        Self::RefusesConflicts,
        Self::FailsConflicts,
        Self::RefusesMissing,
        Self::FailuresAreMissing,
        Self::IgnoresConditionOfLarge,
        Self::AnswersAnything,
    ];
}

/// A store that tells one lie.
#[derive(Debug)]
pub struct Lying {
    inner: Arc<dyn Store>,
    lie: Lie,
    newest: Mutex<VecDeque<String>>,
    missing: Mutex<BTreeSet<String>>,
    gets: AtomicU64,
}

impl Lying {
    /// A store that tells `lie` about `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, lie: Lie) -> Self {
        let (newest, missing) = (Mutex::default(), Mutex::default());
        Self { inner, lie, newest, missing, gets: AtomicU64::new(0) }
    }

    /// A create that reports a conflict as another error.
    async fn create_renamed(
        &self,
        key: &str,
        body: Bytes,
        renamed: impl Fn(&str) -> Error + Send,
    ) -> Result<(), Error> {
        match self.inner.create(key, body).await {
            Err(Error::Conflict { .. }) => Err(renamed(key)),
            answer => answer,
        }
    }

    /// A get through a cache that keeps "not found".
    async fn get_cached(&self, key: &str) -> Result<Option<Bytes>, Error> {
        if self.missing.lock().unwrap_or_else(PoisonError::into_inner).contains(key) {
            return Ok(None);
        }
        let found = self.inner.get(key).await?;
        if found.is_none() {
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        }
        Ok(found)
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
            Lie::IgnoresConditionOfLarge if body.len() > LARGE_LEN => {
                self.inner.put(key, body).await
            }
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
            Lie::LosesWrites => Ok(()),
            Lie::RefusesConflicts => {
                self.create_renamed(key, body, |key| Error::denied(key, "403 Forbidden")).await
            }
            Lie::FailsConflicts => {
                self.create_renamed(key, body, |key| Error::unclear(key, "500 Internal Error"))
                    .await
            }
            Lie::CachesMissing
            | Lie::ListsLate
            | Lie::IgnoresRangeStart
            | Lie::KeepsDeleted
            | Lie::RefusesMissing
            | Lie::FailuresAreMissing
            | Lie::IgnoresConditionOfLarge
            | Lie::AnswersAnything => self.inner.create(key, body).await,
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        if self.lie == Lie::LosesWrites { Ok(()) } else { self.inner.put(key, body).await }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let count = self.gets.fetch_add(1, Ordering::Relaxed);
        match self.lie {
            Lie::CachesMissing => self.get_cached(key).await,
            Lie::RefusesMissing => match self.inner.get(key).await? {
                None => Err(Error::denied(key, "403 Forbidden")),
                found => Ok(found),
            },
            Lie::FailuresAreMissing if count % FAILURE_EVERY == FAILURE_EVERY - 1 => Ok(None),
            Lie::IgnoresCondition
            | Lie::RefusesAndOverwrites
            | Lie::ChecksThenWrites
            | Lie::ListsLate
            | Lie::IgnoresRangeStart
            | Lie::KeepsDeleted
            | Lie::LosesWrites
            | Lie::RefusesConflicts
            | Lie::FailsConflicts
            | Lie::FailuresAreMissing
            | Lie::IgnoresConditionOfLarge => self.inner.get(key).await,
            Lie::AnswersAnything => {
                Ok(self.inner.get(key).await?.or(Some(Bytes::from_static(b"OK"))))
            }
        }
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
