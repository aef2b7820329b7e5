//! Planted bugs: what the rules would be with one clause left out. The real functions are called and what they are
//! given, or their answers, are bent, so that nothing of this is in the crate itself.

use std::collections::BTreeMap;

use holocron_protocol::{
    ids::{Position, SessionId},
    slot::{
        fold::{self, Contradiction, Fold},
        log::SlotLog,
        replay::{JournalEnd, Source},
        tenure::Reader,
    },
};

use crate::{
    leader::{Held, session_id, tenure},
    log::{Entries, NO_ENTRIES, entries},
    state::Snapshot,
};

/// A clause left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Any Release ends any tenure of its session.
    ReleaseMatchedLoosely,
    /// The sources go when the Adopt is committed.
    SourceDroppedAtAdopt,
    /// A full checkpoint of any tenure of a session counts for its newest.
    FullOfAnOlderTenureCounts,
    /// A checkpoint is called full before everything is copied.
    PartTakenAsFull,
    /// A checkpoint planned before the Release is called full behind it.
    FullAfterRelease,
    /// What a session remembers of a slot outlives the Release.
    ResumesFromMemoryAfterRelease,
    /// A host's new session takes up what the old one remembered.
    ResumesFromTheOldSessionsMemory,
    /// A slot that comes back goes on though its Release was submitted.
    GoesOnAfterRelease,
    /// Whatever was read is enough.
    AdoptsWithoutTheEnd,
    /// A source that never adopted is skipped unseen.
    SkipsTheNeverAdopted,
    /// A source's content is what was read before its end was seen.
    TailReadBeforeTheEnd,
    /// The oldest record of a vnode wins.
    OldestWins,
    /// A session counts as one source, where it is newest.
    SourcesBySession,
    /// A checkpoint carries only what is open.
    ListedSlotLeftOut,
    /// A session that is named by nobody for a moment is deleted though it lives.
    LiveSessionDetached,
    /// A session is deleted as soon as the next epoch would detach it.
    DeletesBeforeTheEpochCommits,
    /// What was trimmed while it was being read is read as empty.
    MissingReadAsEmpty,
    /// It serves when it has read everything, without an Adopt.
    ServesWithoutAdopt,
}

/// [`fold::fold`] over what was read.
pub(crate) fn fold(
    bug: Option<Bug>,
    reader: &Reader,
    sources: &[Held],
    read: &[Option<Snapshot>],
) -> Result<Fold, Contradiction> {
    let logs: Vec<Option<(SlotLog, JournalEnd)>> = read
        .iter()
        .map(|snapshot| {
            let Snapshot { log, sealed } = snapshot.as_ref()?;
            let released = if bug == Some(Bug::ReleaseMatchedLoosely) && log.released > 0 {
                crate::log::number(reader.tenure.epoch)
            } else {
                log.released
            };
            let sealed = *sealed || bug == Some(Bug::AdoptsWithoutTheEnd);
            let end = if sealed { JournalEnd::Sealed(Position::new(1)) } else { JournalEnd::Live };
            Some((log.real_released(released), end))
        })
        .collect();
    let journals: BTreeMap<SessionId, Source<'_>> = logs
        .iter()
        .enumerate()
        .filter_map(|(session, log)| {
            let (log, end) = log.as_ref()?;
            Some((session_id(session), Source { end: *end, log: Some(log) }))
        })
        .collect();
    let mut sources: Vec<Held> = sources.to_vec();
    match bug {
        Some(Bug::SourcesBySession) => {
            let mut newest = Vec::new();
            sources.retain(|&(_, session)| {
                let first = !newest.contains(&session);
                newest.push(session);
                first
            });
        }
        Some(Bug::SkipsTheNeverAdopted) => sources.retain(|&(given, session)| {
            let log = read.get(usize::from(session)).and_then(Option::as_ref);
            log.is_none_or(|snapshot| snapshot.log.tenures.iter().any(|held| held.epoch == given))
        }),
        _ => {}
    }
    let sources: Vec<_> = sources.into_iter().map(tenure).collect();
    let mut fold = fold::fold(reader, &sources, &journals)?;
    if let (Some(Bug::OldestWins), Fold::Recovered(recovered)) = (bug, &mut fold) {
        let mut oldest: Entries = NO_ENTRIES;
        for source in &recovered.sources {
            let log = journals[&source.session].log.and_then(|log| log.tenure(source.epoch));
            let written = log.map_or(NO_ENTRIES, |tenure| entries(&tenure.entries));
            for (oldest, written) in oldest.iter_mut().zip(&written) {
                if written.history.len() > 0 {
                    *oldest = *written;
                }
            }
        }
        recovered.index = crate::log::index(&oldest);
    }
    Ok(fold)
}
