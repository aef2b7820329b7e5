//! Kinds with shards in a draft, and what they mean for the hosts that may take slots.

use alloc::collections::BTreeMap;

use super::{
    Draft,
    changes::Refused,
    domains::{DomainDraft, Seats},
};
use crate::{
    epoch::shards::DeclaredShards,
    ids::{DomainId, HostName},
};

impl Draft {
    /// Notes which kinds with shards a host has.
    ///
    /// # Errors
    ///
    /// [`Refused::Shards`]; the draft is as before.
    pub fn declare(&mut self, name: &HostName, declared: &DeclaredShards) -> Result<(), Refused> {
        self.shards.declare(name, declared).map_err(Refused::Shards)
    }

    /// The hosts that may hold slots of each domain, and their shares of the shards.
    pub(super) fn seats(&self) -> BTreeMap<DomainId, Seats> {
        let seats = |&id| {
            let seats = Seats::of(id, &self.hosts);
            (id, seats.with_shards(id, &self.shards, self.slot_count))
        };
        self.domains.keys().map(seats).collect()
    }

    pub(super) fn domain(&mut self, id: DomainId) -> &mut DomainDraft {
        self.domains.get_mut(&id).expect("its id was listed")
    }
}
