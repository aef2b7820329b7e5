//! The watch: a checker for each [`Invariant`](invariant::Invariant) of the protocol.
//!
//! The watch gets every object when it lands or is deleted, every byte when a host writes it to a connection, and every
//! host's status. It keeps everything that ever landed, also if it was deleted since, and derives what is committed
//! only from objects, never from what hosts report. Recoveries, checkpoints, answers and deletions are compared with
//! what was committed at the moment they happen.
//!
//! | invariant | checked by |
//! | --- | --- |
//! | 1 | `truth` (no gaps in commit numbers), `recover` (the store has everything), `tenures` (dropped sources) |
//! | 2 | `journal`, `log`, `packs` |
//! | 3 | `journal` (positions of seals), `answers` |
//! | 4 | `journal`, `log` (deletions and marks) |
//! | 5 | `tenures` |
//! | 6 | `journal`, and here for marks |
//! | 7 | `packs`, `recover`, and here for deletions |
//! | 8 | `seen` |
//! | 9 | `answers`, `packs`, `journal` (headers) |
//! | 11 | `requests`, `journal` (no empty batch) |
//! | 25 | `needs` |
//! | 14 | `lost`, which replaces all others after a loss |
//! | 2, 4, 6 of elections used alone | `elections` |
//!
//! 10, 12 and 13 need callers, a healed world and a second run: they are checked there.

mod answers;
mod elections;
mod facts;
pub(crate) mod invariant;
mod journal;
mod log;
mod lost;
mod needs;
mod packs;
mod page;
mod recover;
mod requests;
mod seen;
#[cfg(test)]
mod stage;
mod tenures;
#[cfg(test)]
mod tests;
mod truth;
mod wire;

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use holocron::Call;
use holocron_protocol::ids::{DomainId, Epoch};

use self::{
    elections::Elections,
    facts::Facts,
    invariant::Broken,
    lost::Lost,
    requests::Creates,
    seen::EpochsSeen,
    wire::{Came, Connections, Said},
};
use crate::trace::Trace;

/// The objects in the store.
pub(crate) type Objects = BTreeMap<String, Bytes>;

/// The watch of one world; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    trace: Trace,
    facts: Facts,
    /// What is in the store of the domain besides the home domain, if the scenario has one.
    further: Facts,
    /// The objects there now.
    further_objects: Objects,
    elections: Elections,
    connections: Connections,
    epochs: EpochsSeen,
    creates: Creates,
    /// The checker after a loss of the store.
    lost: Option<Lost>,
}

/// The domain besides the home domain.
pub(crate) const FURTHER: DomainId = DomainId(1);

/// Which store it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// That of the home domain.
    #[default]
    Home,
    /// That of the other domain.
    Further,
}

/// What the trace says before events of the store; nothing of the home domain's.
impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Home => Ok(()),
            Self::Further => f.write_str("acme: "),
        }
    }
}

/// An event of an object in a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Which store.
    pub(crate) place: Place,
    /// The node that caused it.
    pub(crate) node: &'a str,
    /// The object's key.
    pub(crate) key: &'a str,
    /// All objects in the store now.
    pub(crate) objects: &'a Objects,
}

impl Watch {
    /// No events yet.
    pub(crate) fn new(trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            trace,
            facts: Facts::of(DomainId::HOME),
            further: Facts::of(FURTHER),
            further_objects: Objects::new(),
            elections: Elections::default(),
            connections: Connections::default(),
            epochs: EpochsSeen::default(),
            creates: Creates::default(),
            lost: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under the watch's lock")
    }

    /// A process starts.
    pub(crate) fn started(&self, node: &str) {
        self.state().epochs.started(node);
    }

    /// A host reports the newest epoch it knows.
    pub(crate) fn says(&self, node: &str, epoch: Epoch) {
        let mut state = self.state();
        let broken = state.epochs.says(node, epoch);
        state.violate(node, "its status", broken);
    }

    /// A process sends a create at time `now`, to a store with a minimum latency of `latency`.
    pub(crate) fn asked(&self, node: &str, now: Duration, latency: Duration) {
        let mut state = self.state();
        let broken = state.creates.asked(node, now, latency);
        state.violate(node, "the store", broken);
    }

