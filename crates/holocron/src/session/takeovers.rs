//! What a host notes of taking slots over: how long each phase takes, and the last steps one by one, for people.

use core::time::Duration;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{Epoch, SessionId},
    slot::recovery::Wanted,
};

use crate::{
    metrics::Histogram,
    transport::measures::{RecoverStep, SealStep, Source, TakeoverStep},
};

/// Steps that are kept; the oldest goes first.
const STEPS_MAX: usize = 64;
/// Sources that a step names.
const SOURCES_MAX: usize = 16;

/// Phases of taking slots over from sessions that are over, or that gave them away.
#[derive(Debug)]
pub(crate) struct Takeovers {
    /// From the order to seal a session until its seal is known, by the leader.
    pub(crate) seal: Histogram,
    /// Fetching one journal with the indexes of its packs; sealing it first, if nobody had.
    pub(crate) fetch: Histogram,
    /// From an epoch that gave this session slots until all of them were adopted.
    pub(crate) recover: Histogram,
    steps: Mutex<VecDeque<TakeoverStep>>,
}

impl Takeovers {
    pub(crate) fn new() -> Self {
        Self {
            seal: Histogram::durations(),
            fetch: Histogram::durations(),
            recover: Histogram::durations(),
            steps: Mutex::default(),
        }
    }

    /// The last steps, oldest first.
    pub(crate) fn steps(&self) -> Vec<TakeoverStep> {
        self.lock().iter().cloned().collect()
    }

    /// The leader begins to seal a session.
    pub(crate) fn sealing(&self, session: SessionId, record: Option<&EpochRecord>, wall_ms: u64) {
        let is_open = |step: &TakeoverStep| match step {
            TakeoverStep::Seal(step) => step.session == session && step.took_ms.is_none(),
            TakeoverStep::Recover(_) => false,
        };
        // A further attempt belongs to the same step.
        if self.lock().iter().any(is_open) {
            return;
        }
        let listed = record.and_then(|record| record.sessions.get(&session));
        let host = listed.map(|entry| entry.host.clone());
        self.add(TakeoverStep::Seal(SealStep { session, host, began_ms: wall_ms, took_ms: None }));
    }

    /// It is sealed.
    pub(crate) fn sealed(&self, session: SessionId, took: Duration) {
        self.seal.took(took);
        self.open_seal(session, |step| step.took_ms = Some(milliseconds(took)));
    }

    /// A session has slots to recover, by this record.
    pub(crate) fn recovering(
        &self,
        session: SessionId,
        record: &EpochRecord,
        wanted: &[Wanted],
        wall_ms: u64,
    ) {
        let mut sources: Vec<Source> = Vec::new();
        // The owner before; older ones were taken over from in their time.
        for tenure in wanted.iter().filter_map(|slot| slot.sources.first()) {
            let known = sources.iter().any(|source| source.session == tenure.session);
            if !known && sources.len() < SOURCES_MAX {
                let listed = record.sessions.get(&tenure.session);
                sources.push(Source {
                    session: tenure.session,
                    host: listed.map(|entry| entry.host.clone()),
                    is_over: !record.lists_open(tenure.session),
                });
            }
        }
        let slots = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        let epoch = wanted.iter().map(|slot| slot.tenure.epoch).max().unwrap_or(Epoch::ZERO);
        self.add(TakeoverStep::Recover(RecoverStep {
            session,
            epoch,
            slots,
            left: slots,
            sources,
            began_ms: wall_ms,
            took_ms: None,
        }));
    }

    /// So many slots of a session are left to recover.
    pub(crate) fn left(&self, session: SessionId, left: usize) {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        self.open_recovery(session, |step| {
            // Another epoch may have given it more meanwhile.
            step.slots = step.slots.max(left);
            step.left = left;
        });
    }

    /// None is left.
    pub(crate) fn recovered(&self, session: SessionId, took: Duration) {
        self.recover.took(took);
        self.open_recovery(session, |step| {
            step.left = 0;
            step.took_ms = Some(milliseconds(took));
        });
    }

    /// This host no longer seals the session.
    pub(crate) fn not_sealed(&self, session: SessionId) {
        self.lock().retain(|step| match step {
            TakeoverStep::Seal(step) => step.session != session || step.took_ms.is_some(),
            TakeoverStep::Recover(_) => true,
        });
    }

    /// The session is over: what it had not recovered, another one will.
    pub(crate) fn not_recovered(&self, session: SessionId) {
        self.lock().retain(|step| match step {
            TakeoverStep::Seal(_) => true,
            TakeoverStep::Recover(step) => step.session != session || step.took_ms.is_some(),
        });
    }

    fn add(&self, step: TakeoverStep) {
        let mut steps = self.lock();
        if steps.len() == STEPS_MAX {
            steps.pop_front();
        }
        steps.push_back(step);
    }

    fn open_seal(&self, session: SessionId, change: impl FnOnce(&mut SealStep)) {
        let mut steps = self.lock();
        let found = steps.iter_mut().rev().find_map(|step| match step {
            TakeoverStep::Seal(step) => Some(step).filter(|step| step.session == session),
            TakeoverStep::Recover(_) => None,
        });
        found.filter(|step| step.took_ms.is_none()).map(change);
    }

    fn open_recovery(&self, session: SessionId, change: impl FnOnce(&mut RecoverStep)) {
        let mut steps = self.lock();
        let found = steps.iter_mut().rev().find_map(|step| match step {
            TakeoverStep::Recover(step) => Some(step).filter(|step| step.session == session),
            TakeoverStep::Seal(_) => None,
        });
        found.filter(|step| step.took_ms.is_none()).map(change);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<TakeoverStep>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_open_until_it_is_known_and_old_steps_go() {
        let takeovers = Takeovers::new();
        let session = SessionId::new(7);
        takeovers.sealing(session, None, 1_000);
        let TakeoverStep::Seal(open) = &takeovers.steps()[0] else { panic!("a seal") };
        assert_eq!(open.took_ms, None);
        takeovers.sealed(session, Duration::from_millis(12));
        let TakeoverStep::Seal(ended) = &takeovers.steps()[0] else { panic!("a seal") };
        assert_eq!((ended.began_ms, ended.took_ms), (1_000, Some(12)));
        for number in 0..2 * STEPS_MAX as u128 {
            takeovers.sealing(SessionId::new(100 + number), None, 2_000);
        }
        assert_eq!(takeovers.steps().len(), STEPS_MAX);
    }

    #[test]
    fn a_step_of_a_session_that_ended_is_not_shown_as_running() {
        let takeovers = Takeovers::new();
        takeovers.sealing(SessionId::new(1), None, 1_000);
        takeovers.sealing(SessionId::new(2), None, 1_000);
        takeovers.sealed(SessionId::new(1), Duration::ZERO);
        takeovers.not_sealed(SessionId::new(1));
        takeovers.not_sealed(SessionId::new(2));
        assert_eq!(takeovers.steps().len(), 1, "the one that was ended stays");
    }
}
