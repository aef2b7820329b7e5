//! Placing slots in a draft: by numbers or by loads, as [`crate::epoch::placement`] says.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use super::{Draft, domains::Seats};
use crate::{
    epoch::{placement::Need, record::HostEntry},
    ids::{DomainId, HostName},
};

impl Draft {
    /// Gives free slots to hosts, and moves at most `moves_max` slots towards balance; draining hosts first.
    /// Returns how many slots moved away from a listed host.
    pub fn rebalance(&mut self, moves_max: usize) -> usize {
        let mut moved = 0;
        for (id, seats) in self.settle() {
            moved += self.domain(id).rebalance(&seats, moves_max - moved);
        }
        moved
    }

    /// The hosts that get no slots and have some.
    #[must_use]
    pub fn draining(&self) -> Vec<HostName> {
        let owns = |host: &HostEntry| {
            host.sessions.values().any(|&session| {
                self.domains.values().any(|domain| domain.owners.contains(&Some(session)))
            })
        };
        let draining = self.hosts.iter().filter(|(_, host)| host.share() == 0 && owns(host));
        draining.map(|(name, _)| name.clone()).collect()
    }

    /// Says what each slot of a domain costs its owner, in any unit, each more than 0. Without it all slots count the same.
    ///
    /// # Panics
    ///
    /// When there isn't one load per slot.
    pub fn weigh(&mut self, domain: DomainId, loads: &Arc<[u64]>) {
        assert_eq!(loads.len(), usize::from(self.slot_count), "one load per slot");
        if let Some(domain) = self.domains.get_mut(&domain) {
            domain.loads = Some(Arc::clone(loads));
        }
    }

    /// Whether moving slots is worth what it costs, see [`crate::epoch::placement::need`].
    #[must_use]
    pub fn need(&self) -> Need {
        let needs = self.seats().into_iter().map(|(id, seats)| self.domains[&id].need(&seats));
        needs.max().unwrap_or(Need::Nothing)
    }

    /// Gives free slots to hosts that can take them. Returns the hosts that may hold slots of each domain.
    pub(super) fn settle(&mut self) -> BTreeMap<DomainId, Seats> {
        let all = self.seats();
        for (&id, seats) in &all {
            self.domain(id).settle(seats);
        }
        all
    }
}
