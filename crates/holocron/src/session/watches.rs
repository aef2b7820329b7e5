//! Watchers that wait for commits: carries out `protocol::request::watchers`.
//!
//! A watcher is a call that isn't answered at once. While it waits it is an entry in a table: it counts neither as a call in
//! flight at the host nor as a use of its vnode.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use dashmap::Entry;
use holocron_protocol::{
    ids::{CommitNumber, Epoch, Slot, VnodeHash},
    request::watchers::{Arrival, Watched, Watcher, Watchers},
    slot::residency::Admission,
};
use tokio::sync::Notify;

use super::{Session, actor::Handle};
use crate::api::{
    call::{Answer, Call, Format, Outcome, ReplyTo},
    watch::WatchRequest,
};

/// How often deadlines are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who waits, and what it asks.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) reply: ReplyTo,
    pub(crate) query: Option<Bytes>,
    /// How the query is encoded, and its answer.
    pub(crate) format: Format,
}

/// The watchers of a session that wait.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    table: Mutex<Watchers<Caller>>,
    /// Whether the table has anything, readable without its lock.
    any: AtomicBool,
    arrived: Notify,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Watchers<Caller>> {
        self.table.lock().expect("nothing panics under the watchers' lock but its own assertions")
    }

    fn changed(&self, table: &Watchers<Caller>) {
        self.any.store(!table.is_empty(), Ordering::Release);
    }
}

impl Handle {
    pub(crate) fn watched(&self) -> Watched {
        Watched { vnode: self.hash, slot: self.slot, tenure: self.tenure }
    }
}

impl Session {
    /// A watcher arrives at a vnode whose newest commit has this number.
    pub(crate) fn watcher_arrives(
        &self,
        of: Watched,
        commit: CommitNumber,
        request: WatchRequest,
        (format, mut reply): (Format, ReplyTo),
    ) -> Arrival<Caller> {
        let (after, hold) = (request.after, request.hold());
        let mut table = self.watches.lock();
        if commit <= after {
            reply.waits();
        }
        let caller = Caller { reply, query: request.query, format };
        let arrival = table.arrive(self.clock.now(), of, commit, Watcher { after, hold, caller });
        self.watches.changed(&table);
        drop(table);
        if let Arrival::Waits = arrival {
            self.watches.arrived.notify_one();
        }
        arrival
    }

    /// Takes a watcher of a vnode that isn't in memory: if it is known that there is nothing new, it waits without the vnode.
    pub(super) fn watch_dormant(self: &Arc<Self>, hash: VnodeHash, call: Call, reply: ReplyTo) {
        // While the entry is held the vnode isn't activated, so it commits nothing.
        let entry = match self.active.entry(hash) {
            Entry::Occupied(entry) => return self.send(entry.get(), call, reply),
            Entry::Vacant(entry) => entry,
        };
        let slot = hash.slot(self.parts.cluster.slots);
        let table = self.slots.lock();
        let admission = self.journal.with_residency(|residency| residency.admission(slot));
        let (Admission::Run(tenure), Ok(request)) = (admission, WatchRequest::decode(&call.body))
        else {
            drop((table, entry));
            return self.call_dormant(hash, call, reply);
        };
        let known = self.watches.lock().newest(hash, tenure);
        let Some(commit) = known.filter(|commit| *commit <= request.after) else {
            drop((table, entry));
            return self.call_dormant(hash, call, reply);
        };
        let of = Watched { vnode: hash, slot, tenure };
        match self.watcher_arrives(of, commit, request, (call.format, reply)) {
            Arrival::Waits => {}
            Arrival::Refused(caller) => self.refuse(caller.reply, Outcome::Busy),
            Arrival::Newer(_) => unreachable!("the commit is not above the watcher's"),
        }
    }

    /// A vnode hands over its next commit: who is to be told of it.
    pub(crate) fn watchers_of(&self, of: Watched, commit: CommitNumber) -> Vec<Caller> {
        if !self.watches.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut table = self.watches.lock();
        let callers = table.commits(of, commit);
        self.watches.changed(&table);
        callers
    }

    /// Slots are released: their watchers find the new owner.
    pub(super) fn release_watchers(&self, released: &BTreeMap<Slot, Epoch>) -> Vec<Caller> {
        let mut table = self.watches.lock();
        let gone = table.release(released);
        self.watches.changed(&table);
        gone
    }

    /// The session is over.
    pub(super) fn refuse_watchers(&self, gone: Vec<Caller>) {
        gone.into_iter().for_each(|caller| self.refuse(caller.reply, Outcome::NotOwner));
    }

    pub(super) fn all_watchers(&self) -> Vec<Caller> {
        self.watches.lock().take_all()
    }

    /// Tells watchers at their deadlines that there was nothing new, until the session ends.
    pub(crate) async fn run_watches(self: Arc<Self>) {
        loop {
            let arrived = self.watches.arrived.notified();
            let any = self.watches.any.load(Ordering::Acquire);
            tokio::select! {
                biased;
                () = self.journal.ended().cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY), if any => {}
                () = arrived, if !any => continue,
            }
            let over = {
                let mut table = self.watches.lock();
                let over = table.expire(self.clock.now());
                self.watches.changed(&table);
                over
            };
            let epoch = self.epoch();
            for (commit, caller) in over {
                caller.reply.send(Answer { epoch, commit, outcome: Outcome::Reply(Bytes::new()) });
            }
        }
    }
}
