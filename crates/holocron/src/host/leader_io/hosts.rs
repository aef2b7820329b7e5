//! Watching the hosts: heartbeats over a connection each, hints where there is none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use holocron_protocol::{
    control::{
        hints::HostHint,
        suspicion::{self, Work},
    },
    format::keys::{self, Key},
    ids::{DomainId, HostName, SessionId},
    time::Time,
};
use holocron_store::{Patience, get_until, list_until};

use super::LeadEvent;
use crate::{
    host::{
        driver::{Driver, Event},
        links::Tries,
        shared::Shared,
    },
    transport::{
        link::{Link, OpenError},
        peer::{Health, JoinRequest, PeerMessage, PeerReply},
        serve::View,
    },
};

impl Driver {
    /// Watches the hosts of the newest epoch and no others.
    pub(super) fn watch_hosts(&mut self, view: &View) {
        let now = self.now();
        let Some(lead) = &mut self.lead else {
            return;
        };
        let others: BTreeMap<SessionId, (&HostName, &String)> = view
            .record
            .hosts
            .iter()
            .filter(|(name, _)| **name != self.shared.parts.name)
            .filter_map(|(name, host)| {
                let session = host.sessions.get(&DomainId::HOME)?;
                Some((*session, (name, &host.address)))
            })
            .collect();
        lead.watchers.retain(|session, (address, stop)| {
            let stays = others.get(session).is_some_and(|(_, now)| *now == address);
            if !stays {
                stop.cancel();
            }
            stays
        });
        lead.heard.retain(|name, _| view.record.hosts.contains_key(name));
        for (&session, &(name, address)) in &others {
            if lead.watchers.contains_key(&session) {
                continue;
            }
            let stop = lead.stop.child_token();
            lead.watchers.insert(session, (address.clone(), stop.clone()));
            let watcher = Watcher {
                shared: Arc::clone(&self.shared),
                name: name.clone(),
                session,
                address: address.clone(),
            };
            self.shared.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = watcher.run() => {}
                }
            });
        }
        let watched = others.into_iter().map(|(session, (name, _))| (session, name.clone()));
        lead.note(now, suspicion::Event::Watch(watched.collect()));
    }

    pub(super) fn on_health(&mut self, host: HostName, health: Health) {
        let now = self.now();
        let (Some(lead), Some(view)) = (&mut self.lead, &self.view) else {
            return;
        };
        let listed =
            view.record.hosts.get(&host).and_then(|entry| entry.sessions.get(&DomainId::HOME));
        // A session that isn't in the record says nothing for the one that is.
        if listed != Some(&health.session) {
            return;
        }
        let progress = suspicion::Progress {
            committed: health.progress.committed,
            work: if health.progress.waiting { Work::Waiting } else { Work::None },
        };
        lead.note(now, suspicion::Event::Heartbeat(health.session, progress));
        lead.changes.facts(health.facts.clone(), now);
        lead.heard.insert(host, health);
        self.note_handoffs_done(now);
    }

    /// A hand-over is done when everybody has acted on its epoch and nobody waits for the host any more.
    fn note_handoffs_done(&mut self, now: Time) {
        let own = match (self.life.session(), &self.view) {
            (Some(session), Some(view)) => session.awaited(&view.record),
            _ => Vec::new(),
        };
        let (Some(lead), Some(view)) = (&mut self.lead, &self.view) else {
            return;
        };
        let epoch = view.record.epoch;
        for entry in view.record.hosts.values() {
            let up_to_date = lead.heard.values().all(|health| health.epoch >= epoch);
            let awaited = |session| {
                own.contains(session)
                    || lead.heard.values().any(|health| health.awaiting.contains(session))
            };
            if up_to_date && !entry.sessions.values().any(awaited) {
                for &session in entry.sessions.values() {
                    lead.note(now, suspicion::Event::HandoffDone(session, epoch));
                }
            }
        }
    }

    /// Lists the hosts' hints every so often: for those that no connection reaches.
    pub(super) fn list_hints(&mut self, now: Time) {
        let every = self.shared.parts.settings.host_hint_every;
        let Some(lead) = &mut self.lead else {
            return;
        };
        if now < lead.list_hints_at {
            return;
        }
        lead.list_hints_at = now + every;
        let stop = lead.stop.clone();
        let shared = Arc::clone(&self.shared);
        // Gets only for hosts that are not heard otherwise.
        let connected: BTreeSet<HostName> = lead.heard.keys().cloned().collect();
        self.shared.spawn(async move {
            let parts = &shared.parts;
            let patience = Patience { budget: Some(every), ..parts.patience() };
            let Ok(listed) = list_until(&*parts.store, keys::HOST_HINTS, patience, &stop).await
            else {
                return;
            };
            let mut hints = BTreeMap::new();
            for object in listed {
                let Some(Key::HostHint(name)) = keys::parse(&object.key) else {
                    continue;
                };
                if connected.contains(&name) || name == parts.name {
                    continue;
                }
                if let Ok(Some(body)) = get_until(&*parts.store, &object.key, patience, &stop).await
                {
                    match HostHint::decode(&object.key, &body) {
                        Ok(hint) => drop(hints.insert(name, hint)),
                        Err(malformed) => tracing::warn!(%malformed, "ignored"),
                    }
                }
            }
            shared.tell_self(Event::Lead(LeadEvent::Hints(hints)));
        });
    }

    pub(super) fn on_hints(&mut self, hints: &BTreeMap<HostName, HostHint>) {
        let now = self.now();
        let (Some(lead), Some(view)) = (&mut self.lead, &self.view) else {
            return;
        };
        let mut joins = Vec::new();
        for name in lead.hints.saw(hints) {
            let Some((hint, &session)) = hints
                .get(&name)
                .and_then(|hint| hint.sessions.get(&DomainId::HOME).map(|session| (hint, session)))
            else {
                continue;
            };
            // A sign of life of this session, and of no other that has its name in the record. One that no record lists
            // asks to be taken in.
            if view.record.is_open(session) {
                lead.note(now, suspicion::Event::Hinted(session));
            } else if !view.record.sessions.contains_key(&session) {
                let weight = holocron_protocol::epoch::record::WEIGHT_DEFAULT;
                joins.push(JoinRequest { name, address: hint.address.clone(), session, weight });
            }
        }
        for request in joins {
            self.clear_join(request);
        }
    }

    /// Before a session that no record lists is taken in: it must never have been detached.
    pub(super) fn clear_join(&mut self, request: JoinRequest) {
        let Some(lead) = &self.lead else {
            return;
        };
        if lead.changes.joins.get(&request.name).is_some_and(|(waiting, _)| *waiting == request) {
            return;
        }
        let (shared, epoch, stop) = (Arc::clone(&self.shared), self.epoch(), lead.stop.clone());
        self.shared.spawn(async move {
            let key = keys::end_mark(request.session);
            let patience = shared.parts.patience();
            let event = match get_until(&*shared.parts.store, &key, patience, &stop).await {
                Ok(None) => LeadEvent::Cleared(request, epoch),
                Ok(Some(_)) => LeadEvent::Detached(request),
                Err(_) => return,
            };
            shared.tell_self(Event::Lead(event));
        });
    }
}

