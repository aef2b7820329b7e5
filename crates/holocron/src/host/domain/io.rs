//! Carries out what `protocol::control::domain_member` decides.

use std::sync::Arc;

use holocron_protocol::{
    control::{
        domain_member::{Effect, Event as DomainEvent, Look},
        leader,
        report::{DomainHealth, ServeRequest},
    },
    epoch::{
        domain::Offer,
        record::{EpochRecord, Leader},
    },
    format::keys,
    ids::{DomainId, Epoch, SessionId},
};
use holocron_store::get_until;

use super::{DomainStore, Looking};
use crate::{
    host::{
        driver::{CurrentSession, Driver, Event},
        shared::Shared,
    },
    store_io::loss::Object,
    transport::peer::{PeerMessage, PeerReply},
};

impl Driver {
    /// The domain whose current session this is.
    pub(in crate::host) fn domain_with(&self, session: SessionId) -> Option<usize> {
        self.domains.iter().position(|domain| domain.has(session))
    }

    /// The current session in the domain of that session; in the home domain if that isn't known.
    pub(in crate::host) fn with_session_like(&self, session: SessionId) -> &CurrentSession {
        let domain = self.view.as_ref().and_then(|view| view.record.domain_of_session(session));
        let further = domain.filter(|&domain| domain != DomainId::HOME).and_then(|domain| {
            let mut domains = self.domains.iter();
            domains.find(|host| host.member.domain() == Some(domain))?.current()
        });
        further.unwrap_or(&self.current)
    }

    /// What this host says of its sessions in further domains.
    pub(in crate::host) fn domain_healths(&self) -> Vec<DomainHealth> {
        let name = &self.shared.parts.name;
        self.domains.iter().filter_map(|domain| domain.health(name)).collect()
    }

    pub(in crate::host) fn domains_tick(&mut self) {
        for at in 0..self.domains.len() {
            self.domain(at, DomainEvent::Tick);
        }
    }

    /// The member has acted on a newer record; now the domains do.
    pub(in crate::host) fn domains_learn(&mut self, record: &Arc<EpochRecord>) {
        let entry = record.hosts.get(&self.shared.parts.name);
        let listed = entry.and_then(|entry| entry.sessions.get(&DomainId::HOME)).copied();
        let home = listed.filter(|&session| session == self.current.id());
        for at in 0..self.domains.len() {
            self.domain(at, DomainEvent::Epoch(Arc::clone(record), home));
        }
    }

    pub(in crate::host) fn end_domains(&mut self, why: &str) {
        for domain in &mut self.domains {
            if let Some(current) = &mut domain.current {
                current.end(why);
            }
        }
    }

    pub(in crate::host) fn on_domain_looked(
        &mut self,
        at: usize,
        look: Look,
        store: Option<DomainStore>,
    ) {
        if let Some(store) = store {
            self.shared.add_store(self.domains[at].member.name(), store.clone());
            self.domains[at].store = Some(store);
        }
        self.domain(at, DomainEvent::Looked(look));
    }

