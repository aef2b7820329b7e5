//! Finds the changes between two records.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{Change, How, Moved, Party, SessionEnd, SlotRanges};
use crate::{
    epoch::{
        domain::DomainState,
        record::{DomainEntry, EpochRecord, Handover, Holding, HostEntry, HostState, SessionState},
        versions::KindVersions,
    },
    ids::{DomainId, Epoch, HostName, SessionId, Slot, Tenure},
};

/// Everything in `after` that differs from `before`; without `before`, everything in `after`.
#[must_use]
pub fn changes(before: Option<&EpochRecord>, after: &EpochRecord) -> Vec<Change> {
    let mut all = Vec::new();
    leader(before, after, &mut all);
    domains(before, after, &mut all);
    hosts(before, after, &mut all);
    shards(before, after, &mut all);
    for (&domain, entry) in &after.domains {
        let earlier = before.and_then(|before| before.domains.get(&domain));
        let pair = Pair { before, after };
        pair.slots(domain, earlier, entry, &mut all);
        pair.unread(domain, earlier, entry, &mut all);
    }
    sessions(before, after, &mut all);
    all
}

fn leader(before: Option<&EpochRecord>, after: &EpochRecord, all: &mut Vec<Change>) {
    let earlier = before.map(|before| &before.leader);
    let is_same = earlier == Some(&after.leader);
    if !is_same {
        all.push(Change::Leads { leader: after.leader.clone(), before: earlier.cloned() });
    }
    let host = after.leader.host.clone();
    match (before.map(|before| &before.handover), &after.handover) {
        (before, Handover::Leaves { successor }) if before != Some(&after.handover) => {
            all.push(Change::LeaderResigns { host, successor: successor.clone() });
        }
        (Some(Handover::Leaves { .. }), Handover::Stays) if is_same => {
            all.push(Change::LeaderStays { host });
        }
        (Some(Handover::Leaves { .. } | Handover::Stays) | None, _) => {}
    }
}

fn domains(before: Option<&EpochRecord>, after: &EpochRecord, all: &mut Vec<Change>) {
    for (&domain, entry) in &after.domains {
        let earlier = before.and_then(|before| before.domains.get(&domain));
        let name = || entry.name.clone();
        if earlier.is_none() {
            all.push(Change::DomainAdded { domain, name: name() });
        }
        let bound = entry.store.filter(|_| earlier.is_none_or(|earlier| earlier.store.is_none()));
        if let Some(store) = bound {
            all.push(Change::DomainBound { domain, name: name(), store });
        }
        let was_removed = earlier.is_some_and(|earlier| earlier.state == DomainState::Removed);
        if entry.state == DomainState::Removed && !was_removed {
            all.push(Change::DomainRemoved { domain, name: name() });
        }
    }
}

fn hosts(before: Option<&EpochRecord>, after: &EpochRecord, all: &mut Vec<Change>) {
    for host in keys(before.map(|before| &before.hosts), &after.hosts) {
        let earlier = before.and_then(|before| before.hosts.get(host));
        match (earlier, after.hosts.get(host)) {
            (Some(before), Some(entry)) => {
                host_changes(host, (before, entry), &after.domains, all);
            }
            (None, Some(entry)) => {
                all.push(Change::HostJoined {
                    host: host.clone(),
                    address: entry.address.clone(),
                    weight: entry.weight,
                    zone: entry.zone.clone(),
                    sessions: entry.sessions.clone(),
                });
                if entry.state == HostState::Draining {
                    all.push(Change::HostState { host: host.clone(), state: entry.state });
                }
            }
            (Some(_), None) => all.push(Change::HostGone { host: host.clone() }),
            (None, None) => {}
        }
    }
}

/// A kind with shards is never gone.
fn shards(before: Option<&EpochRecord>, after: &EpochRecord, all: &mut Vec<Change>) {
    for (name, kind) in after.shards.kinds() {
        if before.and_then(|before| before.shards.kind(name)) != Some(kind) {
            let (count, hosts) = (kind.count, kind.hosts.clone());
            all.push(Change::Shards { kind: name.into(), count, hosts });
        }
    }
}

fn host_changes(
    host: &HostName,
    (before, after): (&HostEntry, &HostEntry),
    names: &BTreeMap<DomainId, DomainEntry>,
    all: &mut Vec<Change>,
) {
    for domain in keys(Some(&before.sessions), &after.sessions) {
        let (before, after) = (before.sessions.get(domain), after.sessions.get(domain));
        if before != after {
            let (before, after) = (before.copied(), after.copied());
            let (host, domain) = (host.clone(), *domain);
            let domain_name = names.get(&domain).map(|entry| entry.name.clone());
            let domain_name = domain_name.unwrap_or_default();
            all.push(Change::HostSession { host, domain, domain_name, before, after });
        }
    }
    if before.state != after.state {
        all.push(Change::HostState { host: host.clone(), state: after.state });
    }
    if before.address != after.address {
        let (before, after) = (before.address.clone(), after.address.clone());
        all.push(Change::HostAddress { host: host.clone(), before, after });
    }
    if before.weight != after.weight {
        let (before, after) = (before.weight, after.weight);
        all.push(Change::HostWeight { host: host.clone(), before, after });
    }
    if before.zone != after.zone {
        let (before, after) = (before.zone.clone(), after.zone.clone());
        all.push(Change::HostZone { host: host.clone(), before, after });
    }
    if before.versions != after.versions {
        let (before, after) = (before.versions.clone(), after.versions.clone());
        all.push(Change::HostVersions { host: host.clone(), before, after });
    }
}

