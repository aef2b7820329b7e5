//! The actor of one active vnode: runs its commands and queries, hands its state to the journal.
//!
//! State runs ahead of commits, answers don't: a command runs at once on the state in memory; its answer is *pending*
//! until the envelope that holds its effect is handed to the journal, and is sent when that batch commits. One
//! envelope is encoded per drained mailbox, not per command. The actor decides nothing about epochs or ownership and
//! never awaits the store: loading runs in a task and returns as a message.
//!
//! Invariants:
//!
//! * A state that was handed to the journal stays. A panic rolls back to the last one, never past it, and runs again
//!   only what came after it.
//! * An answer that depends on a change is sent with or after the commit of that change.
//! * A request id takes effect once: the window is checked before a command runs, and stored with its effect.

mod crowd;
mod deferring;
mod forking;
mod hand_over;
mod hooks;
mod loading;
mod own;
mod process;
mod recorded;
mod running;
mod watching;

use core::fmt;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use holocron_protocol::{
    ids::{CommitNumber, Epoch, Position, Slot, VnodeHash, VnodeName},
    journal::batch::StateRecord,
    request::window::{RequestId, Window},
    slot::lifecycle,
    time::Time,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use self::{
    deferring::Deferring,
    hooks::{Held, Hooks},
    own::{Job, Own},
};
use crate::{
    api::{
        call::{Answer, Call, Outcome, ReplyTo},
        kinds::{AnyKind, AnyVnode},
    },
    session::{Session, hold::Shown},
    store_io::state_reader::Unloadable,
};

/// A message to the actor of a vnode.
pub(crate) enum Message {
    /// Run a command or query.
    Call(Call, ReplyTo),
    /// The stored state was read, or can't be.
    Loaded(Result<Option<StateRecord>, Unloadable>),
    /// Deferred work came back.
    Own(Own),
    /// A spawned task has ended, with a command unless it panicked.
    SpawnedEnded(Option<Bytes>),
    /// Reply when what it has done since it was woken is handed over.
    Settle(oneshot::Sender<()>),
    /// Deferred work is due; counted as a call.
    Wake,
    /// Deferred work may be due.
    LookAgain,
    /// The envelope with this number is committed.
    Committed(CommitNumber),
    /// Hand the state to the journal: everything that was in the mailbox before has run.
    Encode,
    /// The slot is leaving: hand over all changes, then reply.
    Flush(oneshot::Sender<()>),
    /// It was not called for a while: leave memory if it can.
    Passivate,
    /// What it holds outside its state is open, or why not.
    Opened(Result<Held, String>),
    /// The pause after a failed attempt to open is over.
    OpenAgain,
    /// What it held is closed.
    Closed,
    /// It holds nothing any more and has left the directory.
    Stop,
}

/// What the session holds of an active vnode.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) name: VnodeName,
    pub(crate) hash: VnodeHash,
    pub(crate) slot: Slot,
    /// The tenure it is served under.
    pub(crate) tenure: Epoch,
    /// Calls sent to it and not yet taken from its mailbox, or waiting in it for its state.
    pub(crate) queued: AtomicU32,
    /// Whether it was called since the last sweep.
    pub(crate) used: AtomicBool,
}

/// How an actor starts.
pub(crate) struct Start {
    pub(crate) session: Arc<Session>,
    pub(crate) handle: Arc<Handle>,
    pub(crate) kind: Arc<dyn AnyKind>,
    /// The tenure it is served under.
    pub(crate) tenure: Epoch,
    /// Where its state is.
    pub(crate) stored: Stored,
    /// Where to show what its hooks do; none for a kind without hooks.
    pub(crate) shown: Option<Arc<Shown>>,
}

/// Where a vnode's newest committed state is.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// Nowhere: the vnode is new.
    Nowhere,
    /// In memory, as its record.
    Here(Bytes),
    /// In the store.
    At(crate::store_io::state_reader::Located),
}

/// The actor of a vnode; its data is all in [`Active`].
pub(crate) struct VnodeActor;

/// An active vnode.
pub(crate) struct Active {
    session: Arc<Session>,
    handle: Arc<Handle>,
    kind: Arc<dyn AnyKind>,
    tenure: Epoch,
    myself: ActorRef<Message>,
    phase: Phase,
    /// Commands and queries that ran since the last hand-over, in order, with their answers.
    pending: Vec<Pending>,
    /// Whether the state has changes that are not handed over yet. Their answers are in `pending`.
    dirty: bool,
    /// Whether an Encode message is in the mailbox, or will be.
    encode_queued: bool,
    /// The last envelope handed over, in memory at least while it is in flight.
    handed: Option<Handed>,
    /// Requests that must not run again, with their outcome: they panicked or left too large a state.
    failed: BTreeMap<RequestId, Outcome>,
    quarantine: Quarantine,
    /// What it holds outside its state; none for a kind without hooks, which is as if always open.
    hooks: Option<Box<Hooks>>,
    /// Its deferred work; none for a vnode that never had any.
    deferring: Option<Box<Deferring>>,
    scratch: Vec<u8>,
}

enum Phase {
    /// Its state is being read; calls wait.
    Loading { waiting: VecDeque<Work>, why: LoadReason },
    /// In memory.
    Running(Running),
    /// Its stored state can't be read; callers get this reason.
    Unreadable { why: String },
}

