//! Races: concurrent creates of one key. Exactly one may win, and all must read the winner's bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::report::{ProbeError, Promise};
use super::{Probing, broken};
use crate::error::Error;
use crate::patience::{Patience, Tries};

/// Races of one round that may end without a winner. Normally the deadline comes first, unless errors come fast.
const REPEATS_MAX: usize = 100;

/// The answers that one racer got.
struct Seen {
    body: Bytes,
    /// The answer to its create.
    create: Result<(), Error>,
    /// Its read right after that, while others may still be racing.
    read: Result<Option<Bytes>, Error>,
}

impl Probing<'_> {
    /// One round, repeated under new names until a create wins.
    pub(super) async fn race(&self, round: usize) -> Result<(), ProbeError> {
        for repeat in 0..REPEATS_MAX {
            let key = self.key(&format!("race{round}-{repeat}"));
            let seen = self.racers(&key).await;
            let stands = self.read(&key).await?;
            if judge(&seen, stands.as_ref())? {
                return Ok(());
            }
            Tries::new(&key, Patience::forever()).pause().await;
        }
        Err(self.unreachable())
    }

    async fn racers(&self, key: &str) -> Vec<Seen> {
        let mut racers = JoinSet::new();
        for racer in 0..self.probe.racers {
            let (store, key, body) =
                (Arc::clone(self.store), key.to_owned(), self.body(&format!("racer{racer}")));
            // One task each, so that the requests are concurrent, on all threads.
            racers.spawn(async move {
                let mut tries = Tries::new(&key, Patience::forever());
                let create = tries.run(store.create(&key, body.clone())).await;
                let read = tries.run(store.get(&key)).await;
                Seen { body, create, read }
            });
        }
        racers.join_all().await
    }
}

/// Whether the race had a winner; an error if there are signs of two.
fn judge(seen: &[Seen], stands: Option<&Bytes>) -> Result<bool, ProbeError> {
    let winners: Vec<_> = seen.iter().filter(|seen| seen.create.is_ok()).collect();
    if winners.len() > 1 {
        let evidence = format!("{} of {} were told that they won", winners.len(), seen.len());
        return Err(broken(Promise::OneWinner, evidence));
    }
    if let Some(winner) = winners.first() {
        if stands != Some(&winner.body) {
            return Err(broken(Promise::OneWinner, "the winner's bytes aren't there"));
        }
        if matches!(winner.read, Ok(None)) {
            return Err(broken(Promise::ReadAfterCreate, "the winner of a race found nothing"));
        }
    }
    // An early reader found nothing. A reader that found an object must have found the final bytes.
    let mut found = seen.iter().filter_map(|seen| seen.read.as_ref().ok()?.as_ref());
    if found.any(|found| stands != Some(found)) {
        return Err(broken(Promise::OneWinner, "not all readers found the same bytes"));
    }
    Ok(stands.is_some())
}
