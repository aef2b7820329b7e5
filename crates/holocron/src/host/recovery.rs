//! Recovery: brings the slots that the newest epoch gives this session from their sources' journals to service.
//!
//! One task per session. It knows which slots are wanted, fetches the journals their folds ask for (sealing those that
//! are over, waiting for the Release of those that are not), folds, and adopts. Slots are adopted as soon as theirs is
//! complete; one that can't be read yet holds up no other.

mod find;
mod readings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use holocron_protocol::{
    epoch::{
        draft::{SlotReport, SourceFact},
        record::{EpochRecord, SessionState},
    },
    ids::{DomainId, Position, SessionId, Slot, Tenure},
    journal::sealing::Hint,
    slot::{
        fold::{Fold, Missing, fold},
        replay::JournalEnd,
        tenure::Reader,
    },
    state::place::{FileId, FileObject},
};
use tokio::sync::mpsc;

use self::find::{Find, Found};
use super::driver::Event;
use super::shared::Shared;
use crate::{
    session::{Recovered, Session, Wanted, journal::Closed},
    store_io::{
        fetch::{FetchedJournal, JournalReader},
        sealer::Sealer,
    },
    transport::peer::Progress,
};

/// How long to wait for word of a Release, or of a person who mends a journal, before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The wait before a journal that could not be read is read again; doubles with each failure.
const FIND_AGAIN: Duration = Duration::from_millis(5);

/// After so many tries in a row, some two seconds, what is missing was hardly trimmed just now: somebody is told.
const MISSING_TOLD: u32 = 10;
/// And told again every so many tries, half a minute.
const MISSING_EVERY: u32 = 60;

/// What the recovery task is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The newest epoch changed what is wanted.
    Epoch(Arc<EpochRecord>),
    /// A session is about to be sealed; this is how far it was known to have come.
    Prefetch(SessionId, Progress),
    /// A session is sealed, and where.
    Sealed(SessionId, Position),
    /// A session has committed a Release, and where.
    Released(SessionId, Position),
}

/// The recovery task of a session.
pub(crate) struct Recovery {
    shared: Arc<Shared>,
    session: Arc<Session>,
    sealer: Sealer,
    reader: Arc<JournalReader>,
    record: Option<Arc<EpochRecord>>,
    told: mpsc::UnboundedReceiver<Told>,
    journals: BTreeMap<SessionId, FetchedJournal>,
    hints: BTreeMap<SessionId, Hint>,
    /// Where the newest Release of a session was said to stand.
    releases: BTreeMap<SessionId, Position>,
    finding: FuturesUnordered<BoxFuture<'static, (SessionId, Found)>>,
    found_soon: BTreeSet<SessionId>,
    /// How often a journal could not be read, in a row.
    failed: BTreeMap<SessionId, u32>,
}

impl Recovery {
    pub(crate) fn new(
        shared: Arc<Shared>,
        session: Arc<Session>,
        sealer: Sealer,
        told: mpsc::UnboundedReceiver<Told>,
    ) -> Self {
        let stop = session.journal.ended().clone();
        let reader = JournalReader::new(Arc::clone(&sealer.store), sealer.patience, stop);
        Self {
            shared,
            session,
            sealer,
            reader: Arc::new(reader),
            record: None,
            told,
            journals: BTreeMap::new(),
            hints: BTreeMap::new(),
            releases: BTreeMap::new(),
            finding: FuturesUnordered::new(),
            found_soon: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Recovers until the session ends.
    pub(crate) async fn run(mut self) {
        let ended = self.session.journal.ended().clone();
        loop {
            let waits = self.adopt_what_can_be();
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                told = self.told.recv() => match told {
                    Some(told) => self.on_told(told),
                    None => return,
                },
                Some((session, found)) = self.finding.next() => self.on_found(session, found),
                () = tokio::time::sleep(LOOK_AGAIN), if waits => self.look_again(),
            }
        }
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Epoch(record) => {
                self.record = Some(record);
            }
            Told::Prefetch(session, progress) => {
                self.hints.insert(session, Hint::Committed(progress.committed));
                find::prefetch(&self.reader, session, progress);
            }
            Told::Sealed(session, position) => {
                self.hints.insert(session, Hint::Sealed(position));
            }
            Told::Released(session, position) => {
                let newest = self.releases.entry(session).or_default();
                *newest = position.max(*newest);
                // What was read of it before its Release doesn't show its end.
                self.drop_live(session);
            }
        }
    }

