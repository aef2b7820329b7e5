//! The leader's duties: which hosts are watched, which joins are admitted, which hosts count as failed, what the next
//! epoch changes, what is sealed, detached and collected.
//!
//! A leadership lasts from the first record of a session to the first of another session. Everything it decides is written
//! as the next epoch; until that is committed nothing of it is true. Pending changes are kept until a record says them.
//!
//! Invariants:
//!
//! * A session that no record lists joins only if it was cleared as of the newest record ([`super::admission`]).
//! * What is held against a host names its session. A host that joined again with another isn't touched by it.
//! * A host that is slow, not silent, counts as failed only while the store answers this host at once.
//! * A session is sealed by one task at a time, and collected by one.

mod changes;
mod collecting;
mod describe;
mod domains;
mod hosts;
mod loads;
mod moves;
mod next;
mod requests;
mod terms;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    sync::Arc,
    vec,
    vec::Vec,
};
use core::time::Duration;

pub use self::{
    changes::GARBAGE_DELAY,
    describe::{LeaderStatus, PlannedMove},
    domains::{ACCESS_FAILS_MAX, DomainEvent},
    hosts::AT_ONCE,
    loads::{COPY_MAX, LASTS, Waits},
    moves::{FETCH_MAX, LOOK_EVERY, ORDERS_MAX},
    next::{Base, Founded, MOVES_MAX, Next, Writer, next_record},
    requests::Answer,
    terms::{Effect, Event, LeaderSettings, Own, StoreHealth},
};
use self::{
    changes::{Changes, Noted},
    collecting::{Collecting, Looked},
    domains::Domains,
    loads::Loads,
    moves::Plan,
};
use crate::{
    checkpoint::collect::Detached,
    control::{
        hints::HostHintWatch,
        report::{Health, JoinRequest, Progress},
        stale::Stale,
        suspicion::{self, SlotBackoff, Watch},
    },
    epoch::record::{EpochRecord, RecordDigest, SessionState},
    ids::{DomainId, HostName, SessionId},
    journal::sealing::Hint,
    time::Time,
};

/// How long after an epoch the leader looks whether slots should move.
pub const LOOK_AFTER: Duration = Duration::from_millis(200);
/// How often the leader looks for garbage that no event tells of: one list, and a get if old epochs are due.
pub const TIDY_EVERY: Duration = Duration::from_secs(5 * 60);

/// A leadership.
#[derive(Clone, Debug)]
pub struct Leadership {
    own: HostName,
    settings: LeaderSettings,
    record: Arc<EpochRecord>,
    digest: RecordDigest,
    changes: Changes,
    domains: Domains,
    watch: Watch,
    backoff: SlotBackoff,
    /// What each host said last.
    heard: BTreeMap<HostName, Health>,
    /// How our own host is; unknown from an epoch to the next tick.
    own_state: Option<Own>,
    loads: Loads,
    sealing: BTreeSet<SessionId>,
    /// Sessions that could not be sealed at the last attempt.
    unsealable: BTreeSet<SessionId>,
    collecting: Collecting,
    stale: Stale,
    tidy_at: Time,
    hints: HostHintWatch,
    /// Sessions that joined by a hint and haven't answered a heartbeat.
    by_hint: BTreeSet<SessionId>,
    list_hints_at: Time,
    /// When to look whether slots should move.
    look_at: Time,
    /// The next move of slots.
    plan: Plan,
    store_probe: hosts::StoreProbe,
    /// Hosts that joined without a share of the slots because they were sealed a moment ago.
    waiting_for_share: BTreeMap<HostName, JoinRequest>,
}

impl Leadership {
    /// A leadership that begins with this record.
    #[must_use]
    pub fn new(
        own: HostName,
        settings: LeaderSettings,
        now: Time,
        record: Arc<EpochRecord>,
        digest: RecordDigest,
    ) -> Self {
        Self {
            own,
            settings,
            loads: Loads::new(record.slot_count, now),
            record,
            digest,
            changes: Changes::default(),
            domains: Domains::default(),
            watch: Watch::new(settings.suspicion, now),
            backoff: SlotBackoff::default(),
            heard: BTreeMap::new(),
            own_state: None,
            sealing: BTreeSet::new(),
            unsealable: BTreeSet::new(),
            collecting: Collecting::new(settings.collect_again_after),
            stale: Stale::default(),
            tidy_at: now + TIDY_EVERY,
            hints: HostHintWatch::default(),
            by_hint: BTreeSet::new(),
            list_hints_at: now + settings.list_hints_every,
            look_at: now,
            plan: Plan::None,
            store_probe: hosts::StoreProbe::new(now),
            waiting_for_share: BTreeMap::new(),
        }
    }

