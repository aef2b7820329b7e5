//! What every host does: act on each newer epoch, join, watch the leader, leave its hint.

mod leader_watch;

use std::{collections::BTreeSet, sync::Arc};

use holocron_protocol::{
    control::{
        election,
        hints::HostHint,
        loss::LookFor,
        suspicion::{AfterSeal, after_seal},
    },
    epoch::{
        draft::{SlotReport, SourceFact},
        record::SessionState,
    },
    format::keys,
    ids::{DomainId, SessionId, Slot},
    slot::recovery,
    time::Time,
};
use holocron_store::{Patience, put_until};
use tokio_util::sync::CancellationToken;

use super::{
    Stopped,
    driver::{Driver, Event, Life},
};
use crate::{
    session::recovery::Input,
    store_io::loss::Object,
    transport::{
        peer::{JoinRequest, PeerMessage, PeerReply},
        serve::View,
    },
};

/// Facts told to the leader at once; the rest goes with a later heartbeat.
const FACTS_MAX: usize = 1_024;
/// How long a host that was not taken in waits before it asks again.
const JOIN_AGAIN: core::time::Duration = core::time::Duration::from_millis(500);
/// How long a host that is to leave waits to be let go before it stops as it is.
const LEAVE_WITHIN: core::time::Duration = core::time::Duration::from_secs(30);

/// What a host remembers as a member of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Every session this process ever opened.
    pub(super) sessions: BTreeSet<SessionId>,
    facts: BTreeSet<SlotReport>,
    counter: u64,
    ask_to_join_at: Time,
    put_hint_at: Time,
    /// The session that the newest record but one listed as ours.
    listed: Option<SessionId>,
    /// Ends the watch over the leader.
    watching: Option<(SessionId, CancellationToken)>,
    /// Since when it is to leave, if it was told to.
    pub(super) leaving: Option<Time>,
    ask_to_leave_at: Time,
}

impl Member {
    pub(crate) fn facts(&self) -> Vec<SlotReport> {
        self.facts.iter().take(FACTS_MAX).copied().collect()
    }

