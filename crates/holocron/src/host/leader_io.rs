//! What the leader does: watch the hosts, take in and let go, seal the dead, place slots, let sources go, collect garbage.
//!
//! The leader is an ordinary host too. Everything it decides is written as the next epoch; until that is committed
//! nothing of it is true. What is to change is kept until it was written, so an epoch that was lost costs nothing.

mod changes;
mod collect;
mod history;
mod hosts;
mod make;
mod requests;
mod slow;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holocron_protocol::{
    control::{
        hints::HostHintWatch,
        suspicion::{self, SlotBackoff, Suspect, SuspicionSettings, Watch},
    },
    epoch::draft::SlotReport,
    format::segment::Trimmed,
    ids::{DomainId, Epoch, HostName, Position, SessionId},
    time::Time,
};
use tokio_util::sync::CancellationToken;

pub(super) use self::changes::Changes;
use self::slow::is_slow;
use super::driver::{Driver, Event};
use crate::transport::{
    peer::{Health, JoinRequest, PeerMessage, Progress},
    serve::View,
};

/// What comes back from the leader's own tasks.
#[derive(Debug)]
pub(crate) enum LeadEvent {
    /// A host said how it is.
    Health(HostName, Health),
    /// The connection to a session's host stands.
    Connected(SessionId),
    /// It broke.
    Broken(SessionId),
    /// No process listens where a session's host was.
    Refused(SessionId),
    /// A session is sealed, there.
    Sealed(SessionId, Position),
    /// A session could not be sealed; it is tried again.
    NotSealed(SessionId),
    /// A look at the store was answered at once; asked then.
    StoreAnswered(Time),
    /// Nothing is left of a detached session but its seal and marks.
    Collected(SessionId),
    /// The session that asks to join was never detached, as of that epoch.
    Cleared(JoinRequest, Epoch),
    /// The session that asks to join is over for ever.
    Detached(JoinRequest),
    /// The hosts' hints were listed.
    Hints(BTreeMap<HostName, holocron_protocol::control::hints::HostHint>),
}

/// A leadership: from the first epoch of ours to the first of another's.
pub(crate) struct Lead {
    pub(super) changes: Changes,
    watch: Watch,
    waits: SlotBackoff,
    /// The tasks that watch the hosts, by session, with the address they watch.
    watchers: BTreeMap<SessionId, (String, CancellationToken)>,
    /// What each host last said.
    heard: BTreeMap<HostName, Health>,
    sealing: BTreeSet<SessionId>,
    collecting: BTreeSet<SessionId>,
    hints: HostHintWatch,
    list_hints_at: Time,
    balance_at: Time,
    /// When to look at the store next, while some host is slow.
    look_at: Time,
    /// Since when the store has answered every look at once.
    answers_since: Option<Time>,
    answered_at: Time,
    /// Hosts that joined without a share because they were sealed a moment ago; they get it when they have waited.
    shares: BTreeMap<HostName, JoinRequest>,
    /// How far the epoch log was cut, once that is known; locked while it is being cut.
    cutting: Arc<tokio::sync::Mutex<Option<Trimmed>>>,
    /// Ends every task of this leadership.
    stop: CancellationToken,
}

/// How long after an epoch the leader looks whether slots are spread evenly.
const BALANCE_AFTER: core::time::Duration = core::time::Duration::from_millis(200);
/// How long what only lets garbage go waits for company.
const GARBAGE_WAIT: core::time::Duration = core::time::Duration::from_secs(1);

impl Drop for Lead {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Lead {
    fn new(run: &Driver) -> Self {
        let (parts, now) = (&run.shared.parts, run.now());
        let settings = &parts.settings;
        let suspicion = SuspicionSettings {
            interval: settings.heartbeat,
            missed_max: settings.heartbeats_missed_max,
            silence_by_hint_max: settings.host_hint_every * 3,
            standstill: settings.standstill_max,
            handoff_timeout: settings.handoff_timeout,
            late_after: settings.heartbeat * 3,
        };
        Self {
            changes: Changes::default(),
            watch: Watch::new(suspicion, now),
            waits: SlotBackoff::default(),
            watchers: BTreeMap::new(),
            heard: BTreeMap::new(),
            sealing: BTreeSet::new(),
            collecting: BTreeSet::new(),
            hints: HostHintWatch::default(),
            list_hints_at: now + settings.host_hint_every,
            balance_at: now,
            look_at: now,
            answers_since: None,
            answered_at: now,
            shares: BTreeMap::new(),
            cutting: Arc::default(),
            stop: parts.stop.child_token(),
        }
    }