    /// The store is lost: all objects are gone, and later objects don't follow from them.
    pub(crate) fn lost(&self) {
        let mut state = self.state();
        state.lost = Some(Lost::default());
        state.connections.lost();
    }

    /// An object was created.
    pub(crate) fn created(&self, event: Event<'_>, body: &Bytes) {
        let mut state = self.state();
        let broken = match &mut state.lost {
            _ if Elections::own(event.key) => state.elections.created(event, body),
            Some(lost) if event.place == Place::Home => {
                lost.created(event.key, body).into_iter().collect()
            }
            Some(_) => Vec::new(),
            None if event.place == Place::Further => {
                state.further_objects.insert(event.key.to_owned(), body.clone());
                state.further.created(event, body)
            }
            None => {
                let mut broken = state.facts.created(event, body);
                let State { further, further_objects, .. } = &mut *state;
                broken.extend(further.follow(event.key, body, event.objects, further_objects));
                broken
            }
        };
        state.violate(event.node, event.key, broken);
    }

    /// An object was put, maybe over an older one.
    pub(crate) fn put(&self, event: Event<'_>, body: &Bytes) {
        let mut state = self.state();
        if state.lost.is_some() {
            return;
        }
        let broken = match Elections::own(event.key) {
            true => Elections::put(event),
            false if event.place == Place::Further => {
                state.further_objects.insert(event.key.to_owned(), body.clone());
                state.further.put(event, body)
            }
            false => state.facts.put(event, body),
        };
        state.violate(event.node, event.key, broken);
    }

    /// An object was deleted.
    pub(crate) fn deleted(&self, event: Event<'_>) {
        let mut state = self.state();
        if state.lost.is_some() {
            return;
        }
        let broken = match Elections::own(event.key) {
            true => Elections::deleted(event),
            false if event.place == Place::Further => {
                state.further_objects.remove(event.key);
                state.further.deleted(event)
            }
            false => state.facts.deleted(event),
        };
        state.violate(event.node, event.key, broken);
    }

    /// An object was deleted from outside: that it is missing is no violation.
    pub(crate) fn deleted_outside(&self, key: &str) {
        self.state().facts.deleted_outside.insert(key.to_owned());
    }

    /// A connection was opened; these are the numbers of its two pipes.
    pub(crate) fn connected(&self, there: u64, back: u64) {
        self.state().connections.opened(there, back);
    }

    /// One direction of a connection has ended.
    pub(crate) fn closed(&self, pipe: u64) {
        self.state().connections.closed(pipe);
    }

    /// A process wrote bytes to a connection: from now on they are visible outside.
    pub(crate) fn wrote(&self, node: &str, pipe: u64, bytes: &[u8]) {
        let mut state = self.state();
        let state = &mut *state;
        for said in state.connections.wrote(pipe, bytes) {
            let broken = match said {
                // The store of the other domain isn't lost.
                Said::Answer(call, ..) if state.lost.is_some() && state.is_further(&call) => None,
                Said::Answer(call, answer, Came::AfterLoss) => Lost::answered(&call, &answer),
                Said::Answer(..) if state.lost.is_some() => None,
                Said::Answer(call, answer, Came::BeforeLoss) => {
                    let is_further = state.is_further(&call);
                    let facts = if is_further { &state.further } else { &state.facts };
                    facts.answered(&call, &answer)
                }
                // Messages are in order only within one connection.
                Said::Epoch(epoch) => state.epochs.says(&format!("{node} in {pipe}"), epoch),
            };
            state.violate(node, "a connection", broken);
        }
    }
}

impl State {
    /// Whether a vnode lives in the domain besides the home domain. That never changes.
    fn is_further(&self, call: &Call) -> bool {
        let record = self.facts.log.newest();
        record.is_some_and(|record| record.domain_of(&call.name) == Some(FURTHER))
    }

    fn violate(&self, node: &str, place: &str, broken: impl IntoIterator<Item = Broken>) {
        for Broken { invariant, how } in broken {
            self.trace.violate(format_args!("{invariant}: {how} ({node}, {place})"));
        }
    }
}
