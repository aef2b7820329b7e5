//! Stores that break a promise for good. Nothing can be built on them: they are here to be refused by the probe.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// How often a store whose failures look like missing objects fails: every so many gets.
const FAILURE_EVERY: u64 = 4;

/// A body that is large to a gateway.
const LARGE_LEN: usize = 5 << 20;

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
    /// A create or put says it is done and isn't: something in between takes the bytes and loses them.
    LosesWrites,
    /// A create over an object is refused as if it weren't allowed, not as a conflict.
    RefusesConflicts,
    /// A create over an object fails as if the store were out, not as a conflict.
    FailsConflicts,
    /// A get of what isn't there is refused, so that nothing can ever be known to be missing.
    RefusesMissing,
    /// A get that fails says that nothing is there.
    FailuresAreMissing,
    /// A create overwrites if its body is large: such bodies take another way, which drops the condition.
    IgnoresConditionOfLarge,
    /// A get finds something under every name.
    AnswersAnything,
}

impl Lie {
    /// All of them, for tests that none may pass.
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
    /// Tells `lie` about `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, lie: Lie) -> Self {
        let (newest, missing) = (Mutex::default(), Mutex::default());
        Self { inner, lie, newest, missing, gets: AtomicU64::new(0) }
    }

    /// A create that calls a conflict something else.
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

    /// A get by a cache that remembers what was missing.
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
