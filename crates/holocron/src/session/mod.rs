//! A session of a host in a domain: its journal, the slots that it serves, its active vnodes.
//!
//! When the session ends, all of this memory is dropped: a new session of the same host starts empty and recovers its
//! slots like any other host.

mod activate;
pub(crate) mod actor;
mod checkpointer;
pub(crate) mod counts;
mod handoff;
mod hold;
pub(crate) mod journal;
mod list;
mod load;
pub(crate) mod record_cache;
pub(crate) mod recovery;
mod shards;
pub(crate) mod slots;
mod spans;
pub(crate) mod supervisor;
mod sweep;
mod tail;
mod takeovers;
mod wake;
pub(crate) mod watches;

use core::hash::{BuildHasherDefault, Hasher};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use holocron_protocol::{
    epoch::draft::SlotReport,
    format::cluster::Cluster,
    ids::{CommitNumber, DomainId, Epoch, HostName, SessionId, VnodeHash},
    request::fork,
    slot::residency::{Admission, SlotState},
    state::pack::PackRef,
};
use holocron_store::{Patience, Store};
use ractor::{ActorCell, ActorRef};
use tokio::sync::Semaphore;

pub(crate) use self::checkpointer::Checkpoints;
use crate::{
    api::{
        call::{Answer, Call, Mode, Outcome, ReplyTo},
        clock::Clock,
        courier::Courier,
        kinds::Kinds,
        random::Random,
        settings::Settings,
    },
    session::{
        actor::{Handle, Message},
        counts::Counts,
        hold::Hooked,
        journal::{Journal, JournalOptions},
        record_cache::RecordCache,
        shards::OwnShards,
        slots::Slots,
    },
    store_io::{keep::Keep, loss::LossWatch},
    transport::peer::{SessionStatus, VnodeStatus},
};

/// The parts that a host passes to each of its sessions.
#[derive(Clone, Debug)]
pub(crate) struct SessionParts {
    pub(crate) host: HostName,
    pub(crate) cluster: Cluster,
    pub(crate) domain: DomainId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) loss: Arc<LossWatch>,
    /// What a backup may need isn't deleted meanwhile.
    pub(crate) keep: Arc<Keep>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) settings: Arc<Settings>,
    pub(crate) kinds: Kinds,
    pub(crate) counts: Arc<Counts>,
    /// Carries the messages of its vnodes.
    pub(crate) courier: Arc<dyn Courier>,
}

/// Effects of one session that run at a time; further ones wait.
const EFFECTS_MAX: usize = 256;

/// A message from a session's tasks to the host.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A newer epoch may exist.
    ReadEpochLog,
    /// Facts that make sources of slots unnecessary, for the leader.
    Facts(Vec<SlotReport>),
}

/// A session of a host in a domain.
pub(crate) struct Session {
    pub(crate) journal: Arc<Journal>,
    pub(crate) slots: Slots,
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) parts: SessionParts,
    /// Records of former owners that are likely to be read soon.
    pub(crate) record_cache: RecordCache,
    /// The supervisor of this session's slots.
    pub(crate) root: ActorCell,
    /// The newest epoch that its host knows.
    epoch: AtomicU64,
    active: DashMap<VnodeHash, ActiveVnode, BuildHasherDefault<HashIsHash>>,
    active_count: AtomicU64,
    /// The number of packs that the newest committed checkpoint names.
    packs: AtomicU32,
    awaited: Mutex<recovery::Awaited>,
    load: load::Load,
    /// Active vnodes of kinds with hooks.
    hooked: Hooked,
    shards: OwnShards,
    /// Active vnodes, in the order in which the sweep checks whether they are idle.
    sweep: Mutex<VecDeque<Arc<Handle>>>,
    wakes: wake::Wakes,
    watches: watches::Watches,
    /// Permits of effects that run.
    effects: Arc<Semaphore>,
}

/// An active vnode: its handle and its mailbox.
#[derive(Clone, Debug)]
struct ActiveVnode {
    handle: Arc<Handle>,
    actor: ActorRef<Message>,
}

