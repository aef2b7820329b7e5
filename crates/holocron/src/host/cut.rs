//! Taking part in a cut of the cluster, for a backup.

use std::sync::Arc;

use holocron_protocol::{
    ids::{CutId, SessionId},
    journal::freeze::Thawed,
};

use super::Shared;
use crate::{session::Session, transport::peer::PeerReply};

impl Shared {
    /// Freezes a session of this host. From before the cut on, nothing is deleted that it may need.
    pub(super) async fn freeze(&self, session: SessionId, cut: CutId) -> PeerReply {
        let Some(session) = self.own_session(session) else { return no_such_session() };
        self.parts.keep.extend();
        match session.journal.freeze(cut).await {
            Ok(progress) => PeerReply::Frozen(progress),
            Err(not_frozen) => PeerReply::Refused(not_frozen.to_string()),
        }
    }

    /// A frozen session goes on.
    pub(super) fn thaw(&self, session: SessionId, cut: CutId) -> PeerReply {
        let Some(session) = self.own_session(session) else { return no_such_session() };
        match session.journal.thaw(cut) {
            Thawed::WasFrozen => PeerReply::Noted,
            Thawed::HadGoneOn => PeerReply::Refused("it has gone on before".to_owned()),
        }
    }

    fn own_session(&self, id: SessionId) -> Option<Arc<Session>> {
        let record = self.view()?.record;
        let domain = record.domain_of_session(id)?;
        self.session_in(domain).filter(|session| session.id() == id)
    }
}

fn no_such_session() -> PeerReply {
    PeerReply::Refused("this host has no such session open".to_owned())
}
