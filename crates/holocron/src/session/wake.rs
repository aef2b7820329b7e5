//! Wakes vnodes whose deferred work is due.
//!
//! A record says when its vnode wants to be woken, and an index keeps that. So a session knows after an Adopt which vnodes have
//! something to do, without reading any; an active vnode says it anew with each hand-over. Only what is due is
//! read: many states of one file by one request. The next batch is woken when what the one before has done is committed, and
//! who was woken leaves memory again, so that many timers that are due at once take neither the store nor the memory.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use holocron_protocol::{
    ids::{VnodeHash, VnodeName},
    journal::batch,
    slot::residency::SlotState,
    state::index::SlotIndex,
};
use tokio::sync::{Notify, oneshot};

use super::{ActiveVnode, Session, activate::NotActivated, actor::Message};
use crate::{
    api::asked::wall,
    session::{
        actor::{Handle, Stored},
        spans::{READS_MAX, Span, spans},
    },
    store_io::state_reader::Located,
};

/// Most vnodes that are woken at a time.
const WAKE_MAX: usize = 1_024;
/// The wall clock is looked at as often as this, because it may jump.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long vnodes that were woken may take until the next are woken.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// When a vnode is woken again that can't be activated here.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The vnodes of a session that want to be woken.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    times: Mutex<Times>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Times {
    by_time: BTreeSet<(u64, VnodeHash)>,
    of_vnode: BTreeMap<VnodeHash, u64>,
}

impl Times {
    fn set(&mut self, vnode: VnodeHash, at: u64) {
        let before = match at {
            0 => self.of_vnode.remove(&vnode),
            _ => self.of_vnode.insert(vnode, at),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, vnode));
        }
        if at > 0 {
            self.by_time.insert((at, vnode));
        }
    }

    fn take_due(&mut self, now: u64) -> Vec<VnodeHash> {
        let mut due = Vec::new();
        while let Some(&(at, vnode)) = self.by_time.first()
            && at <= now
            && due.len() < WAKE_MAX
        {
            self.set(vnode, 0);
            due.push(vnode);
        }
        due
    }
}

/// A record that was read, and where.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) located: Located,
    pub(crate) record: Bytes,
}

impl Wakes {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().expect("nothing panics under the lock of times")
    }
}

impl Session {
    /// A vnode wants to be woken at this time, in milliseconds since 1970; 0 for never.
    pub(crate) fn wake_at(&self, vnode: VnodeHash, at: u64) {
        let mut times = self.wakes.times();
        if times.of_vnode.get(&vnode).copied().unwrap_or(0) == at {
            return;
        }
        times.set(vnode, at);
        let is_first = times.by_time.first().is_some_and(|(_, first)| *first == vnode);
        drop(times);
        if is_first {
            self.wakes.changed.notify_one();
        }
    }

    /// Notes which vnodes of an adopted slot want to be woken.
    pub(super) fn note_wakes(&self, index: &SlotIndex) {
        let mut times = self.wakes.times();
        let mut any = false;
        for (vnode, at) in index.wakes() {
            times.set(vnode, at);
            any = true;
        }
        drop(times);
        if any {
            self.wakes.changed.notify_one();
        }
    }