fn sessions(before: Option<&EpochRecord>, after: &EpochRecord, all: &mut Vec<Change>) {
    for session in keys(before.map(|before| &before.sessions), &after.sessions) {
        let earlier = before.and_then(|before| before.sessions.get(session));
        let later = after.sessions.get(session);
        let states = (earlier.map(|entry| entry.state), later.map(|entry| entry.state));
        let state = match states {
            (before, after) if before == after => continue,
            // That a host has it is said of the host.
            (_, Some(SessionState::Open)) => continue,
            (_, Some(SessionState::Sealed(None))) => SessionEnd::Over,
            (_, Some(SessionState::Sealed(Some(at)))) => SessionEnd::Sealed(at),
            (_, Some(SessionState::Detached(at))) => SessionEnd::Detached(at),
            (_, None) => SessionEnd::Forgotten,
        };
        let entry = later.or(earlier).expect("one of the records lists it");
        all.push(Change::SessionState { host: entry.host.clone(), session: *session, state });
    }
}

/// The keys of either map, in order.
fn keys<'a, K: Ord, V>(
    before: Option<&'a BTreeMap<K, V>>,
    after: &'a BTreeMap<K, V>,
) -> BTreeSet<&'a K> {
    before.into_iter().flat_map(BTreeMap::keys).chain(after.keys()).collect()
}

/// Slots with equal keys are in one change.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Moved { from: Option<Party>, to: Option<Party>, since: Option<Epoch>, how: How },
    Dropped { owner: Option<Party>, dropped: BTreeSet<Party> },
}

/// Two records that are compared.
#[derive(Clone, Copy)]
struct Pair<'a> {
    before: Option<&'a EpochRecord>,
    after: &'a EpochRecord,
}

impl Pair<'_> {
    fn slots(
        self,
        domain: DomainId,
        before: Option<&DomainEntry>,
        after: &DomainEntry,
        all: &mut Vec<Change>,
    ) {
        let none = Holding::default();
        let mut groups: BTreeMap<Group, Vec<Slot>> = BTreeMap::new();
        for (slot, later) in after.slots.iter() {
            let earlier = before
                .filter(|before| slot.0 < before.slots.slot_count())
                .map_or(&none, |before| before.slots.holding(slot));
            if earlier != later {
                groups.entry(self.group(earlier, later)).or_default().push(slot);
            }
        }
        let mut groups: Vec<(Group, Vec<Slot>)> = groups.into_iter().collect();
        groups.sort_by_key(|(group, slots)| (matches!(group, Group::Dropped { .. }), slots[0]));
        all.extend(groups.into_iter().map(|(group, slots)| {
            let (slots, domain_name) = (SlotRanges::of(&slots), after.name.clone());
            match group {
                Group::Moved { from, to, since, how } => {
                    Change::SlotsMoved(Moved { domain, domain_name, slots, from, to, since, how })
                }
                Group::Dropped { owner, dropped } => {
                    Change::SourcesDropped { domain, domain_name, slots, owner, dropped }
                }
            }
        }));
    }

    fn unread(
        self,
        domain: DomainId,
        before: Option<&DomainEntry>,
        after: &DomainEntry,
        all: &mut Vec<Change>,
    ) {
        let none = KindVersions::default();
        let mut groups: BTreeMap<(KindVersions, Option<Party>), Vec<Slot>> = BTreeMap::new();
        for slot in keys(before.map(|before| &before.unread), &after.unread) {
            let earlier = before.and_then(|before| before.unread.get(slot)).unwrap_or(&none);
            let later = after.unread.get(slot).unwrap_or(&none);
            if earlier != later && slot.0 < after.slots.slot_count() {
                let owner = after.slots.holding(*slot).owner;
                let owner = owner.map(|owner| self.party(owner.session));
                groups.entry((later.clone(), owner)).or_default().push(*slot);
            }
        }
        all.extend(groups.into_iter().map(|((kinds, owner), slots)| {
            let (slots, domain_name) = (SlotRanges::of(&slots), after.name.clone());
            Change::Unread { domain, domain_name, slots, owner, kinds }
        }));
    }

    fn group(self, before: &Holding, after: &Holding) -> Group {
        let party = |tenure: Tenure| self.party(tenure.session);
        if before.owner == after.owner {
            let dropped = before.sources.iter().filter(|source| !after.sources.contains(source));
            return Group::Dropped {
                owner: after.owner.map(party),
                dropped: dropped.copied().map(party).collect(),
            };
        }
        Group::Moved {
            from: before.owner.map(party),
            to: after.owner.map(party),
            since: after.owner.map(|owner| owner.epoch),
            how: self.how(before.owner, after.owner),
        }
    }

    fn how(self, from: Option<Tenure>, to: Option<Tenure>) -> How {
        let Some(from) = from else { return How::Given };
        if to.is_none() {
            return How::Orphaned;
        }
        let is_next = self.before.is_some_and(|before| before.epoch.next() == self.after.epoch);
        match (is_next, self.after.lists_open(from.session)) {
            (false, _) => How::InBetween,
            (true, true) => How::HandedOver,
            (true, false) => How::TakenOver,
        }
    }

    fn party(self, session: SessionId) -> Party {
        let entry = self.after.sessions.get(&session);
        let entry = entry.or_else(|| self.before?.sessions.get(&session));
        let host = entry.expect("a record lists the session of each tenure").host.clone();
        Party { host, session }
    }
}
