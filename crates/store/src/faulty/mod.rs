//! Fault injection: an honest store behind an unreliable client and network.
//!
//! All these faults can happen with a store that keeps its promises, so code that uses
//! [`create_once`](crate::create_once) and the retried requests must handle them. (For stores that break a promise see
//! [`Lying`](crate::Lying).)
//!
//! Invariants:
//!
//! * The store below gets only requests that callers made: a late or doubled create still creates only if absent.
//! * The same seed and the same requests in the same order give the same faults. There is no task, and no clock except
//!   for delays.

mod dice;
mod faults;
mod late;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::store::{Listed, Store};
use dice::Dice;
use faults::Request;
pub use faults::{Fault, Faults};
use late::{Shared, Write};

/// Whether the store can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// The store can be reached.
    #[default]
    None,
    /// Every request fails at once and is not carried out.
    Refuses,
    /// No request is answered or carried out.
    Hangs,
}

/// One client of an honest store, with its own faults. [`Faulty::client`] creates more clients.
#[derive(Debug)]
pub struct Faulty {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    outage: Outage,
    dice: Dice,
    /// Scripted faults of the next requests; then faults are random.
    script: VecDeque<Fault>,
    /// Requests that still fail in the present burst.
    burst_left: u64,
    injected: BTreeMap<Fault, u64>,
}

