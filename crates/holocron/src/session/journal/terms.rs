//! What a journal is handed, and what it says.

use std::collections::BTreeMap;

use holocron_protocol::ids::{CommitNumber, Epoch, Position, Slot, Tenure};

use tokio::sync::oneshot;

use crate::api::call::{Answer, Outcome, ReplyTo};

/// The position to wait for until everything appended so far is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlushPoint(pub(crate) Position);

/// The gate of the slot is closed, or the session is over: nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// A slot to be taken up.
#[derive(Clone, Debug)]
pub(crate) struct Adoption {
    pub(crate) slot: Slot,
    pub(crate) epoch: Epoch,
    pub(crate) sources: Vec<Tenure>,
}

/// Slots whose Releases were appended.
#[derive(Clone, Debug)]
pub(crate) struct ReleasedSlots {
    /// Where the Releases will commit.
    pub(crate) position: Position,
    /// The slots, each with the epoch of its Release.
    pub(crate) slots: BTreeMap<Slot, Epoch>,
}

/// An answer and where it goes, waiting for the right to leave.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) reply: ReplyTo,
    pub(crate) answer: Answer,
}

impl Released {
    pub(super) fn send(self) {
        self.reply.send(self.answer);
    }

    /// Sends a refusal instead: what the answer speaks of has not happened and won't.
    pub(crate) fn refuse(self, outcome: Outcome) {
        self.reply.send(Answer { commit: CommitNumber::ZERO, outcome, ..self.answer });
    }
}

/// What waits for the read barrier.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// An answer, which is then sent.
    Answer(Released),
    /// A task that asks whether the session still is the owner.
    Barrier(oneshot::Sender<()>),
}

impl Waiting {
    pub(super) fn leave(self) {
        match self {
            Self::Answer(released) => released.send(),
            // The task may have gone with its session.
            Self::Barrier(passes) => drop(passes.send(())),
        }
    }
}
