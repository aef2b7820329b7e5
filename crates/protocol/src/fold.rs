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
    checkpoint::Coverage,
    ids::{CommitNumber, SessionId, Tenure, VnodeHash},
    index::SlotIndex,
    ownership::{self, Reader},
    reading::Source,
    slot_log::TenureLog,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// This session's journal wasn't read.
    Reading(SessionId),
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
    reader: &Reader,
    sources: &[Tenure],
    journals: &BTreeMap<SessionId, Source<'_>>,
) -> Result<Fold, Contradiction> {
    let in_order = sources.is_sorted_by(|newer, older| newer.epoch > older.epoch);
    assert!(in_order, "sources stand newest first: {sources:?}");
    assert_eq!(reader.submitted.open(), None, "{:?} holds the slot and goes on", reader.tenure);
    let mut recovered =
        Recovered { index: SlotIndex::default(), sources: Vec::new(), empty: Vec::new() };
    let mut folded: Vec<(Tenure, &TenureLog)> = Vec::new();
    for &tenure in sources {
        let Some(source) = journals.get(&tenure.session) else {
            return Ok(Fold::Missing(Missing::Reading(tenure.session)));
        };
        if !ownership::ended(source, tenure, reader) {
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
