//! Races: many create one key at the same time; exactly one may win, and all must see the winner's bytes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::report::{ProbeError, Promise};
use super::{Probing, broken};
use crate::error::Error;
use crate::patience::{Patience, Tries};

/// Races of one round that may end undecided, all creates lost; the deadline comes first unless errors come fast.
const REPEATS_MAX: usize = 100;

/// What one racer saw.
struct Seen {
    body: Bytes,
    /// What the store said of its create.
    create: Result<(), Error>,
    /// What it read right after that, while others may still have raced.
    read: Result<Option<Bytes>, Error>,
}

impl Probing<'_> {
    /// One round: repeated under new names for as long as nobody gets an object created.
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
            // A task each: their requests are under way at the same time, on all threads there are.
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

/// Whether the race had a winner; an error if it had two, in whatever way.
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
    // Who came too early found nothing; whoever found something found what stands there for good.
    let mut found = seen.iter().filter_map(|seen| seen.read.as_ref().ok()?.as_ref());
    if found.any(|found| stands != Some(found)) {
        return Err(broken(Promise::OneWinner, "not all readers found the same bytes"));
    }
    Ok(stands.is_some())
}
