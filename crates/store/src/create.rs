//! `create_once`: the one conditional write, and the only place where its ambiguity is resolved.
//!
//! The answer to a conditional create proves little. "Exists already" may be our own write, found by a hidden retry of
//! a client or proxy; a spurious 409 looks the same although nothing was written; a request that timed out may land
//! later. Only two things are proof: `Ok`, and the bytes at the key. So after any other answer we read the key.
//!
//! Invariants:
//!
//! * The body is frozen before the first try and carries a random nonce: equal bytes are our own write.
//! * Won and Lost are final. A create that failed may land later, but then finds the key taken.
//! * "Not found" after an error proves nothing: the same bytes are created again. *Unknown* is returned only when the
//!   budget is spent or `stop` is cancelled.
//! * The write runs in its own task. Dropping the caller's future doesn't stop it half-way.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::key::key_is_legal;
use crate::patience::{Patience, Tries};
use crate::planted;
use crate::store::Store;

/// How a conditional create ended.
#[must_use = "only the outcome says whose object is at the key"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// Our bytes are at the key.
    Won,
    /// A rival's object is at the key; these are its bytes.
    Lost(Bytes),
    /// No clear answer. The create may have landed, or may land later.
    Unknown,
}

/// Creates `key` with exactly `body`, once, and reports the true outcome. Normally one request.
///
/// `body` must carry a random nonce: equal bytes at the key count as this write.
///
/// Runs in its own task: dropping the returned future after its first poll doesn't stop the write. Cancelling `stop`
/// does, with [`Created::Unknown`]. Without a budget only `stop` ends it undecided, however long an outage lasts.
///
/// # Panics
///
/// If `key` isn't [legal](key_is_legal) or `body` is empty: both are errors of the caller, and such a create has no
/// outcome.
pub async fn create_once(
    store: &Arc<dyn Store>,
    key: &str,
    body: Bytes,
    patience: Patience,
    stop: &CancellationToken,
) -> Created {
    assert!(key_is_legal(key), "{key:?} can't name an object");
    assert!(!body.is_empty(), "{key}: a body without a nonce looks like a rival's");
    let write = Write { store: Arc::clone(store), key: key.to_owned(), body, patience };
    match tokio::spawn(write.decide(stop.clone())).await {
        Ok(created) => created,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The task is aborted only when the runtime shuts down.
        Err(_) => Created::Unknown,
    }
}

/// One write, frozen.
#[derive(Debug)]
struct Write {
    store: Arc<dyn Store>,
    key: String,
    body: Bytes,
    patience: Patience,
}

impl Write {
    async fn decide(self, stop: CancellationToken) -> Created {
        // Stopped before anything was sent: send nothing.
        if stop.is_cancelled() {
            return Created::Unknown;
        }
        // The answer first: an outcome that is already known takes precedence over `stop`.
        tokio::select! {
            biased;
            created = self.resolve() => created,
            () = stop.cancelled() => Created::Unknown,
            () = self.patience.spent() => Created::Unknown,
        }
    }

    /// Tries until the outcome is known.
    async fn resolve(&self) -> Created {
        let mut tries = Tries::new(&self.key, self.patience);
        loop {
            let answer = tries.run(self.store.create(&self.key, self.body.clone())).await;
            if planted::is_won(answer.is_ok(), &answer) {
                return Created::Won;
            }
            match self.read_back(&mut tries).await {
                Some(found) if found == self.body => return Created::Won,
                Some(found) => return Created::Lost(found),
                // Not there now, but an earlier try may still land. A retry is safe: it has the same bytes.
                None => tries.pause().await,
            }
        }
    }

    /// Reads the key until the answer is definite.
    async fn read_back(&self, tries: &mut Tries<'_>) -> Option<Bytes> {
        loop {
            match tries.run(self.store.get(&self.key)).await {
                Ok(found) => return found,
                Err(_) => tries.pause().await,
            }
        }
    }
}
