//! Watching for broken promises: a checker for each [`Invariant`](invariant::Invariant) of the protocol.
//!
//! The watch hears of every object when it lands or goes, of every byte when a host writes it to a connection, and of
//! every host's own words. It remembers all that ever landed, also what was deleted since, and takes nobody's word for
//! what is committed: that follows from the objects alone. What was committed is the truth; recoveries, checkpoints,
//! answers and deletions are held against it at the moment they happen.
//!
//! | invariant | checked by |
//! | --- | --- |
//! | 1 | `truth` (commit numbers go on), `recover` (what the store holds now is all of it), `tenures` (sources that go) |
//! | 2 | `journal`, `log`, `packs` |
//! | 3 | `journal` (where seals stand), `answers` |
//! | 4 | `journal`, `log` (deletions and marks) |
//! | 5 | `tenures` |
//! | 6 | `journal`, and here for marks |
//! | 7 | `packs`, `recover`, and here for deletions |
//! | 8 | `seen` |
//! | 9 | `answers`, `packs`, `journal` (headers) |
//! | 11 | `requests`, `journal` (no batch of nothing) |
//! | 14 | `lost`, from when the store is lost, in place of all others |
//!
//! 10, 12 and 13 need callers, a healed world and a second run: they are checked where those are.

mod answers;
mod facts;
pub(crate) mod invariant;
mod journal;
mod log;
mod lost;
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
use holocron_protocol::ids::Epoch;

use self::{
    facts::Facts,
    invariant::Broken,
    lost::Lost,
    requests::Creates,
    seen::EpochsSeen,
    wire::{Came, Connections, Said},
};
use crate::trace::Trace;

/// What stands in the store.
pub(crate) type Objects = BTreeMap<String, Bytes>;

/// The watch over one world; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    trace: Trace,
    facts: Facts,
    connections: Connections,
    epochs: EpochsSeen,
    creates: Creates,
    /// Since the store was lost.
    lost: Option<Lost>,
}

/// Something happened to an object of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Who asked for it.
    pub(crate) node: &'a str,
    /// Which object.
    pub(crate) key: &'a str,
    /// What stands in the store now.
    pub(crate) objects: &'a Objects,
}

impl Watch {
    /// Nothing happened yet.
    pub(crate) fn new(trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            trace,
            facts: Facts::default(),
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

    /// A host says that this is the newest epoch it knows.
    pub(crate) fn says(&self, node: &str, epoch: Epoch) {
        let mut state = self.state();
        let broken = state.epochs.says(node, epoch);
        state.violate(node, "its status", broken);
    }

    /// A process asks for a create, at that time, on a store that answers in no less than `latency`.
    pub(crate) fn asked(&self, node: &str, now: Duration, latency: Duration) {
        let mut state = self.state();
        let broken = state.creates.asked(node, now, latency);
        state.violate(node, "the store", broken);
    }

    /// The store is lost: what stood there is gone, and nothing that lands from now on follows from it.
    pub(crate) fn lost(&self) {
        let mut state = self.state();
        state.lost = Some(Lost::default());
        state.connections.lost();
    }

    /// An object was created.
    pub(crate) fn created(&self, event: Event<'_>, body: &Bytes) {
        let mut state = self.state();
        let broken = match &mut state.lost {
            Some(lost) => lost.created(event.key, body).into_iter().collect(),
            None => state.facts.created(event, body),
        };
        state.violate(event.node, event.key, broken);
    }

    /// An object was put, whatever stood there before.
    pub(crate) fn put(&self, event: Event<'_>, body: &Bytes) {
        let mut state = self.state();
        if state.lost.is_some() {
            return;
        }
        let broken = state.facts.put(event, body);
        state.violate(event.node, event.key, broken);
    }

    /// An object that was there is there no more.
    pub(crate) fn deleted(&self, event: Event<'_>) {
        let mut state = self.state();
        if state.lost.is_some() {
            return;
        }
        let broken = state.facts.deleted(event);
        state.violate(event.node, event.key, broken);
    }

    /// A stranger deleted an object: nobody of ours breaks a promise by its being gone.
    pub(crate) fn robbed(&self, key: &str) {
        self.state().facts.robbed.insert(key.to_owned());
    }

    /// A connection was opened; its two directions have these numbers.
    pub(crate) fn connected(&self, there: u64, back: u64) {
        self.state().connections.opened(there, back);
    }

    /// Nothing more is said in that direction of a connection.
    pub(crate) fn closed(&self, pipe: u64) {
        self.state().connections.closed(pipe);
    }

    /// A process wrote bytes to a connection: from now on they are outside.
    pub(crate) fn wrote(&self, node: &str, pipe: u64, bytes: &[u8]) {
        let mut state = self.state();
        let state = &mut *state;
        for said in state.connections.wrote(pipe, bytes) {
            let broken = match said {
                Said::Answer(call, answer, Came::AfterLoss) => Lost::answered(&call, &answer),
                Said::Answer(..) if state.lost.is_some() => None,
                Said::Answer(call, answer, Came::BeforeLoss) => {
                    state.facts.answered(&call, &answer)
                }
                // What was said before it was written elsewhere may come later; within a connection it is in order.
                Said::Epoch(epoch) => state.epochs.says(&format!("{node} in {pipe}"), epoch),
            };
            state.violate(node, "a connection", broken);
        }
    }
}

impl State {
    fn violate(&self, node: &str, place: &str, broken: impl IntoIterator<Item = Broken>) {
        for Broken { invariant, how } in broken {
            self.trace.violate(format_args!("{invariant}: {how} ({node}, {place})"));
        }
    }
}
