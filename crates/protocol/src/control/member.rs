//! A host as a member of the cluster: what an epoch means for its session, when it asks to join or to leave, when it opens
//! a new session and when it stops.
//!
//! A process opens one session after another, each with a new id. The newest record decides what becomes of the current
//! one: it acts on the record, it is over and the process rejoins, or another process has taken the host's name and this
//! one stops.
//!
//! Invariants:
//!
//! * A session acts only on a record that lists it as open.
//! * A session that was over is never used again; the next one has a new id.
//! * Two processes with one name don't seal each other again and again: the one that was listed before stops.

mod after_seal;
mod terms;

use alloc::{collections::BTreeSet, string::String, sync::Arc, vec, vec::Vec};
use core::time::Duration;

pub use self::after_seal::{AfterSeal, after_seal};
pub use self::terms::{Effect, Event, Identity, MemberSettings, SessionEnd, StopReason};

use crate::{
    control::report::JoinRequest,
    epoch::{
        draft::SlotReport,
        record::{EpochRecord, SessionState},
    },
    ids::{DomainId, Epoch, SessionId},
    planted,
    time::Time,
};

/// Facts told to the leader at once; the rest goes with a later heartbeat.
pub const FACTS_MAX: usize = 1_024;
/// The pause before a request to join or to leave is repeated.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long a leave may take before the host stops without a handoff.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the current session's journal can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    Opening,
    Open,
    Over,
}

/// A leave that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaving {
    since: Time,
    ask_at: Time,
}

/// One host as a member.
#[derive(Clone, Debug)]
pub struct Member {
    identity: Identity,
    settings: MemberSettings,
    session: SessionId,
    journal: Journal,
    /// Every session that this process ever opened.
    opened: BTreeSet<SessionId>,
    record: Option<Arc<EpochRecord>>,
    /// Our session in the newest record that listed one as open.
    listed: Option<SessionId>,
    facts: BTreeSet<SlotReport>,
    /// Counts hints, so that a reader sees that they move.
    counter: u64,
    put_hint_at: Time,
    ask_to_join_at: Time,
    /// The leader whose connection is watched.
    watched: Option<SessionId>,
    /// The leader whose heartbeat came last, and when.
    heard: Option<(SessionId, Time)>,
    leaving: Option<Leaving>,
}

impl Member {
    /// A host that is opening its first session and has read no record.
    #[must_use]
    pub const fn new(identity: Identity, settings: MemberSettings, session: SessionId) -> Self {
        Self {
            identity,
            settings,
            session,
            journal: Journal::Opening,
            opened: BTreeSet::new(),
            record: None,
            listed: None,
            facts: BTreeSet::new(),
            counter: 0,
            put_hint_at: Time::ZERO,
            ask_to_join_at: Time::ZERO,
            watched: None,
            heard: None,
            leaving: None,
        }
    }

    /// The current session opened instead of one that is over.
    ///
    /// # Panics
    ///
    /// When the session before isn't over, or had the same id.
    pub fn opens(&mut self, session: SessionId) {
        assert_eq!(self.journal, Journal::Over, "{} goes on", self.session);
        assert!(planted::is_fresh(!self.opened.contains(&session)), "{session} was used before");
        (self.session, self.journal) = (session, Journal::Opening);
    }

    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether a session is, or was, one of this process.
    #[must_use]
    pub fn is_own(&self, session: SessionId) -> bool {
        self.opened.contains(&session)
    }

