//! What a recovery hears and does: its events, effects, and the slots it works on.

use alloc::{sync::Arc, vec::Vec};

use crate::{
    epoch::{draft::SlotReport, record::EpochRecord},
    ids::{Position, SessionId, Slot, Tenure},
    journal::sealing::Hint,
    slot::{fold::Contradiction, replay::JournalEnd},
    state::index::SlotIndex,
};

/// How the journal of a source is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchUpTo {
    /// The session is over: seal its journal unless that was done, and read it up to the seal.
    Seal(Hint),
    /// The session goes on: read it up to this batch, which is announced to hold a Release.
    Release(Position),
    /// The session goes on and announced nothing: list its journal and read it up to the newest batch.
    NewestBatch,
    /// It is the own journal: read it once everything submitted so far is committed.
    OwnCommitted,
}

/// Why a journal could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// The session is detached: the epoch that names it as a source is old.
    Detached,
    /// An object was missing: it was trimmed during the fetch, or the journal is damaged.
    ObjectMissing,
    /// The store rejects the request, or an object can't be decoded. An operator has to look.
    Unreadable,
    /// The requests were given up. Nothing is known of the journal.
    GaveUp,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A newer epoch was read.
    Epoch(Arc<EpochRecord>),
    /// A session will be sealed; the position up to which it was known to have committed.
    Committed(SessionId, Position),
    /// A session is sealed there.
    Sealed(SessionId, Position),
    /// A session committed a Release there.
    Released(SessionId, Position),
    /// Answers [`Effect::Fetch`]: what follows the last batch that was fetched.
    Fetched(SessionId, JournalEnd),
    /// Answers [`Effect::Fetch`]: it failed.
    Failed(SessionId, FetchFailure),
    /// A fetched journal was replayed without an error.
    Replayed(SessionId),
    /// A fetched journal can't be replayed: an object of it is damaged.
    NotReplayed(SessionId),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Fetch a journal; answered by one [`Event::Fetched`] or [`Event::Failed`].
    Fetch(SessionId, FetchUpTo),
    /// Drop what was fetched of a journal.
    Forget(SessionId),
    /// A newer epoch may exist: read the epoch log.
    ReadEpochLog,
    /// The slot is complete: append its Adopt.
    Adopt(Recovered),
    /// Tell the leader.
    Report(SlotReport),
    /// What the sources say contradicts itself. The slot waits until an operator has looked.
    Contradicted(Slot, Contradiction),
    /// An object of the session's journal has been missing for a while. An operator has to look.
    Alert(SessionId),
}

/// A slot whose sources have been read to their end.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Which.
    pub slot: Slot,
    /// The tenure to adopt it under.
    pub tenure: Tenure,
    /// The sources that were needed, newest first.
    pub sources: Vec<Tenure>,
    /// Where its vnodes' newest records stand.
    pub index: SlotIndex,
}
