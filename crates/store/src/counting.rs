//! Counts requests by verb and purpose, to measure what an operation costs.
//!
//! The purpose of a request follows from its key. Only the caller knows it, and passes a function from key to purpose.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{AddAssign, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::error::Error;
use crate::store::{Listed, Store};

/// Objects in one page of a listing; each page is a request.
const LIST_PAGE_LEN: usize = 1_000;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// A try of a conditional create.
    Create,
    /// A plain put.
    Put,
    /// A get of a whole object.
    Get,
    /// A get of a part of one.
    GetRange,
    /// A page of a listing.
    List,
    /// A delete.
    Delete,
}

impl Verb {
    /// All verbs, in order.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Put, Self::Get, Self::GetRange, Self::List, Self::Delete];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Put => "put",
            Self::Get => "get",
            Self::GetRange => "get-range",
            Self::List => "list",
            Self::Delete => "delete",
        })
    }
}

/// The counts of some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent, including failed ones and those whose caller gave up.
    pub requests: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Body bytes sent or received.
    pub bytes: u64,
    /// How long the answered requests took, in total.
    pub took: Duration,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.took += other.took;
    }
}

/// The counts by verb and purpose. Pairs without requests are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(Verb, &'static str), Tally>);

impl Counts {
    /// The counts since `earlier`, a snapshot of the same store.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (place, before) in &earlier.0 {
            let tally =
                difference.0.get_mut(place).expect("counts only grow: a snapshot of another store");
            tally.requests -= before.requests;
            tally.errors -= before.errors;
            tally.bytes -= before.bytes;
            tally.took -= before.took;
        }
        difference.0.retain(|_, tally| *tally != Tally::default());
        difference
    }

    /// The tally of one verb and purpose.
    #[must_use]
    pub fn of(&self, verb: Verb, purpose: &str) -> Tally {
        self.sum(|(counted, counted_purpose)| counted == verb && counted_purpose == purpose)
    }

    /// The tally of one verb, for all purposes.
    #[must_use]
    pub fn of_verb(&self, verb: Verb) -> Tally {
        self.sum(|(counted, _)| counted == verb)
    }

    /// The tally of one purpose, for all verbs.
    #[must_use]
    pub fn of_purpose(&self, purpose: &str) -> Tally {
        self.sum(|(_, counted)| counted == purpose)
    }

    /// Everything.
    #[must_use]
    pub fn total(&self) -> Tally {
        self.sum(|_| true)
    }

    /// Each verb and purpose with its tally, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Verb, &'static str, Tally)> + '_ {
        self.0.iter().map(|(&(verb, purpose), &tally)| (verb, purpose, tally))
    }

    fn sum(&self, wanted: impl Fn((Verb, &'static str)) -> bool) -> Tally {
        let mut sum = Tally::default();
        for (_, tally) in self.0.iter().filter(|(place, _)| wanted(**place)) {
            sum += *tally;
        }
        sum
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (verb, purpose, tally) in self.iter() {
            writeln!(
                f,
                "{verb:<10}{purpose:<16}{:>10} requests{:>8} errors{:>14} bytes",
                tally.requests, tally.errors, tally.bytes
            )?;
        }
        Ok(())
    }
}

/// A store that counts the requests to the one below it.
#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn Store>,
    purpose: fn(&str) -> &'static str,
    counters: RwLock<BTreeMap<&'static str, Arc<Counters>>>,
}

/// The counters of one purpose, by verb.
#[derive(Debug, Default)]
struct Counters([Counter; Verb::ALL.len()]);

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
    took_ns: AtomicU64,
}

