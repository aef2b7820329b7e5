//! The recovery task of a session: fetches journals and adopts slots as `protocol::slot::recovery` decides.

mod fetch;
mod replays;

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use holocron_protocol::{
    epoch::{draft::SlotReport, record::EpochRecord},
    ids::{Epoch, SessionId},
    slot::{
        recovery::{self, Effect, Event, FetchFailure, FetchUpTo, Recovery, Wanted},
        replay::BatchesStay,
    },
    state::place::{FileId, FileObject},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use self::fetch::FetchError;
use super::{Notice, Session};
use crate::{
    session::journal::Closed,
    store_io::{
        fetch::{FetchedJournal, JournalReader},
        sealer::Sealer,
    },
    transport::peer::{PeerReply, Progress},
};

/// What the recovery task receives.
#[derive(Debug)]
pub(crate) enum Input {
    /// An event for [`Recovery`].
    Event(Event),
    /// A journal may soon be needed; how far it was known to have come, and where to reply once that was fetched.
    Prefetch(SessionId, Progress, oneshot::Sender<PeerReply>),
}

/// The live sessions whose Release the recovery waits for.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    /// The epoch that the recovery has acted on.
    as_of: Epoch,
    sessions: Vec<SessionId>,
}

/// How long a journal that was fetched beforehand is kept without being needed.
const PREFETCHED_FOR: Duration = Duration::from_secs(30);

type Fetched = (SessionId, Result<Box<FetchedJournal>, FetchError>);

/// The recovery task of a session.
pub(crate) struct RecoveryTask {
    session: Arc<Session>,
    sealer: Sealer,
    reader: Arc<JournalReader>,
    recovery: Recovery,
    /// Slots that are left to recover, and since when there are any.
    left: usize,
    recovering_since: Option<Instant>,
    /// The fetched journals that are still needed.
    journals: BTreeMap<SessionId, FetchedJournal>,
    in_flight: FuturesUnordered<BoxFuture<'static, Fetched>>,
    /// Journals that were fetched because they may soon be needed, and when.
    prefetched: BTreeMap<SessionId, Instant>,
    inputs: mpsc::UnboundedReceiver<Input>,
    notices: mpsc::UnboundedSender<Notice>,
}

impl Session {
    /// The slots to recover, by this epoch record.
    fn wanted(&self, record: &EpochRecord) -> Vec<Wanted> {
        self.journal.with_residency(|residency| recovery::wanted(residency, self.id(), record))
    }

    /// The live sessions whose Release this session's slots wait for, for the leader to know.
    pub(crate) fn awaited(&self, record: &EpochRecord) -> Vec<SessionId> {
        let awaited = self.awaited.lock().expect("a list's lock");
        if awaited.as_of == record.epoch {
            return awaited.sessions.clone();
        }
        drop(awaited);
        // The recovery hasn't acted on this epoch yet.
        recovery::live_sources(&self.wanted(record), self.id(), record)
    }
}

impl RecoveryTask {
    pub(crate) fn new(
        session: Arc<Session>,
        sealer: Sealer,
        inputs: mpsc::UnboundedReceiver<Input>,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        let stop = session.journal.ended().clone();
        let reader = JournalReader::new(Arc::clone(&sealer.store), sealer.patience, stop);
        Self {
            recovery: Recovery::new(session.id()),
            session,
            sealer,
            reader: Arc::new(reader),
            left: 0,
            recovering_since: None,
            journals: BTreeMap::new(),
            prefetched: BTreeMap::new(),
            in_flight: FuturesUnordered::new(),
            inputs,
            notices,
        }
    }

    /// Recovers until the session ends.
    pub(crate) async fn run(mut self) {
        self.until_ended().await;
        self.session.parts.counts.takeovers.not_recovered(self.session.id());
    }

