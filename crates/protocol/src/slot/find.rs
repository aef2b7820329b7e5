//! Finding one vnode's newest committed record in the store, from outside: nothing is sealed, adopted or waited for.
//!
//! Unlike a fold, which must see the end of every source, this reads the journals as they are now. What the slot's
//! owner commits a moment later isn't seen.
//!
//! Invariants:
//!
//! * The tenures are searched newest first, and the commit numbers of a vnode grow from tenure to tenure, so that the
//!   first record found is the newest.
//! * A tenure that a `full` checkpoint covers holds everything of the slot: no older one is searched.

use alloc::collections::BTreeMap;

use crate::{
    epoch::record::Holding,
    ids::{SessionId, Tenure, VnodeHash},
    slot::replay::Source,
    state::{checkpoint::Coverage, place::Place},
};

/// The result of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// The journal of this session must be read first.
    Read(SessionId),
    /// The newest record was written, or copied, under this tenure.
    At(Tenure, Place),
    /// No journal and no pack has a record of the vnode: it was never written.
    Nowhere,
}

/// Searches the tenures of a slot for a vnode's newest record. `journals` holds what was read of their sessions.
#[must_use]
pub fn find(
    holding: &Holding,
    journals: &BTreeMap<SessionId, Source<'_>>,
    vnode: VnodeHash,
) -> Find {
    for tenure in holding.owner.iter().chain(&holding.sources) {
        let Some(source) = journals.get(&tenure.session) else {
            return Find::Read(tenure.session);
        };
        // Given and not yet adopted, or never adopted: then an older tenure has the records.
        let Some(log) = source.log.and_then(|log| log.tenure(tenure.epoch)) else { continue };
        if let Some(place) = log.entries.get(vnode) {
            return Find::At(*tenure, place);
        }
        if log.coverage == Coverage::Full {
            return Find::Nowhere;
        }
    }
    Find::Nowhere
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        ids::{Epoch, VnodeName},
        slot::{log::SlotLog, replay::JournalEnd},
        state::{
            index::SlotIndex,
            place::{
                Origin,
                tests::{file, record},
            },
        },
    };

    const A: SessionId = SessionId::new(1);
    const B: SessionId = SessionId::new(2);

    fn tenure(session: SessionId, epoch: u64) -> Tenure {
        Tenure { session, epoch: Epoch::new(epoch) }
    }

    /// b owns the slot since epoch 2, before it a had it.
    fn holding() -> Holding {
        Holding { owner: Some(tenure(B, 2)), sources: vec![tenure(A, 1)] }
    }

    /// A log with a tenure since `epoch`, under which these vnodes were written with these commit numbers.
    fn log(epoch: u64, written: &[(&str, u64)]) -> SlotLog {
        let mut log = SlotLog::default();
        log.adopt(Epoch::new(epoch), SlotIndex::default()).unwrap();
        for (key, commit) in written {
            let bytes = record(key, *commit, b"s");
            let (hash, place) = Place::of_record(file(1), 32, &bytes, Origin::Own).unwrap();
            log.write(hash, &place).unwrap();
        }
        log
    }

    fn search(logs: &[(SessionId, &SlotLog)], key: &str) -> Find {
        let end = JournalEnd::Live;
        let journals =
            logs.iter().map(|&(session, log)| (session, Source { end, log: Some(log) })).collect();
        find(&holding(), &journals, VnodeName::new("t", key).unwrap().hash())
    }

    /// The tenure that holds the record, and its commit number.
    fn found(find: Find) -> Option<(Tenure, u64)> {
        let Find::At(tenure, place) = find else { return None };
        Some((tenure, place.commit.get()))
    }

    #[test]
    fn the_newest_tenure_with_a_record_has_the_newest_record() {
        let (a, b) = (log(1, &[("x", 1), ("y", 1)]), log(2, &[("x", 2)]));
        let logs = [(A, &a), (B, &b)];
        assert_eq!(found(search(&logs, "x")), Some((tenure(B, 2), 2)));
        assert_eq!(found(search(&logs, "y")), Some((tenure(A, 1), 1)));
        assert_eq!(search(&logs, "z"), Find::Nowhere);
    }

    #[test]
    fn journals_are_asked_for_only_as_far_as_they_are_needed() {
        let b = log(2, &[("x", 2)]);
        assert_eq!(search(&[], "x"), Find::Read(B));
        assert_eq!(found(search(&[(B, &b)], "x")), Some((tenure(B, 2), 2)));
        assert_eq!(search(&[(B, &b)], "y"), Find::Read(A));
    }

    #[test]
    fn nothing_older_than_a_full_checkpoint_is_searched() {
        let mut b = log(2, &[]);
        b.settled(Epoch::new(2));
        assert_eq!(search(&[(B, &b)], "x"), Find::Nowhere);
    }

    #[test]
    fn a_slot_that_was_given_and_not_adopted_is_searched_at_its_former_owner() {
        let a = log(1, &[("x", 1)]);
        let logs = [(A, &a), (B, &SlotLog::default())];
        assert_eq!(found(search(&logs, "x")), Some((tenure(A, 1), 1)));
    }
}