impl Faulty {
    /// A client of `store` with `faults` drawn from `seed`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, seed: u64, faults: Faults) -> Self {
        Self::over(Arc::new(Shared::new(store)), seed, faults)
    }

    /// Another client of the same store, with its own faults, outages and seed. Late writes are shared by all clients.
    #[must_use]
    pub fn client(&self, seed: u64, faults: Faults) -> Self {
        Self::over(Arc::clone(&self.shared), seed, faults)
    }

    fn over(shared: Arc<Shared>, seed: u64, faults: Faults) -> Self {
        let state = State {
            faults,
            outage: Outage::None,
            dice: Dice::new(seed),
            script: VecDeque::new(),
            burst_left: 0,
            injected: BTreeMap::new(),
        };
        Self { shared, state: Mutex::new(state) }
    }

    /// Changes the probabilities from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Begins or ends an outage for this client.
    pub fn set_outage(&self, outage: Outage) {
        self.state().outage = outage;
    }

    /// Sets the faults of this client's next requests, one each. Later faults are random again.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().script.extend(faults);
    }

    /// How often each fault happened to this client, for tests to check that faults were injected.
    #[must_use]
    pub fn injected(&self) -> BTreeMap<Fault, u64> {
        self.state().injected.clone()
    }

    /// Lets all late writes of all clients land now.
    pub async fn settle(&self) {
        self.shared.settle().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way of a request to the store: waits for its delay, may fail here, and lets late writes land that are due.
    /// Returns the fault to apply after that.
    async fn travel(&self, key: &str, request: Request) -> Result<Fault, Error> {
        let (delay, outage, fault) = {
            let mut state = self.state();
            let (delay, outage) = (state.delay(), state.outage);
            // During an outage a request uses no fault of the script.
            (delay, outage, if outage == Outage::None { state.draw(request) } else { Fault::Pass })
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match outage {
            Outage::None => {}
            Outage::Refuses => return Err(Error::unclear(key, "injected: the store is out")),
            Outage::Hangs => std::future::pending().await,
        }
        match fault {
            Fault::FailBefore => Err(self.error(key, request)),
            Fault::ConflictBefore => Err(Error::conflict(key)),
            Fault::Burst => Err(Error::unclear(key, "injected: 503, slow down")),
            Fault::HangBefore => std::future::pending().await,
            Fault::Pass
            | Fault::FailAfter
            | Fault::ConflictAfter
            | Fault::LandLate
            | Fault::LandTwice
            | Fault::HangAfter => {
                self.shared.arrive().await;
                Ok(fault)
            }
        }
    }

    fn error(&self, key: &str, request: Request) -> Error {
        let mut state = self.state();
        let wrong = state.faults.wrong_kind;
        if !state.dice.chance(wrong) {
            return Error::unclear(key, "injected: connection lost");
        }
        let kinds = if request == Request::Create { 3 } else { 2 };
        match state.dice.below(kinds) {
            0 => Error::conflict(key),
            1 => Error::denied(key, "injected: 403"),
            _ => Error::rejected(key, "injected: not supported"),
        }
    }

    async fn write(&self, write: Write, request: Request) -> Result<(), Error> {
        let key = write.key();
        match self.travel(key, request).await? {
            Fault::Pass => write.apply(&*self.shared.store).await,
            Fault::LandTwice => {
                self.send_late(write.clone());
                write.apply(&*self.shared.store).await
            }
            Fault::LandLate => {
                let error = self.error(key, request);
                self.send_late(write);
                Err(error)
            }
            Fault::FailAfter => {
                // The caller doesn't get the true answer.
                drop(write.apply(&*self.shared.store).await);
                Err(self.error(key, request))
            }
            Fault::ConflictAfter => {
                // The caller doesn't get the true answer.
                drop(write.apply(&*self.shared.store).await);
                Err(Error::conflict(key))
            }
            Fault::HangAfter => {
                // The caller doesn't get the true answer.
                drop(write.apply(&*self.shared.store).await);
                std::future::pending().await
            }
            Fault::FailBefore | Fault::ConflictBefore | Fault::HangBefore | Fault::Burst => {
                unreachable!("such a request doesn't reach the store")
            }
        }
    }

    fn send_late(&self, write: Write) {
        let requests = {
            let mut state = self.state();
            let max = state.faults.late_requests_max;
            state.dice.magnitude(max)
        };
        self.shared.send_late(write, requests);
    }

    /// A read: a fault stops it on the way to the store, or loses its answer.
    async fn read<T>(
        &self,
        key: &str,
        ask: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.travel(key, Request::Read).await? {
            Fault::Pass => ask.await,
            Fault::HangAfter => std::future::pending().await,
            // For a read only a script has these faults; each of them loses the answer.
            Fault::FailBefore
            | Fault::FailAfter
            | Fault::ConflictBefore
            | Fault::ConflictAfter
            | Fault::LandLate
            | Fault::LandTwice
            | Fault::HangBefore
            | Fault::Burst => Err(self.error(key, Request::Read)),
        }
    }
}

impl State {
    fn delay(&mut self) -> std::time::Duration {
        let Faults { slow, delay_min, delay_max, slow_max, .. } = self.faults;
        let usual = self.dice.duration(delay_min, delay_max);
        if self.dice.chance(slow) { usual + self.dice.duration(delay_min, slow_max) } else { usual }
    }

    /// What happens to the next request.
    fn draw(&mut self, request: Request) -> Fault {
        let fault = if let Some(fault) = self.script.pop_front() {
            fault
        } else if self.burst_left > 0 {
            self.burst_left -= 1;
            Fault::Burst
        } else {
            self.chance(request)
        };
        *self.injected.entry(fault).or_default() += 1;
        fault
    }

    fn chance(&mut self, request: Request) -> Fault {
        let mut left = self.dice.fraction();
        let chosen = self.faults.of(request).find(|(_, probability)| {
            left -= probability;
            left < 0.0
        });
        let fault = chosen.map_or(Fault::Pass, |(fault, _)| fault);
        if fault == Fault::Burst {
            self.burst_left = self.dice.below(u64::from(self.faults.burst_len_max.max(1)));
        }
        fault
    }
}

#[async_trait]
impl Store for Faulty {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.write(Write::Create(key.to_owned(), body), Request::Create).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.write(Write::Put(key.to_owned(), body), Request::Write).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.read(key, self.shared.store.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.read(key, self.shared.store.get_range(key, range)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut listed = self.read(prefix, self.shared.store.list(prefix)).await?;
        // A listing has no order, and no caller may rely on one.
        self.state().dice.shuffle(&mut listed);
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.write(Write::Delete(key.to_owned()), Request::Write).await
    }
}
