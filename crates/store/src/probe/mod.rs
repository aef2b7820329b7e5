//! The start-up probe: is this store fit to build on?
//!
//! Everything rests on conditional creates that are really conditional and on reads that see them. A store (or a proxy
//! before it) that ignores the condition, or checks first and writes then, works for months and then loses data. So a
//! host asks at every start, and refuses a store that breaks a promise, naming the promise.
//!
//! Invariants:
//!
//! * Only proof refuses a store: two winners, changed bytes, a missing object. Errors and lost answers prove nothing
//!   and are asked again, until the deadline.
//! * It leaves nothing behind, whatever it finds. (Cut off by its deadline, or where a create lands late, it may leave
//!   a few small objects below its prefix; they are never looked at again.)

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

/// Creates, gets and lists timed one after the other; the report has the medians.
const SAMPLES: usize = 3;

/// Deletes of one object before it counts as kept.
const DELETES_MAX: usize = 5;

/// The most that cleaning up may add, once the verdict is there.
const CLEAN_UP_MAX: Duration = Duration::from_secs(1);

/// How to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Objects are made below this prefix only.
    pub prefix: String,
    /// Drawn anew for each probe: it names the objects, so that probes don't meet.
    pub nonce: u128,
    /// How many race for one key. More finds narrower races, and opens more connections.
    pub racers: usize,
    /// How many races, one after the other.
    pub rounds: usize,
    /// A store that hasn't answered everything by then is unreachable.
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

/// Finds out whether `store` keeps the promises everything rests on. Quick on a healthy store: about 20 rounds of
/// requests.
///
/// # Errors
///
/// [`ProbeError::Broken`] names the promise the store breaks; the others say that it couldn't be found out.
pub async fn probe(store: &Arc<dyn Store>, probe: &Probe) -> Result<ProbeReport, ProbeError> {
    let probing = Probing { store, probe, keys: Mutex::default(), last: Mutex::default() };
    let start = Instant::now();
    let verdict = tokio::select! {
        biased;
        verdict = probing.run() => verdict,
        () = tokio::time::sleep(probe.deadline) => Err(probing.unreachable()),
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

/// A probe under way.
#[derive(Debug)]
struct Probing<'a> {
    store: &'a Arc<dyn Store>,
    probe: &'a Probe,
    /// Every key that may have been written.
    keys: Mutex<Vec<String>>,
    /// The newest error, for when nothing else is known.
    last: Mutex<Option<Error>>,
}

impl Probing<'_> {
    /// Everything, in order; the medians of create, get and list.
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

    /// Looks for an object, creates it, and must find it by name and in a listing. How long each of these took.
    async fn create_and_read(&self, sample: usize) -> Result<[Duration; 3], ProbeError> {
        let (key, body) =
            (self.key(&format!("sample{sample}")), self.body(&format!("sample{sample}")));
        // Looked for before, once: so a cache that remembers what is missing gives itself away.
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

    /// Looks for what isn't there. Whoever is refused that, but may create and read, can't tell what is missing from
    /// what is forbidden; and what answers with bytes that nobody wrote is no store.
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
        // Once more: a token that had run out may have been renewed.
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

    /// Deletes an object for which there was no rival, and looks again: a create that had no clear answer may land
    /// after the delete, but not time and again.
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

    /// Asks until there is an answer. The deadline is the caller's.
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

    /// Notes a failed try; fails if that was one refusal too many.
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

    /// A key of this probe, noted for cleaning up.
    fn key(&self, name: &str) -> String {
        let key = format!("{}/{:032x}-{name}", self.probe.prefix, self.probe.nonce);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains(&key) {
            keys.push(key.clone());
        }
        key
    }

    /// The bytes of one writer.
    fn body(&self, name: &str) -> Bytes {
        Bytes::from(format!("holocron probe {:032x} {name}", self.probe.nonce))
    }

    fn unreachable(&self) -> ProbeError {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        ProbeError::Unreachable { within: self.probe.deadline, last }
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

/// What the store said, without the name of the probe's object.
fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), explain)
}

/// The wrong thing was found; says what.
fn wrong(promise: Promise, found: Option<&Bytes>) -> ProbeError {
    broken(
        promise,
        if found.is_some() { "different bytes were found" } else { "nothing was found" },
    )
}
