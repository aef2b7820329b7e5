//! The window: what a vnode remembers of requests, so that each takes effect at most once.
//!
//! It is committed in the envelope, with the state the requests changed, and holds per client the answers given and the
//! lowest number the client still waits for. Whatever is below that is forgotten freely: it never runs again. The
//! window is bounded, so other answers are forgotten too, and each of those raises the *mark*: from then on a request
//! that isn't recorded runs only if its base, a commit number known before its first attempt, is at or above the mark.
//! It can't be one of the forgotten then: every attempt of it was sent after they were committed.
//!
//! How much it keeps has two limits. What is beyond the soft one stays, up to the hard one, as long as evicting it would
//! raise the mark above the bases that clients still come with (`window/reach.rs`): else many clients that call all the
//! time would evict each other and be sent back again and again. No rule depends on which record goes.
//!
//! One command goes through as: [`Window::admit`]; on [`Admission::Run`] it runs; then [`Window::record`], before
//! anything else touches the window. A command that panics is rolled back with the window it was admitted to, and is
//! admitted again before its [`Outcome::Panicked`] is recorded.
//!
//! Invariants:
//!
//! * Nothing runs that is recorded, that is below its client's lowest number, or whose base is below the mark.
//! * Every answer dropped, unless its client no longer waits for it, leaves the mark at or above its commit number.
//! * The mark is at or below the number of the envelope it is committed in, so a fresh base always exists.

mod evict;
mod format;
mod limits;
mod reach;
mod recency;

use alloc::{boxed::Box, string::String};
use core::hash::{Hash, Hasher};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{ClientId, CommitNumber, RequestNumber},
    planted,
};

pub use self::limits::{WindowLimits, WindowSize};
use self::{reach::Reach, recency::Recency};

/// What a client's record counts for in bytes: its id and three numbers.
const CLIENT_COST: usize = 24;
/// What an answer counts for in bytes besides its content.
const ENTRY_COST: usize = 8;

/// The name of a request, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// Whose it is.
    pub client: ClientId,
    /// The client's own count.
    pub number: RequestNumber,
}

/// What each attempt of a request carries besides the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// Its name; the same in every attempt.
    pub id: RequestId,
    /// The lowest number the client still waits for; at most its own.
    pub lowest: RequestNumber,
    /// A committed commit number of the vnode, known before the first attempt. 0 always is one.
    pub base: CommitNumber,
}

/// How a request ended at the vnode, as it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran; this is its encoded reply. Keeps the whole buffer alive that it is a slice of.
    Reply(Bytes),
    /// Its code panicked and was rolled back: it has no effect and never will.
    Panicked,
    /// It would have made the state too large and was rolled back: it has no effect and never will. Says why.
    Rejected(String),
}

/// An answer, and the envelope it is part of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recorded {
    /// How the request ended.
    pub outcome: Outcome,
    /// The number of the envelope the answer is committed with. It may leave once that is committed.
    pub commit: CommitNumber,
}

/// What is to be done with an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Run it, then record its outcome.
    Run,
    /// It was answered before: this is the answer. It may leave once its commit number is committed.
    Recorded(Recorded),
    /// Not run: it may be one of the forgotten. Answer with the commit number of the state it was judged on (the open
    /// envelope's if that has changes, else the newest handed over), once that is committed.
    Rebase,
    /// Not run, never will be: its client has had an answer or has given up. Nobody waits, so answer nothing.
    Stale,
}

/// What is kept of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientRecord {
    /// The highest "lowest number still waited for" it was heard to say.
    lowest: RequestNumber,
    /// The newest commit number that any answer to it had, also of those forgotten since.
    newest: CommitNumber,
}

/// A vnode's memory of requests. Empty, it takes no heap and no bytes in the envelope.
#[derive(Clone, Debug, Default)]
pub struct Window {
    mark: CommitNumber,
    clients: Recency<ClientId, ClientRecord>,
    /// Each answer's client is among `clients`, its number at or above that client's lowest and its commit number at or
    /// below that client's newest.
    answers: Recency<RequestId, Recorded>,
    /// What the answers count for in bytes.
    answers_cost: usize,
    /// The newest commit number of anything recorded.
    newest: CommitNumber,
    /// How far back bases reach, since the first was too old; not committed.
    reach: Option<Box<Reach>>,
}

impl Window {
    /// The newest commit number of anything forgotten: the lowest base with which an unrecorded request runs.
    #[must_use]
    pub const fn mark(&self) -> CommitNumber {
        self.mark
    }

    /// Whether nothing was ever recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mark == CommitNumber::ZERO && self.clients.is_empty()
    }

    /// What it counts for against [`WindowSize::bytes`].
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.answers_cost + self.clients.len() * CLIENT_COST
    }

    /// Decides about an attempt.
    pub fn admit(&mut self, request: &Request) -> Admission {
        let id = request.id;
        // A client waits for what it sends; anything else is not its doing, and running it could only do harm.
        if id.number < request.lowest {
            return Admission::Stale;
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
        // Whether the client is known makes no difference: what was evicted may have been this client's.
        let sent_back = request.base < self.mark;
        if sent_back || self.reach.is_some() {
            let reach = self.reach.get_or_insert_default();
            reach.note(id.client, request.base, self.newest);
        }
        if sent_back { Admission::Rebase } else { Admission::Run }
    }

    /// Records how a request ended that was just admitted. `recorded.commit` is the number of the envelope that this
    /// window will be part of.
    ///
    /// # Panics
    ///
    /// When [`Window::admit`] would not answer [`Admission::Run`], or commit numbers go down.
    pub fn record(&mut self, request: &Request, recorded: Recorded, limits: &WindowLimits) {
        let (id, commit) = (request.id, recorded.commit);
        assert!(request.base >= self.mark, "{id:?} ran below the mark {}", self.mark);
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
            // It can't stay, and should not push all others out before it goes.
            self.raise(commit);
        } else {
            self.answers_cost += cost;
            self.answers.push(id, recorded);
        }
        self.evict(limits, self.spared_from(commit));
        planted::forget_by_age(self, commit);
        assert!(self.mark <= commit, "mark {} above its own envelope {commit}", self.mark);
    }

    /// Drops what a client no longer waits for. That needs no mark: below its lowest number nothing ever runs.
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

/// What an answer counts for in bytes.
fn entry_cost(outcome: &Outcome) -> usize {
    ENTRY_COST
        + match outcome {
            Outcome::Reply(reply) => reply.len(),
            Outcome::Panicked => 0,
            Outcome::Rejected(why) => why.len(),
        }
}

/// Two windows are equal when what is committed of them is.
impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        (self.mark, &self.clients, &self.answers) == (other.mark, &other.clients, &other.answers)
    }
}

impl Eq for Window {}

impl Hash for Window {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.mark, &self.clients, &self.answers).hash(state);
    }
}

#[cfg(test)]
mod tests;
