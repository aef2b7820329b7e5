//! Watches the hosts: heartbeats over one connection each, hints if there is no connection, probes of the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use holocron_protocol::{
    control::{
        admission::Cleared,
        hints::HostHint,
        leader::{AT_ONCE, Event as LeaderEvent},
        report::JoinRequest,
    },
    format::keys::{self, Key},
    ids::{HostName, SessionId},
};
use holocron_store::{Patience, get_until, list_until};

use crate::{
    host::{
        driver::{Driver, Event},
        links::Tries,
        shared::Shared,
    },
    transport::{
        link::{Link, OpenError},
        peer::{PeerMessage, PeerReply},
    },
};

impl Driver {
    /// Watches exactly these sessions.
    pub(super) fn watch_hosts(&mut self, hosts: BTreeMap<SessionId, (HostName, String)>) {
        let Some(lead) = &mut self.lead else { return };
        lead.watchers.retain(|session, (address, stop)| {
            let stays = hosts.get(session).is_some_and(|(_, now)| now == address);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for (session, (name, address)) in hosts {
            if lead.watchers.contains_key(&session) {
                continue;
            }
            let stop = lead.stop.child_token();
            lead.watchers.insert(session, (address.clone(), stop.clone()));
            let watcher = Watcher { shared: Arc::clone(&self.shared), name, session, address };
            self.shared.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = watcher.run() => {}
                }
            });
        }
    }

    /// Lists the host hints and reads them, except those of the given hosts.
    pub(super) fn list_hints(&self, except: BTreeSet<HostName>) {
        let Some(lead) = &self.lead else { return };
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        self.shared.spawn(async move {
            let parts = &shared.parts;
            let budget = Some(parts.settings.host_hint_every);
            let patience = Patience { budget, ..parts.patience() };
            let Ok(listed) = list_until(&*parts.store, keys::HOST_HINTS, patience, &stop).await
            else {
                return;
            };
            let mut hints = BTreeMap::new();
            for object in listed {
                let Some(Key::HostHint(name)) = keys::parse(&object.key) else {
                    continue;
                };
                if except.contains(&name) || name == parts.name {
                    continue;
                }
                if let Ok(Some(body)) = get_until(&*parts.store, &object.key, patience, &stop).await
                {
                    match HostHint::decode(&object.key, &body) {
                        Ok(hint) => drop(hints.insert(name, hint)),
                        Err(malformed) => tracing::warn!(host = %name, %malformed, "host hint can't be read; ignored"),
                    }
                }
            }
            shared.tell_self(Event::Lead(LeaderEvent::Hints(hints)));
        });
    }

    /// Looks up the end mark of a session that asks to join.
    pub(super) fn check_end_mark(&self, request: JoinRequest) {
        let Some(lead) = &self.lead else { return };
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        let cleared = Cleared { as_of: self.epoch() };
        self.shared.spawn(async move {
            let key = keys::end_mark(request.session);
            let patience = shared.parts.patience();
            match get_until(&*shared.parts.store, &key, patience, &stop).await {
                Ok(None) => {
                    shared.tell_self(Event::Lead(LeaderEvent::Cleared(request, cleared)));
                }
                Ok(Some(_)) => {
                    tracing::warn!(host = %request.name, session = %request.session, "join ignored: the session was detached; its host has to open a new one");
                }
                Err(gave_up) => {
                    tracing::debug!(host = %request.name, %gave_up, "get of the end mark failed; the host retries its join");
                }
            }
        });
    }

    /// Gets an object, to learn whether the store answers at once.
    pub(super) fn probe_store(&self) {
        let Some(lead) = &self.lead else { return };
        let (shared, stop, asked_at) = (Arc::clone(&self.shared), lead.stop.clone(), self.now());
        self.shared.spawn(async move {
            let patience = Patience { budget: Some(AT_ONCE), ..shared.parts.patience() };
            if get_until(&*shared.parts.store, keys::CLUSTER, patience, &stop).await.is_ok() {
                shared.tell_self(Event::Lead(LeaderEvent::StoreAnswered(asked_at)));
            }
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
                    self.tell(LeaderEvent::Connected(self.session));
                    self.beat(&link).await;
                    self.tell(LeaderEvent::Broken(self.session));
                    // Reconnect at once: the machine of a dead process refuses, which proves the failure.
                    continue;
                }
                Err(OpenError::NotListening { .. } | OpenError::Refused { .. }) => {
                    self.tell(LeaderEvent::Refused(self.session));
                }
                Err(OpenError::Unreachable { .. }) => {}
            }
            tokio::time::sleep(tries.next_pause(heartbeat)).await;
        }
    }

    /// Sends heartbeats until the connection is lost.
    async fn beat(&self, link: &Link) {
        let heartbeat = self.shared.parts.settings.heartbeat;
        let loads_heard = AtomicU64::new(0);
        loop {
            let (Some(leader), epoch) = (self.shared.session(), self.shared.epoch()) else {
                tokio::time::sleep(heartbeat).await;
                continue;
            };
            let message = PeerMessage::Heartbeat {
                epoch,
                leader: leader.id(),
                loads_heard: loads_heard.load(Ordering::Relaxed),
            };
            drop(leader);
            let answered = async {
                if let Ok(PeerReply::Health(health)) = link.message(message).await {
                    if let Some(report) = &health.loads {
                        loads_heard.store(report.number, Ordering::Relaxed);
                    }
                    self.tell(LeaderEvent::Health(self.name.clone(), health));
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

    fn tell(&self, event: LeaderEvent) {
        self.shared.tell_self(Event::Lead(event));
    }
}
