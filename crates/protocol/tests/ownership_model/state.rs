//! The state of the model: a slot, the sessions that hold or held it, and the epochs that anybody may still act on.

use std::sync::Arc;

use holocron_protocol::slot::{
    residency::{Effect, Event, Residency, SlotState},
    tenure::Submitted,
};

use crate::{
    leader::{Known, Record, SLOT, session_id},
    log::{Entries, History, Log, VNODES},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// By epoch from 1; `None` for those that nobody can act on any more.
    pub(crate) records: Vec<Option<Arc<Record>>>,
    pub(crate) sessions: Vec<Arc<Session>>,
    /// What the leader may have learned. Which tenures were ever held in full by a committed checkpoint stays true.
    pub(crate) known: Known,
    /// Writes submitted so far.
    pub(crate) writes: u8,
    /// What was acknowledged of each vnode.
    pub(crate) acknowledged: [History; VNODES],
    pub(crate) violation: Option<&'static str>,
}

/// A session: its memory, and what the store holds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// The newest epoch it has read; 0 before it was ever named.
    pub(crate) seen: u8,
    pub(crate) status: Status,
    /// What its journal says to whoever reads it now.
    pub(crate) stored: Log,
    /// Its own log: what it has committed, and what it found in older tenures.
    pub(crate) log: Log,
    /// What it does with the slot; none before it was ever named.
    pub(crate) residency: Option<Residency>,
    /// The batch in flight.
    pub(crate) in_flight: Option<Batch>,
    /// What it has read for a recovery under the newest epoch it has read.
    pub(crate) read: Vec<Option<Snapshot>>,
    /// The journal whose range it has decided and whose objects it hasn't read yet.
    pub(crate) range: Option<ReadRange>,
    /// How many checkpoints it has committed, modulo [`CHECKPOINTS`], if readings take more than a moment.
    pub(crate) checkpoints: u8,
    pub(crate) checkpoint: Option<Planned>,
    /// What only a planted bug remembers.
    pub(crate) remembered: Option<Entries>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    #[default]
    Live,
    Sealed,
    Deleted,
}

/// A batch with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Batch {
    /// With what was recovered.
    Adopt(u8, Entries),
    Write {
        vnode: u8,
        history: History,
    },
    Release(u8),
}

/// What a journal said when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    pub(crate) log: Log,
    pub(crate) sealed: bool,
}

/// Checkpoints are counted up to this, which is enough to notice one.
pub(crate) const CHECKPOINTS: u8 = 3;

/// The range of a reading: it names objects that the next checkpoint may trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReadRange {
    pub(crate) source: u8,
    pub(crate) released: u8,
    pub(crate) sealed: bool,
    pub(crate) checkpoints: u8,
}

/// A checkpoint that was planned and isn't committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Planned {
    /// The session's log at its low water.
    pub(crate) at_low_water: Log,
    /// The tenure that was open then, by what was submitted.
    pub(crate) open: Option<u8>,
    pub(crate) copies: Copies,
    /// What was committed above the low water.
    pub(crate) above: Vec<Batch>,
}

/// How much of what is foreign a checkpoint copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Copies {
    Nothing,
    One,
    All,
}

impl Session {
    /// What it does with the slot.
    pub(crate) fn slot(&self) -> SlotState {
        self.residency.as_ref().map(|residency| residency.state(SLOT)).unwrap_or_default()
    }

    /// What it has submitted about it.
    pub(crate) fn submitted(&self) -> Submitted {
        self.residency.as_ref().map(|residency| residency.submitted(SLOT)).unwrap_or_default()
    }

    /// Something happened to the slot.
    pub(crate) fn step(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.residency.as_mut().expect("it was named").step(SLOT, event)
    }

    pub(crate) fn forget_readings(&mut self) {
        self.read.clear();
        self.range = None;
    }
}

impl State {
    pub(crate) fn newest(&self) -> &Arc<Record> {
        self.records.last().and_then(Option::as_ref).expect("the newest epoch is never forgotten")
    }

    pub(crate) fn record(&self, epoch: u8) -> &Arc<Record> {
        let record = &self.records[usize::from(epoch) - 1];
        record.as_ref().expect("epochs that somebody acts on are kept")
    }

    pub(crate) fn session(&self, number: u8) -> &Session {
        &self.sessions[usize::from(number)]
    }

    pub(crate) fn session_mut(&mut self, number: u8) -> &mut Session {
        Arc::make_mut(&mut self.sessions[usize::from(number)])
    }

    /// A session reads an epoch.
    pub(crate) fn learn(&mut self, number: u8, epoch: u8) {
        let holding = self.record(epoch).holding.clone();
        let session = self.session_mut(number);
        session.seen = epoch;
        let fresh = || Residency::new(session_id(number.into()), 1);
        session.residency.get_or_insert_with(fresh);
        let effects = session.step(Event::Epoch(&holding));
        assert!(!effects.contains(&Effect::RunWaiting), "no epoch ends a recovery well");
    }

    /// The newest record that a session has read.
    pub(crate) fn seen_by(&self, number: u8) -> &Arc<Record> {
        self.record(self.session(number).seen)
    }

    /// Forgets what can't matter any more, so that states that are the same look the same.
    pub(crate) fn normalize(&mut self) {
        let live = self.sessions.iter().filter(|session| session.status == Status::Live);
        let oldest = live.map(|session| session.seen).filter(|&seen| seen > 0).min();
        let oldest = oldest.map_or(self.records.len(), usize::from);
        for record in self.records.iter_mut().take(oldest - 1) {
            *record = None;
        }
        for session in self.sessions.iter_mut().filter(|session| session.status != Status::Live) {
            // Only its journal is left of it.
            let Session { status, stored, remembered, .. } = &**session;
            let left = Session {
                seen: 1,
                status: *status,
                stored: stored.clone(),
                remembered: *remembered,
                ..Session::default()
            };
            if **session != left {
                *session = Arc::new(left);
            }
        }
    }
}
