//! What a journal is handed, and what it says.

use holocron_protocol::ids::{CommitNumber, Epoch, Position, Slot, Tenure};

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