    /// Takes one event to its effects. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When a record of another leader is said to be ours.
    #[must_use]
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::Written(record, digest, before) => self.on_written(now, record, digest, before),
            Event::Tick(own) => {
                let store = match own.store {
                    StoreHealth::Working => suspicion::Event::StoreWorking,
                    StoreHealth::Failing => suspicion::Event::StoreFailing,
                };
                self.own_state = Some(own);
                self.note(now, store);
                self.on_tick(now)
            }
            Event::OwnLoads(report) => {
                self.loads.report(self.record.leader.session, &report);
                Vec::new()
            }
            // The watch notices the late tick by itself and gives every host a new start.
            Event::Paused => {
                self.stale = Stale::default();
                self.note(now, suspicion::Event::Tick)
            }
            Event::Health(host, health) => self.on_health(now, host, health),
            Event::Connected(session) => self.note(now, suspicion::Event::Connected(session)),
            Event::Broken(session) => self.note(now, suspicion::Event::Broken(session)),
            Event::Refused(session) => {
                self.note(now, suspicion::Event::Refused(session));
                self.on_tick(now)
            }
            Event::Hints(hints) => self.on_hints(now, &hints),
            Event::Sealed(session, position) => {
                self.changes.sealed(session, position, now);
                vec![Effect::AnnounceSealed(session, position)]
            }
            // Of an earlier leadership's seal, nothing follows.
            Event::NotSealed(session) if !self.sealing.remove(&session) => Vec::new(),
            Event::NotSealed(session) => {
                self.unsealable.insert(session);
                self.seal(session).into_iter().collect()
            }
            Event::Collected(session) => {
                match self.collecting.collected(now, session) {
                    Looked::Again => {}
                    Looked::Forget => self.changes.forget(session, now),
                }
                Vec::new()
            }
            Event::NotCollected(session) => {
                self.collecting.not_collected(now, session);
                Vec::new()
            }
            Event::Scratch(listed) => {
                // A listing may come before the late tick.
                drop(self.note(now, suspicion::Event::Tick));
                let old = self.stale.scratch(now, &listed);
                if old.is_empty() { Vec::new() } else { vec![Effect::DeleteScratch(old)] }
            }
            Event::StoreAnswered(asked_at) => self.on_store_answered(now, asked_at),
            Event::Cleared(request, cleared) => {
                self.changes.joins.insert(request.name.clone(), (request, cleared));
                self.on_tick(now)
            }
            Event::Facts(reports) => {
                self.changes.report(&self.record, &reports, now);
                Vec::new()
            }
            Event::Join(request) => self.on_join(request),
            Event::Leave(session) => self.on_leave(now, session),
            Event::SealHost(host) => self.on_seal_host(now, &host),
            Event::Prefetched { to, from } => self.on_prefetched(now, (to, from)),
            Event::Drain(host) => self.on_drain(now, &host),
            Event::Undrain(host) => self.on_undrain(now, &host),
            Event::Move(slots, host) => self.on_move(now, &slots, &host),
            Event::Domain(event) => self.on_domain(now, event),
        }
    }

    /// Tells the watch something. After a pause, what was left behind is watched anew.
    fn note(&mut self, now: Time, event: suspicion::Event) -> Vec<Effect> {
        match self.watch.step(now, event) {
            suspicion::Own::Running => {}
            suspicion::Own::Paused => self.stale = Stale::default(),
        }
        Vec::new()
    }

    fn on_written(
        &mut self,
        now: Time,
        record: Arc<EpochRecord>,
        digest: RecordDigest,
        before: Option<Arc<EpochRecord>>,
    ) -> Vec<Effect> {
        assert!(self.record.epoch <= record.epoch, "{} after {}", record.epoch, self.record.epoch);
        let (own, leader) = (self.record.leader.session, record.leader.session);
        assert_eq!(own, leader, "a leadership is one session's");
        let left = self.have_left(&record);
        (self.record, self.digest) = (record, digest);
        self.changes.written(&self.record);
        self.domains.written(&self.record);
        self.own_state = None;
        self.loads.written(now, &self.record);
        self.look_at = now + LOOK_AFTER;
        self.plan = Plan::None;
        self.sealing.retain(|session| self.record.sessions.contains_key(session));
        self.unsealable.retain(|session| self.record.sessions.contains_key(session));
        let mut effects = vec![self.watch_hosts(now)];
        effects.extend(left);
        match before {
            Some(before) => self.note_handoffs(now, &before),
            None => self.note_pending_handoffs(now),
        }
        let wanted: Vec<SessionId> = self.record.seals_wanted().collect();
        effects.extend(wanted.into_iter().filter_map(|session| self.seal(session)));
        effects.extend(self.collect_detached());
        effects.push(Effect::TrimEpochLog(self.record.epoch));
        effects
    }

    /// Seals a session, unless that is under way.
    fn seal(&mut self, session: SessionId) -> Option<Effect> {
        if !self.sealing.insert(session) {
            return None;
        }
        let host = self.record.sessions.get(&session).map(|entry| &entry.host);
        let progress = host.and_then(|host| self.progress(host, session));
        let hint = progress.map_or(Hint::Nothing, |progress| Hint::Committed(progress.committed));
        Some(Effect::Seal(session, hint))
    }

    /// How far a session had come, by what its host said last.
    fn progress(&self, host: &HostName, session: SessionId) -> Option<Progress> {
        let health = self.heard.get(host).filter(|health| health.session == session);
        let home = health.map(|health| health.progress);
        home.or_else(|| self.domains.progress(session))
    }

    /// Deletes what is left of detached sessions. The record that says so is the newest: we have just written or read it.
    fn collect_detached(&mut self) -> Vec<Effect> {
        let detached: BTreeSet<SessionId> =
            self.record.detached().map(|(session, _)| session).collect();
        let begun = self.collecting.detached(&detached);
        self.collect(&begun)
    }

    /// Collects these sessions, all of them detached in the newest record that this leadership knows. Once detached, a
    /// session is detached in every later record too.
    fn collect(&self, sessions: &[SessionId]) -> Vec<Effect> {
        let detached = sessions.iter().map(|&session| {
            match self.record.sessions.get(&session).map(|entry| entry.state) {
                Some(SessionState::Detached(sealed_at)) => Detached { session, sealed_at },
                other => panic!("{session} is collected, but is {other:?}"),
            }
        });
        detached.map(Effect::Collect).collect()
    }

    /// Looks for garbage that no event tells of.
    fn tidy(&mut self, now: Time) -> Vec<Effect> {
        let looks = self.collecting.due(now);
        let mut effects = self.collect(&looks);
        if now >= self.tidy_at {
            self.tidy_at = now + TIDY_EVERY;
            effects.push(Effect::ListScratch);
            // Epochs also grow old without a new one.
            effects.push(Effect::TrimEpochLog(self.record.epoch));
        }
        effects
    }

    /// Whatever is due.
    fn on_tick(&mut self, now: Time) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.watch.step(now, suspicion::Event::Tick) {
            suspicion::Own::Running => effects.extend(self.judge_suspects(now)),
            // What wasn't heard while this process was paused says nothing, nor what was seen before.
            suspicion::Own::Paused => self.stale = Stale::default(),
        }
        if now >= self.list_hints_at {
            self.list_hints_at = now + self.settings.list_hints_every;
            // Hosts that answer heartbeats need no hint.
            effects.push(Effect::ListHints(self.heard.keys().cloned().collect()));
        }
        effects.extend(self.tidy(now));
        self.end_backoffs(now);
        self.judge_domains(now);
        effects.extend(self.plan_moves(now));
        if self.changes.is_due(now)
            || self.domains.is_due()
            || self.moves_next()
            || self.one_can_go()
        {
            effects.push(Effect::WriteEpoch);
        }
        effects
    }

    /// Hosts that were sealed a moment ago get their share of the slots when their back-off ends.
    fn end_backoffs(&mut self, now: Time) {
        let backoff = &self.backoff;
        let due = |host: &HostName| backoff.slots_from(host, now) <= now;
        let waited: Vec<HostName> =
            self.waiting_for_share.keys().filter(|host| due(host)).cloned().collect();
        for host in waited {
            let request = self.waiting_for_share.remove(&host).expect("it was just found");
            assert_eq!(request.name, host, "a share goes to the host that waits for it");
            let entry = self.record.hosts.get(&host);
            let lacks_it = entry.is_some_and(|entry| {
                (entry.weight, &entry.zone) != (request.weight, &request.zone)
            });
            // It may have gone, or have joined with its share after all.
            if lacks_it && self.record.is_open(request.session) {
                self.changes.shares.insert(host, request);
            }
        }
    }

    /// The host that lives a session counts as failed: it is sealed, and the next epoch gives its slots to others.
    fn fail(&mut self, now: Time, session: SessionId, why: &str) -> Vec<Effect> {
        let record = Arc::clone(&self.record);
        let Some((host, entry)) = record.host_of(session) else { return Vec::new() };
        if *host == self.own || self.changes.fail(session, why) == Noted::Before {
            return Vec::new();
        }
        assert_ne!(session, record.leader.session, "a leader doesn't fail itself");
        self.backoff.sealed(host, now);
        self.plan = Plan::None;
        let mut effects = vec![Effect::Failed(host.clone(), why.to_string())];
        for &session in entry.sessions.values() {
            let progress = self.progress(host, session);
            let announce = |progress| Effect::AnnounceSeal(host.clone(), session, progress);
            effects.extend(progress.map(announce));
            effects.extend(self.seal(session));
        }
        effects.push(Effect::WriteEpoch);
        effects
    }
}

/// The session of a host in the home domain.
fn home_session(record: &EpochRecord, host: &HostName) -> Option<SessionId> {
    record.hosts.get(host)?.sessions.get(&DomainId::HOME).copied()
}
