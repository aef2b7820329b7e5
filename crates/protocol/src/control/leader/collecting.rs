//! Which detached sessions are being collected, and when they may be forgotten.
//!
//! A request that was sent long ago may land after a session's objects were deleted: a pack of a host that was paused in
//! the middle of a put, a batch that a server carries out twice. Once the record has forgotten the session, no host would
//! look there again. So a session is looked at a second time, a while after the first look left nothing, and only then is
//! it forgotten.
//!
//! Invariants:
//!
//! * A session is collected by one task at a time.
//! * It is forgotten only after a second look, at least `again_after` after the first.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use crate::{ids::SessionId, planted, time::Time};

/// When a collection that a request kept from ending is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    First,
    Second,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A task deletes what is there.
    Looking(Look),
    /// The next look begins then.
    Resting(Look, Time),
}

/// What follows from a look that left nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// A second look comes later.
    Again,
    /// The record may forget the session.
    Forget,
}

/// The detached sessions of the newest record.
#[derive(Clone, Debug)]
pub(super) struct Collecting {
    again_after: Duration,
    steps: BTreeMap<SessionId, Step>,
}

impl Collecting {
    pub(super) const fn new(again_after: Duration) -> Self {
        Self { again_after, steps: BTreeMap::new() }
    }

    /// These are the detached sessions now; returns those to look at.
    pub(super) fn detached(&mut self, detached: &BTreeSet<SessionId>) -> Vec<SessionId> {
        self.steps.retain(|session, _| detached.contains(session));
        let new = detached.iter().copied().filter(|session| !self.steps.contains_key(session));
        let new: Vec<SessionId> = new.collect();
        self.steps.extend(new.iter().map(|&session| (session, Step::Looking(Look::First))));
        new
    }

    /// A look left nothing except seal and marks.
    pub(super) fn collected(&mut self, now: Time, session: SessionId) -> Looked {
        // Of an earlier leadership's task, or forgotten since.
        let Some(step) = self.steps.get_mut(&session) else { return Looked::Again };
        let look = match *step {
            Step::Looking(look) | Step::Resting(look, _) => look,
        };
        let enough = look == Look::Second || self.again_after.is_zero();
        if planted::looked_twice(enough) {
            return Looked::Forget;
        }
        *step = Step::Resting(Look::Second, now + self.again_after);
        Looked::Again
    }

    /// A look did not come to its end.
    pub(super) fn not_collected(&mut self, now: Time, session: SessionId) {
        if let Some(step) = self.steps.get_mut(&session) {
            let (Step::Looking(look) | Step::Resting(look, _)) = *step;
            *step = Step::Resting(look, now + RETRY_AFTER);
        }
    }

    /// The sessions to look at now.
    pub(super) fn due(&mut self, now: Time) -> Vec<SessionId> {
        let mut due = Vec::new();
        for (&session, step) in &mut self.steps {
            if let Step::Resting(look, until) = *step
                && until <= now
            {
                *step = Step::Looking(look);
                due.push(session);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId::new(7);

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn one() -> BTreeSet<SessionId> {
        BTreeSet::from([SESSION])
    }

    #[test]
    fn a_session_is_forgotten_after_a_second_look() {
        let mut collecting = Collecting::new(Duration::from_secs(300));
        assert_eq!(collecting.detached(&one()), [SESSION]);
        assert_eq!(collecting.detached(&one()), [], "one task at a time");
        assert_eq!(collecting.collected(at(10), SESSION), Looked::Again);
        assert_eq!(collecting.due(at(309)), []);
        assert_eq!(collecting.due(at(310)), [SESSION]);
        assert_eq!(collecting.due(at(311)), [], "one task at a time");
        assert_eq!(collecting.collected(at(312), SESSION), Looked::Forget);
    }

    #[test]
    fn a_look_that_did_not_end_is_tried_again_even_if_no_epoch_comes() {
        let mut collecting = Collecting::new(Duration::from_secs(300));
        assert_eq!(collecting.detached(&one()), [SESSION]);
        collecting.not_collected(at(10), SESSION);
        assert_eq!(collecting.due(at(69)), []);
        assert_eq!(collecting.due(at(70)), [SESSION]);
        assert_eq!(collecting.collected(at(71), SESSION), Looked::Again, "it was the first look");
    }

    #[test]
    fn a_session_that_the_record_forgot_is_not_looked_at() {
        let mut collecting = Collecting::new(Duration::ZERO);
        assert_eq!(collecting.detached(&one()), [SESSION]);
        assert_eq!(collecting.detached(&BTreeSet::new()), []);
        assert_eq!(collecting.collected(at(1), SESSION), Looked::Again);
        assert_eq!(collecting.due(at(1_000)), []);
    }
}
