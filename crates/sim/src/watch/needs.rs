//! What may be in each slot, by the versions that its owners had: checks invariant 25.
//!
//! A need is derived from the whole log here, from every host that ever owned the slot. What records say of needs isn't looked at.
//! Kinds with shards are left out: a host that lacks one may have slots without shards of it.

use std::collections::BTreeMap;

use holocron_protocol::{
    epoch::{
        domain::DomainState,
        record::{EpochRecord, HostEntry},
        versions::KindVersions,
    },
    ids::{DomainId, Slot, Tenure},
};

use super::{
    invariant::{Broken, Invariant},
    log::Change,
};

/// By slot of a domain, the newest version of each kind that may be in it.
#[derive(Debug, Default)]
pub(super) struct Needs(BTreeMap<Slot, KindVersions>);

impl Needs {
    /// An epoch record landed.
    pub(super) fn landed(&mut self, domain: DomainId, change: &Change, broken: &mut Vec<Broken>) {
        let Some(now) = change.now.domains.get(&domain) else { return };
        if now.state == DomainState::Removed {
            return;
        }
        let before = change.before.as_ref().and_then(|before| before.domains.get(&domain));
        for (slot, holding) in now.slots.iter() {
            let earlier = before.and_then(|before| before.slots.holding(slot).owner);
            if let Some(owner) = holding.owner.filter(|owner| Some(*owner) != earlier) {
                broken.extend(self.given(&change.now, domain, slot, owner));
            }
        }
    }

    /// A slot has another owner.
    fn given(
        &mut self,
        record: &EpochRecord,
        domain: DomainId,
        slot: Slot,
        owner: Tenure,
    ) -> Option<Broken> {
        let (name, host) = record.host_of(owner.session)?;
        let need = self.0.entry(slot).or_default();
        let others = record.hosts.iter().filter(|(_, other)| {
            other.share() > 0 && other.sessions.contains_key(&domain) && reads(other, need)
        });
        let other = others.map(|(other, _)| other.clone()).next();
        let wrong = other.filter(|_| !reads(host, need)).map(|other| {
            Invariant::GoesToReaders.broken(format!(
                "{} gives {slot} to {name}, which can't read {need}; {other} can",
                record.epoch
            ))
        });
        let plain = host.versions.iter().filter(|(kind, _)| record.shards.kind(kind).is_none());
        *need = need.joined(&plain.collect());
        wrong
    }
}

fn reads(host: &HostEntry, need: &KindVersions) -> bool {
    need.iter().all(|(kind, version)| host.versions.of(kind) >= version)
}
