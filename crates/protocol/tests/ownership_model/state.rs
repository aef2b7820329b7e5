//! The state of the model: a slot, the sessions that hold or held it, and the epochs that a session may still act on.

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
    /// By epoch, from 1; `None` for those that no session can act on any more.
    pub(crate) records: Vec<Option<Arc<Record>>>,
    pub(crate) sessions: Vec<Arc<Session>>,
    /// The facts that the leader may have learned. They stay true.
    pub(crate) known: Known,
    /// Writes submitted so far.
    pub(crate) writes: u8,
    /// The acknowledged writes of each vnode.
    pub(crate) acknowledged: [History; VNODES],
    pub(crate) violation: Option<&'static str>,
}

/// A session: its memory, and what the store holds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// The newest epoch that it has read; 0 if it was never listed.
    pub(crate) seen: u8,
    pub(crate) status: Status,
    /// Its journal's content, as a reader finds it now.
    pub(crate) stored: Log,
    /// Its own log: its committed records, and those recovered from older tenures.
    pub(crate) log: Log,
    /// What it does with the slot; `None` if it was never listed.
    pub(crate) residency: Option<Residency>,
    /// The batch in flight.
    pub(crate) in_flight: Option<Batch>,
    /// The journals that it has read for a recovery under its newest epoch.
    pub(crate) read: Vec<Option<Snapshot>>,
    /// The read in progress: its range is decided, its objects are not read yet.
    pub(crate) range: Option<ReadRange>,
    /// The number of committed checkpoints, modulo [`CHECKPOINTS`]; counted only with [`Steps::SplitReadings`].
    ///
    /// [`Steps::SplitReadings`]: crate::model::Steps::SplitReadings
    pub(crate) checkpoints: u8,
    pub(crate) checkpoint: Option<Planned>,
    /// Only for planted bugs: state that outlives its tenure.
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
    /// With the recovered entries.
    Adopt(u8, Entries),
    Write {
        vnode: u8,
        history: History,
    },
    Release(u8),
}

/// A journal's content when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot {
    pub(crate) log: Log,
    pub(crate) sealed: bool,
}

/// The modulus of the checkpoint counter: large enough to notice one checkpoint during a read.
pub(crate) const CHECKPOINTS: u8 = 3;

/// The range of a read: it names objects that the next checkpoint may trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReadRange {
    pub(crate) source: u8,
    pub(crate) released: u8,
    pub(crate) sealed: bool,
    pub(crate) checkpoints: u8,
}

/// A checkpoint that is planned and not committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Planned {
    /// The session's log at its low water.
    pub(crate) at_low_water: Log,
    /// The tenure that was open when it was planned, by the submitted records.
    pub(crate) open: Option<u8>,
    pub(crate) copies: Copies,
    /// The batches committed above the low water.
    pub(crate) above: Vec<Batch>,
}

/// How many foreign records a checkpoint copies.
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

    /// The Adopt and Release of the slot that it has submitted.
    pub(crate) fn submitted(&self) -> Submitted {
        self.residency.as_ref().map(|residency| residency.submitted(SLOT)).unwrap_or_default()
    }

    /// Hands the residency an event of the slot.
    pub(crate) fn step(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.residency.as_mut().expect("it was listed").step(SLOT, event)
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
        record.as_ref().expect("epochs that a session may act on are kept")
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
        assert!(!effects.contains(&Effect::RunWaiting), "no epoch completes a recovery");
    }

    /// The newest record that a session has read.
    pub(crate) fn seen_by(&self, number: u8) -> &Arc<Record> {
        self.record(self.session(number).seen)
    }

    /// Removes data that can't matter any more, so that equivalent states are equal.
    pub(crate) fn normalize(&mut self) {
        let live = self.sessions.iter().filter(|session| session.status == Status::Live);
        let oldest = live.map(|session| session.seen).filter(|&seen| seen > 0).min();
        let oldest = oldest.map_or(self.records.len(), usize::from);
        for record in self.records.iter_mut().take(oldest - 1) {
            *record = None;
        }
        for session in self.sessions.iter_mut().filter(|session| session.status != Status::Live) {
            // Only its journal matters.
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
