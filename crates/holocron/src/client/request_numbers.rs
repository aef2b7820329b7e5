//! Request numbers: which requests of the client are unfinished, and the newest commit number it knows of each vnode.
//!
//! The rules are in [`holocron_protocol::request::attempts`]. Here all callers of a client share them, under a lock
//! that is held for a few instructions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use holocron_protocol::{
    ids::{ClientId, CommitNumber, VnodeHash},
    request::{
        attempts::{Answer, Attempts, Bases, GivenUp, Numbering, Verdict},
        window::Request,
    },
};

#[derive(Debug)]
pub(super) struct RequestNumbers(Mutex<State>);

#[derive(Debug)]
struct State {
    numbering: Numbering,
    bases: Bases,
}

impl RequestNumbers {
    /// An instance without requests. The client must not begin more than `waiting_len_max` at a time.
    pub(super) fn new(client: ClientId, waiting_len_max: usize) -> Self {
        let numbering = Numbering::new(client, waiting_len_max);
        Self(Mutex::new(State { numbering, bases: Bases::default() }))
    }

    /// Begins a request; it ends when the returned value is dropped.
    ///
    /// # Panics
    ///
    /// When too many requests are unfinished.
    pub(super) fn begin(&self, vnode: VnodeHash) -> UnfinishedRequest<'_> {
        let mut state = self.state();
        let id = state.numbering.begin().expect("the client admits at most that many calls");
        let base = state.bases.newest(vnode);
        drop(state);
        UnfinishedRequest {
            numbers: self,
            vnode,
            attempts: Attempts::new(id, base),
            learned: CommitNumber::ZERO,
        }
    }

    /// Notes that a commit number of a vnode is committed.
    pub(super) fn learn(&self, vnode: VnodeHash, commit: CommitNumber) {
        if commit > CommitNumber::ZERO {
            self.state().bases.learn(vnode, commit);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request from its start to its end.
#[derive(Debug)]
pub(super) struct UnfinishedRequest<'a> {
    numbers: &'a RequestNumbers,
    vnode: VnodeHash,
    attempts: Attempts,
    learned: CommitNumber,
}

impl UnfinishedRequest<'_> {
    /// What the next attempt carries; it counts as sent.
    pub(super) fn send(&mut self) -> Request {
        let lowest = self.numbers.state().numbering.lowest();
        self.attempts.send(lowest)
    }

    /// Takes the answer to an attempt.
    pub(super) fn answered(&mut self, answer: Answer) -> Verdict {
        self.attempts.answered(answer)
    }

    /// What is known of it if it is given up now.
    pub(super) fn given_up(&self) -> GivenUp {
        self.attempts.given_up()
    }

    /// Notes that a commit number of its vnode is committed. Other requests of the client use it when this one ends.
    pub(super) fn learn(&mut self, commit: CommitNumber) {
        self.learned = self.learned.max(commit);
    }
}

impl Drop for UnfinishedRequest<'_> {
    fn drop(&mut self) {
        let mut state = self.numbers.state();
        state.numbering.finish(self.attempts.id().number);
        if self.learned > CommitNumber::ZERO {
            state.bases.learn(self.vnode, self.learned);
        }
    }
}
