//! What slots need in a draft: which hosts may have them, and what is recorded of those that their owners can't read.

use super::{Draft, changes::Refused, domains::Seats};
use crate::{
    epoch::{
        domain::DomainState,
        record::HostEntry,
        versions::{self, KindVersions, Reading, Unread},
    },
    ids::{DomainId, HostName, SessionId},
    planted,
};

impl Draft {
    /// Checks that the versions of a host that joins fit into the record.
    pub(super) fn check_versions(&self, name: &HostName, entry: &HostEntry) -> Result<(), Refused> {
        let alike = self.hosts.values().next().is_some_and(|host| host.versions == entry.versions);
        if alike {
            return Ok(());
        }
        let others = self.hosts.iter().filter(|(other, _)| *other != name).map(|(_, host)| host);
        versions::check_total(others.chain([entry])).map_err(Refused::TooLarge)
    }

    /// These versions, in the memory that another host's have if they are the same.
    pub(super) fn shared(&self, versions: &KindVersions) -> KindVersions {
        let known = self.hosts.values().find(|host| host.versions == *versions);
        known.map_or(versions, |host| &host.versions).clone()
    }

    /// Moves at most `moves_max` slots away from hosts that can't read them while others can; returns how many moved.
    pub fn move_to_readers(&mut self, moves_max: usize) -> usize {
        let mut moved = 0;
        for (id, seats) in self.settle() {
            moved += self.domain(id).move_to_readers(&seats, moves_max - moved);
        }
        moved
    }

    /// Whether every host can read every slot: all had and have the same versions, and nothing is recorded besides.
    fn reads_alike(&self) -> bool {
        self.base.as_ref().is_none_or(|(base, _)| {
            base.has_no_unread()
                && versions::are_equal(base.hosts.values().chain(self.hosts.values()))
        })
    }

    /// What hosts can read of the slots of a domain; `None` if nothing can be in them.
    fn reading(&self, id: DomainId) -> Option<Reading<'_>> {
        let (base, _) = self.base.as_ref()?;
        let domain = base.domains.get(&id)?;
        let serves = domain.state == DomainState::Serving;
        serves.then(|| Reading::with_shards(base, id, &self.shards))
    }

    /// The hosts that may hold slots of a domain, with what they can read.
    pub(super) fn with_readers(&self, id: DomainId, seats: Seats) -> Seats {
        if self.reads_alike() {
            return seats;
        }
        let readers = self.reading(id).and_then(|reading| seats.readers(&reading));
        seats.with_readers(planted::readers(readers))
    }

    /// What the next record says of slots that their owners can't read. Every slot has its next owner by now.
    pub(super) fn next_unread(&self, id: DomainId) -> Unread {
        let domain = &self.domains[&id];
        let is_served = domain.owners.iter().all(Option::is_some);
        if domain.state == DomainState::Removed || (is_served && self.reads_alike()) {
            return Unread::new();
        }
        self.reading(id).map_or_else(Unread::new, |reading| {
            let owners = domain.owners.iter().copied();
            reading.next_unread(owners, |session| self.versions_of(session))
        })
    }

    fn versions_of(&self, session: SessionId) -> KindVersions {
        let host = self.sessions.get(&session).and_then(|entry| self.hosts.get(&entry.host));
        host.map(|host| host.versions.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
