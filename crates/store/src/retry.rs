//! Requests that may simply be asked again: reads, plain puts, deletes. Everybody who waits for the store waits here.
//!
//! An outage of hours is ridden out; what can never succeed comes back at once; giving up says why.

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
    /// Told to stop. Of a put or delete: it may have happened, or may yet.
    #[error("stopped before the store answered")]
    Stopped,
    /// The patience is at its end: its budget is spent, or the store refuses. Of a put or delete: it may have happened,
    /// or may yet.
    #[error("{}", match last {
        Some(refused @ Error::Denied { .. }) => refused.to_string(),
        _ => "no clear answer from the store in the time given".to_owned(),
    })]
    Spent {
        /// The last error; `None` if no try was answered at all.
        #[source]
        last: Option<Error>,
    },
    /// It can never succeed as asked; the error is an [`Error::Rejected`].
    #[error(transparent)]
    Rejected(Error),
}

/// The whole object, asked until the answer is definite; `None` means definitely not found.
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

/// A part of an object, asked until the answer is definite.
///
/// # Errors
///
/// [`GaveUp::Rejected`] if the object is shorter than that; otherwise nothing is known about it.
pub async fn get_range_until(
    store: &dyn Store,
    key: &str,
    range: Range<u64>,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Option<Bytes>, GaveUp> {
    ask_until(key, patience, stop, || store.get_range(key, range.clone())).await
}

/// A complete listing, asked until there is one.
///
/// # Errors
///
/// Nothing is known about what is there.
pub async fn list_until(
    store: &dyn Store,
    prefix: &str,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Vec<Listed>, GaveUp> {
    ask_until(prefix, patience, stop, || store.list(prefix)).await
}

/// Puts the same bytes until one put is confirmed. Only for hints and for names that are never reused: a try that was
/// reported failed may land later, over anything written since.
///
/// # Errors
///
/// Unless rejected it may have happened, or may yet.
pub async fn put_until(
    store: &dyn Store,
    key: &str,
    body: Bytes,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<(), GaveUp> {
    ask_until(key, patience, stop, || store.put(key, body.clone())).await
}

/// Deletes until one delete is confirmed. Only for what is garbage for ever: a try that was reported failed may land
/// later.
///
/// # Errors
///
/// Unless rejected it may have happened, or may yet.
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
