//! The window: a vnode's record of requests, so that each takes effect at most once.
//!
//! It is committed in the envelope, with the state the requests changed. Per client it has the answers given, and the
//! client's lowest pending number. Requests below that number never run again, so their answers are simply dropped. The
//! window is bounded, so other answers are evicted too, and each eviction raises the *mark*: from then on a request
//! that isn't recorded runs only if its base, a commit number known before its first attempt, is at or above the mark.
//! Then it can't be an evicted request: all its attempts were sent after those were committed.
//!
//! There is a soft and a hard limit. Between them a record stays as long as its eviction would raise the mark above
//! bases that clients still send (`window/reach.rs`): otherwise many busy clients would evict each other and be rebased
//! again and again. No rule depends on which record is evicted.
//!
//! The steps of a command: [`Window::admit`]; on [`Admission::Run`] it runs; then [`Window::record`], before any other
//! use of the window. A command that panics is rolled back together with the window, and is admitted again before its
//! [`Outcome::Panicked`] is recorded.
//!
//! Invariants:
//!
//! * A request doesn't run if it is recorded, if it is below its client's lowest number, or if its base is below the
//!   mark.
//! * After an answer is dropped, the mark is at or above its commit number, unless its client no longer waits for it.
//! * The mark is at or below the commit number of its own envelope, so a valid base always exists.

mod evict;
mod format;
mod limits;
mod reach;
mod recency;
mod senders;

use alloc::{boxed::Box, string::String};
use core::hash::{Hash, Hasher};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{ClientId, CommitNumber, RequestNumber},
    planted,
};

pub use self::{
    limits::{WindowLimits, WindowSize},
    senders::Acknowledged,
};
use self::{reach::Reach, recency::Recency, senders::Senders};

/// Bytes counted for a client's record: its id and three numbers.
const CLIENT_COST: usize = 24;
/// Bytes counted for an answer, without its content.
const ENTRY_COST: usize = 8;

/// The permanent id of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The client.
    pub client: ClientId,
    /// The request's number within the client.
    pub number: RequestNumber,
}

/// What each attempt of a request carries in addition to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// Its id; the same in every attempt.
    pub id: RequestId,
    /// The client's lowest pending number; at most this request's own.
    pub lowest: RequestNumber,
    /// A committed commit number of the vnode, known before the first attempt. 0 is always valid.
    pub base: CommitNumber,
}

/// The committed outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran; this is its encoded reply. It is a slice and keeps its whole buffer alive.
    Reply(Bytes),
    /// Its code panicked and was rolled back: it has no effect and never will.
    Panicked,
    /// It would have made the state too large and was rolled back: it has no effect and never will. The reason, as
    /// text.
    Rejected(String),
}

/// An answer, and the commit number of its envelope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recorded {
    /// How the request ended.
    pub outcome: Outcome,
    /// The commit number of the envelope with the answer. The answer may be sent once that is committed.
    pub commit: CommitNumber,
}

/// What to do with an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Run it, then record its outcome.
    Run,
    /// It was answered before: this is the answer. It may be sent once its commit number is committed.
    Recorded(Recorded),
    /// Not run: it may be an evicted request. Answer with the commit number of the state it was checked against (the
    /// open envelope's if that has changes, else that of the newest envelope appended to the journal), once that is
    /// committed.
    Rebase,
    /// Not run, and never will be: its client got an answer or gave up. Don't answer.
    Stale,
    /// Not run: the window holds too many answers that vnodes may still ask for. Answer `Busy`.
    Full,
}

/// The record of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientRecord {
    /// The highest "lowest pending number" that the client has sent.
    lowest: RequestNumber,
    /// The newest commit number of any answer to it, also of answers dropped since.
    newest: CommitNumber,
}

/// A vnode's record of requests. An empty one takes no heap and no bytes in the envelope.
#[derive(Clone, Debug, Default)]
pub struct Window {
    mark: CommitNumber,
    clients: Recency<ClientId, ClientRecord>,
    /// Each answer's client is among `clients`, its number at or above that client's lowest and its commit number at or
    /// below that client's newest.
    answers: Recency<RequestId, Recorded>,
    /// Bytes counted for the answers.
    answers_cost: usize,
    /// The newest commit number of anything recorded.
    newest: CommitNumber,
    /// The vnodes that have sent messages.
    senders: Option<Box<Senders>>,
    /// How far back bases reach; tracked since the first base was too old. Not committed.
    reach: Option<Box<Reach>>,
}

