//! `create_once`: the one conditional write, and the only place where its ambiguity is resolved.
//!
//! What a store answers to a conditional create proves little. "Exists already" may be our own write, met by a retry
//! hidden in some client or proxy; a lone 409 is reported alike though nothing was written; a timeout may land later.
//! Only two things prove anything: `Ok`, and the bytes that stand there. So after any other answer we look.
//!
//! Invariants:
//!
//! * The body is frozen before the first try and carries a random nonce: equal bytes are our own write.
//! * Won and Lost are facts. A create that was reported failed may land later, but then finds the key taken.
//! * Not found after an error is no answer: the same bytes are put again. *Unknown* only when the budget is spent, or
//!   when told to stop.
//! * The write runs in a task of its own. Dropping the caller's future doesn't stop it half-way.

use std::sync::Arc;

use bytes::Bytes;
use holocron_planted::{Bug, is_planted};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::key::key_is_legal;
use crate::patience::{Patience, Tries};
use crate::store::Store;

/// How a conditional create ended.
#[must_use = "only the outcome says whose object stands there"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is ours: our bytes stand at the key.
    Won,
    /// A rival's object stands there; these are its bytes.
    Lost(Bytes),
    /// No clear answer. It may have landed, or may yet.
    Unknown,
}

/// Creates `key` with exactly `body`, once, and says truly how that ended. One request when all is well.
///
/// `body` must carry a random nonce: equal bytes found at the key are taken for this very write.
///
/// Runs in a task of its own: dropping the returned future after its first poll never stops the write. Cancelling
/// `stop` does, with [`Created::Unknown`]. Without a budget only `stop` ends it undecided, however long the store is
/// away.
///
/// # Panics
///
/// If `key` isn't [legal](key_is_legal) or `body` is empty: both are mistakes of the caller, and neither could ever be
/// decided.
pub async fn create_once(
    store: &Arc<dyn Store>,
    key: &str,
    body: Bytes,
    patience: Patience,
    stop: &CancellationToken,
) -> Created {
    assert!(key_is_legal(key), "{key:?} can't name an object");
    assert!(!body.is_empty(), "{key}: a body without a nonce can't be told from a rival's");
    let write = Write { store: Arc::clone(store), key: key.to_owned(), body, patience };
    match tokio::spawn(write.decide(stop.clone())).await {
        Ok(created) => created,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Nobody aborts the task but a runtime that shuts down.
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
        // Told to stop before anything was sent: send nothing.
        if stop.is_cancelled() {
            return Created::Unknown;
        }
        // The answer first: a fact that is already here beats the wish to stop.
        tokio::select! {
            biased;
            created = self.resolve() => created,
            () = stop.cancelled() => Created::Unknown,
            () = self.patience.spent() => Created::Unknown,
        }
    }

    /// Tries until it is a fact.
    async fn resolve(&self) -> Created {
        let mut tries = Tries::new(&self.key, self.patience);
        loop {
            let answer = tries.run(self.store.create(&self.key, self.body.clone())).await;
            let trusted = matches!(answer, Err(Error::Conflict { .. }))
                && is_planted(Bug::TrustAlreadyExists);
            if answer.is_ok() || trusted {
                return Created::Won;
            }
            match self.read_back(&mut tries).await {
                Some(found) if found == self.body => return Created::Won,
                Some(found) => return Created::Lost(found),
                // It isn't there now; it may yet land. Either way it is the same bytes.
                None => tries.pause().await,
            }
        }
    }

    /// What stands at the key, asked until the answer is definite.
    async fn read_back(&self, tries: &mut Tries<'_>) -> Option<Bytes> {
        loop {
            match tries.run(self.store.get(&self.key)).await {
                Ok(found) => return found,
                Err(_) => tries.pause().await,
            }
        }
    }
}
