//! Requests that can be retried safely: reads, plain puts, deletes. All waiting for the store happens here.
//!
//! They retry through an outage of hours, return a request that can never succeed at once, and say why they gave up.

use std::future::Future;
use std::ops::Range;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::patience::{Patience, Tries};
use crate::store::{Listed, Store};

/// Why a repeated request ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum GaveUp {
    /// `stop` was cancelled. A put or delete may have happened, or may happen later.
    #[error("stopped before the store answered")]
    Stopped,
    /// The budget is spent, or the store refuses the request. A put or delete may have happened, or may happen later.
    #[error("{}", match last {
        Some(refused @ Error::Denied { .. }) => refused.to_string(),
        _ => "no clear answer from the store in the time given".to_owned(),
    })]
    Spent {
        /// The last error; `None` if no try was answered at all.
        #[source]
        last: Option<Error>,
    },
    /// The request can never succeed; the error is an [`Error::Rejected`].
    #[error(transparent)]
    Rejected(Error),
}

/// Gets a whole object, with retries until the answer is definite; `None` means definitely not found.
///
/// # Errors
///
/// Nothing is known about the object.
pub async fn get_until(
    store: &dyn Store,
    key: &str,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Option<Bytes>, GaveUp> {
    ask_until(key, patience, stop, || store.get(key)).await
}

/// Gets a part of an object, with retries until the answer is definite.
///
/// # Errors
///
/// [`GaveUp::Rejected`] if the object is shorter than the range; otherwise nothing is known about it.
pub async fn get_range_until(
    store: &dyn Store,
    key: &str,
    range: Range<u64>,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Option<Bytes>, GaveUp> {
    ask_until(key, patience, stop, || store.get_range(key, range.clone())).await
}

/// A complete listing, with retries.
///
/// # Errors
///
/// Nothing is known about the objects.
pub async fn list_until(
    store: &dyn Store,
    prefix: &str,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Vec<Listed>, GaveUp> {
    ask_until(prefix, patience, stop, || store.list(prefix)).await
}

/// Puts the same bytes until one put is confirmed. Only for hints and for names that are never reused: a failed try may
/// land later and overwrite a newer object.
///
/// # Errors
///
/// Unless rejected, the put may have happened, or may happen later.
pub async fn put_until(
    store: &dyn Store,
    key: &str,
    body: Bytes,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<(), GaveUp> {
    ask_until(key, patience, stop, || store.put(key, body.clone())).await
}

/// Deletes until one delete is confirmed. Only for permanent garbage: a failed try may land later.
///
/// # Errors
///
/// Unless rejected, the delete may have happened, or may happen later.
pub async fn delete_until(
    store: &dyn Store,
    key: &str,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<(), GaveUp> {
    ask_until(key, patience, stop, || store.delete(key)).await
}

async fn ask_until<T, F>(
    key: &str,
    patience: Patience,
    stop: &CancellationToken,
    mut ask: impl FnMut() -> F,
) -> Result<T, GaveUp>
where
    F: Future<Output = Result<T, Error>>,
{
    if stop.is_cancelled() {
        return Err(GaveUp::Stopped);
    }
    let mut last = None;
    let asking = async {
        let mut tries = Tries::new(key, patience);
        let mut refusals = 0;
        loop {
            match tries.run(ask()).await {
                Ok(answer) => return Ok(answer),
                Err(error @ Error::Rejected { .. }) => return Err(GaveUp::Rejected(error)),
                Err(error @ Error::Denied { .. }) => {
                    refusals += 1;
                    if patience.refusals_max.is_some_and(|max| refusals >= max) {
                        return Err(GaveUp::Spent { last: Some(error) });
                    }
                    last = Some(error);
                }
                Err(error @ (Error::Unclear { .. } | Error::Conflict { .. })) => {
                    refusals = 0;
                    last = Some(error);
                }
            }
            tries.pause().await;
        }
    };
    tokio::select! {
        biased;
        answer = asking => return answer,
        () = stop.cancelled() => return Err(GaveUp::Stopped),
        () = patience.spent() => {}
    }
    Err(GaveUp::Spent { last })
}
