//! Recovery: what a slot holds, folded from the journals of those who held it before.
//!
//! The sources are walked newest first. Of each, its end must have been seen; then the newest record of each vnode
//! counts, and a tenure that a `full` checkpoint covers settles: whatever is older is void. Records carry whole states, so
//! a vnode's newest record is all that is needed of it.
//!
//! Invariants:
//!
//! * No source is skipped unseen, not even one that never adopted the slot.
//! * A vnode's commit numbers go up from tenure to tenure. Equal ones are copies of one record, byte for byte.

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

/// How a recovery stands.
#[derive(Clone, Debug)]
pub enum Fold {
    /// This has to be seen first.
    Missing(Missing),
    /// Everything is there.
    Recovered(Recovered),
}

/// What a recovery waits for. It asks for the newest first; what is older may turn out not to be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// This session's journal wasn't fetched.
    Journal(SessionId),
    /// The tenure's end wasn't seen. If the epoch lists the session as sealed, seal it; else wait for its Release and
    /// read again.
    End(Tenure),
}

/// What a slot holds.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The newest record of each vnode; all of them foreign.
    pub index: SlotIndex,
    /// The sources that were needed, newest first; what the Adopt says.
    pub sources: Vec<Tenure>,
    /// Those of them that ended with neither Adopt nor checkpoint entry: the leader may drop them.
    pub empty: Vec<Tenure>,
}

/// Two records of a vnode that can't both be: the newer tenure doesn't know of the older one's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "vnode {vnode:?} has commit {newer_commit} under {newer:?}, but {older_commit} under {older:?} before it"
)]
pub struct Contradiction {
    /// The vnode.
    pub vnode: VnodeHash,
    /// The newer tenure.
    pub newer: Tenure,
    /// The vnode's newest record in it.
    pub newer_commit: CommitNumber,
    /// The older tenure.
    pub older: Tenure,
    /// The vnode's newest record in that.
    pub older_commit: CommitNumber,
}

/// Recovers a slot for its owner by the newest epoch from its sources, newest first, with what was read of their sessions
/// (of the reader's own session: its own log of what it has committed).
///
/// # Errors
///
/// [`Contradiction`] when a newer tenure has an older record of a vnode.
///
/// # Panics
///
/// When the sources aren't older than the reader, newest first, or the reader still holds the slot: then it goes on.
pub fn fold(
    adopter: &Adopter,
    sources: &[Tenure],
    journals: &BTreeMap<SessionId, Source<'_>>,
) -> Result<Fold, Contradiction> {
    let in_order = sources.is_sorted_by(|newer, older| newer.epoch > older.epoch);
    assert!(in_order, "sources stand newest first: {sources:?}");
    assert_eq!(adopter.submitted.open(), None, "{:?} holds the slot and goes on", adopter.tenure);
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

/// Adds what an older tenure knows of vnodes that no newer one wrote.
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
        let (newer, _) = newer.expect("whatever is in the index came from a newer tenure");
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

    /// A log from words: `@1` adopts, `a5` writes vnode a with commit 5, `full` says so of the open tenure, `-2` releases.
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

    /// What was recovered, as `a5 b3`.
    fn told(fold: Fold) -> String {
        let Fold::Recovered(recovered) = fold else { panic!("{fold:?}") };
        assert_eq!(recovered.index.foreign(), recovered.index.count(), "all of it is foreign");
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
        assert_eq!(told(fold), "a2 b1 c1");
    }

    #[test]
    fn a_full_checkpoint_settles_and_nothing_older_is_asked_for() {
        let b = log("@2 a7 full b1");
        let fold = run(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)], &[(B, SEALED, &b)]).unwrap();
        let Fold::Recovered(recovered) = &fold else { panic!("{fold:?}") };
        assert_eq!(recovered.sources, [tenure(B, 2)]);
        assert_eq!(told(fold), "a7 b1");
    }

    #[test]
    fn a_session_appears_once_for_each_of_its_tenures() {
        let (a, b) = (log("@1 a1 b1 -2 @3 a3"), log("@2 a2 -3"));
        let logs = [(A, SEALED, &a), (B, JournalEnd::Live, &b)];
        let sources = [tenure(A, 3), tenure(B, 2), tenure(A, 1)];
        assert_eq!(told(run(tenure(C, 4), &sources, &logs).unwrap()), "a3 b1");
    }

    #[test]
    fn what_was_not_read_or_has_not_ended_is_said_newest_first() {
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
        assert_eq!(missing(&logs), Missing::End(tenure(A, 1)), "though it never adopted");
    }

    #[test]
    fn a_tenure_that_ended_without_an_adopt_is_empty_and_said_so() {
        let (a, b) = (log("@1 a1 -2"), log("-3"));
        let logs = [(A, JournalEnd::Live, &a), (B, JournalEnd::Live, &b)];
        let fold = run(tenure(C, 3), &[tenure(B, 2), tenure(A, 1)], &logs).unwrap();
        let Fold::Recovered(recovered) = &fold else { panic!("{fold:?}") };
        assert_eq!(recovered.empty, vec![tenure(B, 2)]);
        assert_eq!(told(fold), "a1");
    }

    #[test]
    fn a_newer_tenure_that_is_behind_an_older_one_is_an_error_naming_both() {
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
