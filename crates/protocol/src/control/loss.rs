//! Store loss: how a host detects that the store is no longer the one with its cluster.
//!
//! A bucket is deleted and created again, a volume comes back empty, an old copy is restored, or another cluster's data
//! replaces ours. Such a store answers every request correctly, but every answer that a host gives from memory is wrong
//! from then on. So no answer is sent before a *look* at a *witness*: an object that this host knows to be committed,
//! and that no other store has. A look counts for an answer only if it began after the batch was submitted, or after
//! the read arrived.
//!
//! Two kinds of witness alternate. The `cluster` object detects an emptied or foreign store, also one that is emptied
//! object by object while hosts keep writing. A batch of the session's own journal also detects an older copy. It must
//! be older than any batch that can be in the replacement store: [`Writer::witness`] chooses it. If that batch may be
//! trimmed already, `cluster` is used instead. So the first look detects an emptied or foreign store, and the second
//! detects every other loss.
//!
//! When a witness is missing, looks are repeated for a while, and no answer is sent meanwhile: a gateway that briefly
//! answers "not found" must not stop a cluster.
//!
//! Invariants:
//!
//! * A batch that is a witness was committed before any batch that can be in another store was submitted.
//! * A store counts as lost only after [`LOOKS_MIN`] looks over [`DOUBT_MIN`] that all missed the witness; or at once
//!   when another cluster's `cluster` object is there.

use core::time::Duration;

use crate::{
    epoch::domain::DomainStore,
    format::{cluster::Cluster, keys},
    ids::Position,
    journal::writer::Writer,
    planted,
    time::Time,
};

/// How long a witness must be missing before the store counts as lost. No answers are sent meanwhile. Longer than a
/// gateway's restart behind a load balancer, shorter than a call's deadline.
pub const DOUBT_MIN: Duration = Duration::from_secs(2);
/// How many looks must miss it: after a pause between two looks, the elapsed time alone proves nothing.
pub const LOOKS_MIN: u32 = 4;

/// An object whose presence shows that the store is still ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Witness {
    /// This batch of the session's own journal.
    Batch(Position),
    /// The `cluster` object.
    Cluster,
}

/// The kind of witness to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookFor {
    /// The `cluster` object.
    Cluster,
    /// A batch of the session's own journal, if one qualifies.
    Journal,
}

impl LookFor {
    /// The kind of the `number`th look of a sequence; batches and read barriers have a sequence each.
    #[must_use]
    pub const fn in_turn(number: u64) -> Self {
        if number.is_multiple_of(2) { Self::Cluster } else { Self::Journal }
    }
}

impl Writer {
    /// The witness for an answer that is sent now or when the next batch commits.
    #[must_use]
    pub fn witness(&self, look_for: LookFor) -> Witness {
        // The replacement store may have the batches that were in flight when the store was lost, and one more if it is
        // a copy, because a look at its `cluster` object succeeded.
        let in_doubt = planted::batches_in_doubt(self.in_flight_max() + 1);
        let position = self.committed().get().saturating_sub(in_doubt);
        if look_for == LookFor::Cluster || position <= self.low_water().get() {
            return Witness::Cluster;
        }
        Witness::Batch(Position::new(position))
    }
}

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Look {
    /// The witness exists.
    There,
    /// The witness doesn't exist (a definite answer).
    Missing,
    /// The witness doesn't exist, and an end mark explains it: the session is detached and its objects were deleted.
    Detached,
    /// Another cluster's object is there.
    Foreign,
}

impl Look {
    /// The result of a get of `cluster`; `ours` is its original content.
    #[must_use]
    pub fn at_cluster(ours: &[u8], found: Option<&[u8]>) -> Self {
        Self::at_unchanging(ours, found, |found| Cluster::decode(keys::CLUSTER, found).is_ok())
    }

    /// The result of a get of `domain` in the store of a domain; `ours` is its original content.
    #[must_use]
    pub fn at_domain(ours: &[u8], found: Option<&[u8]>) -> Self {
        Self::at_unchanging(ours, found, |found| DomainStore::decode(keys::DOMAIN, found).is_ok())
    }

    /// The result of a get of an object that is created once and never changes; `ours` is its original content, and
    /// `is_sound` says whether other content can be read as such an object. A damaged object counts as [`Self::There`]:
    /// damage is not store loss, and a process that runs doesn't need this object.
    #[must_use]
    pub fn at_unchanging(
        ours: &[u8],
        found: Option<&[u8]>,
        is_sound: impl FnOnce(&[u8]) -> bool,
    ) -> Self {
        match found {
            None => Self::Missing,
            Some(found) if found == ours => Self::There,
            Some(found) if is_sound(found) => Self::Foreign,
            Some(_) => Self::There,
        }
    }
}

/// The conclusion from the looks so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreState {
    /// The store is ours: answers that waited for this look may be sent.
    Same,
    /// Not known yet: look again, and send no answers.
    Doubtful,
    /// The session is over; the store is not lost.
    SessionOver,
    /// It is another store, or an older copy: stop serving, send no answer from memory, write nothing more.
    Lost,
}

/// The looks so far for one answer, or one group of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Doubt {
    /// When the first missed look was answered.
    since: Option<Time>,
    missed: u32,
}

impl Doubt {
    /// Adds a look that was answered at `now`; returns the conclusion from all of them.
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
    fn the_newest_committed_batches_are_no_witness_because_the_new_store_may_have_them() {
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
    fn a_new_journal_uses_the_cluster_object() {
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
    fn both_kinds_of_witness_alternate() {
        let turns: Vec<_> = (0..4).map(LookFor::in_turn).collect();
        let (cluster, journal) = (LookFor::Cluster, LookFor::Journal);
        assert_eq!(turns, [cluster, journal, cluster, journal]);
    }

    #[test]
    fn a_witness_that_is_found_ends_the_doubt() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.looked(Time::ZERO, Look::Missing), StoreState::Doubtful);
        assert_eq!(doubt.looked(Time::from_millis(100), Look::There), StoreState::Same);
    }

    #[test]
    fn a_store_is_lost_only_after_enough_looks_over_enough_time() {
        let mut doubt = Doubt::default();
        for at in [0, 100, 200, 300, 1_999] {
            let state = doubt.looked(Time::from_millis(at), Look::Missing);
            assert_eq!(state, StoreState::Doubtful, "at {at} ms");
        }
        assert_eq!(doubt.looked(Time::from_millis(2_000), Look::Missing), StoreState::Lost);
    }

    #[test]
    fn a_pause_between_two_looks_does_not_make_the_store_lost() {
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
    fn another_clusters_object_means_lost_at_once() {
        assert_eq!(Doubt::default().looked(Time::ZERO, Look::Foreign), StoreState::Lost);
    }

    #[test]
    fn a_session_collected_during_a_pause_does_not_mean_lost() {
        assert_eq!(Doubt::default().looked(Time::ZERO, Look::Detached), StoreState::SessionOver);
    }
}
