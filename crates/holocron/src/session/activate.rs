//! Activates dormant vnodes, and finds where a vnode's state is.

use std::sync::{
    Arc, MutexGuard,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use dashmap::{Entry, mapref::one::RefMut};
use holocron_protocol::{
    ids::{Slot, VnodeHash, VnodeName},
    journal::batch::{self, StateRecord},
    slot::residency::{Admission, Newest},
    state::place::{FileId, Place},
};
use ractor::ActorRuntime;

use super::{ActiveVnode, Session};
use crate::{
    api::call::{Call, Outcome, ReplyTo},
    session::{
        actor::{Handle, Start, Stored, VnodeActor},
        journal::Closed,
        slots::Table,
        supervisor::Supervisor,
        wake::Found,
    },
    store_io::state_reader::{Located, Unloadable},
};

/// Why a vnode isn't brought into memory.
pub(super) enum NotActivated<'a> {
    /// Its slot is being recovered: the table, in which a call may wait for that.
    Waits(MutexGuard<'a, Table>, Slot),
    /// Its slot isn't served here.
    NotOwner,
    /// This host doesn't run its kind.
    UnknownKind,
}

impl Session {
    /// Takes a call for a vnode that isn't in memory.
    pub(super) fn call_dormant(self: &Arc<Self>, hash: VnodeHash, call: Call, reply: ReplyTo) {
        match self.activate(hash, &call.name, None) {
            Ok(entry) => self.send(&entry, call, reply),
            Err(NotActivated::Waits(mut table, slot)) => {
                if let Err(reply) = table.wait(slot, call, reply) {
                    drop(table);
                    self.refuse(reply, Outcome::Busy);
                }
            }
            Err(NotActivated::NotOwner) => self.refuse(reply, Outcome::NotOwner),
            Err(NotActivated::UnknownKind) => self.refuse(reply, Outcome::UnknownKind),
        }
    }

    /// Brings a vnode into memory, unless it is there; its record isn't read if it was `found` where it is. While the returned entry is held, it can't be evicted.
    pub(super) fn activate(
        self: &Arc<Self>,
        hash: VnodeHash,
        name: &VnodeName,
        found: Option<Found>,
    ) -> Result<RefMut<'_, VnodeHash, ActiveVnode>, NotActivated<'_>> {
        let entry = match self.active.entry(hash) {
            // Another call activated it meanwhile.
            Entry::Occupied(entry) => return Ok(entry.into_ref()),
            Entry::Vacant(entry) => entry,
        };
        let slot = hash.slot(self.parts.cluster.slots);
        let mut table = self.slots.lock();
        // The session may have ended since: no call may wait in it then.
        if self.journal.ended().is_cancelled() {
            return Err(NotActivated::NotOwner);
        }
        let tenure = match self.journal.with_residency(|residency| residency.admission(slot)) {
            Admission::Run(tenure) => tenure,
            Admission::Wait => return Err(NotActivated::Waits(table, slot)),
            Admission::Refuse => return Err(NotActivated::NotOwner),
        };
        let Some(kind) = self.parts.kinds.get(name.kind()) else {
            return Err(NotActivated::UnknownKind);
        };
        let handle = Arc::new(Handle {
            name: name.clone(),
            hash,
            slot,
            tenure,
            queued: AtomicU32::new(0),
            used: AtomicBool::new(true),
        });
        tracing::trace!(vnode = %handle.name, %slot, %tenure, "vnode is activated");
        let stored = match (self.locate_in(&table, slot, hash).expect("the slot is served"), found)
        {
            (Stored::At(now), Some(found)) if now == found.located => Stored::Here(found.record),
            (stored, _) => stored,
        };
        let start = Start {
            session: Arc::clone(self),
            handle: Arc::clone(&handle),
            kind: Arc::clone(kind),
            tenure,
            shown: kind.has_hooks().then(|| self.hooked.add(&handle)),
            stored,
        };
        let state = table.get_mut(slot);
        state.active += 1;
        let supervisor =
            state.supervisor.get_or_insert_with(|| Supervisor::below(&self.root)).clone();
        drop(table);
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, VnodeActor, start, supervisor)
            .expect("an actor without a name always starts");
        let entry = entry.insert(ActiveVnode { handle: Arc::clone(&handle), actor });
        self.active_count.fetch_add(1, Ordering::Relaxed);
        self.sweep.lock().expect("pushing does not panic").push_back(handle);
        Ok(entry)
    }

    /// Where a vnode's newest committed state is; `None` if its slot is no longer served here.
    pub(crate) fn locate(&self, handle: &Handle) -> Option<Stored> {
        self.locate_in(&self.slots.lock(), handle.slot, handle.hash)
    }

    /// The same, by its hash.
    pub(super) fn locate_hash(&self, hash: VnodeHash) -> Option<Stored> {
        self.locate_in(&self.slots.lock(), hash.slot(self.parts.cluster.slots), hash)
    }

    fn locate_in(&self, table: &Table, slot: Slot, hash: VnodeHash) -> Option<Stored> {
        match self.journal.find(slot, hash) {
            (Newest::NotServed, _) => None,
            (Newest::InTail, record) => Some(record.map_or(Stored::Nowhere, Stored::Here)),
            (Newest::InIndex(tenure), _) => {
                let place = table.get(slot).find(tenure, hash);
                Some(place.map_or(Stored::Nowhere, |place| self.stored_at(hash, place)))
            }
        }
    }

    fn stored_at(&self, hash: VnodeHash, place: Place) -> Stored {
        let file = self.slots.files().id(place.file);
        match self.record_cache.record(&file, &place) {
            Some(record) => Stored::Here(record),
            None => Stored::At(Located { file, hash, place }),
        }
    }

    /// Reads a state from its location. If a checkpoint has moved it meanwhile, locates it again and reads it there.
    pub(crate) async fn read_state(
        &self,
        handle: &Handle,
        mut located: Located,
    ) -> Result<Option<StateRecord>, Unloadable> {
        loop {
            let (store, stop) = (&*self.parts.store, self.journal.ended());
            let read = located.read(store, self.patience(), stop).await;
            match read {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) => {}
                Err(unloadable) => return Err(unloadable),
            }
            // Missing: a checkpoint has copied the record, and the old object was deleted.
            match self.relocate(handle, located.file).await {
                None => return Err(Unloadable::Over),
                Some(Stored::Nowhere) => return Ok(None),
                Some(Stored::Here(record)) => {
                    return batch::decode_state(&handle.name.to_string(), &record)
                        .map(Some)
                        .map_err(|malformed| Unloadable::Unreadable(malformed.to_string()));
                }
                Some(Stored::At(now)) if now.file == located.file => {
                    let key = located.file.key();
                    return Err(Unloadable::Unreadable(format!(
                        "{key} is missing; it holds the state of {}",
                        handle.name
                    )));
                }
                Some(Stored::At(now)) => located = now,
            }
        }
    }

    /// Where a state is now whose file is missing. Files that the owner of a slot needs are never deleted. So if the index
    /// still names the file, this host may have been paused and may have lost the slot: a barrier shows whether it is
    /// still the owner.
    async fn relocate(&self, handle: &Handle, missing_in: FileId) -> Option<Stored> {
        match self.locate(handle)? {
            Stored::At(now) if now.file == missing_in => {
                match self.journal.barrier(handle.slot, handle.tenure).await {
                    Ok(()) => self.locate(handle),
                    Err(Closed) => None,
                }
            }
            elsewhere @ (Stored::At(_) | Stored::Here(_) | Stored::Nowhere) => Some(elsewhere),
        }
    }

    /// Removes a vnode from the directory if no call is queued for it. Returns whether it did.
    pub(crate) fn forget(&self, handle: &Handle) -> bool {
        let removed = self.active.remove_if(&handle.hash, |_, entry| {
            core::ptr::eq(&raw const *entry.handle, handle)
                && handle.queued.load(Ordering::Acquire) == 0
        });
        if removed.is_some() {
            self.forgotten(handle);
        }
        removed.is_some()
    }

    /// Removes a vnode from the directory even if calls are queued: its actor is stopping and can't take them.
    pub(crate) fn forget_anyway(&self, handle: &Handle) {
        let removed = self
            .active
            .remove_if(&handle.hash, |_, entry| core::ptr::eq(&raw const *entry.handle, handle));
        if removed.is_some() {
            self.forgotten(handle);
        }
    }

    /// A vnode has left memory because it was not used.
    pub(crate) fn count_eviction(&self) {
        self.parts.counts.evictions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn forgotten(&self, handle: &Handle) {
        self.active_count.fetch_sub(1, Ordering::Relaxed);
        self.hooked.remove(handle);
        self.shards.look();
        let mut table = self.slots.lock();
        let state = table.get_mut(handle.slot);
        state.active = state.active.checked_sub(1).expect("each active vnode was counted");
        if state.active == 0
            && let Some(supervisor) = state.supervisor.take()
        {
            // Its last child stops by itself.
            supervisor.drain().unwrap_or_else(
                |error| tracing::debug!(%error, "slot supervisor had stopped already"),
            );
        }
    }
}
