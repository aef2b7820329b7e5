//! Adds a fixed latency to every request, so that a test can count rounds of requests by elapsed time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::store::{Listed, Store};

/// A store whose requests each take `latency` longer. Concurrent requests don't wait for each other.
#[derive(Debug)]
pub struct Latency {
    inner: Arc<dyn Store>,
    latency: Duration,
}

impl Latency {
    /// Delays each request to `inner` by `latency` before it takes effect. The timer has a resolution of milliseconds.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, latency: Duration) -> Self {
        Self { inner, latency }
    }

    async fn wait(&self) {
        tokio::time::sleep(self.latency).await;
    }
}

#[async_trait]
impl Store for Latency {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.wait().await;
        self.inner.create(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.wait().await;
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.wait().await;
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.wait().await;
        self.inner.get_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        self.wait().await;
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.wait().await;
        self.inner.delete(key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[tokio::test(start_paused = true)]
    async fn elapsed_time_counts_rounds() {
        let store = Latency::new(Arc::new(Memory::new()), Duration::from_millis(100));
        let start = tokio::time::Instant::now();
        store.create("a", Bytes::from_static(b"a")).await.unwrap();
        let (a, b) = tokio::join!(store.get("a"), store.list(""));
        assert_eq!((a.unwrap().unwrap().len(), b.unwrap().len()), (1, 1));
        assert_eq!(start.elapsed(), Duration::from_millis(200));
    }
}
