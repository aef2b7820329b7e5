//! A vnode that a crowd calls: its window holds more clients than it keeps at rest, so its envelope is large.
//!
//! A hot vnode hands its envelope over once per drained mailbox, which is many times per batch. With the window of a
//! crowd that would be most of the batch, each copy making the one before it void. So such an envelope goes into each
//! batch once: what runs later waits, pending, until that batch has left. At rest the window is trimmed.

use std::sync::Arc;

use super::{Active, Message, Phase};

impl Active {
    /// Hands the state over, or has that done when the open batch has left.
    pub(super) fn on_encode(&mut self) {
        tracing::trace!(vnode = %self.handle.name, dirty = self.dirty, pending = self.pending.len(), "encode");
        self.encode_queued = false;
        if !self.dirty || !self.put_off() {
            self.hand_over_now();
        }
    }

    /// Whether the hand-over has to wait until the open batch has left, because it holds an envelope of this crowd
    /// already. If so, an Encode comes then.
    fn put_off(&mut self) -> bool {
        let soft = &self.session.settings.window.soft;
        let Phase::Running { window, .. } = &self.phase else { return false };
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

    /// Trims a window that is too large for a vnode at rest, and hands it over; whether it did. What many clients made
    /// necessary is not stored for ever.
    pub(super) fn trim_at_rest(&mut self) -> bool {
        let soft = &self.session.settings.window.soft;
        let Phase::Running { window, .. } = &mut self.phase else { return false };
        if !window.exceeds(soft) {
            return false;
        }
        window.trim(soft);
        self.dirty = true;
        self.hand_over_now();
        true
    }
}