impl Window {
    /// The newest commit number of an evicted record: the lowest base with which an unrecorded request runs.
    #[must_use]
    pub const fn mark(&self) -> CommitNumber {
        self.mark
    }

    /// The requests of clients whose answers it has, those used last at the end.
    pub fn answered(&self) -> impl Iterator<Item = (RequestId, &Recorded)> {
        self.answers.iter().map(|(id, recorded)| (*id, recorded))
    }

    /// Whether it never recorded anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mark == CommitNumber::ZERO && self.clients.is_empty() && self.senders.is_none()
    }

    /// Bytes counted against [`WindowSize::bytes`].
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.answers_cost + self.clients.len() * CLIENT_COST
    }

    /// Decides what to do with an attempt.
    pub fn admit(&mut self, request: &Request) -> Admission {
        let id = request.id;
        // A client sends only requests that are pending. Any other attempt is invalid and must not run.
        if id.number < request.lowest {
            return Admission::Stale;
        }
        if id.client.is_vnode() {
            return self.admit_message(request);
        }
        if let Some(client) = self.clients.touch(&id.client) {
            if client.lowest < request.lowest {
                client.lowest = request.lowest;
                self.forget_below(id.client, request.lowest);
            } else if id.number < client.lowest {
                return Admission::Stale;
            }
            if let Some(recorded) = self.answers.touch(&id) {
                return Admission::Recorded(recorded.clone());
            }
        }
        // This also holds for a known client: the evicted answer may have been one of its own.
        let rebase = request.base < self.mark;
        if rebase || self.reach.is_some() {
            let reach = self.reach.get_or_insert_default();
            reach.note(id.client, request.base, self.newest);
        }
        if rebase { Admission::Rebase } else { Admission::Run }
    }

    /// Records the outcome of the request that was just admitted. `recorded.commit` is the commit number of the
    /// envelope that this window will be part of.
    ///
    /// # Panics
    ///
    /// When [`Window::admit`] would not answer [`Admission::Run`], or commit numbers go down.
    pub fn record(&mut self, request: &Request, recorded: Recorded, limits: &WindowLimits) {
        let (id, commit) = (request.id, recorded.commit);
        assert!(request.base >= self.mark, "{id:?} ran below the mark {}", self.mark);
        if id.client.is_vnode() {
            return self.record_message(request, recorded);
        }
        assert!(self.answers.get(&id).is_none(), "{id:?} ran though its answer was there");
        match self.clients.touch(&id.client) {
            Some(client) => {
                assert!(commit >= client.newest, "{commit} after {}", client.newest);
                assert!(id.number >= client.lowest, "{id:?} ran below {}", client.lowest);
                client.lowest = client.lowest.max(request.lowest);
                client.newest = commit;
            }
            None => {
                let client = ClientRecord { lowest: request.lowest, newest: commit };
                self.clients.push(id.client, client);
            }
        }
        self.newest = self.newest.max(commit);
        let cost = entry_cost(&recorded.outcome);
        if cost > limits.soft.bytes {
            // It can't stay, and must not evict all others first.
            self.raise(commit);
        } else {
            self.answers_cost += cost;
            self.answers.push(id, recorded);
        }
        self.evict(limits, self.spared_from(commit));
        planted::forget_by_age(self, commit);
        assert!(self.mark <= commit, "mark {} above its own envelope {commit}", self.mark);
    }

    /// Drops answers that a client no longer waits for. The mark stays: requests below the lowest number never run.
    fn forget_below(&mut self, client: ClientId, lowest: RequestNumber) {
        if let Some(below) = lowest.previous() {
            self.forget(client, RequestNumber::ZERO..=below);
        }
    }

    /// The recorded answers, the least recently used first.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &(RequestId, Recorded)> {
        self.answers.iter()
    }
}

/// Bytes counted for an answer.
fn entry_cost(outcome: &Outcome) -> usize {
    ENTRY_COST
        + match outcome {
            Outcome::Reply(reply) => reply.len(),
            Outcome::Panicked => 0,
            Outcome::Rejected(why) => why.len(),
        }
}

/// Windows are equal if their committed parts are equal.
impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        (self.mark, &self.clients, &self.answers, &self.senders)
            == (other.mark, &other.clients, &other.answers, &other.senders)
    }
}

impl Eq for Window {}

impl Hash for Window {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.mark, &self.clients, &self.answers, &self.senders).hash(state);
    }
}

#[cfg(test)]
mod tests;