    pub(in crate::host) fn on_domain_opened(&mut self, at: usize, session: SessionId) {
        let epoch = self.epoch();
        let domain = &mut self.domains[at];
        let (Some(current), Some(store)) = (&mut domain.current, &domain.store) else { return };
        current.opened();
        current.note_epoch(epoch);
        let (shared, loss) = (Arc::clone(&self.shared), Arc::clone(&store.loss));
        let ended = current.session().map(|session| session.journal.ended().clone());
        self.shared.spawn(async move {
            let Some(ended) = ended else { return };
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                why = loss.lost() => {
                    shared.tell_self(Event::Domain(at, DomainEvent::StoreLost(session, why)));
                }
            }
        });
        self.domain(at, DomainEvent::Opened(session));
    }

    /// Hands one domain an event and carries out its effects.
    pub(in crate::host) fn domain(&mut self, at: usize, event: DomainEvent) {
        let now = self.now();
        for effect in self.domains[at].member.step(now, event) {
            self.domain_effect(at, effect);
        }
        let member = &self.domains[at].member;
        self.shared.set_trouble(member.name(), member.trouble());
    }

    fn domain_effect(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Look(create) => {
                let (shared, domain) = (Arc::clone(&self.shared), self.domains[at].domain.clone());
                self.shared.spawn(async move {
                    let looking = Looking { shared: Arc::clone(&shared), domain, create };
                    let (look, store) = looking.look().await;
                    shared.tell_self(Event::DomainLooked(at, look, store));
                });
            }
            Effect::Offer(leader, offer) => self.ask_leader(at, leader, LeaderAsked::Offer(offer)),
            Effect::AskToServe(leader, request) => {
                self.ask_leader(at, leader, LeaderAsked::Serve(request));
            }
            Effect::OpenSession => {
                let place = self.domains[at].place().expect("its store was found, and is bound");
                let current = CurrentSession::open(&self.shared, place);
                self.domains[at].member.opens(current.id());
                self.domains[at].current = Some(current);
            }
            Effect::CheckEndMark(session, epoch) => self.check_domain_mark(at, session, epoch),
            Effect::Apply => {
                if let Some(current) = self.domains[at].current() {
                    self.apply_to(current);
                }
            }
            Effect::EndSession(why) => {
                if let Some(mut current) = self.domains[at].current.take() {
                    let name = self.domains[at].member.name();
                    tracing::warn!(host = %self.shared.parts.name, domain = name, session = %current.id(), why, "session of a domain is over; its slots go to other hosts");
                    current.end(&why);
                }
            }
            Effect::Probe => {
                let Some(store) = self.domains[at].store.clone() else { return };
                let stop = self.shared.parts.stop.clone();
                self.shared.spawn(async move {
                    // What it finds is noted by the watched store, or is a loss, which another task waits for.
                    let _seen = store.loss.confirm(|| Object::Cluster, &stop).await;
                });
            }
            Effect::Warn(why) => {
                tracing::warn!(host = %self.shared.parts.name, domain = self.domains[at].member.name(), why, "domain is not served as configured");
            }
        }
    }

    fn check_domain_mark(&self, at: usize, session: SessionId, epoch: Epoch) {
        let Some(store) = self.domains[at].store.clone() else { return };
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            let (key, parts) = (keys::end_mark(session), &shared.parts);
            let found = get_until(&*store.store(), &key, parts.patience(), &parts.stop).await;
            let event = match found {
                Ok(None) => DomainEvent::Cleared(session, epoch),
                Ok(Some(_)) => DomainEvent::Marked(session),
                // It is asked for again.
                Err(_gave_up) => return,
            };
            shared.tell_self(Event::Domain(at, event));
        });
    }

    /// Asks the leader, which may be this host.
    fn ask_leader(&self, at: usize, leader: Leader, asked: LeaderAsked) {
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            let reply = if leader.host == shared.parts.name {
                Some(shared.ask_domain(asked.into_event()).await)
            } else {
                shared.links.ask(&leader.address, asked.into_message()).await
            };
            on_reply(&shared, at, reply);
        });
    }
}

/// What a host asks the leader about a domain.
enum LeaderAsked {
    Offer(Offer),
    Serve(ServeRequest),
}

impl LeaderAsked {
    fn into_event(self) -> leader::DomainEvent {
        match self {
            Self::Offer(offer) => leader::DomainEvent::Offer(offer),
            Self::Serve(request) => leader::DomainEvent::Serve(request),
        }
    }

    fn into_message(self) -> PeerMessage {
        match self {
            Self::Offer(offer) => PeerMessage::OfferDomain(offer),
            Self::Serve(request) => PeerMessage::Serve(request),
        }
    }
}

fn on_reply(shared: &Shared, at: usize, reply: Option<PeerReply>) {
    match reply {
        Some(PeerReply::Refused(why)) => {
            shared.tell_self(Event::Domain(at, DomainEvent::Refused(why)));
        }
        Some(PeerReply::NotLeader { .. }) => shared.tell_self(Event::ReadEpochLog),
        // It is repeated until the record says it.
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
        )
        | None => {}
    }
}