    /// Whether the newest record lists the current session as open.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.is_open(self.session))
    }

    /// Whether the current session could act and the newest record doesn't list it. A leader writes the next epoch then:
    /// until a record lists its session, no host knows that the one before is over.
    #[must_use]
    pub fn is_unlisted(&self) -> bool {
        self.journal == Journal::Open && !self.is_member()
    }

    /// The facts to tell the leader.
    #[must_use]
    pub fn facts(&self) -> Vec<SlotReport> {
        self.facts.iter().take(FACTS_MAX).copied().collect()
    }

    /// The counter of the next hint.
    pub const fn next_counter(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// What it asks the leader with.
    #[must_use]
    pub fn join_request(&self) -> JoinRequest {
        self.identity.joins_with(self.session)
    }

    /// Takes one event to its effects. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When epochs go down.
    #[must_use]
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::Epoch(record) => self.on_epoch(now, record),
            Event::Opened(session) => self.on_opened(now, session),
            Event::SessionOver(session) => self.on_session_over(session),
            Event::Facts(facts) => {
                self.facts.extend(facts);
                self.retire_facts();
                Vec::new()
            }
            Event::Heartbeat(epoch, leader) => self.on_heartbeat(now, epoch, leader),
            Event::LeaveAsked => self.on_leave_asked(now),
            Event::Tick => self.on_tick(now),
        }
    }

    fn on_epoch(&mut self, now: Time, record: Arc<EpochRecord>) -> Vec<Effect> {
        let before = self.record.as_ref().map(|before| before.epoch);
        assert!(before < Some(record.epoch), "epochs only go up: {before:?}");
        self.record = Some(record);
        self.retire_facts();
        if let Some(why) = self.contradicts() {
            return vec![Effect::Stop(StopReason::Shards(why))];
        }
        let mut effects = self.watch_leader();
        effects.extend(self.act_on_record());
        effects.extend(self.leader_goes_on(now));
        effects
    }

    /// Why this host can't be a member: it would have other shards than the cluster.
    fn contradicts(&self) -> Option<String> {
        self.record.as_ref()?.check_shards(&self.identity.shards).err()
    }

    /// What the newest record means for the current session.
    fn act_on_record(&mut self) -> Vec<Effect> {
        let Some(record) = self.record.as_ref().filter(|_| self.journal == Journal::Open) else {
            return Vec::new();
        };
        if record.is_open(self.session) {
            self.listed = Some(self.session);
            assert!(self.opened.contains(&self.session), "an open session is one of ours");
            return vec![Effect::Apply];
        }
        let is_over = match record.sessions.get(&self.session).map(|entry| entry.state) {
            Some(SessionState::Sealed(_) | SessionState::Detached(_)) => true,
            // Open in the record, though its host isn't listed, breaks a rule of records.
            Some(SessionState::Open) => {
                unreachable!("{}: an open session of no host", self.session)
            }
            // One that was listed and isn't any more was detached and forgotten while this host didn't look.
            None => self.listed == Some(self.session),
        };
        if is_over {
            return vec![Effect::EndSession(SessionEnd::OverIn(record.epoch))];
        }
        // A process that was never a member takes the name over; one that was has been replaced.
        let was_listed = self.listed.is_some()
            || record.sessions.keys().any(|session| self.opened.contains(session));
        if was_listed && self.after_seal(record) == AfterSeal::Exit {
            return vec![Effect::EndSession(SessionEnd::Replaced)];
        }
        Vec::new()
    }

    fn after_seal(&self, record: &EpochRecord) -> AfterSeal {
        let rule = after_seal(record, &self.identity.name, DomainId::HOME, &self.opened);
        planted::after_seal(rule)
    }

    /// Watches the leader of the newest record, unless it is this process.
    fn watch_leader(&mut self) -> Vec<Effect> {
        let Some(record) = &self.record else { return Vec::new() };
        let leader = &record.leader;
        let wanted = Some(leader.session).filter(|session| !self.opened.contains(session));
        if wanted == self.watched {
            return Vec::new();
        }
        self.watched = wanted;
        vec![match wanted {
            Some(_) => Effect::WatchLeader(leader.clone()),
            None => Effect::WatchNoLeader,
        }]
    }

    /// A leader that goes on leading counts as heard when it was: its next epoch doesn't give it the long wait of a leader
    /// that was not heard yet.
    fn leader_goes_on(&self, now: Time) -> Option<Effect> {
        let (leader, at) = self.heard?;
        let record = self.record.as_ref()?;
        let goes_on = leader == record.leader.session;
        (goes_on && now.since(at) < self.settings.leader_silence_max)
            .then_some(Effect::LeaderHeard(record.epoch))
    }

    fn on_heartbeat(&mut self, now: Time, epoch: Epoch, leader: SessionId) -> Vec<Effect> {
        let known = self.record.as_ref().map_or(Epoch::ZERO, |record| record.epoch);
        let leads = self.record.as_ref().is_some_and(|record| record.leader.session == leader);
        // A heartbeat of an earlier leader says nothing about the present one.
        if epoch <= known && !leads {
            return Vec::new();
        }
        self.heard = Some((leader, now));
        vec![Effect::LeaderHeard(epoch)]
    }

    fn on_opened(&mut self, now: Time, session: SessionId) -> Vec<Effect> {
        if session != self.session {
            return Vec::new();
        }
        assert_eq!(self.journal, Journal::Opening, "{session} is opened twice");
        self.journal = Journal::Open;
        let is_new = self.opened.insert(session);
        assert!(planted::is_fresh(is_new), "{session} was used before");
        self.ask_to_join_at = now;
        let mut effects = self.watch_leader();
        effects.extend(self.act_on_record());
        effects.extend(self.on_tick(now));
        effects
    }

    /// What comes next depends on who has this host's name.
    fn on_session_over(&mut self, session: SessionId) -> Vec<Effect> {
        if session != self.session || self.journal == Journal::Over {
            return Vec::new();
        }
        self.journal = Journal::Over;
        let mut effects = vec![Effect::EndSession(SessionEnd::JournalEnded)];
        let record = self.record.as_ref();
        if self.leaving.is_some() {
            effects.push(Effect::Stop(StopReason::Left));
        } else if record.is_some_and(|record| self.after_seal(record) == AfterSeal::Exit) {
            effects.push(Effect::Stop(StopReason::Replaced));
        } else {
            // The host that sealed this session may have written an epoch that isn't known here.
            effects.extend([Effect::OpenSession, Effect::ReadEpochLog]);
        }
        effects
    }

    fn on_tick(&mut self, now: Time) -> Vec<Effect> {
        if let Some(leaving) = self.leaving {
            return self.on_leaving_tick(now, leaving);
        }
        let mut effects = Vec::new();
        if self.journal != Journal::Open {
            return effects;
        }
        if now >= self.put_hint_at {
            self.put_hint_at = now + self.settings.hint_every;
            effects.push(Effect::PutHint(self.next_counter()));
        }
        if now >= self.ask_to_join_at && !(self.is_member() && self.has_its_share()) {
            self.ask_to_join_at = now + ASK_AGAIN;
            effects.extend(self.ask_to_join());
        }
        effects
    }

    /// Whether the newest record gives this host the share of the slots that it asked for, in its zone. One that was sealed
    /// gets it after a while, and has to remind a leader that came in between.
    fn has_its_share(&self) -> bool {
        let record = self.record.as_ref();
        let entry = record.and_then(|record| record.hosts.get(&self.identity.name));
        let Identity { weight, zone, .. } = &self.identity;
        entry.is_some_and(|entry| entry.weight == *weight && entry.zone == *zone)
    }

    fn ask_to_join(&self) -> Option<Effect> {
        // With an empty log there is no leader to ask; the election sees to it.
        let leader = &self.record.as_ref()?.leader;
        let leads_itself =
            leader.host == self.identity.name && self.opened.contains(&leader.session);
        (!leads_itself).then(|| Effect::AskToJoin(leader.clone()))
    }

    fn on_leave_asked(&mut self, now: Time) -> Vec<Effect> {
        if self.leaving.is_some() {
            return Vec::new();
        }
        let leaving = Leaving { since: now, ask_at: now };
        self.leaving = Some(leaving);
        let alone = self.record.as_ref().is_none_or(|record| record.hosts.len() <= 1);
        if alone || !self.is_member() {
            return vec![Effect::Stop(StopReason::Left)];
        }
        self.on_leaving_tick(now, leaving)
    }

    /// Reminds the leader, which may have changed or not have received the request.
    fn on_leaving_tick(&mut self, now: Time, leaving: Leaving) -> Vec<Effect> {
        if now.since(leaving.since) >= LEAVE_TIMEOUT {
            return vec![Effect::Stop(StopReason::LeaveTimedOut)];
        }
        if now < leaving.ask_at {
            return Vec::new();
        }
        assert!(leaving.since <= now, "it has begun to leave");
        self.leaving = Some(Leaving { ask_at: now + ASK_AGAIN, ..leaving });
        vec![Effect::AskToLeave(self.session)]
    }

    /// Facts that have had their effect are not told any more.
    fn retire_facts(&mut self) {
        if let Some(record) = &self.record {
            self.facts.retain(|report| report.is_news_to(record));
        }
    }
}
