//! Cleaning up after a demo: deletes everything below its prefix. It runs after the hosts have ended and the verdict is
//! printed. Failed requests are repeated; objects that can't be deleted are left.
//!
//! Invariants:
//!
//! * It ends within its time limit, and reports whether anything may be left.

use core::time::Duration;
use std::sync::Arc;

use holocron_store::{GaveUp, Patience, Store, delete_until, explain, list_until};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Objects deleted at a time.
const DELETED_AT_ONCE: usize = 32;
/// How long one try of a request may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one request is repeated.
const REPEATED_FOR: Duration = Duration::from_secs(10);
/// The pause before the store is listed again: a killed host's last request may still land.
const LIST_PAUSE: Duration = Duration::from_millis(100);

/// What is left, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Number of objects left; `None` if no listing succeeded.
    pub(super) objects: Option<usize>,
    /// The newest error.
    pub(super) why: String,
}

/// Deletes everything in a store.
pub(super) async fn clean_up(store: &Arc<dyn Store>, within: Duration) -> Result<(), Left> {
    let deadline = Instant::now() + within;
    let mut left = Left { objects: None, why: format!("no answer within {within:?}") };
    loop {
        let stop = CancellationToken::new();
        let listed = match list_until(&**store, "", patience(deadline), &stop).await {
            Ok(listed) => listed,
            Err(error) => return Err(Left { why: sentence(&error), ..left }),
        };
        if listed.is_empty() {
            return Ok(());
        }
        left.objects = Some(listed.len());
        let keys = listed.into_iter().map(|object| object.key).collect();
        let deleted = delete_all(store, keys, deadline).await;
        left.objects = Some(deleted.failed);
        if let Some(why) = deleted.why {
            left.why = why;
        }
        if deleted.done == 0 || Instant::now() >= deadline {
            // Another round would not delete more, or there is no time for it.
            return Err(left);
        }
        sleep(LIST_PAUSE).await;
    }
}

/// How a round of deletes ended.
#[derive(Debug, Default)]
struct Deleted {
    done: usize,
    failed: usize,
    why: Option<String>,
}

/// Deletes objects, [`DELETED_AT_ONCE`] at a time. Gives up if the first [`DELETED_AT_ONCE`] deletes all fail.
async fn delete_all(store: &Arc<dyn Store>, keys: Vec<String>, deadline: Instant) -> Deleted {
    let mut deleted = Deleted::default();
    let mut deleting = JoinSet::new();
    let mut keys = keys.into_iter();
    loop {
        let is_vain = deleted.done == 0 && deleted.failed >= DELETED_AT_ONCE;
        while !is_vain
            && deleting.len() < DELETED_AT_ONCE
            && let Some(key) = keys.next()
        {
            let store = Arc::clone(store);
            deleting.spawn(async move {
                let stop = CancellationToken::new();
                delete_until(&*store, &key, patience(deadline), &stop).await
            });
        }
        match deleting.join_next().await {
            Some(Ok(Ok(()))) => deleted.done += 1,
            Some(Ok(Err(error))) => {
                deleted.failed += 1;
                deleted.why = Some(sentence(&error));
            }
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => {
                deleted.failed += keys.count();
                return deleted;
            }
        }
    }
}

/// The patience of one request.
fn patience(deadline: Instant) -> Patience {
    let left = deadline.saturating_duration_since(Instant::now());
    Patience { try_timeout: TRY_TIMEOUT, ..Patience::within(left.min(REPEATED_FOR)) }
}

/// The newest error, rather than "out of time".
fn sentence(error: &GaveUp) -> String {
    match error {
        GaveUp::Spent { last: Some(last) } => explain(last),
        GaveUp::Spent { last: None } | GaveUp::Stopped | GaveUp::Rejected(_) => explain(error),
    }
}

#[cfg(test)]
mod tests {
    use holocron_store::{Fault, Faults, Faulty, Memory, Outage};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    /// A store with this many objects and these faults.
    async fn full(objects: usize, faults: Faults) -> (Arc<dyn Store>, Arc<Faulty>) {
        let memory: Arc<dyn Store> = Arc::new(Memory::new());
        for number in 0..objects {
            memory.put(&format!("epochs/{number}"), "x".into()).await.unwrap();
        }
        (Arc::clone(&memory), Arc::new(Faulty::new(memory, 8, faults)))
    }

    async fn clean(faulty: &Arc<Faulty>) -> Result<(), Left> {
        clean_up(&(Arc::clone(faulty) as Arc<dyn Store>), WITHIN).await
    }

    #[tokio::test(start_paused = true)]
    async fn deletes_that_fail_or_are_not_answered_are_repeated() {
        let faults = Faults {
            fail_before: 0.1,
            fail_after: 0.1,
            hang_before: 0.03,
            hang_after: 0.03,
            burst: 0.01,
            burst_len_max: 10,
            wrong_kind: 0.2,
            ..Faults::default()
        };
        let (memory, faulty) = full(500, faults).await;
        assert_eq!(clean(&faulty).await, Ok(()));
        assert_eq!(memory.list("").await.unwrap(), []);
        for fault in [Fault::FailBefore, Fault::FailAfter, Fault::HangBefore, Fault::HangAfter] {
            assert!(faulty.injected()[&fault] > 5, "{:?}", faulty.injected());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_lands_after_the_listing_is_deleted_too() {
        let (memory, faulty) = full(3, Faults::default()).await;
        let late: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
        let making = tokio::spawn(async move {
            sleep(LIST_PAUSE / 2).await;
            late.put("journals/late", "x".into()).await.unwrap();
        });
        assert_eq!(clean(&faulty).await, Ok(()));
        making.await.unwrap();
        assert_eq!(memory.list("").await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_ends_the_clean_up_in_time() {
        for outage in [Outage::Refuses, Outage::Hangs] {
            let (_, faulty) = full(3, Faults::default()).await;
            faulty.set_outage(outage);
            let started = Instant::now();
            let left = clean(&faulty).await.unwrap_err();
            assert_eq!(left.objects, None, "{left:?}");
            assert!(started.elapsed() <= WITHIN, "{:?}", started.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn objects_that_cannot_be_deleted_are_counted_and_given_up_soon() {
        let (memory, faulty) = full(500, Faults::default()).await;
        // The listing is answered, nothing after it.
        faulty.script([Fault::Pass]);
        faulty.script(core::iter::repeat_n(Fault::FailBefore, 100_000));
        let started = Instant::now();
        let left = clean(&faulty).await.unwrap_err();
        assert_eq!(left.objects, Some(500), "{left:?}");
        assert!(left.why.contains("no clear answer"), "{left:?}");
        assert!(started.elapsed() < WITHIN, "{:?}", started.elapsed());
        assert_eq!(memory.list("").await.unwrap().len(), 500);
    }
}