    async fn until_ended(&mut self) {
        let ended = self.session.journal.ended().clone();
        loop {
            if let Err(Closed) = self.recover() {
                // The session is over; the host's next session gets slots of its own.
                return;
            }
            let now = self.session.clock.now();
            let look_at = self.recovery.look_at();
            let pause = look_at.map_or(recovery::LOOK_AGAIN, |at| at.since(now));
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                input = self.inputs.recv() => match input {
                    Some(input) => self.on_input(input),
                    None => return,
                },
                Some((session, fetched)) = self.in_flight.next() => self.on_fetched(session, fetched),
                () = tokio::time::sleep(pause), if look_at.is_some() => self.step(Event::Tick),
                // The next round forgets them.
                () = tokio::time::sleep(PREFETCHED_FOR), if !self.prefetched.is_empty() => {}
            }
        }
    }

    fn step(&mut self, event: Event) {
        let effects = self.recovery.step(self.session.clock.now(), event);
        // An event alone adopts nothing, so it can't fail on a closed journal.
        let (Ok(()) | Err(Closed)) = self.act(effects);
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.step(event),
            Input::Prefetch(session, progress, reply) => {
                self.step(Event::Committed(session, progress.committed));
                self.prefetched.insert(session, Instant::now());
                fetch::prefetch(&self.reader, session, progress, reply);
            }
        }
    }

    fn on_fetched(&mut self, session: SessionId, fetched: Result<Box<FetchedJournal>, FetchError>) {
        let failure = match fetched {
            Ok(journal) => {
                let end = journal.end;
                self.journals.insert(session, *journal);
                return self.step(Event::Fetched(session, end));
            }
            Err(FetchError::Detached) => FetchFailure::Detached,
            Err(FetchError::Missing(key)) => {
                tracing::debug!(session = %self.session.id(), source = %session, key, "fetch of a journal failed: object missing; it is fetched again");
                FetchFailure::ObjectMissing
            }
            Err(FetchError::Unreadable(malformed)) => {
                tracing::error!(session = %self.session.id(), source = %session, %malformed, "journal can't be read; slots that need it wait until it is repaired");
                FetchFailure::Unreadable
            }
            Err(FetchError::GaveUp) => FetchFailure::GaveUp,
        };
        self.step(Event::Failed(session, failure));
    }

    /// Adopts all complete slots, and starts fetches of the journals that the others need.
    fn recover(&mut self) -> Result<(), Closed> {
        let wanted = match self.recovery.record() {
            Some(record) => self.session.wanted(record),
            None => return Ok(()),
        };
        self.prefetched.retain(|_, at| at.elapsed() < PREFETCHED_FOR);
        self.measure_begin(&wanted);
        self.measure(wanted.len());
        if wanted.is_empty() {
            let fetching: Vec<SessionId> = self.recovery.fetching().collect();
            let prefetched = &self.prefetched;
            self.reader.keep_only(|session| {
                fetching.contains(&session) || prefetched.contains_key(&session)
            });
        }
        let replays = self.replays(&wanted);
        let now = self.session.clock.now();
        let effects = self
            .recovery
            .recover(now, &wanted, |session, slot| Some(replays.get(&session)?.source(slot)));
        let as_of = self.recovery.record().map_or(Epoch::ZERO, |record| record.epoch);
        let sessions = self.recovery.awaited().collect();
        *self.session.awaited.lock().expect("a list's lock") = Awaited { as_of, sessions };
        self.act(effects)
    }

    /// Notes that there are slots to recover, if there were none.
    fn measure_begin(&mut self, wanted: &[Wanted]) {
        let Some(record) = self.recovery.record() else { return };
        if wanted.is_empty() || self.recovering_since.is_some() {
            return;
        }
        self.recovering_since = Some(Instant::now());
        let (session, wall_ms) = (self.session.id(), self.session.clock.wall_ms());
        self.session.parts.counts.takeovers.recovering(session, record, wanted, wall_ms);
    }

    /// Measures how long it takes until no slot is left to recover.
    fn measure(&mut self, left: usize) {
        let (session, takeovers) = (self.session.id(), &self.session.parts.counts.takeovers);
        if left > 0 {
            takeovers.left(session, left);
        } else if let Some(since) = self.recovering_since.take() {
            takeovers.recovered(session, since.elapsed());
        }
        self.left = left;
    }

    fn act(&mut self, effects: Vec<Effect>) -> Result<(), Closed> {
        // Before a later effect forgets a journal that adopted slots were read from.
        self.fill_record_cache(&effects);
        let mut complete = Vec::new();
        let mut facts: Vec<SlotReport> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Fetch(session, up_to) => self.fetch(session, up_to),
                Effect::Forget(session) => drop(self.journals.remove(&session)),
                Effect::ReadEpochLog => self.notify(Notice::ReadEpochLog),
                Effect::Adopt(recovered) => complete.push(recovered),
                Effect::Report(report) => facts.push(report),
                Effect::Contradicted(slot, contradiction) => {
                    tracing::error!(session = %self.session.id(), %slot, %contradiction, "slot can't be recovered: journals contradict each other; its calls wait until an operator acts");
                }
                Effect::Alert(source) => {
                    tracing::error!(session = %self.session.id(), %source, "objects of a journal are missing; slots that need them wait until the objects are restored");
                }
            }
        }
        if !complete.is_empty() {
            tracing::info!(session = %self.session.id(), slots = complete.len(), "session adopts slots");
            let adopted = complete.len();
            self.session.adopt(complete)?;
            self.measure(self.left.saturating_sub(adopted));
        }
        if !facts.is_empty() {
            self.notify(Notice::Facts(facts));
        }
        Ok(())
    }

    fn fetch(&self, session: SessionId, up_to: FetchUpTo) {
        tracing::debug!(session = %self.session.id(), source = %session, ?up_to, "fetching a journal");
        let (reader, sealer) = (Arc::clone(&self.reader), self.sealer.clone());
        let own = Arc::clone(&self.session);
        let began = Instant::now();
        self.in_flight.push(Box::pin(async move {
            let fetched = fetch::fetch(up_to, session, &reader, &sealer, &own).await;
            if fetched.is_ok() {
                own.parts.counts.takeovers.fetch.took(began.elapsed());
            }
            (session, fetched)
        }));
    }

    fn notify(&self, notice: Notice) {
        // The host may be stopping.
        drop(self.notices.send(notice));
    }

    /// Caches the tails and small packs of the sources: their vnodes are likely to be called soon. Repeated for each
    /// adoption, because journals cached for an earlier one may have been evicted since.
    fn fill_record_cache(&self, effects: &[Effect]) {
        let mut sources = BTreeSet::new();
        for effect in effects {
            if let Effect::Adopt(recovered) = effect {
                sources.extend(recovered.sources.iter().map(|source| source.session));
            }
        }
        for session in sources {
            let Some(journal) = self.journals.get(&session) else { continue };
            for (pack, object) in journal.packs.iter().zip(&journal.whole) {
                let Some(object) = object else { continue };
                // No need to pin it: a pack stays in the store as long as an index names it.
                let file = FileId { session, object: FileObject::Pack(pack.number) };
                self.session.record_cache.keep(file, object.clone());
            }
            for (batch, object) in &journal.batches {
                let object_of = FileObject::Journal(batch.header.position);
                let file = FileId { session, object: object_of };
                match journal.end.batches_stay() {
                    BatchesStay::UntilTrimmed => {
                        self.session.record_cache.pin(file, object.clone());
                    }
                    BatchesStay::UntilDetached => {
                        self.session.record_cache.keep(file, object.clone());
                    }
                }
            }
        }
    }
}