    /// Our own tick was late.
    pub(super) fn paused(&mut self, now: Time) {
        // The watch sees the late tick by itself and starts everybody afresh.
        self.note(now, suspicion::Event::Tick);
    }

    /// Tells the watch something that says nothing about ourselves.
    pub(super) fn note(&mut self, now: Time, event: suspicion::Event) {
        let (suspicion::Own::Running | suspicion::Own::Paused) = self.watch.step(now, event);
    }

    /// How far a session had come, by what its host last said.
    fn progress(&self, host: &HostName, session: SessionId) -> Option<Progress> {
        self.heard
            .get(host)
            .filter(|health| health.session == session)
            .map(|health| health.progress)
    }
}

impl Driver {
    /// A record of ours is the newest.
    pub(super) fn on_leading(&mut self, epoch: Epoch) {
        let created = self.created.take().filter(|view| view.record.epoch == epoch);
        if let Some(view) = created {
            self.lead_view(&view);
        } else if let Some(view) = self.view.clone() {
            // An unclear create that turned out to be ours was read from the log.
            self.lead_written(None, &view);
        }
    }

    fn lead_view(&mut self, view: &View) {
        let before = self.view.clone();
        self.push(view);
        self.take_view(view);
        self.lead_written(before.as_ref(), view);
    }

    fn lead_written(&mut self, before: Option<&View>, view: &View) {
        if view.record.leader.session != self.life.id() {
            // Made in our last life, which is over: what this one leads by is yet to be written.
            return;
        }
        if self.lead.is_none() {
            tracing::info!(host = %self.shared.parts.name, epoch = %view.record.epoch, "leads");
            self.lead = Some(Lead::new(self));
        }
        let now = self.now();
        let lead = self.lead.as_mut().expect("it was made above");
        lead.changes.written(&view.record);
        lead.balance_at = now + BALANCE_AFTER;
        lead.note_handoffs(now, before, view);
        self.watch_hosts(view);
        self.seal_wanted(view);
        self.collect_detached(view);
        self.collect_epochs(view);
    }

    /// Tells every host of a new epoch, also one that takes our place under our name.
    fn push(&self, view: &View) {
        for host in view.record.hosts.values() {
            if host.sessions.get(&DomainId::HOME) != Some(&view.record.leader.session) {
                self.shared.links.tell(
                    &host.address,
                    PeerMessage::Epoch { epoch: view.record.epoch, stored: view.stored.clone() },
                );
            }
        }
    }

    pub(super) fn on_following(&mut self) {
        if self.lead.take().is_some() {
            tracing::info!(host = %self.shared.parts.name, "leads no more");
        }
        self.created = None;
    }

    pub(super) fn lead_tick(&mut self) {
        let now = self.now();
        // Until a record lists the session we live in, nobody knows that the last one is over.
        if self.election.is_leading() && self.life.is_open() && !self.is_member() {
            self.elect(holocron_protocol::control::election::Event::ChangeWanted);
        }
        let Some(lead) = &mut self.lead else {
            return;
        };
        let own = lead.watch.step(now, suspicion::Event::Tick);
        let store = if self.shared.parts.watched.fails() {
            suspicion::Event::StoreFailing
        } else {
            suspicion::Event::StoreWorking
        };
        lead.note(now, store);
        if own == suspicion::Own::Running {
            let suspects = lead.watch.suspects(now);
            let (slow, gone): (Vec<Suspect>, Vec<Suspect>) =
                suspects.into_iter().partition(is_slow);
            for suspect in gone {
                self.fail(suspect.session, &suspect.to_string());
            }
            if slow.is_empty() {
                self.forget_store_answer();
            } else {
                self.look_at_store(now);
            }
        }
        self.list_hints(now);
        self.give_shares(now);
        self.want_balance(now);
        let wanted = self.lead.as_ref().is_some_and(|lead| lead.changes.wanted(now, GARBAGE_WAIT));
        if wanted {
            self.elect(holocron_protocol::control::election::Event::ChangeWanted);
        }
    }

    /// Takes the host that lives a session for dead: it is sealed, and the next epoch gives its slots to others.
    fn fail(&mut self, session: SessionId, why: &str) {
        let (Some(lead), Some(view)) = (&mut self.lead, self.view.clone()) else {
            return;
        };
        let Some((host, entry)) = view.record.host_of(session) else {
            return;
        };
        if *host == self.shared.parts.name || !lead.changes.fail(session, why) {
            return;
        }
        tracing::warn!(%host, why, "is taken for dead");
        lead.waits.sealed(host, self.shared.parts.clock.now());
        for &session in entry.sessions.values() {
            self.tell_of_seal(session, host);
            self.seal(session);
        }
        self.elect(holocron_protocol::control::election::Event::ChangeWanted);
    }

