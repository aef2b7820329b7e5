//! What others ask of a leader: to be taken in, to be let go, to seal somebody.

use std::sync::Arc;

use holocron_protocol::{
    epoch::record::SessionState,
    ids::{DomainId, HostName, SessionId},
};
use tokio::sync::oneshot;

use crate::{
    host::driver::Driver,
    transport::peer::{JoinRequest, PeerMessage, PeerReply},
};

impl Driver {
    pub(in crate::host) fn on_join(
        &mut self,
        request: JoinRequest,
        reply: oneshot::Sender<PeerReply>,
    ) {
        let answer = match (&mut self.lead, &self.view) {
            (Some(lead), Some(view)) => {
                let known = view.record.sessions.get(&request.session).map(|entry| entry.state);
                match known {
                    Some(SessionState::Sealed(_) | SessionState::Detached(_)) => {
                        PeerReply::Refused("this session is over: open a new one".to_owned())
                    }
                    Some(SessionState::Open) => {
                        // It may have been let wait for its share by a leader before us.
                        let entry = view.record.hosts.get(&request.name);
                        if entry.is_some_and(|entry| entry.weight != request.weight) {
                            lead.shares.insert(request.name.clone(), request.clone());
                        }
                        // It may not have heard that it was taken in.
                        self.shared.links.tell(
                            &request.address,
                            PeerMessage::Epoch {
                                epoch: view.record.epoch,
                                stored: view.stored.clone(),
                            },
                        );
                        PeerReply::Noted
                    }
                    None => {
                        self.clear_join(request);
                        PeerReply::Noted
                    }
                }
            }
            _ => self.not_leader(),
        };
        // Whoever asked may have gone.
        drop(reply.send(answer));
    }

    fn not_leader(&self) -> PeerReply {
        let leader = self.view.as_ref().map(|view| view.record.leader.address.clone());
        PeerReply::NotLeader { leader }
    }

    pub(in crate::host) fn on_seal_host(
        &mut self,
        host: &HostName,
        reply: oneshot::Sender<PeerReply>,
    ) {
        let entry = self.view.as_ref().and_then(|view| view.record.hosts.get(host));
        let session = entry.and_then(|entry| entry.sessions.get(&DomainId::HOME)).copied();
        let answer = if self.lead.is_none() {
            self.not_leader()
        } else if *host == self.shared.parts.name {
            // Sealing oneself is starting anew: the others will see to the slots.
            self.life.end("somebody asked for it");
            PeerReply::Noted
        } else if let Some(session) = session {
            self.fail(session, &format!("somebody asked for {host} to be sealed"));
            PeerReply::Noted
        } else {
            PeerReply::Refused(format!("there is no host {host}"))
        };
        drop(reply.send(answer));
    }

    pub(in crate::host) fn on_leave(
        &mut self,
        session: SessionId,
        reply: oneshot::Sender<PeerReply>,
    ) {
        let answer = match &mut self.lead {
            None => self.not_leader(),
            Some(lead) => {
                // One that isn't there any more reminds us in vain: it will hear.
                if self.view.as_ref().is_some_and(|view| view.record.is_open(session)) {
                    lead.changes.leave(session);
                }
                PeerReply::Noted
            }
        };
        drop(reply.send(answer));
        self.lead_tick();
    }

    /// This host wants to leave: tells the leader, which may be itself.
    pub(in crate::host) fn ask_to_leave(&mut self) {
        let session = self.life.id();
        if let Some(lead) = &mut self.lead {
            lead.changes.leave(session);
            return;
        }
        let Some(view) = &self.view else {
            return;
        };
        let (links, address) = (Arc::clone(&self.shared.links), view.record.leader.address.clone());
        links.tell(&address, PeerMessage::Leave(session));
    }
}
