//! Watching the hosts: who is watched, handoffs, hints, suspects, and whether a slow host is at fault or the store.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    vec::Vec,
};
use core::time::Duration;

use super::{Effect, Leadership, home_session};
use crate::{
    control::{
        admission::{Admission, admission},
        hints::HostHint,
        report::{Health, JoinRequest},
        suspicion::{self, Suspect, Suspicion, Work},
    },
    epoch::record::{EpochRecord, WEIGHT_DEFAULT},
    ids::{DomainId, HostName, SessionId},
    planted,
    time::Time,
};

/// The longest time in which an answer of the store counts as given at once.
pub const AT_ONCE: Duration = Duration::from_secs(1);
/// How long the store must have answered at once before a slow host counts as failed.
const ANSWERS_FOR: Duration = Duration::from_secs(2);
/// How often the store is probed while a host is slow.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Whether the store answers this host at once: a journal that stands still, or slots that aren't released, may be the
/// store's fault. When a store comes back, slow hosts get as long to go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoreProbe {
    probe_at: Time,
    /// Since when every probe was answered at once.
    answers_since: Option<Time>,
    answered_at: Time,
}

impl StoreProbe {
    pub(super) const fn new(now: Time) -> Self {
        Self { probe_at: now, answers_since: None, answered_at: now }
    }

    /// A probe, if one is due.
    fn probe(&mut self, now: Time) -> Option<Effect> {
        if now < self.probe_at {
            return None;
        }
        self.probe_at = now + PROBE_EVERY;
        Some(Effect::ProbeStore)
    }

    /// A probe was answered. How long every one was, at once and without a gap: a gap is an outage, however short.
    fn answered(&mut self, now: Time, asked_at: Time) -> Duration {
        assert!(asked_at <= now, "answered before it was asked");
        if now.since(asked_at) > AT_ONCE {
            self.answers_since = None;
            return Duration::ZERO;
        }
        let goes_on = now.since(self.answered_at) <= AT_ONCE + PROBE_EVERY;
        let since = self.answers_since.filter(|_| goes_on).unwrap_or(now);
        (self.answers_since, self.answered_at) = (Some(since), now);
        now.since(since)
    }

    /// No host is slow: what the store answered until now says nothing about the next time.
    fn reset(&mut self) {
        self.answers_since = None;
    }
}

/// Whether a suspicion may be the store's fault.
const fn is_slow(suspect: &Suspect) -> bool {
    match suspect.why {
        Suspicion::Refused | Suspicion::Silent(_) => false,
        Suspicion::Standstill(_) | Suspicion::Handoff(..) => true,
    }
}

impl Leadership {
    /// Watches the hosts of the newest epoch and no others.
    pub(super) fn watch_hosts(&mut self, now: Time) -> Effect {
        let record = &self.record;
        let others = record.hosts.iter().filter(|(name, _)| **name != self.own);
        let others: BTreeMap<SessionId, _> = others
            .filter_map(|(name, host)| {
                let session = host.sessions.get(&DomainId::HOME)?;
                Some((*session, (name.clone(), host.address.clone())))
            })
            .collect();
        self.heard.retain(|name, _| record.hosts.contains_key(name));
        // One that no record lists yet may still join by its hint.
        self.by_hint.retain(|&session| admission(record, session) != Admission::Over);
        let names = others.iter().map(|(&session, (name, _))| (session, name.clone()));
        let watched = suspicion::Event::Watch(names.collect());
        let watched_before = self.watch.sessions();
        self.note(now, watched);
        // The first heartbeat, or the next listing of hints, takes longer than a heartbeat may.
        let is_new = |session: &&SessionId| !watched_before.contains(*session);
        let new = others.keys().filter(|session| self.by_hint.contains(session)).filter(is_new);
        for &session in new.collect::<Vec<_>>() {
            self.note(now, suspicion::Event::Hinted(session));
        }
        assert!(!others.contains_key(&self.record.leader.session), "a leader watches itself");
        Effect::Watch(others)
    }

    pub(super) fn on_health(
        &mut self,
        now: Time,
        host: HostName,
        mut health: Health,
    ) -> Vec<Effect> {
        // A session that isn't in the record says nothing for the one that is.
        if home_session(&self.record, &host) != Some(health.session) {
            return Vec::new();
        }
        let progress = suspicion::Progress {
            committed: health.progress.committed,
            work: if health.progress.waiting { Work::Waiting } else { Work::None },
        };
        self.note(now, suspicion::Event::Heartbeat(health.session, progress));
        self.changes.report(&self.record, &health.facts, now);
        self.domains.heard(now, &health.domains);
        self.by_hint.remove(&health.session);
        if let Some(report) = health.loads.take() {
            self.loads.report(health.session, &report);
        }
        self.heard.insert(host, health);
        self.note_handoffs_done(now);
        Vec::new()
    }

    /// At the start of a leadership: every open session that is a source of a slot that it doesn't own may owe a Release.
    pub(super) fn note_pending_handoffs(&mut self, now: Time) {
        let holdings = self.record.home().slots.distinct().iter();
        let sources = holdings.flat_map(|holding| {
            let owner = holding.owner.map(|owner| owner.session);
            let sources = holding.sources.iter().map(|source| source.session);
            sources.filter(move |session| Some(*session) != owner)
        });
        let owing: BTreeSet<SessionId> =
            sources.filter(|&session| self.record.is_open(session)).collect();
        self.begin_handoffs(now, owing);
    }