/// Sends heartbeats to one host.
struct Watcher {
    shared: Arc<Shared>,
    name: HostName,
    session: SessionId,
    address: String,
}

impl Watcher {
    async fn run(self) {
        let heartbeat = self.shared.parts.settings.heartbeat;
        let mut tries = Tries::default();
        loop {
            match self.shared.links.to(&self.address).await {
                Ok(link) => {
                    tries = Tries::default();
                    self.tell(LeadEvent::Connected(self.session));
                    self.beat(&link).await;
                    self.tell(LeadEvent::Broken(self.session));
                    // At once: a process that has died refuses, and that is word enough.
                    continue;
                }
                Err(OpenError::NotListening { .. } | OpenError::Refused { .. }) => {
                    self.tell(LeadEvent::Refused(self.session));
                }
                Err(OpenError::Unreachable { .. }) => {}
            }
            tokio::time::sleep(tries.next_pause(heartbeat)).await;
        }
    }

    /// Until the link is lost.
    async fn beat(&self, link: &Link) {
        let heartbeat = self.shared.parts.settings.heartbeat;
        loop {
            let (Some(leader), epoch) = (self.shared.session(), self.shared.epoch()) else {
                tokio::time::sleep(heartbeat).await;
                continue;
            };
            let message = PeerMessage::Heartbeat { epoch, leader: leader.id() };
            drop(leader);
            let answered = async {
                if let Ok(PeerReply::Health(health)) = link.message(message).await {
                    self.tell(LeadEvent::Health(self.name.clone(), health));
                }
            };
            tokio::select! {
                biased;
                () = link.lost() => return,
                _ = tokio::time::timeout(heartbeat, answered) => {}
            }
            tokio::select! {
                biased;
                () = link.lost() => return,
                () = tokio::time::sleep(heartbeat) => {}
            }
        }
    }

    fn tell(&self, event: LeadEvent) {
        self.shared.tell_self(Event::Lead(event));
    }
}
