//! The start-up probe: whether a store keeps the promises that Holocron needs.
//!
//! Everything depends on creates that are really conditional and on reads that see them. A store (or a proxy in front
//! of it) that ignores the condition, or checks first and then writes, works for months and then loses data. So a host
//! probes at every start, and refuses a store that breaks a promise, naming the promise.
//!
//! Invariants:
//!
//! * A store is refused only on proof: two winners, changed bytes, a missing object. Errors and lost answers prove
//!   nothing; the request is retried until the deadline.
//! * It deletes what it wrote, with any result. (If its deadline cuts it off, or a create lands late, a few small
//!   objects may stay below its prefix; they are never read again, and the leader deletes them later.)

mod create;
mod race;
mod report;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, explain};
use crate::patience::{Patience, REFUSALS_MAX, Tries};
use crate::retry::delete_until;
use crate::store::Store;
use crate::trouble::Trouble;
pub use report::{ProbeError, ProbeReport, Promise};

/// Number of creates, gets and lists that are timed; the report has the medians.
const SAMPLES: usize = 3;

/// Deletes of one object after which the store counts as keeping deleted objects.
const DELETES_MAX: usize = 5;

/// The longest deadline of a probe; a longer one counts as this. Leftovers of probes are deleted by their age, and a probe
/// must never find its own objects deleted.
pub const PROBE_DEADLINE_MAX: Duration = Duration::from_secs(300);

/// How long the clean-up may take after the verdict.
const CLEAN_UP_MAX: Duration = Duration::from_secs(1);

/// How to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Objects are created below this prefix only.
    pub prefix: String,
    /// A new random number for each probe. It names the objects, so that concurrent probes don't interfere.
    pub nonce: u128,
    /// Concurrent creates of one key. Higher: finds narrower races, opens more connections.
    pub racers: usize,
    /// Number of races, one after the other.
    pub rounds: usize,
    /// A store that has not answered every request by then counts as unreachable; at most [`PROBE_DEADLINE_MAX`].
    pub deadline: Duration,
}

impl Probe {
    /// The usual probe: 3 races of 16, below `probe/`, within 10 s.
    #[must_use]
    pub fn new(nonce: u128) -> Self {
        Self {
            prefix: "probe".to_owned(),
            nonce,
            racers: 16,
            rounds: 3,
            deadline: Duration::from_secs(10),
        }
    }
}

/// Checks whether `store` keeps the promises that Holocron needs. On a healthy store it takes about 20 rounds of
/// requests.
///
/// # Errors
///
/// [`ProbeError::Broken`] names the promise that the store breaks; with the other errors the check could not be
/// completed.
pub async fn probe(store: &Arc<dyn Store>, probe: &Probe) -> Result<ProbeReport, ProbeError> {
    let probing = Probing { store, probe, keys: Mutex::default(), last: Mutex::default() };
    let start = Instant::now();
    let verdict = tokio::select! {
        biased;
        verdict = probing.run() => verdict,
        () = tokio::time::sleep(probe.deadline.min(PROBE_DEADLINE_MAX)) => Err(probing.unreachable()),
    };
    if !matches!(verdict, Err(ProbeError::Unreachable { .. })) {
        probing.clean_up().await;
    }
    verdict.map(|medians| ProbeReport {
        create_p50: medians[0],
        get_p50: medians[1],
        list_p50: medians[2],
        racers: probe.racers,
        rounds: probe.rounds,
        elapsed: start.elapsed(),
    })
}

/// A running probe.
#[derive(Debug)]
struct Probing<'a> {
    store: &'a Arc<dyn Store>,
    probe: &'a Probe,
    /// Every key that may have been written.
    keys: Mutex<Vec<String>>,
    /// The newest error, to report at the deadline.
    last: Mutex<Option<Error>>,
}