impl Counting {
    /// Counts the requests to `inner`. `purpose` names the purpose of a key, or of the prefix of a listing. It should
    /// return only a few names, because the counters of each name are kept permanently.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, purpose: fn(&str) -> &'static str) -> Self {
        Self { inner, purpose, counters: RwLock::default() }
    }

    /// All counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Counts::default();
        for (purpose, counters) in counters.iter() {
            for verb in Verb::ALL {
                let counter = &counters.0[verb as usize];
                let tally = Tally {
                    requests: counter.requests.load(Ordering::Relaxed),
                    errors: counter.errors.load(Ordering::Relaxed),
                    bytes: counter.bytes.load(Ordering::Relaxed),
                    took: Duration::from_nanos(counter.took_ns.load(Ordering::Relaxed)),
                };
                if tally != Tally::default() {
                    counts.0.insert((verb, purpose), tally);
                }
            }
        }
        counts
    }

    fn counters(&self, key: &str) -> Arc<Counters> {
        let purpose = (self.purpose)(key);
        if let Some(counters) =
            self.counters.read().unwrap_or_else(PoisonError::into_inner).get(purpose)
        {
            return Arc::clone(counters);
        }
        Arc::clone(
            self.counters
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(purpose)
                .or_default(),
        )
    }

    /// Counts one request: first that it was sent, then its result. A request whose caller gives up was still sent.
    async fn count<T>(
        &self,
        verb: Verb,
        key: &str,
        request: impl Future<Output = Result<T, Error>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T, Error> {
        let counters = self.counters(key);
        let counter = &counters.0[verb as usize];
        counter.requests.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let answer = request.await;
        let took_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        counter.took_ns.fetch_add(took_ns, Ordering::Relaxed);
        match &answer {
            Ok(answer) => counter.bytes.fetch_add(bytes(answer) as u64, Ordering::Relaxed),
            Err(_) => counter.errors.fetch_add(1, Ordering::Relaxed),
        };
        answer
    }
}

#[async_trait]
impl Store for Counting {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        let len = body.len();
        self.count(Verb::Create, key, self.inner.create(key, body), |()| len).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        let len = body.len();
        self.count(Verb::Put, key, self.inner.put(key, body), |()| len).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.count(Verb::Get, key, self.inner.get(key), found_len).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.count(Verb::GetRange, key, self.inner.get_range(key, range), found_len).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let listed = self.count(Verb::List, prefix, self.inner.list(prefix), |_| 0).await?;
        let further_pages = listed.len().saturating_sub(1) / LIST_PAGE_LEN;
        self.counters(prefix).0[Verb::List as usize]
            .requests
            .fetch_add(further_pages as u64, Ordering::Relaxed);
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.count(Verb::Delete, key, self.inner.delete(key), |()| 0).await
    }
}

fn found_len(found: &Option<Bytes>) -> usize {
    found.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn purpose(key: &str) -> &'static str {
        if key.starts_with("epochs") { "epoch" } else { "other" }
    }

    #[tokio::test]
    async fn requests_between_two_snapshots_are_counted_by_verb_and_purpose() {
        let store = Counting::new(Arc::new(Memory::new()), purpose);
        store.create("epochs/1", Bytes::from_static(b"one")).await.unwrap();
        let before = store.counts();
        store.create("epochs/1", Bytes::from_static(b"rival")).await.unwrap_err();
        assert_eq!(store.get("epochs/1").await.unwrap().unwrap(), "one");
        assert_eq!(store.get("other").await.unwrap(), None);
        store.list("").await.unwrap();
        let counts = store.counts().since(&before);
        let of = |tally: Tally| (tally.requests, tally.errors, tally.bytes);
        assert_eq!(of(counts.of(Verb::Create, "epoch")), (1, 1, 0));
        assert_eq!(of(counts.of(Verb::Get, "epoch")), (1, 0, 3));
        assert_eq!(counts.of_verb(Verb::Get).requests, 2);
        assert_eq!(counts.of_purpose("other").requests, 2);
        assert_eq!(of(counts.total()), (4, 1, 3));
        assert_eq!(counts.iter().count(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_requests_took_is_summed() {
        let store = Counting::new(Arc::new(Memory::new()), purpose);
        let slow = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        };
        store.count(Verb::Get, "epochs/1", slow, |()| 0).await.unwrap();
        store.get("epochs/1").await.unwrap();
        assert_eq!(store.counts().of_verb(Verb::Get).took, Duration::from_millis(20));
    }

    #[tokio::test]
    async fn each_page_of_a_listing_is_a_request() {
        let store = Counting::new(Arc::new(Memory::new()), purpose);
        for number in 0..=LIST_PAGE_LEN {
            store.put(&format!("o/{number}"), Bytes::new()).await.unwrap();
        }
        store.list("o").await.unwrap();
        assert_eq!(store.counts().of_verb(Verb::List).requests, 2);
    }

    #[tokio::test]
    async fn a_request_counts_as_sent_if_its_caller_gives_up() {
        let store = Counting::new(Arc::new(Memory::new()), purpose);
        let hangs =
            store.count(Verb::Get, "epochs/1", std::future::pending::<Result<(), Error>>(), |()| 0);
        tokio::time::timeout(Duration::from_millis(1), hangs).await.unwrap_err();
        assert_eq!(store.counts().of_verb(Verb::Get).requests, 1);
    }
}