/// A hasher for keys that are hashes already.
#[derive(Debug, Default)]
struct HashIsHash(u64);

impl Hasher for HashIsHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only vnode hashes are keys here");
    }

    fn write_u128(&mut self, hash: u128) {
        // The upper half: the lower bits choose the slot, so they are similar among the vnodes of one host.
        self.0 = u64::try_from(hash >> 64).expect("64 bits are left");
    }
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Session {
    /// A session whose journal is open and that holds no slot yet.
    pub(crate) fn new(id: SessionId, parts: SessionParts, root: ActorCell) -> Self {
        let options = JournalOptions {
            linger: parts.settings.linger,
            try_timeout: parts.settings.store_try_timeout,
            slots: parts.cluster.slots,
            checkpoint_batches: parts.settings.checkpoint_batches,
            checkpoint_len: parts.settings.checkpoint_len,
            counts: Arc::clone(&parts.counts),
        };
        let load = load::Load::new(parts.cluster.slots, parts.clock.now());
        let (store, loss) = (Arc::clone(&parts.store), Arc::clone(&parts.loss));
        let journal = Journal::new(id, store, loss, parts.random.clone(), options);
        Self {
            journal: Arc::new(journal),
            slots: Slots::new(parts.cluster.slots),
            settings: Arc::clone(&parts.settings),
            clock: Arc::clone(&parts.clock),
            parts,
            record_cache: RecordCache::default(),
            root,
            epoch: AtomicU64::new(0),
            active: DashMap::default(),
            active_count: AtomicU64::new(0),
            packs: AtomicU32::new(0),
            awaited: Mutex::default(),
            load,
            hooked: Hooked::default(),
            shards: OwnShards::default(),
            sweep: Mutex::default(),
            wakes: wake::Wakes::default(),
            watches: watches::Watches::default(),
            effects: Arc::new(Semaphore::new(EFFECTS_MAX)),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.journal.session()
    }

    /// How long the session tries a request to the store: until it is over.
    fn patience(&self) -> Patience {
        Patience { try_timeout: self.settings.store_try_timeout, ..Patience::forever() }
    }

    /// The newest epoch that the host knows.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Acquire))
    }

    /// Notes a newer epoch.
    pub(crate) fn note_epoch(&self, epoch: Epoch) {
        self.epoch.fetch_max(epoch.get(), Ordering::AcqRel);
    }

    /// Notes the packs that the newest committed checkpoint names.
    fn note_packs(&self, packs: &[PackRef]) {
        let packs = u32::try_from(packs.len()).expect("bounded by PACKS_MAX");
        self.packs.store(packs, Ordering::Relaxed);
    }

    /// The number of active vnodes.
    pub(crate) fn active_count(&self) -> u64 {
        self.active_count.load(Ordering::Relaxed)
    }

    /// Takes a call: hands it to its actor, queues it for a recovering slot, or refuses it. Never blocks.
    pub(crate) fn call(self: &Arc<Self>, call: Call, reply: ReplyTo) {
        tracing::trace!(vnode = %call.name, request = ?call.request, "call");
        if self.journal.ended().is_cancelled() {
            return self.refuse(reply, Outcome::NotOwner);
        }
        let counts = &self.parts.counts;
        let counter = if call.mode.is_command() { &counts.commands } else { &counts.queries };
        counter.fetch_add(1, Ordering::Relaxed);
        let len_max = match call.mode {
            // A state that could be stored can be forked.
            Mode::Create => self.settings.state_len_max + fork::HEAD_LEN_MAX,
            Mode::Command
            | Mode::Query
            | Mode::Local
            | Mode::Tell
            | Mode::Ask
            | Mode::Acknowledge
            | Mode::Delete
            | Mode::Exists
            | Mode::Deferred
            | Mode::Amend
            | Mode::State
            | Mode::Watch => self.settings.call_len_max,
        };
        if call.body.len() > len_max {
            let why = format!("the call has {} bytes; the limit is {len_max}", call.body.len());
            return self.refuse(reply, Outcome::Undecodable(why));
        }
        if self.journal.is_full() || counts.calls.in_flight() > self.settings.host_calls_max {
            return self.refuse(reply, Outcome::Busy);
        }
        let hash = call.name.hash();
        match self.active.get(&hash) {
            Some(entry) => self.send(&entry, call, reply),
            None if call.mode == Mode::Watch => self.watch_dormant(hash, call, reply),
            None => self.call_dormant(hash, call, reply),
        }
    }

    /// Puts a call into an actor's mailbox. The caller holds the directory's entry, so the vnode can't be evicted meanwhile.
    fn send(&self, entry: &ActiveVnode, call: Call, reply: ReplyTo) {
        let ActiveVnode { handle, actor } = entry;
        if handle.name != call.name {
            let why = format!("{} has the same hash: rename one of them", handle.name);
            return self.refuse(reply, Outcome::Unreadable(why));
        }
        if handle.queued.fetch_add(1, Ordering::AcqRel) >= self.settings.vnode_calls_max {
            handle.queued.fetch_sub(1, Ordering::AcqRel);
            return self.refuse(reply, Outcome::Busy);
        }
        // To be watched is no use that keeps a vnode in memory.
        if call.mode != Mode::Watch && !handle.used.load(Ordering::Relaxed) {
            handle.used.store(true, Ordering::Relaxed);
        }
        self.load.called(handle.slot);
        // A stopped actor drops the message: the client gets Unclear and retries.
        drop(actor.cast(Message::Call(call, reply)));
    }

    /// What a host's status says of this session.
    pub(crate) fn describe(&self) -> SessionStatus {
        let mut status = SessionStatus {
            session: self.id(),
            progress: self.journal.progress(),
            slots_serving: 0,
            slots_waiting: 0,
            slots_going: 0,
            vnodes_active: self.active_count(),
            vnodes_known: 0,
            packs: self.packs.load(Ordering::Relaxed),
            copying: self.copying(),
            load: self.measured(),
        };
        let table = self.slots.lock();
        self.journal.with_residency(|residency| {
            for (slot, state) in residency.states() {
                match state {
                    SlotState::Serving { tenure, .. } => {
                        status.slots_serving += 1;
                        status.vnodes_known += table.get(slot).known(tenure) as u64;
                    }
                    SlotState::Recovering { .. } => status.slots_waiting += 1,
                    SlotState::Draining { .. } | SlotState::ReleaseOwed { .. } => {
                        status.slots_going += 1;
                    }
                    SlotState::NotOurs => {}
                }
            }
        });
        status
    }

    /// Whether a vnode is in memory, and whether its slot is served here.
    pub(crate) fn vnode_status(&self, hash: VnodeHash) -> VnodeStatus {
        if let Some(entry) = self.active.get(&hash) {
            return VnodeStatus::Active { waiting: entry.handle.queued.load(Ordering::Relaxed) };
        }
        let slot = hash.slot(self.parts.cluster.slots);
        match self.journal.with_residency(|residency| residency.admission(slot)) {
            Admission::Run(_) => VnodeStatus::Dormant,
            Admission::Wait => VnodeStatus::Recovering,
            Admission::Refuse => VnodeStatus::NotServed,
        }
    }

    /// The session is over: drops its actors with their memory, and refuses pending calls.
    pub(crate) fn drop_actors(&self) {
        self.root.kill();
        self.active.clear();
        self.active_count.store(0, Ordering::Relaxed);
        self.sweep.lock().expect("nothing panics under the queue's lock").clear();
        // Clients send the calls that wait for slots to the new owner.
        let waited = self.slots.lock().take_all_waiting();
        for (_, reply) in waited {
            self.refuse(reply, Outcome::NotOwner);
        }
        self.refuse_watchers(self.all_watchers());
    }

    pub(crate) fn refuse(&self, reply: ReplyTo, outcome: Outcome) {
        reply.send(Answer { epoch: self.epoch(), commit: CommitNumber::ZERO, outcome });
    }
}
