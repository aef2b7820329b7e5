//! Waiting for the journal: answers for the read barrier, tasks for a commit or for a batch to be closed.

use std::sync::atomic::Ordering;

use holocron_protocol::{
    ids::{Epoch, Position, Slot},
    journal::read_barrier::ReadMode,
};
use tokio::sync::oneshot;

use super::{Closed, Journal, Released, State, Waiting};
use crate::api::call::Mode;

impl Journal {
    /// Sends an answer of a vnode when the read barrier allows. `sees` is the position of the newest change that it has seen.
    /// A linearizable answer of a released slot is dropped: the barrier speaks for the session, not for one slot.
    pub(crate) fn answer(&self, mode: Mode, of: (Slot, Epoch), sees: Position, released: Released) {
        let mode = match mode {
            Mode::Query | Mode::Exists | Mode::Deferred | Mode::State | Mode::Watch => {
                ReadMode::Linearizable
            }
            // Of a fenced host, which doesn't know the sender, it would say that nothing has to be acknowledged.
            Mode::Acknowledge => ReadMode::Linearizable,
            // A recorded answer stays valid: it only has to be committed.
            Mode::Command
            | Mode::Tell
            | Mode::Ask
            | Mode::Delete
            | Mode::Amend
            | Mode::Create
            | Mode::Local => ReadMode::Local,
        };
        self.wait_to_leave(mode, of, sees, Waiting::Answer(released));
    }

    /// Waits until a barrier shows that no other session had taken over when this was called.
    pub(crate) async fn barrier(&self, slot: Slot, tenure: Epoch) -> Result<(), Closed> {
        let (passes, passed) = oneshot::channel();
        let waiting = Waiting::Barrier(passes);
        self.wait_to_leave(ReadMode::Linearizable, (slot, tenure), Position::ZERO, waiting);
        passed.await.map_err(|_session_over| Closed)
    }

    fn wait_to_leave(&self, mode: ReadMode, of: (Slot, Epoch), sees: Position, waiting: Waiting) {
        let (slot, tenure) = of;
        let mut state = self.state();
        let gone = mode == ReadMode::Linearizable && !state.residency.may_answer(slot, tenure);
        if gone || self.ended.is_cancelled() {
            return;
        }
        let State { writer, reads, .. } = &mut *state;
        let at_once = reads.arrive(writer, mode, sees, waiting);
        drop(state);
        match at_once {
            Some(waiting) => waiting.leave(),
            None if mode == ReadMode::Linearizable => self.barrier.notify_one(),
            None => {}
        }
    }

    /// The newest committed position.
    pub(crate) fn committed(&self) -> Position {
        Position::new(self.committed.load(Ordering::Acquire))
    }

    /// Waits until a position is committed.
    pub(crate) async fn until_committed(&self, position: Position) -> Result<(), Closed> {
        loop {
            // Registered before the check, so that a commit in between isn't missed.
            let newly_committed = self.newly_committed.notified();
            if self.committed() >= position {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = newly_committed => {}
                () = self.ended.cancelled() => return Err(Closed),
            }
        }
    }

    /// Whether a position's batch is still open.
    pub(crate) fn is_open(&self, position: Position) -> bool {
        position > self.state().writer.submitted()
    }

    /// Waits until the batch of a position is closed.
    pub(crate) async fn until_left(&self, position: Position) -> Result<(), Closed> {
        loop {
            // Registered before the check, so that a close in between isn't missed.
            let closed = self.batch_closed.notified();
            if !self.is_open(position) {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = closed => {}
                () = self.ended.cancelled() => return Err(Closed),
            }
        }
    }
}
