//! Folding: what a slot holds, from the journals of its earlier owners.
//!
//! The sources are read newest first. The end of each must have been seen. Then the newest record of each vnode counts,
//! and a tenure that a `full` checkpoint covers settles the slot: older sources are not needed. Records hold whole states,
//! so only the newest record of a vnode is needed.
//!
//! Invariants:
//!
//! * No source is skipped without having seen its end, not even one that never adopted the slot.
//! * A vnode's commit numbers grow from tenure to tenure. Records with the same number are identical copies.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    ids::{CommitNumber, SessionId, Tenure, VnodeHash},
    slot::{
        log::TenureLog,
        replay::Source,
        tenure::{self, Adopter},
    },
    state::{checkpoint::Coverage, index::SlotIndex},
};

/// The result of folding.
#[derive(Clone, Debug)]
pub enum Fold {
    /// This must be read first.
    Missing(Missing),
    /// All needed sources were read.
    Recovered(Recovered),
}

/// What a recovery needs next. The newest source comes first; older ones may turn out not to be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// This session's journal wasn't fetched.
    Journal(SessionId),
    /// The tenure's end wasn't seen. If the epoch lists the session as sealed, seal it; otherwise wait for its Release and
    /// read again.
    End(Tenure),
}

/// The recovered content of a slot.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The newest record of each vnode; all are foreign.
    pub index: SlotIndex,
    /// The sources that were needed, newest first; they go into the Adopt.
    pub sources: Vec<Tenure>,
    /// Those that ended without an Adopt or a checkpoint entry: the leader may drop them.
    pub empty: Vec<Tenure>,
}

/// Two contradicting records of a vnode: the newer tenure doesn't include the older tenure's commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "vnode {vnode:?} has commit {newer_commit} under {newer:?}, but commit {older_commit} under the older {older:?}"
)]
pub struct Contradiction {
    /// The vnode.
    pub vnode: VnodeHash,
    /// The newer tenure.
    pub newer: Tenure,
    /// The vnode's newest commit under it.
    pub newer_commit: CommitNumber,
    /// The older tenure.
    pub older: Tenure,
    /// The vnode's newest commit under it.
    pub older_commit: CommitNumber,
}

/// Recovers a slot for its owner from its sources, newest first. `journals` holds what was read of their sessions; for the
/// adopter's own session, its log of committed records.
///
/// # Errors
///
/// [`Contradiction`] when a newer tenure has an older record of a vnode.
///
/// # Panics
///
/// When the sources aren't sorted newest first and older than the adopter, or when the adopter still holds the slot: then
/// it continues under its old tenure.
pub fn fold(
    adopter: &Adopter,
    sources: &[Tenure],
    journals: &BTreeMap<SessionId, Source<'_>>,
) -> Result<Fold, Contradiction> {
    let in_order = sources.is_sorted_by(|newer, older| newer.epoch > older.epoch);
    assert!(in_order, "sources are not newest first: {sources:?}");
    assert_eq!(adopter.submitted.open(), None, "{:?} still holds the slot", adopter.tenure);
    let mut recovered =
        Recovered { index: SlotIndex::default(), sources: Vec::new(), empty: Vec::new() };
    let mut folded: Vec<(Tenure, &TenureLog)> = Vec::new();
    for &tenure in sources {
        let Some(source) = journals.get(&tenure.session) else {
            return Ok(Fold::Missing(Missing::Journal(tenure.session)));
        };
        if !tenure::ended(source, tenure, adopter) {
            return Ok(Fold::Missing(Missing::End(tenure)));
        }
        recovered.sources.push(tenure);
        let Some(log) = source.log.and_then(|log| log.tenure(tenure.epoch)) else {
            recovered.empty.push(tenure);
            continue;
        };
        recovered.index = below(&recovered.index, tenure, log, &folded)?;
        folded.push((tenure, log));
        if log.coverage == Coverage::Full {
            break;
        }
    }
    Ok(Fold::Recovered(recovered))
}