    /// Those who may get its slots can read what it is known to have written while it is being sealed.
    fn tell_of_seal(&self, session: SessionId, host: &HostName) {
        let (Some(lead), Some(view)) = (&self.lead, &self.view) else {
            return;
        };
        let Some(progress) = lead.progress(host, session) else {
            return;
        };
        for (name, entry) in &view.record.hosts {
            if *name == self.shared.parts.name {
                self.shared.tell_self(Event::Prefetch { session, progress });
            } else if name != host {
                self.shared.links.tell(&entry.address, PeerMessage::Prefetch { session, progress });
            }
        }
    }

    pub(super) fn lead_facts(&mut self, facts: Vec<SlotReport>) {
        let now = self.now();
        if let Some(lead) = &mut self.lead {
            lead.changes.facts(facts, now);
        }
    }

    pub(super) fn on_lead(&mut self, event: LeadEvent) {
        let now = self.now();
        let Some(lead) = &mut self.lead else {
            return;
        };
        match event {
            LeadEvent::Health(host, health) => self.on_health(host, health),
            LeadEvent::Connected(session) => lead.note(now, suspicion::Event::Connected(session)),
            LeadEvent::Broken(session) => lead.note(now, suspicion::Event::Broken(session)),
            LeadEvent::Refused(session) => {
                lead.note(now, suspicion::Event::Refused(session));
                // Nothing but detection waits on a clock.
                self.lead_tick();
            }
            LeadEvent::Sealed(session, position) => {
                lead.changes.sealed(session, position, now);
                if let Some(view) = &self.view {
                    for (name, host) in &view.record.hosts {
                        if *name == self.shared.parts.name {
                            self.shared.tell_self(Event::Sealed { session, position });
                        } else {
                            self.shared
                                .links
                                .tell(&host.address, PeerMessage::Sealed { session, position });
                        }
                    }
                }
            }
            LeadEvent::NotSealed(session) => {
                lead.sealing.remove(&session);
                self.seal(session);
            }
            LeadEvent::StoreAnswered(asked_at) => self.on_store_answered(asked_at),
            LeadEvent::Collected(session) => lead.changes.forget(session, now),
            LeadEvent::Cleared(request, epoch) => {
                lead.changes.join(request, epoch);
                self.lead_tick();
            }
            LeadEvent::Detached(request) => {
                tracing::warn!(host = %request.name, "asks to join with a session that is over for ever");
            }
            LeadEvent::Hints(hints) => self.on_hints(&hints),
        }
    }

    /// Looks whether slots should move, once nobody waits for slots any more.
    fn want_balance(&mut self, now: Time) {
        let (Some(lead), Some(view)) = (&mut self.lead, &self.view) else {
            return;
        };
        if now < lead.balance_at {
            return;
        }
        lead.balance_at = now + BALANCE_AFTER * 5;
        let awaited = lead.heard.values().any(|health| !health.awaiting.is_empty());
        if awaited {
            return;
        }
        let digest = holocron_protocol::epoch::record::RecordDigest::of(&view.stored);
        let mut draft = holocron_protocol::epoch::draft::Draft::after(&view.record, digest);
        if draft.rebalance(make::MOVES_MAX) > 0 {
            lead.changes.balance = true;
        }
    }
}

impl Lead {
    /// Hosts that live and have slots to release by this epoch have so long to do it.
    fn note_handoffs(&mut self, now: Time, before: Option<&View>, view: &View) {
        let Some(before) = before else {
            return;
        };
        let (Some(old), Some(new)) =
            (before.record.domains.get(&DomainId::HOME), view.record.domains.get(&DomainId::HOME))
        else {
            return;
        };
        let mut owing = BTreeSet::new();
        for (slot, holding) in new.slots.iter() {
            let owner_before = old.slots.holding(slot).owner;
            if let Some(owner) = owner_before
                && holding.owner.map(|owner| owner.session) != Some(owner.session)
                && view.record.is_open(owner.session)
            {
                owing.insert(owner.session);
            }
        }
        for session in owing {
            self.note(now, suspicion::Event::HandoffBegan(session, view.record.epoch));
        }
    }
}
