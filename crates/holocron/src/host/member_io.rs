//! Carries out what `protocol::control::member` decides: joins, leaves, acts on epochs, puts the host's hint.

mod leader_watch;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use holocron_protocol::{
    control::{
        election::{self, HeardBy},
        hints::HostHint,
        leader,
        loss::LookFor,
        member::{Effect, Event as MemberEvent, SessionEnd, StopReason},
    },
    epoch::record::Leader,
    format::keys,
    ids::{DomainId, SessionId, Slot},
    slot::recovery,
};
use holocron_store::{Patience, put_until};

use super::{
    Stopped,
    driver::{CurrentSession, Driver, Event, Place},
};
use crate::{
    session::{Session, recovery::Input},
    store_io::loss::Object,
    transport::{
        peer::{PeerMessage, PeerReply},
        serve::View,
    },
};

impl Driver {
    /// Hands the member an event and carries out its effects.
    pub(super) fn member(&mut self, event: MemberEvent) {
        let record =
            if let MemberEvent::Epoch(record) = &event { Some(Arc::clone(record)) } else { None };
        for effect in self.member.step(self.now(), event) {
            self.member_effect(effect);
        }
        if let Some(record) = record {
            self.domains_learn(&record);
        }
    }

    fn member_effect(&mut self, effect: Effect) {
        let name = &self.shared.parts.name;
        match effect {
            Effect::Apply => self.apply(),
            Effect::EndSession(why) => {
                self.current.end(&why.to_string());
                if why == SessionEnd::JournalEnded {
                    self.lead = None;
                }
            }
            Effect::OpenSession => {
                tracing::warn!(host = %name, session = %self.current.id(), "session was sealed; host opens a new one and rejoins");
                self.current = CurrentSession::open(&self.shared, Place::home(&self.shared.parts));
                self.member.opens(self.current.id());
            }
            Effect::ReadEpochLog => self.shared.tell_self(Event::ReadEpochLog),
            Effect::LeaderHeard(epoch) => {
                self.elect(election::Event::HeardLeader { epoch, by: HeardBy::Connection });
            }
            Effect::WatchLeader(leader) => self.watch_leader(leader),
            Effect::WatchNoLeader => self.watch_no_leader(),
            Effect::PutHint(counter) => self.put_host_hint(counter),
            Effect::AskToJoin(leader) => self.ask_to_join(&leader),
            Effect::AskToLeave(session) => self.ask_to_leave(session),
            Effect::Stop(StopReason::Left) => self.stopped = Some(Stopped::Left),
            Effect::Stop(StopReason::Replaced) => {
                self.stopped = Some(Stopped::Replaced(name.clone()));
            }
            Effect::Stop(StopReason::Shards(why)) => self.stopped = Some(Stopped::Failed(why)),
            Effect::Stop(StopReason::LeaveTimedOut) => {
                tracing::warn!(host = %name, "leave timed out; stopping without handoff");
                self.stopped = Some(Stopped::Told);
            }
        }
    }

    /// Our session is open: starts its tasks and joins.
    pub(super) fn on_opened(&mut self, session: SessionId) {
        if session != self.current.id() {
            return;
        }
        self.current.opened();
        self.current.note_epoch(self.epoch());
        self.member(MemberEvent::Opened(session));
        match self.create_waits.take() {
            Some(epoch) => self.create(epoch),
            None => self.list_own_session(),
        }
    }

    /// A leader whose newest record doesn't list its session writes the next epoch.
    pub(super) fn list_own_session(&mut self) {
        if self.election.is_leading() && self.member.is_unlisted() {
            self.elect(election::Event::ChangeWanted);
        }
    }

    /// The session acts on the newest record.
    fn apply(&self) {
        self.apply_to(&self.current);
    }

    /// A session acts on the newest record.
    pub(super) fn apply_to(&self, current: &CurrentSession) {
        let (Some(session), Some(view)) = (current.session().cloned(), self.view.clone()) else {
            return;
        };
        let to_release = session.apply(&view.record);
        // After the session acted on it: the recovery looks at the session's state.
        let epoch = recovery::Event::Epoch(Arc::clone(&view.record));
        current.recovery(Input::Event(epoch));
        for slots in session.release_groups(to_release) {
            self.release(Arc::clone(&session), view.clone(), slots);
        }
    }

