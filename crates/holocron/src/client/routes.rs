//! Routes: which host to call for a vnode, from one view.

use core::fmt;
use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{
    epoch::domain::DomainState,
    ids::{DomainId, Epoch, SessionId, Slot, VnodeName},
};

use super::connection::Connection;
use crate::transport::serve::View;

/// A view, and how to reach the hosts in it. Replaced as a whole by each newer view.
#[derive(Default)]
pub(super) struct Routes {
    view: Option<View>,
    /// Where each open session of the view runs.
    targets: BTreeMap<SessionId, Target>,
    /// By address: the hosts of the view, and the seeds.
    connections: BTreeMap<String, Arc<Connection>>,
}

/// Where calls of a session's slots go.
#[derive(Clone)]
pub(super) enum Target {
    /// To the host in this process.
    Local,
    /// To a host elsewhere.
    Remote(Arc<Connection>),
}

/// The session that owns a vnode's slot, and how to reach it.
pub(super) struct Route {
    pub(super) session: SessionId,
    pub(super) target: Target,
}

impl Routes {
    /// The routes of a client that knows only seeds.
    pub(super) fn to_seeds(connections: BTreeMap<String, Arc<Connection>>) -> Self {
        Self { connections, ..Self::default() }
    }

    /// The routes of a newer view. `connect` makes a connection to a new address.
    pub(super) fn of_view(
        &self,
        view: View,
        is_here: impl Fn(&holocron_protocol::ids::HostName) -> bool,
        seeds: &[String],
        connect: impl Fn(&str) -> Arc<Connection>,
    ) -> Self {
        let mut connections = BTreeMap::new();
        let mut targets = BTreeMap::new();
        let mut connection_to = |address: &str| {
            let connection = connections.entry(address.to_owned()).or_insert_with(|| {
                self.connections.get(address).map_or_else(|| connect(address), Arc::clone)
            });
            Arc::clone(connection)
        };
        for seed in seeds {
            connection_to(seed);
        }
        for (name, host) in &view.record.hosts {
            let target = if is_here(name) {
                Target::Local
            } else {
                Target::Remote(connection_to(&host.address))
            };
            for session in host.sessions.values() {
                targets.insert(*session, target.clone());
            }
        }
        Self { view: Some(view), targets, connections }
    }

    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// The view's epoch; zero without one.
    pub(super) fn epoch(&self) -> Epoch {
        self.view.as_ref().map_or(Epoch::ZERO, |view| view.record.epoch)
    }

    /// Where a vnode's calls go; `None` when its slot has no owner that can be called.
    pub(super) fn route(&self, vnode: &VnodeName) -> Option<Route> {
        let session = self.owner(vnode)?;
        let target = self.targets.get(&session)?.clone();
        Some(Route { session, target })
    }

    /// Where messages to the owner of a slot go; `None` when it has no owner that can be reached.
    pub(super) fn target_of(&self, domain: DomainId, slot: Slot) -> Option<Target> {
        self.targets.get(&self.owner_of(domain, slot)?).cloned()
    }

    /// The session that owns a slot.
    pub(super) fn owner_of(&self, domain: DomainId, slot: Slot) -> Option<SessionId> {
        Some(self.view.as_ref()?.record.holding(domain, slot)?.owner?.session)
    }

    /// The session that owns a vnode's slot.
    pub(super) fn owner(&self, vnode: &VnodeName) -> Option<SessionId> {
        let record = &self.view.as_ref()?.record;
        let (domain, slot) = (record.domain_of(vnode)?, vnode.hash().slot(record.slot_count));
        Some(record.holding(domain, slot)?.owner?.session)
    }

    /// Why a vnode has no route, for the caller.
    pub(super) fn obstacle(&self, vnode: &VnodeName) -> Option<String> {
        let record = &self.view.as_ref()?.record;
        let Some(id) = record.domain_of(vnode) else {
            return Some(format!("no domain of the cluster takes the name {vnode}"));
        };
        let domain = record.domains.get(&id)?;
        if domain.state == DomainState::Removed {
            return Some(format!("the vnode's domain, {}, was removed", domain.name));
        }
        let is_served = record.hosts.values().any(|host| host.sessions.contains_key(&id));
        Some(if is_served || id == DomainId::HOME {
            "no host serves the vnode's slot".to_owned()
        } else {
            format!("no host has access to the store of the vnode's domain, {}", domain.name)
        })
    }

    /// Connections to all hosts that may know a newer view, in order of address.
    pub(super) fn connections(&self) -> impl ExactSizeIterator<Item = &Arc<Connection>> {
        self.connections.values()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("epoch", &self.epoch())
            .field("connections", &self.connections.keys())
            .finish_non_exhaustive()
    }
}
