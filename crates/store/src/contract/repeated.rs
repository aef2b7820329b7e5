//! Retries unclear answers, so that a busy server doesn't count as one that breaks its promises.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::patience::{Patience, Tries};
use crate::store::{Listed, Store};

/// Unclear answers to one request after which the contract counts as broken.
pub(super) const UNCLEAR_MAX: usize = 20;

/// Timeout of a request: longer than any client waits by itself.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// A store that retries a request until the answer is clear, at most [`UNCLEAR_MAX`] times.
#[derive(Debug)]
pub(super) struct Repeated(pub(super) Arc<dyn Store>);

impl Repeated {
    async fn ask<T, F>(&self, key: &str, mut request: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        // A long timeout, because a create that timed out and landed would make its own retry fail.
        let patience = Patience { try_timeout: ANSWER_TIME_MAX, ..Patience::forever() };
        let mut tries = Tries::new(key, patience);
        for _ in 1..UNCLEAR_MAX {
            match tries.run(request()).await {
                Err(Error::Unclear { .. }) => tries.pause().await,
                clear => return clear,
            }
        }
        tries.run(request()).await
    }
}

#[async_trait]
impl Store for Repeated {
    /// Bodies must differ: finding our own bytes after an unclear answer means that the create happened.
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        let create = || async {
            match self.0.create(key, body.clone()).await {
                Err(unclear @ Error::Unclear { .. }) => match self.0.get(key).await? {
                    Some(found) if found == body => Ok(()),
                    Some(_) => Err(Error::conflict(key)),
                    None => Err(unclear),
                },
                clear => clear,
            }
        };
        self.ask(key, create).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.ask(key, || self.0.put(key, body.clone())).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.ask(key, || self.0.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.ask(key, || self.0.get_range(key, range.clone())).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        self.ask(prefix, || self.0.list(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.ask(key, || self.0.delete(key)).await
    }
}
