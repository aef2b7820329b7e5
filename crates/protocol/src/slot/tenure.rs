//! When a tenure has ended, and what a session must do about a slot by the newest epoch.
//!
//! Invariants:
//!
//! * A tenure is served only after its session has read the content of every earlier tenure together with its end, down
//!   to the first that settles ([`crate::slot::fold`]).
//! * After a Release was *submitted* the session commits nothing for the slot under any tenure given before it, and drops
//!   everything that it remembers of the slot.
//! * The epoch in a Release is the one that gave the slot away: the epoch of the owner's tenure, never the newest epoch
//!   that the writer knows.

use crate::{
    epoch::record::Holding,
    ids::{Epoch, SessionId, Slot, Tenure},
    planted,
    slot::{
        log::SlotLog,
        replay::{JournalEnd, Source},
    },
};

/// The session that recovers a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopter {
    /// The tenure under which it will adopt the slot.
    pub tenure: Tenure,
    /// Its submitted Adopts and Releases of the slot, in flight or committed.
    pub submitted: Submitted,
}

/// Whether a tenure has ended, from the view of the adopter of a later one.
///
/// A seal ends every tenure of its session. A Release ends those given before its epoch, and counts only for an adopter
/// whose tenure isn't older than that epoch. The adopter's own tenures are ordered by its own journal: a tenure that it
/// never adopted is empty, and all records of an adopted one precede the Release, so a log that shows the Release is
/// complete. (If its own log doesn't show the Release, it was read before the Release was committed.)
///
/// # Panics
///
/// When the tenure isn't older than the adopter's.
#[must_use]
pub fn ended(source: &Source<'_>, tenure: Tenure, adopter: &Adopter) -> bool {
    let follows = adopter.tenure;
    assert!(tenure.epoch < follows.epoch, "{follows:?} is not newer than {tenure:?}");
    let released = source.log.map_or(Epoch::ZERO, SlotLog::released);
    let ended = if tenure.session == follows.session {
        adopter.submitted.adopted < tenure.epoch || tenure.epoch < released
    } else {
        match source.end {
            JournalEnd::Sealed(_) => true,
            JournalEnd::Live => {
                tenure.epoch < released && planted::release_counts(released <= follows.epoch)
            }
        }
    };
    planted::ended(ended, released)
}

/// The Adopts and Releases of a slot that a session has submitted, in flight or committed. None: 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Submitted {
    /// The epoch of its newest Adopt.
    pub adopted: Epoch,
    /// The epoch of its newest Release.
    pub released: Epoch,
}

impl Submitted {
    /// The tenure under which the session may write; `None` if it may not.
    #[must_use]
    pub fn open(self) -> Option<Epoch> {
        (self.adopted > self.released).then_some(self.adopted)
    }
}

/// What a session must do about a slot. Evaluated again with each new epoch, and after each Adopt or Release that it
/// submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Nothing: another session owns the slot, and needs nothing from this one.
    Nothing,
    /// Serve it under this tenure, which may be older than the epoch says: a slot that returns before it was released is
    /// served without interruption, and no record is written.
    Serve(Epoch),
    /// Recover it, then submit an Adopt of this tenure, then serve it.
    Recover(Epoch),
    /// Stop admitting commands, flush, submit a Release of this epoch, and drop cached state. Also owed by a session that
    /// never adopted the slot: its readers continue only after they have seen that it never will.
    Release(Epoch),
}

