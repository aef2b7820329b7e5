//! Planted bugs: the rules with one clause left out. The model calls the real functions with changed arguments, or changes
//! their results, so the crate itself contains nothing of this.

use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{
    ids::{Position, SessionId, Tenure},
    slot::{
        fold::{self, Contradiction, Fold, Missing},
        log::SlotLog,
        recovery::{self, Effect, Recovery},
        replay::{JournalEnd, Source},
        residency::Residency,
        tenure::Adopter,
    },
    state::index::SlotIndex,
    time::Time,
};

use crate::{
    leader::{Record, TenurePair, session_id, tenure},
    log::{Entries, NO_ENTRIES, entries},
    state::{Session, Snapshot},
};

/// A clause left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Any Release ends any tenure of its session.
    ReleaseMatchedLoosely,
    /// The sources are dropped when the Adopt is committed.
    SourceDroppedAtAdopt,
    /// A full checkpoint of any tenure of a session counts for its newest.
    FullOfAnOlderTenureCounts,
    /// A checkpoint is called full before everything is copied.
    PartTakenAsFull,
    /// A checkpoint planned before the Release is called full after it.
    FullAfterRelease,
    /// What a session remembers of a slot outlives the Release.
    ResumesFromMemoryAfterRelease,
    /// A host's new session resumes from the old one's memory.
    ResumesFromTheOldSessionsMemory,
    /// A slot that returns is served although its Release was submitted.
    GoesOnAfterRelease,
    /// A source's end needn't be seen.
    AdoptsWithoutTheEnd,
    /// A source that never adopted is skipped without having seen its end.
    SkipsTheNeverAdopted,
    /// A source's content is what was read before its end was seen.
    TailReadBeforeTheEnd,
    /// The oldest record of a vnode wins.
    OldestWins,
    /// A session counts as one source, with its newest tenure.
    SourcesBySession,
    /// A checkpoint holds only open slots.
    ListedSlotLeftOut,
    /// A live session is deleted while no slot lists it.
    LiveSessionDetached,
    /// A session is deleted as soon as the next epoch would detach it.
    DeletesBeforeTheEpochCommits,
    /// An object trimmed during a read is read as empty.
    MissingReadAsEmpty,
    /// A session serves a recovered slot without an Adopt.
    ServesWithoutAdopt,
}

/// The arguments of a fold, as a bug changes them.
struct FoldInput {
    logs: Vec<Option<(SlotLog, JournalEnd)>>,
    sources: Vec<Tenure>,
}

impl FoldInput {
    fn new(
        bug: Option<Bug>,
        adopter: Tenure,
        sources: &[TenurePair],
        read: &[Option<Snapshot>],
    ) -> Self {
        let logs = read
            .iter()
            .map(|snapshot| {
                let Snapshot { log, sealed } = snapshot.as_ref()?;
                let released = if bug == Some(Bug::ReleaseMatchedLoosely) && log.released > 0 {
                    crate::log::number(adopter.epoch)
                } else {
                    log.released
                };
                let sealed = *sealed || bug == Some(Bug::AdoptsWithoutTheEnd);
                let end =
                    if sealed { JournalEnd::Sealed(Position::new(1)) } else { JournalEnd::Live };
                Some((log.real_released(released), end))
            })
            .collect();
        let mut sources: Vec<TenurePair> = sources.to_vec();
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
                log.is_none_or(|snapshot| {
                    snapshot.log.tenures.iter().any(|held| held.epoch == given)
                })
            }),
            _ => {}
        }
        Self { logs, sources: sources.into_iter().map(tenure).collect() }
    }

    fn source(&self, session: SessionId) -> Option<Source<'_>> {
        let number = usize::try_from(session.get() - 1).expect("few sessions");
        let (log, end) = self.logs.get(number)?.as_ref()?;
        Some(Source { end: *end, log: Some(log) })
    }

    fn fold(&self, adopter: &Adopter) -> Result<Fold, Contradiction> {
        let journals: BTreeMap<SessionId, Source<'_>> = (0..self.logs.len())
            .filter_map(|session| Some((session_id(session), self.source(session_id(session))?)))
            .collect();
        fold::fold(adopter, &self.sources, &journals)
    }

    /// The oldest record of each vnode.
    fn oldest(&self, sources: &[Tenure]) -> SlotIndex {
        let mut oldest: Entries = NO_ENTRIES;
        for source in sources {
            let log = self.source(source.session).and_then(|read| read.log);
            let held = log.and_then(|log| log.tenure(source.epoch));
            let written = held.map_or(NO_ENTRIES, |tenure| entries(&tenure.entries));
            for (oldest, written) in oldest.iter_mut().zip(&written) {
                if written.history.len() > 0 {
                    *oldest = *written;
                }
            }
        }
        crate::log::index(&oldest)
    }
}

/// [`fold::fold`] over the read journals, without a bug.
pub(crate) fn fold(
    adopter: &Adopter,
    sources: &[TenurePair],
    read: &[Option<Snapshot>],
) -> Result<Fold, Contradiction> {
    FoldInput::new(None, adopter.tenure, sources, read).fold(adopter)
}

/// The effects of [`Recovery`] for the read journals.
pub(crate) fn recover(
    bug: Option<Bug>,
    residency: &Residency,
    record: &Record,
    read: &[Option<Snapshot>],
) -> Vec<Effect> {
    let real = &record.real.0;
    let session = tenure(record.owner).session;
    let mut wanted = recovery::wanted(residency, session, real);
    let Some(slot) = wanted.first_mut() else { return Vec::new() };
    let input = FoldInput::new(bug, slot.tenure, &record.sources, read);
    slot.sources.clone_from(&input.sources);
    let mut recovery = Recovery::new(session);
    let learned = recovery.step(Time::ZERO, recovery::Event::Epoch(Arc::clone(real)));
    assert!(learned.is_empty(), "an epoch alone has no effects");
    let mut effects = recovery.recover(Time::ZERO, &wanted, |session, _| input.source(session));
    for effect in &mut effects {
        if let (Some(Bug::OldestWins), Effect::Adopt(recovered)) = (bug, effect) {
            recovered.index = input.oldest(&recovered.sources);
        }
    }
    effects
}

/// The session whose end the read journals don't show.
pub(crate) fn misses_end(
    bug: Option<Bug>,
    me: &Session,
    record: &Record,
    read: &[Option<Snapshot>],
) -> Option<u8> {
    let adopter = Adopter { tenure: tenure(record.owner), submitted: me.submitted() };
    match FoldInput::new(bug, adopter.tenure, &record.sources, read).fold(&adopter) {
        Ok(Fold::Missing(Missing::End(tenure))) => {
            Some(u8::try_from(tenure.session.get() - 1).expect("few sessions"))
        }
        Ok(Fold::Missing(Missing::Journal(_)) | Fold::Recovered(_)) | Err(_) => None,
    }
}
