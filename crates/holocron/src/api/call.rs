//! Calls and answers: one attempt of one request, and how a host answers it.
//!
//! Invariants:
//!
//! * Every [`Call`] gets exactly one [`Answer`]: a [`ReplyTo`] dropped without one answers [`Outcome::Unclear`].
//! * An answer that depends on a state is sent only once that state is committed. A refusal depends on no state.

use bytes::Bytes;
use core::fmt;
use holocron_protocol::{
    ids::{CommitNumber, Epoch, VnodeName},
    request::window::Request,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::api::meter::Metered;

/// What a call may do to its vnode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// May change the state; answered after commit, at most once per request id.
    Command,
    /// Reads the state; linearizable.
    Query,
    /// Reads the state; may be stale if the host was fenced a moment ago.
    Local,
    /// A command of another vnode that doesn't want the content of the reply.
    Tell,
    /// A command of another vnode.
    Ask,
    /// Another vnode says that it will send nothing below the request's lowest number. Answered after commit.
    Acknowledge,
    /// Deletes the vnode; a command without content.
    Delete,
    /// Asks whether the vnode exists; a query without content.
    Exists,
    /// Asks for the deferred work of the vnode; a query without content.
    Deferred,
    /// Retries or drops deferred work that was set aside; a command.
    Amend,
    /// Asks for the encoded state; a query without content.
    State,
    /// Gives the vnode a state if it doesn't exist; a command.
    Create,
    /// Waits for a commit newer than one that the caller has seen, and asks a query at it.
    Watch,
}

impl Mode {
    /// Whether it may change the state, and so takes effect at most once per request id.
    #[must_use]
    pub const fn is_command(self) -> bool {
        match self {
            Self::Command | Self::Tell | Self::Ask | Self::Delete | Self::Amend | Self::Create => {
                true
            }
            Self::Query
            | Self::Local
            | Self::Acknowledge
            | Self::Exists
            | Self::Deferred
            | Self::State
            | Self::Watch => false,
        }
    }
}

/// How the body of a call and its reply are encoded. Every attempt of a request has the same format, so a reply that was
/// recorded is in the format that its caller expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Format {
    /// Compact, and read by position: both ends must have the same types.
    Bincode,
    /// By name, for callers without the types, or with those of another version.
    Json,
}

/// An encoded command or query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// How it is encoded, and how its reply is to be.
    pub format: Format,
    /// Its bytes.
    pub bytes: Bytes,
}

/// One attempt of one request at one vnode.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which vnode.
    pub name: VnodeName,
    /// What it may do.
    pub mode: Mode,
    /// Its id and what the exactly-once window needs; queries carry one too, unused.
    pub request: Request,
    /// The newest epoch the caller knows.
    pub epoch: Epoch,
    /// How the body is encoded, and its reply.
    pub format: Format,
    /// The command or query.
    pub body: Bytes,
}

/// How a call ended at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The vnode's own reply, in the format of the call.
    Reply(Bytes),
    /// The handler panicked; the vnode was rolled back. Recorded like a reply.
    Panicked,
    /// The request can't be carried out, for example because its state would be too large. Recorded like a reply.
    Rejected(String),
    /// Not run: the window has dropped entries, and this request may be among them. Send it again with this base if
    /// no earlier attempt may have run.
    Rebase(CommitNumber),
    /// Not run: this host doesn't own the vnode's slot at the epoch of the answer.
    NotOwner,
    /// Not run: too many calls are in flight here.
    Busy,
    /// Not run: the vnode is quarantined after repeated panics.
    Quarantined,
    /// Not run: this host does not know the kind.
    UnknownKind,
    /// Not run: the body isn't a command or query of this kind, or is too large.
    Undecodable(String),
    /// Not run: this host's version of the kind has no command or query of that name; the text lists what it has.
    UnknownCommand(String),
    /// Not run: the command or query has other arguments, or another result, in this host's version of the kind.
    OtherArguments(String),
    /// Not run: this host can't read the stored state; the text says why.
    Unreadable(String),
    /// It may have run: the session ended before the outcome was known.
    Unclear,
}

/// A host's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The newest epoch the host knew.
    pub epoch: Epoch,
    /// The newest commit number of the vnode that is known to be committed; zero in refusals.
    pub commit: CommitNumber,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where the one answer to a call goes.
#[derive(Debug)]
pub struct ReplyTo {
    destination: Option<Destination>,
    /// Counts the call as in flight until dropped, and how it ended.
    metered: Option<Metered>,
}

enum Destination {
    Here(oneshot::Sender<Answer>),
    Link { id: u64, answers: mpsc::UnboundedSender<(u64, Answer)> },
    Then(Box<dyn FnOnce(Answer) + Send>),
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "Here",
            Self::Link { .. } => "Link",
            Self::Then(_) => "Then",
        })
    }
}

impl ReplyTo {
    /// To a caller in this process.
    #[must_use]
    pub fn here() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self { destination: Some(Destination::Here(sender)), metered: None }, receiver)
    }

    /// To the other end of a connection, under the call's id. The channel is unbounded because the reader of a
    /// connection bounds its calls in flight.
    #[must_use]
    pub fn link(id: u64, answers: mpsc::UnboundedSender<(u64, Answer)>) -> Self {
        Self { destination: Some(Destination::Link { id, answers }), metered: None }
    }

    /// To a function of this process, which must not block.
    #[must_use]
    pub(crate) fn then(answered: impl FnOnce(Answer) + Send + 'static) -> Self {
        Self { destination: Some(Destination::Then(Box::new(answered))), metered: None }
    }

    /// To nobody: what a vnode does by itself has no caller.
    #[must_use]
    pub(crate) const fn nobody() -> Self {
        Self { destination: None, metered: None }
    }

    /// Counts the call until it is answered.
    #[must_use]
    pub(crate) fn metered(mut self, metered: Metered) -> Self {
        self.metered = Some(metered);
        self
    }

    /// The call waits for something to happen: it isn't counted any more.
    pub(crate) fn waits(&mut self) {
        self.metered = None;
    }

    /// Sends the answer.
    pub fn send(mut self, answer: Answer) {
        self.deliver(answer);
    }

    fn deliver(&mut self, answer: Answer) {
        if let Some(metered) = self.metered.take() {
            metered.ended(&answer.outcome);
        }
        // A caller that has gone needs no answer.
        match self.destination.take() {
            Some(Destination::Here(sender)) => drop(sender.send(answer)),
            Some(Destination::Link { id, answers }) => drop(answers.send((id, answer))),
            Some(Destination::Then(answered)) => answered(answer),
            None => {}
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.deliver(Answer {
            epoch: Epoch::ZERO,
            commit: CommitNumber::ZERO,
            outcome: Outcome::Unclear,
        });
    }
}