    fn release(&self, session: Arc<Session>, view: View, releases: Vec<Slot>) {
        tracing::info!(host = %self.shared.parts.name, session = %session.id(), epoch = %view.record.epoch,
            slots = releases.len(), "session releases slots");
        let links = Arc::clone(&self.shared.links);
        self.shared.spawn(async move {
            let slots = releases.clone();
            let Ok(Some(position)) = Arc::clone(&session).release(releases).await else {
                return;
            };
            // Tells the new owners the position, so that they need not poll for the Release.
            let Some(table) = view.record.slots_around(session.id()) else { return };
            let owners = slots.iter().filter_map(|&slot| table.holding(slot).owner);
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

    fn ask_to_join(&self, leader: &Leader) {
        let (epoch, request) = (self.epoch(), self.member.join_request());
        let (shared, leader) = (Arc::clone(&self.shared), leader.clone());
        self.shared.spawn(async move {
            let host = &shared.parts.name;
            match shared.links.ask(&leader.address, PeerMessage::Join(request)).await {
                Some(PeerReply::NotLeader { .. }) => shared.tell_self(Event::ReadEpochLog),
                Some(PeerReply::Refused(why)) => tracing::warn!(%host, why, "leader refused the join; host retries"),
                Some(
                    PeerReply::Noted
                    | PeerReply::View(_)
                    | PeerReply::Health(_)
                    | PeerReply::Status(_)
                    | PeerReply::Vnode(_)
                    | PeerReply::Listed(_)
                    | PeerReply::NotServed
                    | PeerReply::Frozen(_)
                    | PeerReply::Measures(_)
                    | PeerReply::Sealed(_)
                    | PeerReply::Kinds(_),
                ) => {}
                None => {
                    tracing::debug!(%host, %epoch, leader = %leader.host, "leader did not answer the join; host retries");
                }
            }
        });
    }

    /// Asks the leader, which may be this host.
    fn ask_to_leave(&mut self, session: SessionId) {
        if self.lead.is_some() {
            return self.lead(leader::Event::Leave(session));
        }
        if let Some(view) = &self.view {
            self.shared.links.tell(&view.record.leader.address, PeerMessage::Leave(session));
        }
    }

    fn put_host_hint(&self, counter: u64) {
        let parts = &self.shared.parts;
        let hint = HostHint {
            address: parts.address.clone(),
            sessions: [(DomainId::HOME, self.current.id())].into(),
            load: self.shared.counts.commands.load(Ordering::Relaxed),
            counter,
            shards: parts.kinds.shards(),
            versions: parts.kinds.versions(),
        };
        let (key, body) = (keys::host_hint(&parts.name), hint.encode(parts.random.nonce()));
        let (store, stop) = (parts.store(), parts.stop.clone());
        let (loss, object) = (Arc::clone(&parts.loss), self.to_look_for(counter));
        let patience =
            Patience { budget: Some(parts.settings.host_hint_every), ..parts.patience() };
        self.shared.spawn(async move {
            // If another cluster replaced this one, its leader would let this host join by the hint.
            if loss.confirm(object, &stop).await.is_err() {
                return;
            }
            if let Err(error) = put_until(&*store, &key, body, patience, &stop).await {
                tracing::debug!(key, %error, "put of the host hint failed");
            }
        });
    }

    /// The next object whose presence shows an idle host that its store is not lost. They take turns: an older copy of the
    /// store lacks the newest epoch or the newest batches.
    fn to_look_for(&self, counter: u64) -> impl FnMut() -> Object + Send + use<> {
        let segment = self.shared.parts.cluster.epoch_segments().segment(self.epoch());
        let epoch = self.view.as_ref().map(|view| Object::Epoch(view.record.epoch, segment));
        let session = self.current.session().cloned();
        move || match (counter % 3, epoch, &session) {
            (0, Some(epoch), _) => epoch,
            (1, _, Some(session)) => session.journal.witness(LookFor::Journal),
            _ => Object::Cluster,
        }
    }
}