/// A vnode in memory.
struct Running {
    vnode: Box<dyn AnyVnode>,
    window: Window,
    /// The number of the newest envelope that was handed over.
    commit: CommitNumber,
    existence: Existence,
}

/// Whether a vnode has a state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existence {
    /// A command has run since it was last deleted.
    Exists,
    /// It is new, or was deleted: its envelope is a tombstone.
    Absent,
}

/// Why a state is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoadReason {
    /// The vnode has become active.
    Activation,
    /// The vnode is rolled back, and its last envelope is no longer in memory; the waiting calls run again with this
    /// check.
    Rollback(process::StorableCheck),
}

/// A call, or deferred work that came back, waiting to run.
struct Work {
    job: Job,
    reply: ReplyTo,
}

/// Work that ran and whose answer must wait for the hand-over.
struct Pending {
    work: Work,
    outcome: Outcome,
}

struct Handed {
    position: Position,
    commit: CommitNumber,
    /// The whole envelope; none once it is known to be committed and was dropped from memory.
    envelope: Option<(holocron_protocol::journal::batch::StateKind, Bytes)>,
}

/// Panics since the vnode became active, and until when its callers are refused.
#[derive(Default)]
struct Quarantine {
    panics: u32,
    until: Option<Time>,
}

impl Actor for VnodeActor {
    type Msg = Message;
    type State = Active;
    type Arguments = Start;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        start: Start,
    ) -> Result<Active, ActorProcessingErr> {
        let Start { session, handle, kind, tenure, stored, shown } = start;
        let mut active = Active {
            session,
            handle,
            kind,
            tenure,
            myself,
            phase: Phase::Loading { waiting: VecDeque::new(), why: LoadReason::Activation },
            pending: Vec::new(),
            dirty: false,
            encode_queued: false,
            handed: None,
            failed: BTreeMap::new(),
            quarantine: Quarantine::default(),
            hooks: shown.map(|shown| Box::new(Hooks::new(shown))),
            deferring: None,
            scratch: Vec::new(),
        };
        active.load(stored);
        Ok(active)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        active: &mut Active,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Call(call, reply) => active.on_call(call, reply),
            Message::Loaded(loaded) => active.on_loaded(loaded),
            Message::Own(own) => active.on_own(own),
            Message::SpawnedEnded(result) => active.on_spawned_ended(result),
            Message::Settle(done) => active.on_settle(done),
            Message::Wake => active.on_wake(),
            Message::LookAgain => active.carry_out(),
            Message::Committed(commit) => active.on_committed(commit),
            Message::Encode => active.on_encode(),
            Message::Flush(done) => active.on_flush(done),
            Message::Passivate => active.on_passivate(),
            Message::Opened(opened) => active.on_opened(opened),
            Message::OpenAgain => active.lifecycle(lifecycle::Event::Due),
            Message::Closed => active.lifecycle(lifecycle::Event::Closed),
            Message::Stop => active.myself.stop(None),
        }
        Ok(())
    }
}

impl Active {
    fn on_passivate(&mut self) {
        let in_flight = self
            .handed
            .as_ref()
            .is_some_and(|handed| handed.position > self.session.journal.committed());
        if self.dirty || !self.pending.is_empty() || in_flight {
            return;
        }
        // The message that says what is committed may still be on its way, and would come too late.
        self.note_committed();
        self.carry_out();
        if self.dirty || self.is_deferring() {
            return;
        }
        if self.trim_at_rest() {
            // It leaves memory at the next sweep.
            return;
        }
        if let Some(handed) = &mut self.handed {
            // It is committed, so it can be read back from the store if needed.
            handed.envelope = None;
        }
        let at_rest = match self.phase {
            Phase::Loading { .. } => false,
            Phase::Running(_) | Phase::Unreadable { .. } => true,
        };
        if !at_rest {
            return;
        }
        // A shard stays. One that can't be read leaves, and is read again.
        if matches!(self.phase, Phase::Running(_)) && self.session.is_shard(self.handle.hash) {
            return;
        }
        if let Some(hooks) = &self.hooks {
            if hooks.is_at_rest() {
                self.lifecycle(lifecycle::Event::Evict);
            }
        } else if self.session.forget(&self.handle) {
            self.session.count_eviction();
            self.myself.stop(None);
        }
    }

    fn note_panic(&mut self) {
        let settings = &self.session.settings;
        self.quarantine.panics = self.quarantine.panics.saturating_add(1);
        let beyond = self.quarantine.panics.checked_sub(settings.panics_max);
        let Some(beyond) = beyond else {
            return;
        };
        let rest = settings.rest.saturating_mul(1 << beyond.min(6)).min(REST_MAX);
        let panics = self.quarantine.panics;
        tracing::warn!(vnode = %self.handle.name, panics, ?rest, "vnode is quarantined after panics");
        self.quarantine.until = Some(self.session.clock.now() + rest);
    }

    fn answer(&self, commit: CommitNumber, outcome: Outcome) -> Answer {
        Answer { epoch: self.session.epoch(), commit, outcome }
    }

    /// Counts a call as no longer queued.
    fn leave_queue(&self) {
        self.handle.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The longest quarantine of a vnode.
const REST_MAX: core::time::Duration = core::time::Duration::from_secs(60);

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("vnode", &self.handle.name).finish_non_exhaustive()
    }
}
