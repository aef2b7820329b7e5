//! Whether this host's own store requests succeed. While they fail, missed heartbeats don't count.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use holocron_store::{Error, Listed, Store};

/// Failures in a row after which the store counts as failing: a single one may be an accident.
const FAILURES_MAX: u32 = 2;

/// A store that records whether its requests succeed.
#[derive(Debug)]
pub(crate) struct WatchedStore {
    inner: Arc<dyn Store>,
    failures: AtomicU32,
}

impl WatchedStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, failures: AtomicU32::new(0) }
    }

    /// Whether the last requests failed.
    pub(crate) fn fails(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_MAX
    }

    fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            // A conflict is an answer: the store works.
            Ok(_) | Err(Error::Conflict { .. } | Error::Rejected { .. }) => {
                self.failures.store(0, Ordering::Relaxed);
            }
            Err(Error::Unclear { .. } | Error::Denied { .. }) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        result
    }
}

#[async_trait]
impl Store for WatchedStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.note(self.inner.create(key, body).await)
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.note(self.inner.put(key, body).await)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.note(self.inner.get(key).await)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.note(self.inner.get_range(key, range).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        self.note(self.inner.list(prefix).await)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.note(self.inner.delete(key).await)
    }
}
