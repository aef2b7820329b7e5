//! A lost store: how a host notices that the store is no longer the one its cluster lives in.
//!
//! A bucket is deleted and made again, a volume comes back empty, an old copy is restored, another cluster's data is
//! put in its place. Such a store answers every request correctly, and every answer that a host gives from memory is
//! wrong from then on. So no answer leaves before a *look* at a *witness*: an object that this host knows to have been
//! committed, and that stands in no other store. A look counts for an answer only if it began after the batch was
//! submitted, or after the read arrived.
//!
//! Two kinds of witness take turns. The `cluster` object shows an emptied or foreign store, also one that is emptied
//! object by object while hosts write on. A batch of the session's own journal shows an older copy as well. It must be
//! older than any batch that can stand in the store that took the place: [`Writer::witness`] says which. Where that batch
//! may be trimmed already, `cluster` serves. So an emptied or foreign store is noticed by the first look, and every other
//! loss by the second.
//!
//! A missing object is looked for again for a while, and no look confirms anything meanwhile: a gateway that answers
//! "not found" for a moment must not end a cluster.
//!
//! Invariants:
//!
//! * A batch that is a witness was committed before any batch was submitted that can stand in another store.
//! * A store counts as lost only after [`LOOKS_MIN`] looks over [`DOUBT_MIN`], none of which found the witness; or at
//!   once when another cluster's object stands in place of ours.

use core::time::Duration;

use crate::{
    format::{cluster::Cluster, keys},
    ids::Position,
    journal::writer::Writer,
    planted,
    time::Time,
};

/// How long a witness must be missing before the store counts as lost. Nothing is answered meanwhile. Longer than a
/// gateway takes to restart behind a load balancer, shorter than a call's deadline.
pub const DOUBT_MIN: Duration = Duration::from_secs(2);
/// How often it must be missing: a host that was paused between two looks has not looked for long.
pub const LOOKS_MIN: u32 = 4;

/// An object whose presence shows that the store is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// This batch of the session's own journal.
    Batch(Position),
    /// The `cluster` object.
    Cluster,
}

/// What kind of witness a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookFor {
    /// The `cluster` object.
    Cluster,
    /// A batch of the session's own journal, if one may serve.
    Journal,
}

impl LookFor {
    /// Whose turn it is in the `number`th look of a sequence: of the batches, or of the barriers of reads.
    #[must_use]
    pub const fn in_turn(number: u64) -> Self {
        if number.is_multiple_of(2) { Self::Cluster } else { Self::Journal }
    }
}

impl Writer {
    /// The witness for an answer that is to leave now or when the next batch commits.
    #[must_use]
    pub fn witness(&self, look_for: LookFor) -> Witness {
        // The batches in flight when the store was lost may stand in the store that took its place, and one more that
        // was confirmed by `cluster` in a copy.
        let in_doubt = planted::batches_in_doubt(self.in_flight_max() + 1);
        let position = self.committed().get().saturating_sub(in_doubt);
        if look_for == LookFor::Cluster || position <= self.low_water().get() {
            return Witness::Cluster;
        }
        Witness::Batch(Position::new(position))
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// The witness.
    There,
    /// Definitely nothing.
    Missing,
    /// Nothing, and an end mark says why: the session is sealed and detached, and its objects were collected.
    Detached,
    /// Another cluster's object.
    Foreign,
}

impl Look {
    /// What a get of `cluster` has found, where `ours` stood at first. It never changes. A damaged object is another fault
    /// than a lost store, and nothing that runs needs this one.
    #[must_use]
    pub fn at_cluster(ours: &[u8], found: Option<&[u8]>) -> Self {
        match found {
            None => Self::Missing,
            Some(found) if found == ours => Self::There,
            Some(found) => match Cluster::decode(keys::CLUSTER, found) {
                Ok(_) => Self::Foreign,
                Err(_) => Self::There,
            },
        }
    }
}

/// What follows from the looks so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreState {
    /// The store is the same: what waited for this look may leave.
    Same,
    /// Nobody can say yet: look again, and let nothing leave.
    Doubtful,
    /// The session is over, the store is not to blame.
    SessionOver,
    /// It is another store, or an older copy: stop serving, answer nothing from memory, write nothing more.
    Lost,
}

/// The looks for one answer, or one group of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// When the first look was answered that found nothing.
    since: Option<Time>,
    missed: u32,
}

