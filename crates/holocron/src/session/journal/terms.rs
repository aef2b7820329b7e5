//! The arguments and results of a journal's operations.

use std::collections::BTreeMap;

use holocron_protocol::ids::{CommitNumber, Epoch, Position, Slot, Tenure};

use tokio::sync::oneshot;

use crate::api::call::{Answer, Outcome, ReplyTo};

/// The position to wait for until everything appended so far is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlushPoint(pub(crate) Position);

/// The slot's tenure was released, or the session is over: nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// A recovered slot to adopt.
#[derive(Clone, Debug)]
pub(crate) struct Adoption {
    pub(crate) slot: Slot,
    pub(crate) epoch: Epoch,
    pub(crate) sources: Vec<Tenure>,
}

/// Slots whose Releases were appended.
#[derive(Clone, Debug)]
pub(crate) struct ReleasedSlots {
    /// The position at which the Releases will commit.
    pub(crate) position: Position,
    /// The slots, with the epoch of each Release.
    pub(crate) slots: BTreeMap<Slot, Epoch>,
}

/// An answer and its receiver, waiting until it may leave.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) reply: ReplyTo,
    pub(crate) answer: Answer,
}

impl Released {
    pub(super) fn send(self) {
        self.reply.send(self.answer);
    }

    /// Sends a refusal instead: the command of the answer has not happened and won't.
    pub(crate) fn refuse(self, outcome: Outcome) {
        self.reply.send(Answer { commit: CommitNumber::ZERO, outcome, ..self.answer });
    }
}

/// An answer or a task that waits for the read barrier.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// An answer to send.
    Answer(Released),
    /// A task that checks whether the session is still the owner.
    Barrier(oneshot::Sender<()>),
}

impl Waiting {
    pub(super) fn leave(self) {
        match self {
            Self::Answer(released) => released.send(),
            // The task may have ended with its session.
            Self::Barrier(passes) => drop(passes.send(())),
        }
    }
}
