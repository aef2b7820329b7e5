//! Recovery: which journals a session fetches for the slots that it recovers, when it looks again, and when a slot is
//! complete.
//!
//! A slot is recovered from its sources' journals ([`super::fold`]). For each journal the machine knows how its end is to
//! be seen: a session that is over is sealed and read up to its seal; a session that goes on is read up to the Release
//! that it announced, or up to its newest batch; the own journal is read once everything submitted is committed. A slot is
//! adopted as soon as its own sources are complete; a journal that can't be read delays only the slots that need it.
//!
//! Invariants:
//!
//! * At most one fetch of a journal is in flight.
//! * What was fetched of a live journal before its Release was announced doesn't count afterwards.
//! * Whatever is missing is either being fetched, or has a deadline at which it is fetched again.

mod need;
mod terms;
mod wanted;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use self::need::Need;
pub use self::{
    terms::{Effect, Event, FetchFailure, FetchUpTo, Recovered},
    wanted::{Wanted, live_sources, wanted},
};
use crate::{
    epoch::{
        draft::{SlotReport, SourceFact},
        record::EpochRecord,
    },
    ids::{DomainId, Position, SessionId, Slot, Tenure},
    journal::sealing::Hint,
    planted,
    slot::{
        fold::{Fold, Missing, fold},
        replay::{JournalEnd, Source},
        tenure::{Adopter, ended},
    },
    time::Time,
};

/// The pause before looking again for a Release that wasn't announced, and the longest one before an unreadable journal
/// is fetched again.
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The pause before a journal that could not be read is fetched again; doubles with each failure up to [`LOOK_AGAIN`].
pub const RETRY_AFTER: Duration = Duration::from_millis(5);
/// Failures in a row, some two seconds of them, after which an object that is missing was hardly trimmed just now.
pub const FAILURES_BEFORE_ALERT: u32 = 10;
/// The alert is repeated after this many more failures, half a minute.
pub const FAILURES_PER_ALERT: u32 = 60;

/// The journal of one source session.
#[derive(Clone, Debug, Default)]
struct SourceJournal {
    state: JournalState,
    /// Where its end was announced to be.
    hint: Option<Hint>,
    /// Where its newest Release was announced to stand.
    released_at: Option<Position>,
    /// Failures in a row.
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum JournalState {
    /// Nothing of it is at hand.
    #[default]
    Absent,
    /// A fetch is in flight.
    Fetching,
    /// It was fetched up to there.
    Fetched(JournalEnd),
    /// It could not be read, and is fetched again from then on.
    Failed(Time),
}

/// The recovery of one session's slots.
#[derive(Clone, Debug)]
pub struct Recovery {
    session: SessionId,
    record: Option<Arc<EpochRecord>>,
    journals: BTreeMap<SessionId, SourceJournal>,
    /// When to ask again what is complete.
    look_at: Option<Time>,
    /// When what was read of live journals is read again.
    read_again_at: Option<Time>,
    /// The live sessions whose Release is waited for.
    awaited: BTreeSet<SessionId>,
    /// The slots whose sources contradict each other, as was said already, and under which tenure.
    contradicted: BTreeMap<Slot, Tenure>,
}

impl Recovery {
    /// A session that has read no epoch yet.
    #[must_use]
    pub const fn new(session: SessionId) -> Self {
        Self {
            session,
            record: None,
            journals: BTreeMap::new(),
            look_at: None,
            read_again_at: None,
            awaited: BTreeSet::new(),
            contradicted: BTreeMap::new(),
        }
    }

    /// The newest record it has read.
    #[must_use]
    pub const fn record(&self) -> Option<&Arc<EpochRecord>> {
        self.record.as_ref()
    }

    /// When to send [`Event::Tick`] at the latest.
    #[must_use]
    pub const fn look_at(&self) -> Option<Time> {
        self.look_at
    }

    /// The live sessions whose Release the slots wait for, as of the newest [`Self::recover`]. One whose Release was seen
    /// isn't among them, whatever else a slot waits for.
    pub fn awaited(&self) -> impl Iterator<Item = SessionId> {
        self.awaited.iter().copied()
    }

    /// The sessions whose journals are being fetched.
    pub fn fetching(&self) -> impl Iterator<Item = SessionId> {
        let fetching = |journal: &&SourceJournal| journal.state == JournalState::Fetching;
        self.journals.iter().filter(move |(_, journal)| fetching(journal)).map(|(&id, _)| id)
    }