    /// Hosts that live and have slots to release by the newest epoch have a bounded time for it.
    pub(super) fn note_handoffs(&mut self, now: Time, before: &EpochRecord) {
        let mut owing = BTreeSet::new();
        for (slot, holding) in self.record.home().slots.iter() {
            let Some(owner) = before.home().slots.holding(slot).owner else { continue };
            if !holding.is_owned_by(owner.session) && self.record.is_open(owner.session) {
                owing.insert(owner.session);
            }
        }
        let epoch = self.record.epoch;
        assert!(before.epoch < epoch, "{epoch} follows {}", before.epoch);
        self.begin_handoffs(now, owing);
    }

    fn begin_handoffs(&mut self, now: Time, owing: BTreeSet<SessionId>) {
        let epoch = self.record.epoch;
        for session in owing {
            self.note(now, suspicion::Event::HandoffBegan(session, epoch));
        }
    }

    /// The sessions whose Release some host's slots wait for; `None` until every host has acted on the newest epoch and said
    /// so. A host that is known by its hints alone can't say it.
    pub(super) fn awaited(&self) -> Option<BTreeSet<SessionId>> {
        let own = &self.own_state.as_ref()?.awaiting;
        for (name, host) in self.record.hosts.iter().filter(|(name, _)| **name != self.own) {
            let by_hint = host.sessions.values().any(|session| self.by_hint.contains(session));
            let acted = self.heard.get(name).map(|health| health.epoch >= self.record.epoch);
            if !acted.unwrap_or(by_hint) {
                return None;
            }
        }
        let heard = self.heard.values().flat_map(|health| &health.awaiting);
        let awaited = heard.chain(own).copied();
        // A Release that waits for the outage of a domain's store keeps no other slot from moving.
        let is_out = |session| {
            let domain = self.record.domain_of_session(session);
            domain.is_some_and(|domain| self.domains.is_out(&self.record, domain))
        };
        Some(awaited.filter(|&session| !is_out(session)).collect())
    }

    /// A handoff is done when every host has acted on its epoch and none waits for the session any more.
    fn note_handoffs_done(&mut self, now: Time) {
        let Some(awaited) = self.awaited() else { return };
        let epoch = self.record.epoch;
        let hosts = self.record.hosts.values();
        let done: Vec<SessionId> = hosts
            .filter(|host| !host.sessions.values().any(|session| awaited.contains(session)))
            .flat_map(|host| host.sessions.values().copied())
            .collect();
        for session in done {
            self.note(now, suspicion::Event::HandoffDone(session, epoch));
        }
    }

    /// Fails the suspects that are gone; has the store probed while others are slow.
    pub(super) fn judge_suspects(&mut self, now: Time) -> Vec<Effect> {
        let suspects = self.watch.suspects(now);
        let (slow, gone): (Vec<Suspect>, Vec<Suspect>) = suspects.into_iter().partition(is_slow);
        let mut effects = Vec::new();
        for suspect in gone {
            effects.extend(self.fail(now, suspect.session, &suspect.to_string()));
        }
        if slow.is_empty() {
            self.store_probe.reset();
        } else {
            effects.extend(self.store_probe.probe(now));
        }
        effects
    }

    /// A slow host counts as failed only when the store has answered for a while.
    pub(super) fn on_store_answered(&mut self, now: Time, asked_at: Time) -> Vec<Effect> {
        let answers_for = self.store_probe.answered(now, asked_at);
        if planted::store_at_fault(answers_for < ANSWERS_FOR) {
            return Vec::new();
        }
        let mut effects = Vec::new();
        for suspect in self.watch.suspects(now).iter().filter(|suspect| is_slow(suspect)) {
            effects.extend(self.fail(now, suspect.session, &suspect.to_string()));
        }
        effects
    }

    /// A hint that moved is a sign of life of its session, and of no other that has its name in the record. A session that
    /// no record lists asks to join by it.
    pub(super) fn on_hints(
        &mut self,
        now: Time,
        hints: &BTreeMap<HostName, HostHint>,
    ) -> Vec<Effect> {
        let mut effects = self.note(now, suspicion::Event::Tick);
        let stale = self.stale.hints(now, &self.record, hints);
        if !stale.is_empty() {
            effects.push(Effect::DeleteHints(stale));
        }
        for name in self.hints.saw(hints) {
            let Some(hint) = hints.get(&name) else { continue };
            let Some(&session) = hint.sessions.get(&DomainId::HOME) else { continue };
            match admission(&self.record, session) {
                Admission::Member => drop(self.note(now, suspicion::Event::Hinted(session))),
                Admission::Over => {}
                Admission::CheckEndMark => {
                    self.by_hint.insert(session);
                    // It asks again for what its hint doesn't say.
                    effects.extend(self.clear(JoinRequest {
                        name,
                        address: hint.address.clone(),
                        session,
                        weight: WEIGHT_DEFAULT,
                        zone: None,
                        shards: hint.shards.clone(),
                        versions: hint.versions.clone(),
                    }));
                }
            }
        }
        effects
    }
}