/// What `session` must do about `slot`, by the newest epoch that it has read.
///
/// # Panics
///
/// When the epoch is older than one that it has acted on: epochs never go down.
#[must_use]
pub fn duty(session: SessionId, slot: Slot, holding: &Holding, submitted: Submitted) -> Duty {
    let Some(owner) = holding.owner else { return Duty::Nothing };
    assert!(
        submitted.adopted <= owner.epoch && submitted.released <= owner.epoch,
        "{slot}: {submitted:?} is ahead of {owner:?}: epochs never go down"
    );
    if owner.session == session {
        return match submitted.open() {
            Some(tenure) => Duty::Serve(tenure),
            None => Duty::Recover(owner.epoch),
        };
    }
    let listed = holding.newest_source_of(session).map(|tenure| tenure.epoch);
    // A submitted Release ends every tenure given before its epoch, so only a newer tenure needs another one.
    if submitted.open().is_some() || listed.is_some_and(|epoch| submitted.released <= epoch) {
        return Duty::Release(owner.epoch);
    }
    Duty::Nothing
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{ids::Position, state::index::SlotIndex};

    const A: SessionId = SessionId::new(1);
    const B: SessionId = SessionId::new(2);
    const C: SessionId = SessionId::new(3);
    const SLOT: Slot = Slot(7);

    fn tenure(session: SessionId, epoch: u64) -> Tenure {
        Tenure { session, epoch: Epoch::new(epoch) }
    }

    fn reader(session: SessionId, epoch: u64) -> Adopter {
        Adopter { tenure: tenure(session, epoch), submitted: Submitted::default() }
    }

    fn released(epoch: u64) -> SlotLog {
        let mut log = SlotLog::default();
        log.release(Epoch::new(epoch)).unwrap();
        log
    }

    fn live(log: Option<&SlotLog>) -> Source<'_> {
        Source { end: JournalEnd::Live, log }
    }

    fn submitted(adopted: u64, released: u64) -> Submitted {
        Submitted { adopted: Epoch::new(adopted), released: Epoch::new(released) }
    }

    fn holding(owner: Tenure, sources: &[Tenure]) -> Holding {
        Holding { owner: Some(owner), sources: sources.to_vec() }
    }

    #[test]
    fn a_seal_ends_every_tenure_of_its_session() {
        let sealed = Source { end: JournalEnd::Sealed(Position::new(4)), log: None };
        assert!(ended(&sealed, tenure(A, 1), &reader(B, 2)));
    }

    #[test]
    fn a_live_session_without_a_release_has_not_ended_even_if_it_never_adopted() {
        assert!(!ended(&live(None), tenure(A, 1), &reader(B, 2)));
    }

    #[test]
    fn a_release_ends_earlier_tenures_for_readers_that_are_not_older() {
        let log = released(3);
        let source = live(Some(&log));
        let ends: Vec<_> = [(1, 3), (2, 4), (3, 4), (4, 5), (1, 2)]
            .map(|(given, read)| ended(&source, tenure(A, given), &reader(B, read)))
            .into();
        assert_eq!(ends, [true, true, false, false, false]);
    }

    #[test]
    fn an_own_tenure_that_was_never_adopted_has_ended() {
        assert!(ended(&live(None), tenure(A, 1), &reader(A, 3)));
    }

    #[test]
    fn an_own_tenure_has_ended_when_the_log_shows_its_release() {
        let reader = Adopter { tenure: tenure(A, 3), submitted: submitted(1, 2) };
        let mut log = SlotLog::default();
        assert!(
            !ended(&live(Some(&log)), tenure(A, 1), &reader),
            "the log was read before the Adopt"
        );
        log.adopt(Epoch::new(1), SlotIndex::default()).unwrap();
        assert!(!ended(&live(Some(&log)), tenure(A, 1), &reader));
        log.release(Epoch::new(2)).unwrap();
        assert!(ended(&live(Some(&log)), tenure(A, 1), &reader));
    }

    #[test]
    fn the_owner_recovers_first_and_serves_after_its_adopt() {
        let holding = holding(tenure(B, 2), &[tenure(A, 1)]);
        assert_eq!(duty(B, SLOT, &holding, submitted(0, 0)), Duty::Recover(Epoch::new(2)));
        assert_eq!(duty(B, SLOT, &holding, submitted(2, 0)), Duty::Serve(Epoch::new(2)));
    }

    #[test]
    fn a_former_owner_releases_once_under_the_new_owners_epoch() {
        let holding = holding(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)]);
        let release = Duty::Release(Epoch::new(3));
        assert_eq!(duty(A, SLOT, &holding, submitted(1, 0)), release);
        assert_eq!(duty(B, SLOT, &holding, submitted(0, 0)), release, "it never adopted");
        assert_eq!(duty(A, SLOT, &holding, submitted(1, 3)), Duty::Nothing);
        assert_eq!(duty(A, SLOT, &holding, submitted(1, 2)), Duty::Nothing, "2 ends A@1");
    }

    #[test]
    fn an_older_release_does_not_end_a_newer_tenure() {
        let holding = holding(tenure(C, 4), &[tenure(A, 3), tenure(B, 2), tenure(A, 1)]);
        assert_eq!(duty(A, SLOT, &holding, submitted(1, 2)), Duty::Release(Epoch::new(4)));
    }

    #[test]
    fn a_holder_that_is_not_listed_must_release_too() {
        let holding = holding(tenure(C, 4), &[]);
        assert_eq!(duty(A, SLOT, &holding, submitted(1, 0)), Duty::Release(Epoch::new(4)));
        assert_eq!(duty(B, SLOT, &holding, submitted(0, 0)), Duty::Nothing);
    }

    #[test]
    fn a_slot_that_returns_before_its_release_is_served_under_the_old_tenure() {
        let holding = holding(tenure(A, 3), &[tenure(B, 2), tenure(A, 1)]);
        assert_eq!(duty(A, SLOT, &holding, submitted(1, 0)), Duty::Serve(Epoch::new(1)));
        assert_eq!(duty(A, SLOT, &holding, submitted(1, 2)), Duty::Recover(Epoch::new(3)));
    }

    #[test]
    #[should_panic(expected = "epochs never go down")]
    fn an_epoch_older_than_one_acted_on_is_a_bug() {
        let duty = duty(A, SLOT, &holding(tenure(A, 1), &[]), submitted(1, 2));
        panic!("no panic for an old epoch: {duty:?}");
    }
}