    pub(crate) fn next_counter(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

impl Driver {
    /// A newer epoch: the session takes up and gives away what it says.
    pub(super) fn on_view(&mut self, view: &View) {
        self.forget_facts(view);
        self.watch_leader(view);
        let Some(session) = self.life.session().cloned() else {
            return;
        };
        session.note_epoch(view.record.epoch);
        let id = session.id();
        if view.record.is_open(id) {
            self.member.listed = Some(id);
            let to_release = session.apply(&view.record);
            // After the session acted on it: the recovery looks at what is wanted now.
            let epoch = recovery::Event::Epoch(Arc::clone(&view.record));
            self.life.recovery(Input::Event(epoch));
            if !to_release.is_empty() {
                self.release(to_release);
            }
            return;
        }
        let known = view.record.sessions.get(&id).map(|entry| entry.state);
        // One that was listed and isn't any more was detached and forgotten while we did not look.
        let over =
            known.map_or(self.member.listed == Some(id), |state| state != SessionState::Open);
        if over {
            self.life.end(&format!("{} says it is sealed", view.record.epoch));
        } else if after_seal(
            &view.record,
            &self.shared.parts.name,
            DomainId::HOME,
            &self.member.sessions,
        ) == AfterSeal::Exit
            && self.was_listed(view)
        {
            self.life.end("a later host of the same name has taken its place");
        }
    }

    /// Whether another process has taken our name in a record that came after ours.
    fn was_listed(&self, view: &View) -> bool {
        let ours = &self.member.sessions;
        view.record.sessions.iter().any(|(session, _)| ours.contains(session))
    }

    fn release(&self, releases: Vec<Slot>) {
        let (Some(session), Some(view)) = (self.life.session().cloned(), self.view.clone()) else {
            return;
        };
        tracing::info!(host = %self.shared.parts.name, slots = releases.len(), "releases");
        let links = Arc::clone(&self.shared.links);
        self.shared.spawn(async move {
            let slots = releases.clone();
            let Ok(Some(position)) = Arc::clone(&session).release(releases).await else {
                return;
            };
            // Those who wait for the slots need not look for the Release themselves.
            let domain = view.record.home();
            let owners = slots.iter().filter_map(|&slot| domain.slots.holding(slot).owner);
            let owners: BTreeSet<SessionId> = owners.map(|owner| owner.session).collect();
            for owner in owners {
                if let Some((_, host)) = view.record.host_of(owner) {
                    links.tell(
                        &host.address,
                        PeerMessage::Released { session: session.id(), position },
                    );
                }
            }
        });
    }

    /// Facts that have had their effect need not be told any more.
    fn forget_facts(&mut self, view: &View) {
        let domain = view.record.home();
        self.member.facts.retain(|report| {
            let holding = domain.slots.holding(report.slot);
            match report.fact {
                SourceFact::Full(tenure) => {
                    let in_chain =
                        holding.owner == Some(tenure) || holding.sources.contains(&tenure);
                    in_chain && holding.sources.iter().any(|source| source.epoch < tenure.epoch)
                }
                SourceFact::Empty(tenure) => holding.sources.contains(&tenure),
            }
        });
    }

    pub(super) fn on_facts(&mut self, facts: Vec<SlotReport>) {
        self.member.facts.extend(facts);
        if let Some(view) = self.view.clone() {
            self.forget_facts(&view);
        }
        if self.lead.is_some() {
            let facts = self.member.facts();
            self.lead_facts(facts);
        }
    }

    /// A session of ours is open: its tasks start, and it joins.
    pub(super) fn on_opened(&mut self, session: SessionId) {
        if session != self.life.id() {
            return;
        }
        self.member.sessions.insert(session);
        self.life.opened();
        self.member.ask_to_join_at = self.now();
        if let Some(view) = self.view.clone() {
            self.on_view(&view);
        }
        if let Some(epoch) = self.create_waits.take() {
            self.create(epoch);
        } else if self.election.is_leading() && self.lead.is_none() {
            // The newest epoch is of our last life, so nobody else will write the next unless we are silent.
            self.elect(election::Event::ChangeWanted);
        }
        self.member_tick();
    }

    /// Our session is over. What comes next depends on who took its place.
    pub(super) fn on_session_over(&mut self, session: SessionId) {
        if session != self.life.id() || self.shared.parts.stop.is_cancelled() {
            return;
        }
        self.life.end("its journal is sealed");
        self.lead = None;
        if self.member.leaving.is_some() {
            self.stopped = Some(Stopped::Left);
            return;
        }
        let exit = self.view.as_ref().is_some_and(|view| {
            after_seal(&view.record, &self.shared.parts.name, DomainId::HOME, &self.member.sessions)
                == AfterSeal::Exit
        });
        if exit {
            self.stopped = Some(Stopped::Replaced(self.shared.parts.name.clone()));
            return;
        }
        tracing::warn!(host = %self.shared.parts.name, "was sealed; opens a new session and joins again");
        self.life = Life::open(&self.shared);
        // Whoever sealed us may have written an epoch that we don't know yet.
        self.shared.tell_self(Event::ReadEpochLog);
    }

    pub(super) fn member_tick(&mut self) {
        let now = self.now();
        if let Some(since) = self.member.leaving {
            return self.leaving_tick(since, now);
        }
        if self.life.is_open() {
            if now >= self.member.put_hint_at {
                self.member.put_hint_at = now + self.shared.parts.settings.host_hint_every;
                self.put_host_hint();
            }
            if now >= self.member.ask_to_join_at && !(self.is_member() && self.has_its_share()) {
                self.member.ask_to_join_at = now + JOIN_AGAIN;
                self.ask_to_join();
            }
        }
    }

    /// Whether the newest record lists our session.
    pub(super) fn is_member(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.record.is_open(self.life.id()))
    }

    /// Whether the newest record gives us the share of the slots that we asked for. One that was sealed gets it after a
    /// while, and has to remind a leader that came in between.
    fn has_its_share(&self) -> bool {
        let parts = &self.shared.parts;
        let entry = self.view.as_ref().and_then(|view| view.record.hosts.get(&parts.name));
        entry.is_some_and(|entry| entry.weight == parts.weight)
    }

    pub(super) fn join_request(&self) -> JoinRequest {
        let parts = &self.shared.parts;
        JoinRequest {
            name: parts.name.clone(),
            address: parts.address.clone(),
            session: self.life.id(),
            weight: parts.weight,
        }
    }

    fn ask_to_join(&mut self) {
        let Some(view) = &self.view else {
            // An empty log: the election sees to it.
            return;
        };
        let (leader, epoch) = (view.record.leader.clone(), view.record.epoch);
        let request = self.join_request();
        if leader.host == request.name && self.member.sessions.contains(&leader.session) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            match shared.links.ask(&leader.address, PeerMessage::Join(request)).await {
                Some(PeerReply::NotLeader { .. }) => shared.tell_self(Event::ReadEpochLog),
                Some(PeerReply::Refused(why)) => tracing::warn!(why, "not taken in yet"),
                Some(
                    PeerReply::Noted
                    | PeerReply::View(_)
                    | PeerReply::Health(_)
                    | PeerReply::Status(_),
                ) => {}
                None => {
                    tracing::debug!(%epoch, leader = %leader.host, "the leader does not answer");
                }
            }
        });
    }

    fn put_host_hint(&mut self) {
        let counter = self.member.next_counter();
        let parts = &self.shared.parts;
        let hint = HostHint {
            address: parts.address.clone(),
            sessions: [(DomainId::HOME, self.life.id())].into(),
            load: self.shared.counts.commands.load(std::sync::atomic::Ordering::Relaxed),
            counter,
        };
        let (key, body) = (keys::host_hint(&parts.name), hint.encode(parts.random.nonce()));
        let (store, stop) = (parts.store(), parts.stop.clone());
        let (loss, object) = (Arc::clone(&parts.loss), self.to_look_for(counter));
        let patience =
            Patience { budget: Some(parts.settings.host_hint_every), ..parts.patience() };
        self.shared.spawn(async move {
            // The leader of a cluster that took this one's place would take the host in by its hint.
            if loss.confirm(object, &stop).await.is_err() {
                return;
            }
            if let Err(error) = put_until(&*store, &key, body, patience, &stop).await {
                tracing::debug!(%error, "the host's hint was not put");
            }
        });
    }

    /// What shows an idle host that its store is not lost, each time something else: an older copy of the store lacks the
    /// newest epoch or the newest batches.
    fn to_look_for(&self, counter: u64) -> impl FnMut() -> Object + Send + use<> {
        let segment = self.shared.parts.cluster.epoch_segments().segment(self.epoch());
        let epoch = self.view.as_ref().map(|view| Object::Epoch(view.record.epoch, segment));
        let session = self.life.session().cloned();
        move || match (counter % 3, epoch, &session) {
            (0, Some(epoch), _) => epoch,
            (1, _, Some(session)) => session.journal.witness(LookFor::Journal),
            _ => Object::Cluster,
        }
    }

    /// This host is to leave: the leader moves its slots away, then lets it go.
    pub(super) fn leave_self(&mut self) {
        if self.member.leaving.is_some() {
            return;
        }
        let now = self.now();
        self.member.leaving = Some(now);
        let alone = self.view.as_ref().is_none_or(|view| view.record.hosts.len() <= 1);
        if alone || !self.is_member() {
            self.stopped = Some(Stopped::Left);
            return;
        }
        self.leaving_tick(now, now);
    }

    /// Reminds the leader, which may have changed or not have heard.
    fn leaving_tick(&mut self, since: Time, now: Time) {
        if now.since(since) >= LEAVE_WITHIN {
            tracing::warn!(host = %self.shared.parts.name, "was not let go in time; stops as it is");
            self.stopped = Some(Stopped::Told);
        } else if now >= self.member.ask_to_leave_at {
            self.member.ask_to_leave_at = now + JOIN_AGAIN;
            self.ask_to_leave();
        }
    }
}
