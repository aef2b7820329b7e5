//! Writes that land after their callers got an answer.
//!
//! A late write is visible only through a later request, so it is carried out before the first request after it is due.
//! That needs no task and no clock, and works after the host that sent it is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::error::Error;
use crate::store::Store;

/// One write, frozen.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Create(String, Bytes),
    Put(String, Bytes),
    Delete(String),
}

impl Write {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Create(key, _) | Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    pub(super) async fn apply(&self, store: &dyn Store) -> Result<(), Error> {
        match self {
            Self::Create(key, body) => store.create(key, body.clone()).await,
            Self::Put(key, body) => store.put(key, body.clone()).await,
            Self::Delete(key) => store.delete(key).await,
        }
    }
}

/// The honest store, and the late writes of all its clients.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    late: Mutex<Late>,
}

#[derive(Debug, Default)]
struct Late {
    /// Requests that reached the store.
    requests: u64,
    /// Late writes by the number of the request before which they land; the second number makes the key unique.
    pending: BTreeMap<(u64, u64), Write>,
    sent: u64,
}

impl Shared {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, late: Mutex::default() }
    }

    /// Lets `write` land `requests` requests from now.
    pub(super) fn send_late(&self, write: Write, requests: u64) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (late.requests + requests, late.sent);
        late.sent += 1;
        late.pending.insert(place, write);
    }

    /// Called when a request arrives: the writes that are due land first.
    pub(super) async fn arrive(&self) {
        let due = {
            let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
            late.requests += 1;
            let next = (late.requests + 1, 0);
            let later = late.pending.split_off(&next);
            std::mem::replace(&mut late.pending, later)
        };
        self.land(due).await;
    }

    /// Lets all late writes land now.
    pub(super) async fn settle(&self) {
        let due =
            std::mem::take(&mut self.late.lock().unwrap_or_else(PoisonError::into_inner).pending);
        self.land(due).await;
    }

    async fn land(&self, due: BTreeMap<(u64, u64), Write>) {
        for write in due.values() {
            // Its caller has its answer already. A late create may find its key taken; that is intended.
            if let Err(error) = write.apply(&*self.store).await {
                tracing::trace!(key = write.key(), %error, "late write");
            }
        }
    }
}
