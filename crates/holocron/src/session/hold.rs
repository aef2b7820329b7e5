//! What active vnodes hold outside their state: counted by slot, so that a Release waits for it, and told to the status.

use core::{fmt, time::Duration};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use holocron_protocol::{
    ids::{Slot, VnodeHash},
    slot::{lifecycle::Stage, residency::Event},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Session, actor::Message};
use crate::session::{actor::Handle, journal::Closed};

/// How much longer than its deadline a close is waited for. It is overdue then: its actor is stuck in a handler.
const OVERDUE_AFTER: Duration = Duration::from_secs(1);

/// The active vnodes whose kinds have hooks.
#[derive(Debug, Default)]
pub(crate) struct Hooked(Mutex<ByHash>);

type ByHash = BTreeMap<VnodeHash, (Arc<Handle>, Arc<Shown>)>;

/// What the status shows of one of them.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<Showing>);

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Showing {
    pub(crate) stage: Stage,
    /// Why the last attempt to open failed.
    pub(crate) error: Option<String>,
    /// Cancels what is open, or being opened.
    cancelled: Option<CancellationToken>,
}

impl Shown {
    /// Cancels what is open, or being opened.
    pub(crate) fn cancel(&self) {
        if let Some(cancelled) = &self.lock().cancelled {
            cancelled.cancel();
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Showing> {
        self.0.lock().expect("nothing panics under the lock of what is shown")
    }
}

impl Hooked {
    pub(crate) fn add(&self, handle: &Arc<Handle>) -> Arc<Shown> {
        let shown = Arc::<Shown>::default();
        self.lock().insert(handle.hash, (Arc::clone(handle), Arc::clone(&shown)));
        shown
    }

    /// A vnode has left memory. A later activation of it may stand here already.
    pub(crate) fn remove(&self, handle: &Handle) {
        let mut hooked = self.lock();
        if hooked
            .get(&handle.hash)
            .is_some_and(|(entry, _)| core::ptr::eq(&raw const **entry, handle))
        {
            hooked.remove(&handle.hash);
        }
    }

    /// What is shown of a vnode, if it is active.
    pub(crate) fn showing(&self, hash: VnodeHash) -> Option<Showing> {
        self.lock().get(&hash).map(|(_, shown)| shown.lock().clone())
    }

    /// The vnodes that could not be opened so far.
    pub(crate) fn failed(&self) -> Vec<(String, (Stage, Option<String>))> {
        let hooked = self.lock();
        let shown = hooked.values().map(|(handle, shown)| (handle, shown.lock().clone()));
        shown
            .filter(|(_, showing)| showing.error.is_some())
            .map(|(handle, showing)| (handle.name.to_string(), (showing.stage, showing.error)))
            .collect()
    }

    /// Cancels what the vnodes of a slot hold.
    fn cancel(&self, slot: Slot) {
        for (_, shown) in self.lock().values().filter(|(handle, _)| handle.slot == slot) {
            shown.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByHash> {
        self.0.lock().expect("nothing panics under the lock of the vnodes with hooks")
    }
}

/// Counts as held open from the beginning of an attempt to open until it is dropped. Drop it after the resource.
pub(crate) struct Hold {
    session: Arc<Session>,
    handle: Arc<Handle>,
    cancelled: CancellationToken,
}

impl Hold {
    /// Begins to hold something, if the slot is served.
    pub(crate) fn new(
        session: &Arc<Session>,
        handle: &Arc<Handle>,
        shown: &Shown,
    ) -> Result<Self, Closed> {
        session.journal.opening(handle.slot, handle.tenure)?;
        let cancelled = session.journal.ended().child_token();
        shown.lock().cancelled = Some(cancelled.clone());
        Ok(Self { session: Arc::clone(session), handle: Arc::clone(handle), cancelled })
    }

    pub(crate) const fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.cancelled.cancel();
        self.session.journal.held(self.handle.slot, Event::Closed(self.handle.tenure));
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&self.handle.name).finish()
    }
}

impl Session {
    /// Draining slots in groups that are released independently: those whose vnodes hold nothing are not to wait for a
    /// slow close of another.
    pub(crate) fn release_groups(&self, slots: Vec<Slot>) -> Vec<Vec<Slot>> {
        let (plain, holding): (Vec<Slot>, Vec<Slot>) = self.journal.with_residency(|residency| {
            slots.into_iter().partition(|&slot| residency.is_closed(slot))
        });
        let alone = holding.into_iter().map(|slot| vec![slot]);
        core::iter::once(plain).filter(|plain| !plain.is_empty()).chain(alone).collect()
    }

    /// How long the vnodes of these slots may take to flush and to close what they hold.
    pub(super) fn flush_max(&self, slots: &[Slot], usual: Duration) -> Duration {
        let is_closed = self
            .journal
            .with_residency(|residency| slots.iter().all(|&slot| residency.is_closed(slot)));
        if is_closed { usual } else { self.settings.close_timeout + OVERDUE_AFTER }
    }

    /// Gives up what the vnodes of these slots still hold: their tokens are cancelled, and the Releases wait no longer.
    pub(super) fn give_up_closes(&self, slots: &[Slot]) {
        for &slot in slots {
            let overdue = self.journal.with_residency(|residency| {
                residency.open_tenure(slot).filter(|_| !residency.is_closed(slot))
            });
            if let Some(tenure) = overdue {
                tracing::warn!(session = %self.id(), %slot, %tenure, "close of a vnode is overdue; its token is cancelled and the slot is released");
                self.hooked.cancel(slot);
                self.journal.held(slot, Event::CloseOverdue(tenure));
            }
        }
    }

    /// Has all vnodes close what they hold, because the host leaves.
    pub(crate) async fn close_all(&self) {
        let hashes: Vec<VnodeHash> = self.hooked.lock().keys().copied().collect();
        let mut closes = Vec::new();
        for hash in hashes {
            if let Some(entry) = self.active.get(&hash) {
                let (done, closed) = oneshot::channel();
                drop(entry.actor.cast(Message::Flush(done)));
                closes.push(closed);
            }
        }
        let all = async {
            for closed in closes {
                // A stopped actor holds nothing.
                drop(closed.await);
            }
        };
        if tokio::time::timeout(self.settings.close_timeout + OVERDUE_AFTER, all).await.is_err() {
            tracing::warn!(session = %self.id(), "close of vnodes is overdue; the host stops without it");
        }
    }
}
