//! What a program may look at of its host from elsewhere: an HTTP service, a report.

use core::{fmt, time::Duration};
use std::sync::{Arc, PoisonError};

use holocron_protocol::{
    epoch::record::HostState,
    ids::{DomainId, HostName},
};
use holocron_store::Store;

use super::Shared;
use crate::{
    inspect::{ClusterReader, ReadError},
    transport::{peer::HostStatus, serve::View},
};

/// Looks at a running host. Cheap to clone; what it shows of a host that has stopped is how it was then.
#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
}

/// Whether a host serves what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It serves its whole share of the slots.
    Ready,
    /// It doesn't, or not for long; why.
    NotReady(String),
}

impl Observer {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.shared.parts.name
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> HostStatus {
        self.shared.status()
    }

    /// The newest epoch record that it knows.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.shared.view()
    }

    /// Whether it serves its whole share of the slots, and stays.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match self.obstacle() {
            None => Readiness::Ready,
            Some(why) => Readiness::NotReady(why),
        }
    }

    fn obstacle(&self) -> Option<String> {
        if self.shared.parts.stop.is_cancelled() {
            return Some("the host has stopped".to_owned());
        }
        let Some(session) = self.shared.session() else {
            return Some("the host has no session".to_owned());
        };
        let Some(View { record, .. }) = self.shared.view() else {
            return Some("the host knows no epoch record".to_owned());
        };
        let Some(host) = record.hosts.get(self.name()) else {
            return Some("the host has not joined the cluster".to_owned());
        };
        match host.state {
            HostState::Active => {}
            HostState::Draining => return Some("the host is draining".to_owned()),
        }
        let of_home = session.describe();
        let share = record.home().slots.owned_by(session.id()).count() as u64;
        let waiting = u64::from(of_home.slots_waiting);
        let serving = u64::from(of_home.slots_serving);
        if waiting > 0 || serving < share {
            return Some(format!(
                "{serving} of {share} slots are served, {waiting} are being read"
            ));
        }
        let further = host.sessions.keys().filter(|domain| **domain != DomainId::HOME);
        let missing = further.filter(|domain| self.shared.session_in(**domain).is_none()).count();
        (missing > 0).then(|| format!("{missing} domains aren't served"))
    }

    /// A reader of the cluster's history in the home domain's store. `within` bounds this call, and later each request.
    ///
    /// # Errors
    ///
    /// [`ReadError`], with a message for the operator.
    pub async fn reader(&self, within: Duration) -> Result<ClusterReader, ReadError> {
        let store = Arc::clone(&self.shared.parts.store) as Arc<dyn Store>;
        ClusterReader::open(store, within).await
    }

    /// The same reader, which also knows the stores of further domains that this host has opened.
    #[must_use]
    pub fn with_domains(&self, mut reader: ClusterReader) -> ClusterReader {
        let stores = self.shared.stores.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, store) in &*stores {
            reader = reader.with_domain(name, store.store());
        }
        reader
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(self.name()).finish()
    }
}
