//! The slots of a domain in a draft: the next owner of each, and the tenures that follow from that.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};

use crate::{
    epoch::{
        domain::{DomainState, Rule},
        draft::changes::{SOURCES_MAX, SourceFact},
        placement::{self, Hosts, Mobility, Need},
        record::{DomainEntry, Holding, HostEntry, SessionEntry, SessionState, SlotTable},
    },
    ids::{DomainId, Epoch, HostName, SessionId, Slot, StoreId, Tenure},
    planted,
};

/// A domain in a draft: the holdings of the previous record without dropped sources, and the next owner of each slot.
#[derive(Clone, Debug)]
pub(super) struct DomainDraft {
    pub(super) name: String,
    rules: Vec<Rule>,
    pub(super) store: Option<StoreId>,
    pub(super) state: DomainState,
    pub(super) before: Vec<Holding>,
    pub(super) owners: Vec<Option<SessionId>>,
    /// Slots that were given to a host by name.
    pub(super) placed: BTreeSet<Slot>,
    /// What is known of the load of each slot.
    pub(super) loads: Option<Arc<[u64]>>,
}

/// A slot that goes from one session to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// Which slot.
    pub slot: Slot,
    /// Its owner by the previous record.
    pub from: SessionId,
    /// Its next owner.
    pub to: SessionId,
}

impl DomainDraft {
    /// A new domain with all slots free.
    pub(super) fn free(name: &str, rules: &[Rule], slots: u16) -> Self {
        let slots = usize::from(slots);
        Self {
            name: name.into(),
            rules: rules.to_vec(),
            store: None,
            state: DomainState::Serving,
            before: vec![Holding::default(); slots],
            owners: vec![None; slots],
            placed: BTreeSet::new(),
            loads: None,
        }
    }

    /// The domain as in the previous record.
    pub(super) fn after(domain: &DomainEntry) -> Self {
        Self {
            name: domain.name.clone(),
            rules: domain.rules.clone(),
            store: domain.store,
            state: domain.state,
            before: domain.slots.iter().map(|(_, holding)| holding.clone()).collect(),
            owners: owners_of(&domain.slots)
                .map(|owner| owner.map(|owner| owner.session))
                .collect(),
            placed: BTreeSet::new(),
            loads: None,
        }
    }

    /// The slots whose owner changes from one session to another.
    pub(super) fn moves(&self) -> impl Iterator<Item = Move> {
        let owners = self.before.iter().zip(&self.owners);
        (0..).map(Slot).zip(owners).filter_map(|(slot, (before, owner))| {
            let (from, to) = (before.owner?.session, (*owner)?);
            (from != to).then_some(Move { slot, from, to })
        })
    }

    /// Takes all slots from a session that is over.
    pub(super) fn take_from(&mut self, session: SessionId) {
        for owner in self.owners.iter_mut().filter(|owner| **owner == Some(session)) {
            *owner = None;
        }
    }

    /// Gives free slots to hosts that can take them.
    pub(super) fn settle(&mut self, seats: &Seats) {
        let mut owners = seats.places(&self.owners);
        placement::settle(seats.hosts(), &mut owners, self.loads.as_deref());
        self.owners = seats.sessions(&owners);
    }

    /// Whether moving slots is worth what it costs.
    pub(super) fn need(&self, seats: &Seats) -> Need {
        placement::need(seats.hosts(), &seats.places(&self.owners), self.loads.as_deref())
    }

    /// Moves slots towards balance; returns how many moved.
    pub(super) fn rebalance(&mut self, seats: &Seats, moves_max: usize) -> usize {
        let mobility: Vec<Mobility> = (0..)
            .map(Slot)
            .zip(&self.before)
            .map(|(slot, before)| match self.placed.contains(&slot) {
                true => Mobility::Pinned,
                false => mobility(before),
            })
            .collect();
        let mut owners = seats.places(&self.owners);
        let (hosts, loads) = (seats.hosts(), self.loads.as_deref());
        let moved = placement::rebalance(hosts, &mut owners, loads, &mobility, moves_max);
        assert!(moved <= moves_max, "{moved} slots moved, {moves_max} may");
        self.owners = seats.sessions(&owners);
        moved
    }