impl Probing<'_> {
    /// Runs all checks in order. Returns the medians of create, get and list.
    async fn run(&self) -> Result<[Duration; 3], ProbeError> {
        let mut times = [const { Vec::new() }; 3];
        for sample in 0..SAMPLES {
            for (times, time) in times.iter_mut().zip(self.create_and_read(sample).await?) {
                times.push(time);
            }
        }
        let (over, part) = tokio::join!(self.create_over(), self.read_a_part());
        over.and(part)?;
        let races = async {
            for round in 0..self.probe.rounds {
                self.race(round).await?;
            }
            Ok(())
        };
        let (races, larger) = tokio::join!(races, self.create_larger_over());
        races.and(larger)?;
        self.delete().await?;
        Ok(times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        }))
    }

    /// Creates an object and must find it by name and in a listing. Returns how long each of the three took.
    async fn create_and_read(&self, sample: usize) -> Result<[Duration; 3], ProbeError> {
        let (key, body) =
            (self.key(&format!("sample{sample}")), self.body(&format!("sample{sample}")));
        // The first one is read before it is created, to detect a cache that keeps "not found".
        if sample == 0 {
            self.look_for_nothing(&key, &body).await?;
        }
        let start = Instant::now();
        self.create(&key, &body).await?;
        let create = start.elapsed();
        let get = async {
            let start = Instant::now();
            let found = self.read(&key).await?;
            let took = start.elapsed();
            if found.as_ref() == Some(&body) {
                Ok(took)
            } else {
                Err(wrong(Promise::ReadAfterCreate, found.as_ref()))
            }
        };
        let list = async {
            let start = Instant::now();
            let listed =
                self.ask(&self.probe.prefix, || self.store.list(&self.probe.prefix)).await?;
            let took = start.elapsed();
            match listed.iter().find(|listed| listed.key == key) {
                Some(listed) if listed.len == body.len() as u64 => Ok(took),
                Some(_) => {
                    Err(broken(Promise::ListAfterCreate, "it is listed with a wrong length"))
                }
                None => Err(broken(Promise::ListAfterCreate, "it isn't listed")),
            }
        };
        let (get, list) = tokio::join!(get, list);
        Ok([create, get?, list?])
    }

    /// Reads a missing object. If that is refused although creates and reads are allowed, "missing" can't be told from
    /// "forbidden". If it returns bytes that were never written, the server is no object store.
    async fn look_for_nothing(&self, key: &str, body: &Bytes) -> Result<(), ProbeError> {
        let refused = match self.read(key).await {
            Err(refused @ ProbeError::Refused { .. }) => refused,
            Err(other) => return Err(other),
            Ok(None) => return Ok(()),
            Ok(Some(found)) => {
                let evidence = format!("{} bytes were found", found.len());
                return Err(broken(Promise::NothingUnwritten, evidence));
            }
        };
        let mut tries = Tries::new(key, Patience::forever());
        let created = tries.run(self.store.create(key, body.clone())).await;
        if created.is_err() || self.read(key).await? != Some(body.clone()) {
            return Err(refused);
        }
        // Once more, because an expired token may have been renewed meanwhile.
        match self.read(&self.key("absent")).await {
            Err(ProbeError::Refused { source }) => {
                let evidence = format!("it was refused ({})", cause(&source));
                Err(broken(Promise::MissingIsSaid, evidence))
            }
            Err(other) => Err(other),
            Ok(_) => Ok(()),
        }
    }

    async fn read_a_part(&self) -> Result<(), ProbeError> {
        let (key, body) = (self.key("sample0"), self.body("sample0"));
        let part = match self.ask(&key, || self.store.get_range(&key, 5..17)).await {
            Err(ProbeError::Refused { source })
                if matches!(Trouble::among(&source), Some(Trouble::RangeIgnored)) =>
            {
                return Err(broken(Promise::ExactRange, cause(&source)));
            }
            answer => answer?,
        };
        if part == Some(body.slice(5..17)) {
            Ok(())
        } else {
            Err(wrong(Promise::ExactRange, part.as_ref()))
        }
    }

    /// Deletes an object that had no rival, and reads it again. An earlier unclear create may land after the delete,
    /// but not [`DELETES_MAX`] times.
    async fn delete(&self) -> Result<(), ProbeError> {
        let key = self.key("sample1");
        let tries = Tries::new(&key, Patience::forever());
        let mut found = None;
        for _ in 0..DELETES_MAX {
            self.ask(&key, || self.store.delete(&key)).await?;
            found = self.read(&key).await?;
            if found.is_none() {
                return Ok(());
            }
            tries.pause().await;
        }
        Err(wrong(Promise::GoneAfterDelete, found.as_ref()))
    }

    async fn read(&self, key: &str) -> Result<Option<Bytes>, ProbeError> {
        self.ask(key, || self.store.get(key)).await
    }

    /// Retries a request until it is answered. The caller has the deadline.
    async fn ask<T, F>(&self, key: &str, mut request: impl FnMut() -> F) -> Result<T, ProbeError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = Tries::new(key, Patience::forever());
        let mut refusals = 0;
        loop {
            match tries.run(request()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.note(error, &mut refusals)?,
            }
            tries.pause().await;
        }
    }

    /// Records a failed try; fails after [`REFUSALS_MAX`] refusals.
    fn note(&self, error: Error, refusals: &mut u32) -> Result<(), ProbeError> {
        if matches!(error, Error::Denied { .. } | Error::Rejected { .. }) {
            *refusals += 1;
            if *refusals == REFUSALS_MAX {
                return Err(ProbeError::Refused { source: error });
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Ok(())
    }

    /// A key of this probe, recorded for the clean-up.
    fn key(&self, name: &str) -> String {
        let key = format!("{}/{:032x}-{name}", self.probe.prefix, self.probe.nonce);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains(&key) {
            keys.push(key.clone());
        }
        key
    }

    /// The body of one writer.
    fn body(&self, name: &str) -> Bytes {
        Bytes::from(format!("holocron probe {:032x} {name}", self.probe.nonce))
    }

    fn unreachable(&self) -> ProbeError {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        ProbeError::Unreachable { within: self.probe.deadline.min(PROBE_DEADLINE_MAX), last }
    }

    async fn clean_up(&self) {
        let keys = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        let never = CancellationToken::new();
        let patience = Patience::at_start(CLEAN_UP_MAX);
        let deletes = keys.iter().map(|key| delete_until(&**self.store, key, patience, &never));
        for (key, done) in keys.iter().zip(futures::future::join_all(deletes).await) {
            if let Err(error) = done {
                tracing::debug!(key, %error, "probe object not deleted");
            }
        }
    }
}

fn broken(promise: Promise, evidence: impl Into<String>) -> ProbeError {
    ProbeError::Broken { promise, evidence: evidence.into() }
}

/// The cause of an error, without the key of the probe's object.
fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), explain)
}

/// The error for a read that found the wrong bytes or nothing.
fn wrong(promise: Promise, found: Option<&Bytes>) -> ProbeError {
    broken(
        promise,
        if found.is_some() { "different bytes were found" } else { "nothing was found" },
    )
}