impl Doubt {
    /// Takes a look that was answered at `now`, to what follows from all of them.
    #[must_use]
    pub fn looked(&mut self, now: Time, look: Look) -> StoreState {
        match look {
            Look::There => StoreState::Same,
            Look::Detached => StoreState::SessionOver,
            Look::Foreign => StoreState::Lost,
            Look::Missing => {
                let since = *self.since.get_or_insert(now);
                self.missed = self.missed.saturating_add(1);
                if self.missed >= LOOKS_MIN && now.since(since) >= DOUBT_MIN {
                    StoreState::Lost
                } else {
                    StoreState::Doubtful
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{
        ids::{ClusterId, Nonce, SessionId},
        journal::writer::Carries,
    };

    fn writer(in_flight_max: u64, committed: u64) -> Writer {
        let mut writer = Writer::new(SessionId::new(1), in_flight_max);
        for _ in 0..committed {
            let position = writer.submit(Carries::Records).position;
            assert!(writer.won(position).is_some());
        }
        writer
    }

    fn batch(position: u64) -> Witness {
        Witness::Batch(Position::new(position))
    }

    fn witness(writer: &Writer) -> Witness {
        assert_eq!(writer.witness(LookFor::Cluster), Witness::Cluster);
        writer.witness(LookFor::Journal)
    }

    #[test]
    fn the_newest_committed_batches_are_no_witness_because_they_may_stand_in_the_new_store() {
        assert_eq!(witness(&writer(1, 7)), batch(5));
        assert_eq!(witness(&writer(3, 7)), batch(3));
    }

    #[test]
    fn batches_in_flight_do_not_move_the_witness() {
        let mut writer = writer(2, 5);
        let before = witness(&writer);
        let _first = writer.submit(Carries::Records);
        let _second = writer.submit(Carries::Records);
        assert_eq!(witness(&writer), before);
    }

    #[test]
    fn a_journal_that_has_just_begun_goes_by_the_cluster() {
        assert_eq!(witness(&writer(1, 0)), Witness::Cluster);
        assert_eq!(witness(&writer(1, 2)), Witness::Cluster);
        assert_eq!(witness(&writer(1, 3)), batch(1));
    }

    #[test]
    fn a_batch_that_may_be_trimmed_is_no_witness() {
        let mut writer = writer(1, 4);
        let position = writer.submit(Carries::Checkpoint { low_water: Position::new(4) }).position;
        assert_eq!(witness(&writer), batch(2), "nothing is trimmed before the checkpoint commits");
        assert!(writer.won(position).is_some());
        for _ in 0..2 {
            assert_eq!(witness(&writer), Witness::Cluster);
            let position = writer.submit(Carries::Records).position;
            assert!(writer.won(position).is_some());
        }
        assert_eq!(
            witness(&writer),
            batch(5),
            "the checkpoint's own batch stays until the next one"
        );
    }

    #[test]
    fn both_kinds_of_witness_take_turns() {
        let turns: Vec<_> = (0..4).map(LookFor::in_turn).collect();
        let (cluster, journal) = (LookFor::Cluster, LookFor::Journal);
        assert_eq!(turns, [cluster, journal, cluster, journal]);
    }

    #[test]
    fn a_witness_that_is_there_settles_it_whatever_was_missing_before() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.looked(Time::ZERO, Look::Missing), StoreState::Doubtful);
        assert_eq!(doubt.looked(Time::from_millis(100), Look::There), StoreState::Same);
    }

    #[test]
    fn a_store_is_lost_only_after_several_looks_over_the_whole_span() {
        let mut doubt = Doubt::default();
        for at in [0, 100, 200, 300, 1_999] {
            let state = doubt.looked(Time::from_millis(at), Look::Missing);
            assert_eq!(state, StoreState::Doubtful, "at {at} ms");
        }
        assert_eq!(doubt.looked(Time::from_millis(2_000), Look::Missing), StoreState::Lost);
    }

    #[test]
    fn a_host_that_was_paused_between_two_looks_has_not_looked_for_long() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.looked(Time::ZERO, Look::Missing), StoreState::Doubtful);
        for at in [600_000, 600_100] {
            assert_eq!(doubt.looked(Time::from_millis(at), Look::Missing), StoreState::Doubtful);
        }
        assert_eq!(doubt.looked(Time::from_millis(600_200), Look::Missing), StoreState::Lost);
    }

    #[test]
    fn another_clusters_object_is_foreign_and_a_damaged_one_is_not() {
        let object = |id| Cluster::new(ClusterId::new(id)).encode(Nonce::new(1));
        let (ours, other) = (object(1), object(2));
        assert_eq!(Look::at_cluster(&ours, Some(&ours)), Look::There);
        assert_eq!(Look::at_cluster(&ours, Some(&other)), Look::Foreign);
        assert_eq!(Look::at_cluster(&ours, Some(b"{ damaged")), Look::There);
        assert_eq!(Look::at_cluster(&ours, None), Look::Missing);
    }

    #[test]
    fn another_clusters_object_leaves_no_doubt() {
        assert_eq!(Doubt::default().looked(Time::ZERO, Look::Foreign), StoreState::Lost);
    }

    #[test]
    fn a_session_that_was_collected_while_its_host_slept_does_not_accuse_the_store() {
        assert_eq!(Doubt::default().looked(Time::ZERO, Look::Detached), StoreState::SessionOver);
    }
}