    /// Drops the sources of a slot that a fact makes unnecessary.
    pub(super) fn report(&mut self, slot: Slot, fact: SourceFact) {
        let Some(holding) = self.before.get_mut(slot.index()) else {
            return;
        };
        match fact {
            SourceFact::Full(full) => {
                // Only a listed tenure may make older sources unnecessary.
                if holding.owner == Some(full) || holding.sources.contains(&full) {
                    holding.sources.retain(|source| source.epoch >= full.epoch);
                }
                planted::sources_after_full(&mut holding.sources, holding.owner, full);
            }
            SourceFact::Empty(empty) => holding.sources.retain(|source| *source != empty),
        }
    }

    /// The domain in the next record.
    pub(super) fn entry(&self, epoch: Epoch) -> DomainEntry {
        DomainEntry {
            name: self.name.clone(),
            rules: self.rules.clone(),
            store: self.store,
            state: self.state,
            slots: self.table(epoch),
        }
    }

    /// The next holdings, from comparing the previous owners with the next ones.
    fn table(&self, epoch: Epoch) -> SlotTable {
        let holdings: Vec<Holding> = self
            .before
            .iter()
            .zip(&self.owners)
            .map(|(before, owner)| {
                if before.owner.map(|tenure| tenure.session) == *owner {
                    return before.clone();
                }
                let older = planted::older_sources(&before.sources);
                let sources = before.owner.iter().chain(older).copied().collect();
                Holding { owner: owner.map(|session| Tenure { epoch, session }), sources }
            })
            .collect();
        SlotTable::new(&holdings)
    }
}

/// Whether a slot with these sources may be moved away from a healthy owner.
pub(super) const fn mobility(before: &Holding) -> Mobility {
    if before.sources.len() >= SOURCES_MAX { Mobility::Pinned } else { Mobility::Movable }
}

/// The hosts that may hold slots of one domain, in order of their names.
pub(super) struct Seats {
    sessions: Vec<SessionId>,
    weights: Vec<u32>,
    zones: Vec<Option<u16>>,
}

impl Seats {
    pub(super) fn of(domain: DomainId, hosts: &BTreeMap<HostName, HostEntry>) -> Self {
        let mut seats = Self { sessions: Vec::new(), weights: Vec::new(), zones: Vec::new() };
        let names: BTreeSet<&str> =
            hosts.values().filter_map(|host| host.zone.as_deref()).collect();
        let numbers: BTreeMap<&str, u16> = names.into_iter().zip(0..).collect();
        for host in hosts.values() {
            if let Some(session) = host.sessions.get(&domain) {
                seats.sessions.push(*session);
                seats.weights.push(host.share());
                seats.zones.push(host.zone.as_deref().map(|zone| numbers[zone]));
            }
        }
        seats
    }

    fn hosts(&self) -> Hosts<'_> {
        Hosts { weights: &self.weights, zones: &self.zones }
    }

    fn places(&self, owners: &[Option<SessionId>]) -> Vec<Option<usize>> {
        let places: BTreeMap<SessionId, usize> =
            self.sessions.iter().enumerate().map(|(place, session)| (*session, place)).collect();
        owners.iter().map(|owner| owner.map(|session| places[&session])).collect()
    }

    fn sessions(&self, places: &[Option<usize>]) -> Vec<Option<SessionId>> {
        places.iter().map(|place| place.map(|place| self.sessions[place])).collect()
    }
}

/// The owner of each slot, in order.
pub(super) fn owners_of(slots: &SlotTable) -> impl Iterator<Item = Option<Tenure>> {
    slots.iter().map(|(_, holding)| holding.owner)
}

/// Detaches the sessions that are known to be sealed and that no slot names.
pub(super) fn detach(
    sessions: &mut BTreeMap<SessionId, SessionEntry>,
    domains: &BTreeMap<DomainId, DomainEntry>,
) {
    let named: BTreeSet<SessionId> = domains
        .values()
        .flat_map(|domain| domain.slots.distinct())
        .flat_map(|holding| holding.owner.iter().chain(&holding.sources))
        .map(|tenure| tenure.session)
        .collect();
    for (session, entry) in sessions {
        match entry.state {
            SessionState::Sealed(Some(position)) if !named.contains(session) => {
                entry.state = SessionState::Detached(position);
            }
            SessionState::Open | SessionState::Sealed(_) | SessionState::Detached(_) => {}
        }
    }
}
