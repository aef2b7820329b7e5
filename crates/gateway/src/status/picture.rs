//! An epoch record as a picture: its hosts, and who owns which slots.

use std::collections::BTreeMap;

use holocron_protocol::epoch::{
    changes::SlotRanges,
    domain::DomainState,
    record::{DomainEntry, EpochRecord, HostState},
};
use serde_json::{Value, json};

/// The hosts, by name, with the slots of the home domain that each owns.
pub(crate) fn hosts(record: &EpochRecord) -> Value {
    let mut slots = BTreeMap::<&str, u64>::new();
    for (_, holding) in record.home().slots.iter() {
        if let Some((name, _)) = holding.owner.and_then(|owner| record.host_of(owner.session)) {
            *slots.entry(name.as_str()).or_default() += 1;
        }
    }
    let hosts = record.hosts.iter().map(|(name, host)| {
        json!({
            "name": name.as_str(),
            "address": host.address,
            "status": match host.state {
                HostState::Active => "active",
                HostState::Draining => "draining",
            },
            "leads": *name == record.leader.host,
            "slots": slots.get(name.as_str()).copied().unwrap_or(0),
            "weight": host.weight,
            "zone": host.zone,
        })
    });
    hosts.collect()
}

/// The domains, the home domain first.
pub(crate) fn domains(record: &EpochRecord) -> Value {
    record.domains.values().map(|domain| one(record, domain)).collect()
}

fn one(record: &EpochRecord, domain: &DomainEntry) -> Value {
    let places: BTreeMap<&str, usize> =
        record.hosts.keys().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut owners: Vec<(Option<usize>, u32)> = Vec::new();
    let mut with_sources = Vec::new();
    for (slot, holding) in domain.slots.iter() {
        let owner = holding.owner.and_then(|owner| record.host_of(owner.session));
        let place = owner.and_then(|(name, _)| places.get(name.as_str()).copied());
        match owners.last_mut() {
            Some((last, length)) if *last == place => *length += 1,
            _ => owners.push((place, 1)),
        }
        if !holding.sources.is_empty() {
            with_sources.push(slot);
        }
    }
    json!({
        "name": domain.name,
        "state": match domain.state {
            DomainState::Serving => "serving",
            DomainState::Removed => "removed",
        },
        // Runs of slots: the place of the owner among the hosts, by name, and the length.
        "owners": owners,
        "with_sources": SlotRanges::of(&with_sources),
    })
}
