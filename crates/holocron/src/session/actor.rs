//! The actor of one active vnode: runs its commands and queries, hands its state to the journal.
//!
//! State runs ahead, answers don't: a command runs at once on the state in memory; its answer is *pending* until the
//! envelope that holds its effect is handed to the journal, and leaves when that batch commits. One envelope is
//! encoded per drained mailbox, not per command. The actor decides nothing about epochs or ownership and never awaits
//! the store: loading runs in a task and comes back as a message.
//!
//! Invariants:
//!
//! * What was handed to the journal stands. A panic rolls back to it, never past it, and runs again only what came
//!   after it.
//! * An answer that saw a change leaves with or after that change's commit.
//! * A request id takes effect once: the window is asked before a command runs, and stored with what it did.

mod crowd;
mod process;
mod recorded;

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
    time::Time,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::{
    api::{
        call::{Answer, Call, Outcome, ReplyTo},
        kinds::{AnyKind, AnyVnode},
        vnode::Context,
    },
    session::Session,
    store_io::state_reader::Unloadable,
};

/// What an actor is told.
pub(crate) enum Message {
    /// Run a command or query.
    Call(Call, ReplyTo),
    /// The stored state has been read, or can't be.
    Loaded(Result<Option<StateRecord>, Unloadable>),
    /// Hand the state to the journal: everything that was in the mailbox before has run.
    Encode,
    /// The slot is leaving: hand over what there is, and say so.
    Flush(oneshot::Sender<()>),
    /// Nobody asked for a while: leave memory if nothing is in the way.
    Passivate,
}

/// What others keep of an active vnode.
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
pub(crate) struct Activation {
    pub(crate) session: Arc<Session>,
    pub(crate) handle: Arc<Handle>,
    pub(crate) kind: Arc<dyn AnyKind>,
    /// The tenure it is served under.
    pub(crate) tenure: Epoch,
    /// Where its state is.
    pub(crate) stored: Stored,
}

/// Where a vnode's newest committed state is.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// Nowhere: it is new.
    Nowhere,
    /// Here, as its record.
    Here(Bytes),
    /// In the store.
    At(crate::store_io::state_reader::Located),
}

/// The actor of a vnode; all it has is in its state.
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
    /// Whether the state has changes that were not handed over. Pending holds them.
    dirty: bool,
    /// Whether an Encode is in the mailbox.
    encode_queued: bool,
    /// The last envelope handed over, kept at least while it is in flight.
    handed: Option<Handed>,
    /// Requests that may not run again: they panicked or left too large a state.
    condemned: BTreeMap<RequestId, Outcome>,
    trouble: Trouble,
    scratch: Vec<u8>,
}

enum Phase {
    /// Its state is being read; calls wait.
    Loading { waiting: VecDeque<Work>, why: Reading },
    /// In memory.
    Running { vnode: Box<dyn AnyVnode>, window: Window, commit: CommitNumber },
    /// Its stored state can't be read; callers are told why.
    Unreadable { why: String },
}

/// Why a state is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The vnode has become active.
    First,
    /// It is rolled back, and what it handed over last was let go; what waits runs again with that check.
    Again(process::StorableCheck),
}

/// A call waiting to run.
struct Work {
    call: Call,
    reply: ReplyTo,
}

/// A call that ran and whose answer must wait for the hand-over.
struct Pending {
    work: Work,
    outcome: Outcome,
}

struct Handed {
    position: Position,
    commit: CommitNumber,
    /// The whole envelope; none once it is known committed and was let go.
    envelope: Option<(holocron_protocol::journal::batch::StateKind, Bytes)>,
}

/// How often it panicked, and until when it rests.
#[derive(Default)]
struct Trouble {
    panics: u32,
    resting_until: Option<Time>,
}

impl Actor for VnodeActor {
    type Msg = Message;
    type State = Active;
    type Arguments = Activation;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        activation: Activation,
    ) -> Result<Active, ActorProcessingErr> {
        let Activation { session, handle, kind, tenure, stored } = activation;
        let mut active = Active {
            session,
            handle,
            kind,
            tenure,
            myself,
            phase: Phase::Loading { waiting: VecDeque::new(), why: Reading::First },
            pending: Vec::new(),
            dirty: false,
            encode_queued: false,
            handed: None,
            condemned: BTreeMap::new(),
            trouble: Trouble::default(),
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
            Message::Encode => active.on_encode(),
            Message::Flush(done) => {
                active.hand_over_now();
                // The one who waits may have given up.
                done.send(()).unwrap_or_else(|()| tracing::debug!("nobody waits for the flush"));
            }
            Message::Passivate => active.on_passivate(),
        }
        Ok(())
    }
}

impl Active {
    /// Starts to load the state from where it is.
    fn load(&mut self, stored: Stored) {
        match stored {
            Stored::Nowhere => self.on_loaded(Ok(None)),
            Stored::Here(record) => {
                let loaded = holocron_protocol::journal::batch::decode_state(
                    &self.handle.name.to_string(),
                    &record,
                )
                .map(Some)
                .map_err(|malformed| Unloadable::Unreadable(malformed.to_string()));
                self.on_loaded(loaded);
            }
            Stored::At(located) => {
                let (session, handle, myself) =
                    (Arc::clone(&self.session), Arc::clone(&self.handle), self.myself.clone());
                tokio::spawn(async move {
                    let loaded = session.read_state(&handle, located).await;
                    // The actor may have gone with its session.
                    drop(myself.cast(Message::Loaded(loaded)));
                });
            }
        }
    }