/// Adds an older tenure's records of vnodes that no newer tenure wrote.
fn below(
    index: &SlotIndex,
    tenure: Tenure,
    log: &TenureLog,
    newer: &[(Tenure, &TenureLog)],
) -> Result<SlotIndex, Contradiction> {
    let older = log.entries.packed().map(|(hash, place)| (hash, place.as_foreign()));
    index.combine(older, |vnode, here, older| {
        let copy = here.commit == older.commit && here.checksum == older.checksum;
        if here.commit > older.commit || copy {
            return Ok(here);
        }
        let newer = newer.iter().rev().find(|(_, log)| log.entries.get(vnode).is_some());
        let (newer, _) = newer.expect("each record in the index came from a newer tenure");
        Err(Contradiction {
            vnode,
            newer: *newer,
            newer_commit: here.commit,
            older: tenure,
            older_commit: older.commit,
        })
    })
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec};

    use super::*;
    use crate::{
        ids::{Epoch, Position},
        slot::{log::SlotLog, replay::JournalEnd, tenure::Submitted},
        state::place::{
            Origin, Place,
            tests::{file, record},
        },
    };

    const A: SessionId = SessionId::new(1);
    const B: SessionId = SessionId::new(2);
    const C: SessionId = SessionId::new(3);

    fn tenure(session: SessionId, epoch: u64) -> Tenure {
        Tenure { session, epoch: Epoch::new(epoch) }
    }

    /// A log from words: `@1` adopts, `a5` writes vnode a with commit 5, `full` commits a full checkpoint, `-2` releases.
    fn log(words: &str) -> SlotLog {
        let mut log = SlotLog::default();
        for word in words.split_whitespace() {
            let number = || word[1..].parse().unwrap();
            match &word[..1] {
                "@" => log.adopt(Epoch::new(number()), SlotIndex::default()).unwrap(),
                "-" => log.release(Epoch::new(number())).unwrap(),
                "f" => log.settled(log.open().unwrap().epoch),
                key => {
                    let bytes = record(key, number(), b"s");
                    let (hash, place) = Place::of_record(file(1), 32, &bytes, Origin::Own).unwrap();
                    log.write(hash, &place).unwrap();
                }
            }
        }
        log
    }

    fn run(
        reader: Tenure,
        sources: &[Tenure],
        logs: &[(SessionId, JournalEnd, &SlotLog)],
    ) -> Result<Fold, Contradiction> {
        let journals = logs
            .iter()
            .map(|&(session, end, log)| (session, Source { end, log: Some(log) }))
            .collect();
        fold(&Adopter { tenure: reader, submitted: Submitted::default() }, sources, &journals)
    }

    /// The recovered records, as `a5 b3`.
    fn text(fold: Fold) -> String {
        let Fold::Recovered(recovered) = fold else { panic!("{fold:?}") };
        assert_eq!(recovered.index.foreign(), recovered.index.count(), "all records are foreign");
        let words = ["a", "b", "c"].into_iter().filter_map(|key| {
            let hash = crate::ids::VnodeName::new("t", key).unwrap().hash();
            recovered.index.get(hash).map(|place| format!("{key}{}", place.commit.get()))
        });
        words.collect::<Vec<_>>().join(" ")
    }

    const SEALED: JournalEnd = JournalEnd::Sealed(Position::new(9));

    #[test]
    fn the_newest_record_of_each_vnode_wins() {
        let (a, b) = (log("@1 a1 b1 -2"), log("@2 a2 c1"));
        let logs = [(A, JournalEnd::Live, &a), (B, SEALED, &b)];
        let fold = run(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)], &logs).unwrap();
        assert_eq!(text(fold), "a2 b1 c1");
    }

    #[test]
    fn a_full_checkpoint_settles_and_no_older_source_is_needed() {
        let b = log("@2 a7 full b1");
        let fold = run(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)], &[(B, SEALED, &b)]).unwrap();
        let Fold::Recovered(recovered) = &fold else { panic!("{fold:?}") };
        assert_eq!(recovered.sources, [tenure(B, 2)]);
        assert_eq!(text(fold), "a7 b1");
    }

    #[test]
    fn a_session_appears_once_for_each_of_its_tenures() {
        let (a, b) = (log("@1 a1 b1 -2 @3 a3"), log("@2 a2 -3"));
        let logs = [(A, SEALED, &a), (B, JournalEnd::Live, &b)];
        let sources = [tenure(A, 3), tenure(B, 2), tenure(A, 1)];
        assert_eq!(text(run(tenure(C, 4), &sources, &logs).unwrap()), "a3 b1");
    }

    #[test]
    fn the_newest_missing_journal_or_end_is_reported_first() {
        let sources = [tenure(B, 2), tenure(A, 1)];
        let missing =
            |logs: &[(SessionId, JournalEnd, &SlotLog)]| match run(tenure(C, 3), &sources, logs) {
                Ok(Fold::Missing(missing)) => missing,
                other => panic!("{other:?}"),
            };
        let (a, b) = (log("@1 a1"), log("@2 a2"));
        assert_eq!(missing(&[(A, SEALED, &a)]), Missing::Journal(B));
        assert_eq!(missing(&[(B, JournalEnd::Live, &b)]), Missing::End(tenure(B, 2)));
        assert_eq!(missing(&[(B, SEALED, &b)]), Missing::Journal(A));
        let nothing = SlotLog::default();
        let logs = [(B, SEALED, &b), (A, JournalEnd::Live, &nothing)];
        assert_eq!(missing(&logs), Missing::End(tenure(A, 1)), "although it never adopted");
    }

    #[test]
    fn a_tenure_that_ended_without_an_adopt_is_reported_as_empty() {
        let (a, b) = (log("@1 a1 -2"), log("-3"));
        let logs = [(A, JournalEnd::Live, &a), (B, JournalEnd::Live, &b)];
        let fold = run(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)], &logs).unwrap();
        let Fold::Recovered(recovered) = &fold else { panic!("{fold:?}") };
        assert_eq!(recovered.empty, vec![tenure(B, 2)]);
        assert_eq!(text(fold), "a1");
    }

    #[test]
    fn a_newer_tenure_behind_an_older_one_is_an_error_that_names_both() {
        let (a, b) = (log("@1 a5"), log("@2 a4"));
        let logs = [(A, SEALED, &a), (B, SEALED, &b)];
        let error = run(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)], &logs).unwrap_err();
        assert_eq!((error.newer, error.older), (tenure(B, 2), tenure(A, 1)));
        assert!(format!("{error}").contains("c4"), "{error}");
        // A copy of the same record is no contradiction.
        let b = log("@2 a5");
        let logs = [(A, SEALED, &a), (B, SEALED, &b)];
        assert!(run(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)], &logs).is_ok());
    }
}
