//! A session's journal: the open batch that all vnodes append to, and the one task that commits it.
//!
//! Vnodes append encoded envelopes to the open batch under a short lock, with the answers that may leave when it is
//! committed. When no create is in flight and the open batch isn't empty, it is closed and created at the next position;
//! then its answers leave. So under load a batch holds everything that arrived while the previous one was in flight:
//! requests per second don't grow with the number of vnodes.
//!
//! Invariants:
//!
//! * Nothing is appended for a slot except under its open tenure ([`Residency`]). An Adopt or Release changes the tenure in
//!   the same step that appends the record, so the journal has them in the order in which they took effect.
//! * An answer leaves only from [`Journal::commit`], or for positions committed already; and, except for local reads, only
//!   after a look that shows that the store is not lost.
//! * After the session has ended nothing is ever committed: pending calls are dropped, which answers them `Unclear`.

mod flush;
mod freeze;
mod newest;
mod planted;
mod terms;
mod wait;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use holocron_protocol::{
    epoch::record::SlotTable,
    ids::{Epoch, Position, SessionId, Slot},
    journal::{
        batch::{BATCH_LEN_MAX, BatchBuilder, StateFields},
        freeze::Freeze,
        read_barrier::ReadBarrier,
        writer::Writer,
    },
    slot::residency::{self, Effect, Residency},
};
use holocron_store::Store;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

pub(crate) use self::terms::{Adoption, Closed, FlushPoint, Released, ReleasedSlots, Waiting};
use crate::{
    api::random::Random,
    session::{
        counts::Counts,
        tail::{Tail, TailEntry},
    },
    store_io::loss::LossWatch,
    transport::peer::Progress,
};

/// Batches in flight. One: a second would gain little, because a batch takes all pending records, and each batch in flight
/// adds positions that a reader must check.
const IN_FLIGHT_MAX: u64 = 1;

/// Bytes of the open batch above which the host refuses calls: the store can't keep up.
const OPEN_LEN_MAX: usize = BATCH_LEN_MAX / 4;

/// The journal of one session.
#[derive(Debug)]
pub(crate) struct Journal {
    session: SessionId,
    store: Arc<dyn Store>,
    loss: Arc<LossWatch>,
    state: Mutex<State>,
    /// The open batch isn't empty.
    work: Notify,
    /// A read waits for a barrier.
    barrier: Notify,
    checkpoint_due: Notify,
    /// The newest committed position.
    committed: AtomicU64,
    /// `committed` has grown. Wakes the waiting tasks in the order in which they began to wait.
    newly_committed: Notify,
    /// The open batch was closed. Wakes the waiting tasks in the order in which they began to wait.
    batch_closed: Notify,
    /// Bytes in the open batch, readable without the lock.
    open_len: AtomicU64,
    /// Cancelled when the session is over, for any reason.
    ended: CancellationToken,
    random: Random,
    options: JournalOptions,
}

/// The settings of a journal.
#[derive(Clone, Debug)]
pub(crate) struct JournalOptions {
    /// How long a batch waits for more records before it is closed.
    pub(crate) linger: core::time::Duration,
    /// The timeout of one attempt of a request.
    pub(crate) try_timeout: core::time::Duration,
    /// The number of slots of the cluster.
    pub(crate) slots: u16,
    /// The number of batches above the last checkpoint at which the next one is due.
    pub(crate) checkpoint_batches: u64,
    /// The bytes of batches above the last checkpoint at which the next one is due.
    pub(crate) checkpoint_len: u64,
    /// Where commits are measured.
    pub(crate) counts: Arc<Counts>,
}

#[derive(Debug)]
struct State {
    writer: Writer,
    open: Open,
    /// What the session does with each slot. Here, because an Adopt or Release changes it in the same step that appends the
    /// record.
    residency: Residency,
    reads: ReadBarrier<Waiting>,
    /// Whether batches may be submitted, or a cut is being taken.
    freeze: Freeze,
    /// When it loses patience with the cut.
    frozen_until: Instant,
    /// The number of barriers so far.
    barriers: u64,
    tail: Tail,
}

impl State {
    fn progress(&self) -> Progress {
        Progress {
            committed: self.writer.committed(),
            low_water: self.writer.low_water(),
            checkpoint_at: self.writer.checkpoint_at(),
            waiting: !self.open.builder.is_empty()
                || self.writer.submitted() > self.writer.committed(),
        }
    }
}

