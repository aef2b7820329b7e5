//! Sealing and collecting sessions of domains besides the home domain: with this host's own access, or by asking a host that
//! has access. The leader may have none.

use core::time::Duration;
use holocron_protocol::{
    checkpoint::collect::Detached,
    control::report::Access,
    epoch::record::SessionState,
    ids::{DomainId, Epoch, Position, SessionId},
    journal::sealing::Hint,
};
use tokio_util::sync::CancellationToken;

use super::collect::collect;
use crate::{
    host::{domain::DomainStore, driver::Driver, shared::Shared},
    store_io::sealer::SealEnd,
    transport::peer::{PeerMessage, PeerReply},
};

/// How long this host tries by itself before it asks another one, or answers the leader. Shorter than a message may take.
const WITHIN: Duration = Duration::from_secs(4);

/// A session that isn't in the home domain.
pub(super) struct Elsewhere {
    session: SessionId,
    /// This host's own access.
    own: Option<DomainStore>,
    /// The addresses of other hosts that serve the domain.
    others: Vec<String>,
}

impl Driver {
    /// How to reach a session that isn't in the home domain; `None` for one that is.
    pub(super) fn elsewhere(&self, session: SessionId) -> Option<Elsewhere> {
        let record = &self.view.as_ref()?.record;
        let domain = record.domain_of_session(session).filter(|&id| id != DomainId::HOME)?;
        let own_name = &self.shared.parts.name;
        let others = record
            .hosts
            .iter()
            .filter(|(name, host)| *name != own_name && host.sessions.contains_key(&domain));
        let others = others.map(|(_, host)| host.address.clone()).collect();
        Some(Elsewhere { session, own: self.shared.store_of(domain), others })
    }
}

impl Elsewhere {
    /// Seals the session; `None` if no host can at the moment.
    pub(super) async fn seal(
        self,
        shared: &Shared,
        hint: Hint,
        epoch: Epoch,
        stop: &CancellationToken,
    ) -> Option<Position> {
        let session = self.session;
        if let Some(store) = &self.own
            && let Some(position) = seal(shared, store, (session, hint, epoch), stop).await
        {
            return Some(position);
        }
        let committed = match hint {
            Hint::Committed(position) => Some(position),
            Hint::Nothing | Hint::Sealed(_) | Hint::Fetched(_) => None,
        };
        for address in &self.others {
            let message = PeerMessage::SealSession { session, committed };
            if let Some(PeerReply::Sealed(position)) = shared.links.ask(address, message).await {
                tracing::info!(%session, %epoch, %position, address, "session sealed by a host with access to its domain");
                return Some(position);
            }
        }
        tracing::warn!(%session, %epoch, "session can't be sealed: no host has access to its domain now; it is tried again");
        None
    }

    /// Deletes what is left of a detached session; `None` if that wasn't finished.
    pub(super) async fn collect(
        self,
        shared: &Shared,
        detached: Detached,
        stop: &CancellationToken,
    ) -> Option<()> {
        if let Some(store) = self.own.filter(|store| store.access() == Access::Working) {
            return collect(shared, store.store(), detached, stop).await;
        }
        for address in &self.others {
            let message = PeerMessage::CollectSession(detached.session);
            if let Some(PeerReply::Noted) = shared.links.ask(address, message).await {
                return Some(());
            }
        }
        None
    }
}

/// Seals a session in a domain's store that this host has opened; `None` if that takes too long.
async fn seal(
    shared: &Shared,
    store: &DomainStore,
    (session, hint, epoch): (SessionId, Hint, Epoch),
    stop: &CancellationToken,
) -> Option<Position> {
    if store.access() == Access::Failing {
        return None;
    }
    // Its requests are repeated until they are stopped.
    let stop = stop.child_token();
    let sealer = shared.parts.sealer_of(&store.store());
    let sealing = tokio::time::timeout(WITHIN, sealer.seal(session, epoch, hint, &stop)).await;
    stop.cancel();
    match sealing {
        Ok(SealEnd::Sealed(sealed)) => {
            tracing::info!(%session, %epoch, position = %sealed.position, "session sealed");
            Some(sealed.position)
        }
        Ok(SealEnd::Broken(malformed)) => {
            tracing::error!(%session, %malformed, "journal can't be sealed; its slots wait until it is repaired");
            None
        }
        Ok(SealEnd::Detached | SealEnd::Stopped) | Err(_) => None,
    }
}

impl Shared {
    /// The leader has no access to a domain and asks this host to seal a session there. This host's own record must say that
    /// the session is over: a message alone ends none.
    pub(in crate::host) async fn seal_for_leader(
        &self,
        session: SessionId,
        committed: Option<Position>,
    ) -> PeerReply {
        let Some((state, store)) = self.listed(session) else { return no_access() };
        if !matches!(state, SessionState::Sealed(_)) {
            return PeerReply::Refused(
                "this host's record does not say that it is over".to_owned(),
            );
        }
        let hint = committed.map_or(Hint::Nothing, Hint::Committed);
        let asked = (session, hint, self.epoch());
        match seal(self, &store, asked, &self.parts.stop).await {
            Some(position) => PeerReply::Sealed(position),
            None => no_access(),
        }
    }

    /// The leader has no access to a domain and asks this host to delete what is left of a detached session there. A session
    /// that is detached in this host's own record is so for ever.
    pub(in crate::host) async fn collect_for_leader(&self, session: SessionId) -> PeerReply {
        let Some((state, store)) = self.listed(session) else { return no_access() };
        let SessionState::Detached(sealed_at) = state else {
            return PeerReply::Refused(
                "this host's record does not say that it is detached".to_owned(),
            );
        };
        let detached = Detached { session, sealed_at };
        match collect(self, store.store(), detached, &self.parts.stop).await {
            Some(()) => PeerReply::Noted,
            None => no_access(),
        }
    }

    /// A session of another domain by this host's record, and the store of the domain.
    fn listed(&self, session: SessionId) -> Option<(SessionState, DomainStore)> {
        let record = self.view()?.record;
        let entry = record.sessions.get(&session).filter(|entry| entry.domain != DomainId::HOME)?;
        Some((entry.state, self.store_of(entry.domain)?))
    }
}

fn no_access() -> PeerReply {
    PeerReply::Refused("this host has no access to the session's domain now".to_owned())
}