    fn on_loaded(&mut self, loaded: Result<Option<StateRecord>, Unloadable>) {
        let Phase::Loading { waiting, why } = &mut self.phase else {
            return;
        };
        let (waiting, why) = (core::mem::take(waiting), *why);
        tracing::trace!(vnode = %self.handle.name, found = ?loaded.as_ref().map(Option::is_some), waiting = waiting.len(), "state is read");
        self.phase = match self.take_up(loaded, why) {
            Ok(phase) => phase,
            Err(Unloadable::Unreadable(why)) => {
                waiting.iter().for_each(|_| self.taken());
                return self.give_up(waiting, &why);
            }
            // The calls are dropped, which answers them Unclear.
            Err(Unloadable::Over) => return,
        };
        self.activate();
        self.run(waiting, why);
    }

    /// From the stored record to the state in memory.
    fn take_up(
        &mut self,
        loaded: Result<Option<StateRecord>, Unloadable>,
        why: Reading,
    ) -> Result<Phase, Unloadable> {
        let fresh = |kind: &dyn AnyKind| kind.fresh();
        let Some(record) = loaded? else {
            return Ok(Phase::Running {
                vnode: fresh(&*self.kind),
                window: Window::default(),
                commit: CommitNumber::ZERO,
            });
        };
        if record.name != self.handle.name {
            return Err(Unloadable::Unreadable(format!(
                "{} stands where it should: same hash",
                record.name
            )));
        }
        let (vnode, window) = self.decode(&record.envelope)?;
        if let Reading::Again(_) = why {
            // Whoever rolled back once may have to again before anything is handed over.
            let position = self.handed.as_ref().map_or(Position::ZERO, |handed| handed.position);
            let envelope = Some((record.kind, record.envelope));
            self.handed = Some(Handed { position, commit: record.commit, envelope });
        }
        Ok(Phase::Running { vnode, window, commit: record.commit })
    }

    fn decode(&self, envelope: &Bytes) -> Result<(Box<dyn AnyVnode>, Window), Unloadable> {
        let name = self.handle.name.to_string();
        let envelope = holocron_protocol::request::envelope::Envelope::decode(&name, envelope)
            .map_err(|malformed| Unloadable::Unreadable(malformed.to_string()))?;
        let vnode = match &envelope.state {
            None => self.kind.fresh(),
            Some(state) => {
                // `migrate` and `Deserialize` are the user's: a panic there is this vnode's alone.
                let load = std::panic::AssertUnwindSafe(|| self.kind.load(envelope.schema, state));
                match std::panic::catch_unwind(load) {
                    Ok(loaded) => loaded.map_err(Unloadable::Unreadable)?,
                    Err(_) => {
                        return Err(Unloadable::Unreadable(
                            "reading the stored state panicked".to_owned(),
                        ));
                    }
                }
            }
        };
        Ok((vnode, envelope.window))
    }

    fn context(&self) -> Context<'_> {
        Context { name: &self.handle.name, epoch: self.tenure }
    }

    fn activate(&mut self) {
        let context = Context { name: &self.handle.name, epoch: self.tenure };
        let Phase::Running { vnode, .. } = &mut self.phase else {
            return;
        };
        let call = std::panic::AssertUnwindSafe(|| vnode.on_activate(&context));
        if std::panic::catch_unwind(call).is_err() {
            tracing::warn!(vnode = %self.handle.name, "on_activate panicked");
            self.note_panic();
        }
    }

    fn on_passivate(&mut self) {
        let in_flight = self
            .handed
            .as_ref()
            .is_some_and(|handed| handed.position > self.session.journal.committed());
        if self.dirty || !self.pending.is_empty() || in_flight {
            return;
        }
        if self.trim_at_rest() {
            // It leaves memory at the next sweep.
            return;
        }
        if let Some(handed) = &mut self.handed {
            // Committed: it can be read back from the store should it be needed.
            handed.envelope = None;
        }
        let at_rest = match self.phase {
            Phase::Loading { .. } => false,
            Phase::Running { .. } | Phase::Unreadable { .. } => true,
        };
        if !at_rest || !self.session.forget(&self.handle) {
            return;
        }
        let context = Context { name: &self.handle.name, epoch: self.tenure };
        if let Phase::Running { vnode, .. } = &mut self.phase {
            let call = std::panic::AssertUnwindSafe(|| vnode.on_passivate(&context));
            if std::panic::catch_unwind(call).is_err() {
                tracing::warn!(vnode = %self.handle.name, "on_passivate panicked");
            }
        }
        self.myself.stop(None);
    }

    fn note_panic(&mut self) {
        let settings = &self.session.settings;
        self.trouble.panics = self.trouble.panics.saturating_add(1);
        let beyond = self.trouble.panics.checked_sub(settings.panics_max);
        let Some(beyond) = beyond else {
            return;
        };
        let rest = settings.rest.saturating_mul(1 << beyond.min(6)).min(REST_MAX);
        tracing::warn!(vnode = %self.handle.name, panics = self.trouble.panics, ?rest, "rests after repeated panics");
        self.trouble.resting_until = Some(self.session.clock.now() + rest);
    }

    fn answer(&self, commit: CommitNumber, outcome: Outcome) -> Answer {
        Answer { epoch: self.session.epoch(), commit, outcome }
    }

    fn taken(&self) {
        self.handle.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The longest a vnode rests after panics.
const REST_MAX: core::time::Duration = core::time::Duration::from_secs(60);

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("vnode", &self.handle.name).finish_non_exhaustive()
    }
}