/// The open batch.
#[derive(Debug, Default)]
struct Open {
    builder: BatchBuilder,
    entries: Vec<TailEntry>,
    answers: Vec<Released>,
    /// The low water of its checkpoint, if it holds one.
    checkpoint: Option<Position>,
}

impl Journal {
    /// A journal whose position 0 is committed.
    pub(crate) fn new(
        session: SessionId,
        store: Arc<dyn Store>,
        loss: Arc<LossWatch>,
        random: Random,
        options: JournalOptions,
    ) -> Self {
        let writer = Writer::new(session, IN_FLIGHT_MAX);
        let state = State {
            reads: ReadBarrier::new(&writer),
            writer,
            open: Open::default(),
            freeze: Freeze::default(),
            frozen_until: Instant::now(),
            residency: Residency::new(session, options.slots),
            barriers: 0,
            tail: Tail::default(),
        };
        Self {
            session,
            store,
            loss,
            state: Mutex::new(state),
            work: Notify::new(),
            barrier: Notify::new(),
            checkpoint_due: Notify::new(),
            committed: AtomicU64::new(0),
            newly_committed: Notify::new(),
            batch_closed: Notify::new(),
            open_len: AtomicU64::new(0),
            ended: CancellationToken::new(),
            random,
            options,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the journal's lock but its own assertions")
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Cancelled when the session is over.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Whether so much is pending that new calls should be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.open_len.load(Ordering::Relaxed) > OPEN_LEN_MAX as u64
    }

    /// Appends a vnode's record, with the answers that leave when it commits. Returns the position at which it will commit.
    pub(crate) fn append(
        &self,
        slot: Slot,
        tenure: Epoch,
        fields: StateFields<'_>,
        answers: &mut Vec<Released>,
    ) -> Result<Position, Closed> {
        let mut state = self.state();
        if !state.residency.may_append(slot, tenure) || self.ended.is_cancelled() {
            return Err(Closed);
        }
        let open = &mut state.open;
        let was_empty = open.builder.is_empty();
        let place = open.builder.state(fields);
        open.entries.push(TailEntry {
            hash: fields.hash,
            offset: u32::try_from(place.start).expect("a batch is far below 4 GiB"),
            len: u32::try_from(place.len()).expect("a batch is far below 4 GiB"),
        });
        planted::reply_at_once(answers);
        open.answers.append(answers);
        self.appended(&state, was_empty)
    }

    /// Appends the Adopt records of recovered slots; from then on the slots are served. Returns the Adopts' position.
    pub(crate) fn adopt(&self, slots: &[Adoption]) -> Result<Position, Closed> {
        let mut state = self.state();
        if self.ended.is_cancelled() {
            return Err(Closed);
        }
        let was_empty = state.open.builder.is_empty();
        let at = state.writer.next_position();
        for &Adoption { slot, epoch: tenure, ref sources } in slots {
            let effects = state.residency.step(slot, residency::Event::Adopted { tenure, at });
            assert_eq!(effects, [Effect::RunWaiting], "{slot}: its calls run after the Adopt");
            if planted::appends_adopt() {
                state.open.builder.adopt(slot, tenure, sources);
            }
        }
        self.appended(&state, was_empty)
    }

    /// Appends the Release records that are owed for these slots; nothing of these slots can follow. Returns which were owed
    /// and the Releases' position; `None` if none is owed any more.
    pub(crate) fn release(&self, slots: &[Slot]) -> Result<Option<ReleasedSlots>, Closed> {
        let mut state = self.state();
        if self.ended.is_cancelled() {
            return Err(Closed);
        }
        let was_empty = state.open.builder.is_empty();
        let mut released = BTreeMap::new();
        for &slot in slots {
            // Not owed any more: the slot came back meanwhile, or another task released it. Or it came back, was given away
            // again, and the task that was started then waits for a close.
            let Some(epoch) = state.residency.releasable(slot) else { continue };
            let effects = state.residency.step(slot, residency::Event::Released);
            assert_eq!(effects, [], "{slot}: no call waits for a slot that is released");
            state.open.builder.release(slot, epoch);
            released.insert(slot, epoch);
        }
        if released.is_empty() {
            return Ok(None);
        }
        let position = self.appended(&state, was_empty)?;
        Ok(Some(ReleasedSlots { position, slots: released }))
    }

    /// Counts a vnode as holding something open, if its slot is served under that tenure.
    pub(crate) fn opening(&self, slot: Slot, tenure: Epoch) -> Result<(), Closed> {
        let mut state = self.state();
        if self.ended.is_cancelled() || !state.residency.may_open(slot, tenure) {
            return Err(Closed);
        }
        let effects = state.residency.step(slot, residency::Event::Opening(tenure));
        assert_eq!(effects, [], "{slot}: opening changes nothing else");
        Ok(())
    }

    /// Notes that something was closed, or given up. Works also after an assertion failed under the lock.
    pub(crate) fn held(&self, slot: Slot, event: residency::Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let effects = state.residency.step(slot, event);
        drop(state);
        debug_assert_eq!(effects, [], "{slot}: a close changes nothing else");
    }

    /// Acts on a newer epoch's holdings. Returns the effects for the slots that changed.
    pub(crate) fn learn(&self, slots: &SlotTable) -> Vec<(Slot, Effect)> {
        let mut state = self.state();
        let mut effects = Vec::new();
        for (slot, holding) in slots.iter() {
            let stepped = state.residency.step(slot, residency::Event::Epoch(holding));
            effects.extend(stepped.into_iter().map(|effect| (slot, effect)));
        }
        effects
    }

    /// Reads the residency under the lock: keep it short.
    pub(crate) fn with_residency<T>(&self, look: impl FnOnce(&Residency) -> T) -> T {
        look(&self.state().residency)
    }

    /// Appends a checkpoint's commit point. Everything at or below `low_water` must be in the checkpoint. `content` is called
    /// under the lock with the residency of that moment, so that no slot is called full after its Release.
    pub(crate) fn checkpoint<T>(
        &self,
        low_water: Position,
        content: impl FnOnce(&Residency) -> (Vec<u8>, T),
    ) -> Result<(Position, T), Closed> {
        let mut state = self.state();
        if self.ended.is_cancelled() {
            return Err(Closed);
        }
        assert!(low_water <= state.writer.committed(), "a checkpoint holds only committed state");
        let was_empty = state.open.builder.is_empty();
        let (content, result) = content(&state.residency);
        state.open.builder.checkpoint(&content);
        state.open.checkpoint = Some(low_water);
        let position = self.appended(&state, was_empty)?;
        Ok((position, result))
    }

    /// Reads what was submitted and committed, under the lock: keep it short.
    pub(crate) fn with_writer<T>(&self, look: impl FnOnce(&Writer) -> T) -> T {
        look(&self.state().writer)
    }

    /// The tenure under which each slot may be written now.
    pub(crate) fn open_tenures(&self) -> Vec<Option<Epoch>> {
        let state = self.state();
        state.residency.states().map(|(slot, _)| state.residency.open_tenure(slot)).collect()
    }

    /// Waits until a checkpoint is due: the tail has reached a bound, or a checkpoint was requested.
    pub(crate) async fn until_checkpoint_due(&self) {
        self.checkpoint_due.notified().await;
    }

    /// Requests a checkpoint.
    pub(crate) fn want_checkpoint(&self) {
        self.checkpoint_due.notify_one();
    }

    fn appended(&self, state: &State, was_empty: bool) -> Result<Position, Closed> {
        self.open_len.store(state.open.builder.len() as u64, Ordering::Relaxed);
        if was_empty {
            self.work.notify_one();
        }
        Ok(state.writer.next_position())
    }

    /// The position of the last appended record: when it is committed, so is everything before it.
    pub(crate) fn flush_point(&self) -> FlushPoint {
        let state = self.state();
        let newest = if state.open.builder.is_empty() {
            state.writer.submitted()
        } else {
            state.writer.next_position()
        };
        FlushPoint(newest)
    }

    /// How far the journal has come, for hosts that may have to seal or read it.
    pub(crate) fn progress(&self) -> Progress {
        self.state().progress()
    }

    /// Ends the session: nothing more is committed, and pending calls are answered `Unclear`.
    pub(crate) fn end(&self, why: &str) {
        if self.ended.is_cancelled() {
            return;
        }
        // Also after an assertion failed under the lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.ended.cancel();
        tracing::warn!(session = %self.session, committed = %state.writer.committed(), why, "session is over");
        let answers = core::mem::take(&mut state.open.answers);
        let reads: Vec<Waiting> = state.reads.over().collect();
        drop(state);
        drop((answers, reads));
    }
}

#[cfg(test)]
mod tests;
