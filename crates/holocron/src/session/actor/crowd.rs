//! A vnode with many clients: its window holds more of them than the soft limit, so its envelope is large.
//!
//! A hot vnode hands its envelope over once per drained mailbox, which is many times per batch. With a large window
//! these copies would fill most of the batch, and each makes the one before it obsolete. So such an envelope goes
//! into each batch once: what runs later stays pending until that batch has left. At rest the window is trimmed.

use std::sync::Arc;

use super::{Active, Message, Phase, Running};

impl Active {
    /// Hands the state over, at once or when the open batch has left.
    pub(super) fn on_encode(&mut self) {
        tracing::trace!(vnode = %self.handle.name, dirty = self.dirty, pending = self.pending.len(), "encode");
        self.encode_queued = false;
        if !self.dirty || !self.defer_to_next_batch() {
            self.hand_over_now();
        }
    }

    /// Defers the hand-over until the open batch has left, if that batch already holds a large envelope of this
    /// vnode; returns whether it did. If so, an Encode message follows then.
    fn defer_to_next_batch(&mut self) -> bool {
        let soft = &self.session.settings.window.soft;
        let Phase::Running(Running { window, .. }) = &self.phase else { return false };
        let Some(handed) = self.handed.as_ref().filter(|_| window.exceeds(soft)) else {
            return false;
        };
        let (journal, position) = (Arc::clone(&self.session.journal), handed.position);
        if !journal.is_open(position) {
            return false;
        }
        self.encode_queued = true;
        let myself = self.myself.clone();
        tokio::spawn(async move {
            if journal.until_left(position).await.is_ok() {
                // The actor may have gone with its slot.
                drop(myself.cast(Message::Encode));
            }
        });
        true
    }

    /// Trims a window that is too large for a vnode at rest, and hands it over; returns whether it did. So a large
    /// window is not stored permanently.
    pub(super) fn trim_at_rest(&mut self) -> bool {
        let soft = &self.session.settings.window.soft;
        let Phase::Running(Running { window, .. }) = &mut self.phase else { return false };
        if !window.exceeds(soft) {
            return false;
        }
        window.trim(soft);
        self.dirty = true;
        self.hand_over_now();
        true
    }
}
