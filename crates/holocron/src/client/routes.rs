//! Routes: which host to call for a vnode, from one view.

use core::fmt;
use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::ids::{DomainId, Epoch, SessionId, VnodeHash};

use super::connection::Connection;
use crate::transport::serve::View;

/// A view, and how to reach the hosts in it. Replaced as a whole by each newer view.
#[derive(Default)]
pub(super) struct Routes {
    view: Option<View>,
    /// Where each open session of the view lives.
    targets: BTreeMap<SessionId, Target>,
    /// By address: the hosts of the view, and the seeds.
    links: BTreeMap<String, Arc<Connection>>,
}

/// Where calls of a session's slots go.
#[derive(Clone)]
pub(super) enum Target {
    /// To the host in this process.
    Here,
    /// To a host elsewhere.
    There(Arc<Connection>),
}

/// Who owns a vnode's slot, and where that is.
pub(super) struct Route {
    pub(super) session: SessionId,
    pub(super) target: Target,
}

impl Routes {
    /// Those of a client that knows nothing but seeds.
    pub(super) fn to_seeds(links: BTreeMap<String, Arc<Connection>>) -> Self {
        Self { links, ..Self::default() }
    }

    /// Those of a newer view. `link` gives the link to an address that had none.
    pub(super) fn of_view(
        &self,
        view: View,
        is_here: impl Fn(&holocron_protocol::ids::HostName) -> bool,
        seeds: &[String],
        link: impl Fn(&str) -> Arc<Connection>,
    ) -> Self {
        let mut links = BTreeMap::new();
        let mut targets = BTreeMap::new();
        let mut keep = |address: &str| {
            let kept = links.entry(address.to_owned()).or_insert_with(|| {
                self.links.get(address).map_or_else(|| link(address), Arc::clone)
            });
            Arc::clone(kept)
        };
        for seed in seeds {
            keep(seed);
        }
        for (name, host) in &view.record.hosts {
            let target =
                if is_here(name) { Target::Here } else { Target::There(keep(&host.address)) };
            for session in host.sessions.values() {
                targets.insert(*session, target.clone());
            }
        }
        Self { view: Some(view), targets, links }
    }

    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// The view's epoch; zero without one.
    pub(super) fn epoch(&self) -> Epoch {
        self.view.as_ref().map_or(Epoch::ZERO, |view| view.record.epoch)
    }

    /// Where a vnode's calls go; `None` when its slot has no owner that can be called.
    pub(super) fn route(&self, vnode: VnodeHash) -> Option<Route> {
        let session = self.owner(vnode)?;
        let target = self.targets.get(&session)?.clone();
        Some(Route { session, target })
    }

    /// The session that owns a vnode's slot.
    pub(super) fn owner(&self, vnode: VnodeHash) -> Option<SessionId> {
        let record = &self.view.as_ref()?.record;
        let slot = vnode.slot(record.slot_count);
        Some(record.holding(DomainId::HOME, slot)?.owner?.session)
    }

    /// Links to all hosts that may know a newer view, in order of address.
    pub(super) fn links(&self) -> impl ExactSizeIterator<Item = &Arc<Connection>> {
        self.links.values()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("epoch", &self.epoch())
            .field("links", &self.links.keys())
            .finish_non_exhaustive()
    }
}
