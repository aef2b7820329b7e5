//! The client's numbers: which of its requests still wait, and the newest commit number it knows of each vnode.
//!
//! The rules are [`holocron_protocol::request::attempts`]'s; here they are shared by all callers of a client, under a lock that is
//! held for a few instructions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use holocron_protocol::{
    ids::{ClientId, CommitNumber, VnodeHash},
    request::{
        attempts::{Answer, Attempts, Bases, GivenUp, Numbering, Verdict},
        window::Request,
    },
};

#[derive(Debug)]
pub(super) struct RequestNumbers(Mutex<Books>);

#[derive(Debug)]
struct Books {
    numbering: Numbering,
    bases: Bases,
}

impl RequestNumbers {
    /// An empty one; the client must not begin more than `waiting_len_max` requests at a time.
    pub(super) fn new(client: ClientId, waiting_len_max: usize) -> Self {
        let numbering = Numbering::new(client, waiting_len_max);
        Self(Mutex::new(Books { numbering, bases: Bases::default() }))
    }

    /// Begins a request, which ends when what is returned is dropped.
    ///
    /// # Panics
    ///
    /// When too many wait.
    pub(super) fn begin(&self, vnode: VnodeHash) -> Begun<'_> {
        let mut books = self.books();
        let id = books.numbering.begin().expect("the client admits no more calls than that");
        let base = books.bases.newest(vnode);
        drop(books);
        Begun {
            numbers: self,
            vnode,
            attempts: Attempts::new(id, base),
            learned: CommitNumber::ZERO,
        }
    }

    /// Learns that a commit number of a vnode is committed.
    pub(super) fn learn(&self, vnode: VnodeHash, commit: CommitNumber) {
        if commit > CommitNumber::ZERO {
            self.books().bases.learn(vnode, commit);
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    numbers: &'a RequestNumbers,
    vnode: VnodeHash,
    attempts: Attempts,
    learned: CommitNumber,
}

impl Begun<'_> {
    /// What the next attempt carries; it counts as sent.
    pub(super) fn send(&mut self) -> Request {
        let lowest = self.numbers.books().numbering.lowest();
        self.attempts.send(lowest)
    }

    /// Takes an attempt's answer.
    pub(super) fn answered(&mut self, answer: Answer) -> Verdict {
        self.attempts.answered(answer)
    }

    /// What can be said of it if it is given up now.
    pub(super) fn given_up(&self) -> GivenUp {
        self.attempts.given_up()
    }

    /// Learns that a commit number of its vnode is committed; the numbers hears of it when the request ends.
    pub(super) fn learn(&mut self, commit: CommitNumber) {
        self.learned = self.learned.max(commit);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut books = self.numbers.books();
        books.numbering.finish(self.attempts.id().number);
        if self.learned > CommitNumber::ZERO {
            books.bases.learn(self.vnode, self.learned);
        }
    }
}