    fn on_found(&mut self, session: SessionId, found: Found) {
        self.found_soon.remove(&session);
        match found {
            Found::Journal(journal) => {
                self.journals.insert(session, *journal);
            }
            // Trimmed while it was read, or over: the log or the newest batch says more than what we were told.
            Found::Detached => self.read_anew(session),
            Found::Moved(key) => {
                self.read_anew(session);
                if self.failed[&session] % MISSING_EVERY == MISSING_TOLD {
                    tracing::error!(
                        key,
                        "not found, again and again, though it must be there; slots that need it wait until somebody has looked"
                    );
                }
            }
            Found::Broken(malformed) => {
                *self.failed.entry(session).or_default() += 1;
                tracing::error!(%malformed, "can't recover from this journal; its slots wait until somebody has looked");
            }
            Found::Stopped => {}
        }
    }

    fn read_anew(&mut self, session: SessionId) {
        *self.failed.entry(session).or_default() += 1;
        self.releases.remove(&session);
        self.shared.tell_self(Event::LookForEpoch);
    }

    /// What the tails and small packs say of vnodes is likely to be asked for soon, and it is here. With each adoption: a
    /// journal that was read for an earlier one may have been let go since.
    fn fill_record_cache(&self, adopted: &[Recovered]) {
        let sources = adopted.iter().flat_map(|slot| &slot.sources).map(|source| source.session);
        for session in sources.collect::<BTreeSet<_>>() {
            let Some(journal) = self.journals.get(&session) else { continue };
            for (pack, object) in journal.packs.iter().zip(&journal.whole) {
                let Some(object) = object else { continue };
                // It stays in the store for as long as an index names it.
                let file = FileId { session, object: FileObject::Pack(pack.number) };
                self.session.record_cache.keep(file, object.clone());
            }
            for (batch, object) in &journal.batches {
                let object_of = FileObject::Journal(batch.header.position);
                let file = FileId { session, object: object_of };
                match journal.end {
                    JournalEnd::Live => self.session.record_cache.pin(file, object.clone()),
                    JournalEnd::Sealed(_) => self.session.record_cache.keep(file, object.clone()),
                }
            }
        }
    }