    /// Wakes vnodes until the session ends.
    pub(crate) async fn run_wakes(self: Arc<Self>) {
        loop {
            let now = wall(&*self.clock).as_millis();
            let (due, next) = {
                let mut times = self.wakes.times();
                let due = times.take_due(now);
                (due, times.by_time.first().map(|(at, _)| *at))
            };
            if !due.is_empty() {
                tokio::select! {
                    biased;
                    () = self.journal.ended().cancelled() => return,
                    () = self.wake(due) => continue,
                }
            }
            let pause = next.map(|at| Duration::from_millis(at - now).min(LOOK_EVERY));
            tokio::select! {
                biased;
                () = self.journal.ended().cancelled() => return,
                () = self.wakes.changed.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or(LOOK_EVERY)), if pause.is_some() => {}
            }
        }
    }

    /// Wakes vnodes, and waits until what they have done at once is committed.
    async fn wake(self: &Arc<Self>, due: Vec<VnodeHash>) {
        let mut dormant = Vec::new();
        for vnode in due {
            match self.active.get(&vnode) {
                Some(entry) => wake_active(&entry),
                None => dormant.push(vnode),
            }
        }
        let mut woken = Vec::new();
        for (vnode, name, found) in self.find_all(dormant).await {
            woken.extend(self.wake_dormant(vnode, &name, found));
        }
        if woken.is_empty() {
            return;
        }
        if tokio::time::timeout(SETTLE_MAX, self.settle(&woken)).await.is_err() {
            tracing::debug!(session = %self.id(), "vnodes that were woken take long");
        }
        let point = self.journal.flush_point().0;
        if self.journal.until_committed(point).await.is_err() {
            // The session is over.
            return;
        }
        for handle in woken {
            // One that was called meanwhile stays. One that is busy stays as well, until the sweep.
            if !handle.used.load(Ordering::Relaxed)
                && let Some(entry) = self.active.get(&handle.hash)
            {
                drop(entry.actor.cast(Message::Passivate));
            }
        }
    }

    /// Waits until vnodes have handed over what they did when they were woken.
    async fn settle(&self, woken: &[Arc<Handle>]) {
        let mut settling = Vec::new();
        for handle in woken {
            if let Some(entry) = self.active.get(&handle.hash) {
                let (done, settled) = oneshot::channel();
                drop(entry.actor.cast(Message::Settle(done)));
                settling.push(settled);
            }
        }
        for settled in settling {
            // One whose actor has stopped has nothing to hand over.
            drop(settled.await);
        }
    }

    fn wake_dormant(
        self: &Arc<Self>,
        vnode: VnodeHash,
        name: &VnodeName,
        found: Option<Found>,
    ) -> Option<Arc<Handle>> {
        match self.activate(vnode, name, found) {
            Ok(entry) => {
                let handle = Arc::clone(&entry.handle);
                handle.used.store(false, Ordering::Relaxed);
                // If another call has activated it meanwhile.
                wake_active(&entry);
                Some(handle)
            }
            Err(NotActivated::Waits(..) | NotActivated::NotOwner) => {
                self.wake_if_it_stays(vnode);
                None
            }
            Err(NotActivated::UnknownKind) => {
                tracing::warn!(vnode = %name, "a vnode has deferred work, and this host doesn't run its kind");
                let again = wall(&*self.clock) + AGAIN_AFTER;
                self.wake_at(vnode, again.as_millis());
                None
            }
        }
    }

    /// A vnode whose slot isn't served at the moment: if the slot leaves, the new owner wakes the vnode; but one that is given
    /// away may come back before it is released, and then nobody notes it again.
    fn wake_if_it_stays(&self, vnode: VnodeHash) {
        let slot = vnode.slot(self.parts.cluster.slots);
        let is_ours = self
            .journal
            .with_residency(|residency| !matches!(residency.state(slot), SlotState::NotOurs));
        if is_ours {
            let again = wall(&*self.clock) + LOOK_EVERY;
            self.wake_at(vnode, again.as_millis());
        }
    }

    /// The names of dormant vnodes, with their records as far as they were read.
    async fn find_all(
        self: &Arc<Self>,
        dormant: Vec<VnodeHash>,
    ) -> Vec<(VnodeHash, VnodeName, Option<Found>)> {
        let mut all = Vec::new();
        let mut in_store = Vec::new();
        for vnode in dormant {
            match self.locate_hash(vnode) {
                Some(Stored::Here(record)) => {
                    if let Ok(state) = batch::decode_state("record", &record) {
                        all.push((vnode, state.name, None));
                    }
                }
                Some(Stored::At(located)) => in_store.push(located),
                Some(Stored::Nowhere) => {}
                None => self.wake_if_it_stays(vnode),
            }
        }
        let reads = spans(in_store).into_iter().map(|span| self.names_in(span));
        let mut reads = stream::iter(reads).buffered(READS_MAX);
        while let Some(found) = reads.next().await {
            all.extend(found);
        }
        all
    }

    async fn names_in(self: &Arc<Self>, span: Span) -> Vec<(VnodeHash, VnodeName, Option<Found>)> {
        let Some(bytes) = self.read_span(&span).await else {
            // A checkpoint has moved the records, and the index says where to; or the session is over.
            let again = wall(&*self.clock) + Duration::from_millis(10);
            span.items.iter().for_each(|item| self.wake_at(item.hash, again.as_millis()));
            return Vec::new();
        };
        let found = span.items.iter().filter_map(|&located| {
            let record = span.part(&located, &bytes)?;
            match located.place.open(&span.file.key(), located.hash, &record) {
                Ok(state) => {
                    Some((located.hash, state.name, Some(Found { located, record })))
                }
                Err(malformed) => {
                    tracing::error!(%malformed, "the record of a vnode with deferred work can't be read");
                    None
                }
            }
        });
        found.collect()
    }
}

/// Wakes an active vnode. It counts as called until it has looked, so that it isn't evicted before.
fn wake_active(entry: &ActiveVnode) {
    entry.handle.queued.fetch_add(1, Ordering::AcqRel);
    // A stopped actor has gone with its slot.
    drop(entry.actor.cast(Message::Wake));
}