    /// Takes one event to its effects; ask [`Self::recover`] afterwards. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When an answer comes to a fetch that isn't in flight, or epochs go down.
    #[must_use]
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::Epoch(record) => self.on_epoch(record),
            Event::Committed(session, position) => self.on_hint(session, Hint::Committed(position)),
            Event::Sealed(session, position) => self.on_hint(session, Hint::Sealed(position)),
            Event::Released(session, position) => self.on_released(session, position),
            Event::Fetched(session, end) => {
                let journal = self.journal(session);
                assert_eq!(journal.state, JournalState::Fetching, "{session} was not asked for");
                journal.state = JournalState::Fetched(end);
                Vec::new()
            }
            Event::Replayed(session) => {
                self.journal(session).failures = 0;
                Vec::new()
            }
            Event::Failed(session, failure) => {
                let state = self.journal(session).state;
                assert_eq!(state, JournalState::Fetching, "{session} was not asked for");
                self.on_failed(now, session, failure)
            }
            Event::NotReplayed(session) => {
                let state = self.journal(session).state;
                assert!(matches!(state, JournalState::Fetched(_)), "{session} is in {state:?}");
                self.on_failed(now, session, FetchFailure::Unreadable)
            }
            Event::Tick => self.on_tick(now),
        }
    }

    fn journal(&mut self, session: SessionId) -> &mut SourceJournal {
        self.journals.entry(session).or_default()
    }

    fn on_epoch(&mut self, record: Arc<EpochRecord>) -> Vec<Effect> {
        let before = self.record.as_ref().map(|before| before.epoch);
        assert!(before <= Some(record.epoch), "epochs never go down: {before:?}");
        // What was announced or fetched of sessions that are gone is of no use.
        let gone = self.journals.extract_if(.., |session, journal| {
            journal.state != JournalState::Fetching && !record.sessions.contains_key(session)
        });
        let fetched = gone.filter(|(_, journal)| matches!(journal.state, JournalState::Fetched(_)));
        let effects = fetched.map(|(session, _)| Effect::Forget(session)).collect();
        self.record = Some(record);
        effects
    }

    fn on_hint(&mut self, session: SessionId, hint: Hint) -> Vec<Effect> {
        self.journal(session).hint = Some(hint);
        Vec::new()
    }

    /// What was read of it before doesn't show the Release.
    fn on_released(&mut self, session: SessionId, position: Position) -> Vec<Effect> {
        let journal = self.journal(session);
        journal.released_at = journal.released_at.max(Some(position));
        if journal.state != JournalState::Fetched(JournalEnd::Live) {
            return Vec::new();
        }
        journal.state = JournalState::Absent;
        Vec::from([Effect::Forget(session)])
    }

    fn on_failed(&mut self, now: Time, session: SessionId, failure: FetchFailure) -> Vec<Effect> {
        let journal = self.journal(session);
        let doubled = RETRY_AFTER.saturating_mul(1 << journal.failures.min(8));
        journal.failures = journal.failures.saturating_add(1);
        journal.state = JournalState::Failed(now + doubled.min(LOOK_AGAIN));
        let mut effects = Vec::from([Effect::Forget(session)]);
        match failure {
            // The log, or the newest batch, says more than what was announced.
            FetchFailure::Detached | FetchFailure::ObjectMissing => {
                journal.released_at = None;
                effects.push(Effect::ReadEpochLog);
            }
            FetchFailure::Unreadable | FetchFailure::GaveUp => {}
        }
        let alert = journal.failures % FAILURES_PER_ALERT == FAILURES_BEFORE_ALERT;
        if alert && failure == FetchFailure::ObjectMissing {
            effects.push(Effect::Alert(session));
        }
        effects
    }

    /// At their deadline, live journals are read again.
    fn on_tick(&mut self, now: Time) -> Vec<Effect> {
        self.look_at = self.look_at.filter(|&at| now < at);
        if self.read_again_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.read_again_at = None;
        self.forget_fetched(|end| end == JournalEnd::Live)
    }

    /// Folds every wanted slot as far as it goes: adopts the complete ones, and has fetched what the others miss.
    /// `source` gives what was fetched of a session about a slot.
    #[must_use]
    pub fn recover<'a>(
        &mut self,
        now: Time,
        wanted: &[Wanted],
        source: impl Fn(SessionId, Slot) -> Option<Source<'a>>,
    ) -> Vec<Effect> {
        self.awaited.clear();
        if wanted.is_empty() {
            (self.look_at, self.read_again_at) = (None, None);
            // What was fetched is of no use any more.
            return self.forget_fetched(|_| true);
        }
        let mut effects = Vec::new();
        let mut missing = BTreeSet::new();
        for wanted in wanted {
            let sources = wanted.sources.iter().map(|tenure| tenure.session);
            let journals: BTreeMap<SessionId, Source<'_>> = sources
                .filter_map(|session| Some((session, source(session, wanted.slot)?)))
                .collect();
            let adopter = Adopter { tenure: wanted.tenure, submitted: wanted.submitted };
            self.note_awaited(&adopter, &wanted.sources, &journals);
            match fold(&adopter, &wanted.sources, &journals) {
                Ok(Fold::Recovered(folded)) => {
                    let (slot, tenure) = (wanted.slot, wanted.tenure);
                    let domain = self.domain();
                    let report = |&empty: &Tenure| {
                        let fact = SourceFact::Empty(empty);
                        Effect::Report(SlotReport { domain, slot, fact })
                    };
                    effects.extend(folded.empty.iter().map(report));
                    let (sources, index) = (folded.sources, folded.index);
                    effects.push(Effect::Adopt(Recovered { slot, tenure, sources, index }));
                }
                Ok(Fold::Missing(what)) => drop(missing.insert(what)),
                Err(contradiction) => {
                    let before = self.contradicted.insert(wanted.slot, wanted.tenure);
                    if before != Some(wanted.tenure) {
                        effects.push(Effect::Contradicted(wanted.slot, contradiction));
                    }
                }
            }
        }
        effects.extend(self.fetch_missing(now, &missing));
        effects
    }

    /// Which live sources have not been seen to end.
    fn note_awaited(
        &mut self,
        adopter: &Adopter,
        sources: &[Tenure],
        journals: &BTreeMap<SessionId, Source<'_>>,
    ) {
        let Some(record) = &self.record else { return };
        let live = sources
            .iter()
            .filter(|source| source.session != self.session && record.lists_open(source.session));
        let unseen = live.filter(|&&source| {
            let journal = journals.get(&source.session);
            !journal.is_some_and(|journal| ended(journal, source, adopter))
        });
        self.awaited.extend(unseen.map(|source| source.session));
        assert!(!self.awaited.contains(&self.session), "it waits for its own Release");
    }

    /// Forgets what was fetched up to such ends.
    fn forget_fetched(&mut self, is_of_no_use: impl Fn(JournalEnd) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (&session, journal) in &mut self.journals {
            if let JournalState::Fetched(end) = journal.state
                && is_of_no_use(end)
            {
                journal.state = JournalState::Absent;
                effects.push(Effect::Forget(session));
            }
        }
        effects
    }

    fn fetch_missing(&mut self, now: Time, missing: &BTreeSet<Missing>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (before, mut reads_again) = (self.look_at.take(), false);
        for &what in missing {
            let session = what.session();
            match self.need(now, what) {
                None => {}
                Some(Need::Fetch(up_to)) => {
                    let journal = self.journal(session);
                    assert_ne!(journal.state, JournalState::Fetching, "{session}: two fetches");
                    // What was fetched before doesn't show the end.
                    if let JournalState::Fetched(_) = journal.state {
                        effects.push(Effect::Forget(session));
                    }
                    journal.state = JournalState::Fetching;
                    effects.push(Effect::Fetch(session, up_to));
                }
                Some(Need::WaitUntil(at)) => self.look_again(at),
                Some(Need::ReadAgain) => {
                    reads_again = true;
                    let at = *self.read_again_at.get_or_insert(now + LOOK_AGAIN);
                    self.look_again(at);
                }
                Some(Need::NewerEpoch) => {
                    effects.push(Effect::ReadEpochLog);
                    self.look_again(now + LOOK_AGAIN);
                }
            }
        }
        let waits = |what: &Missing| self.journals[&what.session()].state != JournalState::Fetching;
        let deadline = planted::look_at(Some(Time::ZERO)).is_none() || self.look_at.is_some();
        assert!(deadline || !missing.iter().any(waits), "something is missing without a deadline");
        if !reads_again {
            self.read_again_at = None;
        }
        // Events that come often must not postpone the deadline.
        if let (Some(before), Some(_)) = (before, self.look_at) {
            self.look_again(before);
        }
        effects
    }

    /// The domain of the session: that of a slot which is recovered.
    fn domain(&self) -> DomainId {
        let record = self.record.as_ref();
        record.and_then(|record| record.domain_of_session(self.session)).unwrap_or_default()
    }

    fn look_again(&mut self, at: Time) {
        self.look_at = planted::look_at(Some(self.look_at.map_or(at, |before| before.min(at))));
    }
}

impl Missing {
    /// The session whose journal says more.
    #[must_use]
    pub const fn session(self) -> SessionId {
        match self {
            Self::Journal(session) => session,
            Self::End(tenure) => tenure.session,
        }
    }
}