    /// Folds every wanted slot as far as it goes and adopts the complete ones. Whether some wait for what only time
    /// brings.
    fn adopt_what_can_be(&mut self) -> bool {
        let wanted = self.session.wanted();
        if wanted.is_empty() {
            self.let_go();
            return false;
        }
        let mut ready = Vec::new();
        let mut facts = Vec::new();
        let mut missing = BTreeSet::new();
        let (bare, sourced): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|wanted| wanted.sources.is_empty());
        for Wanted { slot, tenure, sources, .. } in bare {
            ready.push(Recovered {
                slot,
                tenure,
                sources,
                index: holocron_protocol::state::index::SlotIndex::default(),
            });
        }
        let readings = self.readings(&sourced);
        for wanted in sourced {
            let Wanted { slot, tenure, sources, submitted } = wanted;
            let journals = self.sources_of(slot, &sources, &readings);
            match fold(&Reader { tenure, submitted }, &sources, &journals) {
                Ok(Fold::Recovered(recovered)) => {
                    facts.extend(
                        recovered.empty.iter().map(|&empty| report(slot, SourceFact::Empty(empty))),
                    );
                    ready.push(Recovered {
                        slot,
                        tenure,
                        sources: recovered.sources,
                        index: recovered.index,
                    });
                }
                Ok(Fold::Missing(Missing::Reading(session))) => {
                    missing.insert((session, None));
                }
                Ok(Fold::Missing(Missing::End(source))) => {
                    missing.insert((source.session, Some(source)));
                }
                Err(contradiction) => {
                    tracing::error!(%slot, %contradiction, "can't recover this slot; it waits until somebody has looked");
                }
            }
        }
        if !ready.is_empty() {
            tracing::info!(session = %self.session.id(), slots = ready.len(), "adopts");
            self.fill_record_cache(&ready);
            if let Err(Closed) = self.session.adopt(ready) {
                // The session is over; its successor will be given slots of its own.
                return false;
            }
        }
        if !facts.is_empty() {
            self.shared.tell_self(Event::Facts(facts));
        }
        let mut waits = false;
        for (session, end) in missing {
            tracing::debug!(own = %self.session.id(), %session, ?end, "slots wait for this journal, or for the end of this tenure");
            waits |= self.find_out(session, end);
        }
        waits
    }

    /// Sets about finding a journal, or its end. Whether that must wait.
    fn find_out(&mut self, session: SessionId, end: Option<Tenure>) -> bool {
        let Some(record) = &self.record else {
            return true;
        };
        if self.found_soon.contains(&session) {
            return false;
        }
        let own = session == self.session.id();
        let sealed = record.sessions.get(&session).map(|entry| entry.state);
        let find = match sealed {
            _ if own => Find::Own(self.session.journal.flush_point()),
            Some(SessionState::Sealed(position)) => {
                let hint = position.map(Hint::Sealed).or(self.hints.get(&session).copied());
                Find::Sealed(hint.unwrap_or(Hint::Nothing))
            }
            Some(SessionState::Open) => match (end, self.releases.get(&session)) {
                (None, Some(&position)) => Find::Through(position),
                (None, None) => Find::Newest,
                // What was said was of another Release; ours may have been committed before we waited for it.
                (Some(_), Some(_)) => {
                    self.releases.remove(&session);
                    Find::Newest
                }
                // The newest batch doesn't show the end: wait for more.
                (Some(_), None) => return true,
            },
            Some(SessionState::Detached(_)) | None => {
                self.shared.tell_self(Event::LookForEpoch);
                return true;
            }
        };
        if own && end.is_some() {
            self.journals.remove(&session);
        }
        // A live reading of a session that is over by now doesn't show its end.
        self.found_soon.insert(session);
        let tries = self.failed.get(&session).copied().unwrap_or(0);
        let after = if tries == 0 {
            Duration::ZERO
        } else {
            (FIND_AGAIN * 2_u32.pow(tries.min(8))).min(LOOK_AGAIN)
        };
        let finding = find::find(
            find,
            session,
            Arc::clone(&self.reader),
            self.sealer.clone(),
            Arc::clone(&self.session),
        );
        self.finding.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            finding.await
        }));
        false
    }

    /// Forgets what was read of live journals, so that they are read again.
    fn look_again(&mut self) {
        self.journals.retain(|_, journal| matches!(journal.end, JournalEnd::Sealed(_)));
    }

    fn drop_live(&mut self, session: SessionId) {
        let live =
            self.journals.get(&session).is_some_and(|journal| journal.end == JournalEnd::Live);
        if live {
            self.journals.remove(&session);
        }
    }

    /// Nothing is wanted: what was fetched is of no more use.
    fn let_go(&mut self) {
        if !self.journals.is_empty() {
            self.journals.clear();
            let keep: BTreeSet<SessionId> = self.found_soon.clone();
            self.reader.keep_only(|session| keep.contains(&session));
        }
    }

    /// Sessions whose Release slots are waiting for, for the leader to know.
    pub(crate) fn awaited(session: &Session, record: &EpochRecord) -> Vec<SessionId> {
        let mut awaited = BTreeSet::new();
        for wanted in session.wanted() {
            for source in &wanted.sources {
                let open = record
                    .sessions
                    .get(&source.session)
                    .is_some_and(|entry| entry.state == SessionState::Open);
                if open && source.session != session.id() {
                    awaited.insert(source.session);
                }
            }
        }
        awaited.into_iter().collect()
    }
}

fn report(slot: Slot, fact: SourceFact) -> SlotReport {
    SlotReport { domain: DomainId::HOME, slot, fact }
}
