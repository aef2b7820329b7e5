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
        placement::{self, Hosts, Mobility, Need, Readers},
        record::{DomainEntry, Holding, HostEntry, SessionEntry, SessionState, SlotTable},
        shards::{Shards, shards_by_slot},
        spread::{self, Pinned},
        versions::{KindVersions, Reading, Unread},
    },
    ids::{DomainId, Epoch, HostName, SessionId, Slot, StoreId, Tenure, VnodeName},
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

    pub(super) fn has_no_rules(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn takes(&self, vnode: &VnodeName) -> bool {
        self.rules.iter().any(|rule| rule.takes(vnode))
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
        // A host that can read a slot may have joined since the slot was given away in this draft.
        for slot in self.given_wrongly(seats, &owners) {
            owners[slot] = None;
        }
        for pinned in &seats.pinned {
            spread::settle_pinned(pinned, &mut owners);
        }
        placement::settle(seats.hosts(), &mut owners, self.loads.as_deref());
        self.owners = seats.sessions(&owners);
    }

    /// The slots that have another owner than in the previous record, which can't read them while another host can.
    fn given_wrongly(&self, seats: &Seats, owners: &[Option<usize>]) -> Vec<usize> {
        let Some(readers) = &seats.readers else { return Vec::new() };
        let stays =
            |slot: usize| self.before[slot].owner.map(|owner| owner.session) == self.owners[slot];
        let given = owners.iter().enumerate().filter(|(slot, _)| !stays(*slot));
        let wrong =
            given.filter(|(slot, owner)| owner.is_some_and(|owner| readers.gives_up(owner, *slot)));
        wrong.map(|(slot, _)| slot).collect()
    }

    /// Asserts that no slot is given to a host that can't read it while another can.
    pub(super) fn check_readers(&self, seats: &Seats) {
        let wrong = self.given_wrongly(seats, &seats.places(&self.owners));
        assert!(wrong.is_empty(), "slots {wrong:?} go to hosts that can't read them");
    }

    /// Moves slots away from hosts that can't read them while others can; returns how many moved.
    pub(super) fn move_to_readers(&mut self, seats: &Seats, moves_max: usize) -> usize {
        if seats.readers.is_none() {
            return 0;
        }
        let mut owners = seats.places(&self.owners);
        let (loads, mobility) = (self.loads.as_deref(), self.mobility());
        let moved =
            placement::move_to_readers(seats.hosts(), &mut owners, loads, &mobility, moves_max);
        self.owners = seats.sessions(&owners);
        moved
    }

    /// Whether moving slots is worth what it costs.
    pub(super) fn need(&self, seats: &Seats) -> Need {
        let owners = seats.places(&self.owners);
        let mut mobility = self.mobility();
        let shards_move = seats.pinned.iter().any(|pinned| {
            let is_uneven = spread::next_move(pinned, &owners, &mobility).is_some();
            pin(pinned, &mut mobility);
            is_uneven
        });
        if shards_move {
            return Need::AtOnce;
        }
        placement::need(seats.hosts(), &owners, self.loads.as_deref())
    }

    /// Moves slots towards balance; returns how many moved.
    pub(super) fn rebalance(&mut self, seats: &Seats, moves_max: usize) -> usize {
        let mut moved = self.move_to_readers(seats, moves_max);
        let mut mobility = self.mobility();
        let mut owners = seats.places(&self.owners);
        for pinned in &seats.pinned {
            moved += spread::spread_pinned(pinned, &mut owners, &mobility, moves_max - moved);
            pin(pinned, &mut mobility);
        }
        let (hosts, loads) = (seats.hosts(), self.loads.as_deref());
        moved += placement::rebalance(hosts, &mut owners, loads, &mobility, moves_max - moved);
        assert!(moved <= moves_max, "{moved} slots moved, {moves_max} may");
        self.owners = seats.sessions(&owners);
        moved
    }

    /// Whether each slot may be moved voluntarily.
    fn mobility(&self) -> Vec<Mobility> {
        (0..)
            .map(Slot)
            .zip(&self.before)
            .map(|(slot, before)| match self.placed.contains(&slot) {
                true => Mobility::Pinned,
                false => mobility(before),
            })
            .collect()
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
    pub(super) fn entry(&self, epoch: Epoch, unread: Unread) -> DomainEntry {
        DomainEntry {
            name: self.name.clone(),
            rules: self.rules.clone(),
            store: self.store,
            state: self.state,
            slots: self.table(epoch),
            unread,
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

/// The slots with these shards are placed: they are not moved for anything else.
fn pin(pinned: &Pinned, mobility: &mut [Mobility]) {
    for (mobility, &shards) in mobility.iter_mut().zip(&pinned.shards) {
        if shards > 0 {
            *mobility = Mobility::Pinned;
        }
    }
}

/// Whether a slot with these sources may be moved away from a healthy owner.
pub(super) const fn mobility(before: &Holding) -> Mobility {
    if before.sources.len() >= SOURCES_MAX { Mobility::Pinned } else { Mobility::Movable }
}

/// The hosts that may hold slots of one domain, in order of their names.
pub(super) struct Seats {
    names: Vec<HostName>,
    sessions: Vec<SessionId>,
    weights: Vec<u32>,
    zones: Vec<Option<u16>>,
    versions: Vec<KindVersions>,
    /// Which hosts may have which slots; none if all may have all.
    readers: Option<Arc<Readers>>,
    /// The shards of each kind that a host can take. Slots of one kind aren't moved for a later one.
    pinned: Vec<Pinned>,
}

impl Seats {
    pub(super) fn of(domain: DomainId, hosts: &BTreeMap<HostName, HostEntry>) -> Self {
        let mut seats = Self {
            names: Vec::new(),
            sessions: Vec::new(),
            weights: Vec::new(),
            zones: Vec::new(),
            versions: Vec::new(),
            readers: None,
            pinned: Vec::new(),
        };
        let zones: BTreeSet<&str> =
            hosts.values().filter_map(|host| host.zone.as_deref()).collect();
        let numbers: BTreeMap<&str, u16> = zones.into_iter().zip(0..).collect();
        for (name, host) in hosts {
            if let Some(session) = host.sessions.get(&domain) {
                seats.names.push(name.clone());
                seats.sessions.push(*session);
                seats.weights.push(host.share());
                seats.zones.push(host.zone.as_deref().map(|zone| numbers[zone]));
                seats.versions.push(host.versions.clone());
            }
        }
        seats
    }

    fn hosts(&self) -> Hosts<'_> {
        let readers = self.readers.as_deref();
        Hosts { weights: &self.weights, zones: &self.zones, readers }
    }

    /// Which of these hosts may have which slots; `None` if all may have all.
    pub(super) fn readers(&self, reading: &Reading<'_>) -> Option<Readers> {
        let mut known: BTreeMap<&KindVersions, Arc<[bool]>> = BTreeMap::new();
        let by_host = self.versions.iter().map(|versions| {
            Arc::clone(known.entry(versions).or_insert_with(|| reading.readable(versions).into()))
        });
        let by_host: Vec<Arc<[bool]>> = by_host.collect();
        let classes = reading.classes().iter().max().map_or(0, |&class| usize::from(class) + 1);
        let readable = (0..classes).map(|class| by_host.iter().map(|reads| reads[class]).collect());
        Readers::new(&self.weights, reading.classes(), &readable.collect::<Vec<Vec<bool>>>())
    }

    /// With what hosts can read.
    pub(super) fn with_readers(mut self, readers: Option<Readers>) -> Self {
        self.readers = readers.map(Arc::new);
        self
    }

    /// With the shards of each kind, all of which are in the home domain.
    pub(super) fn with_shards(mut self, domain: DomainId, shards: &Shards, slots: u16) -> Self {
        if domain != DomainId::HOME {
            return self;
        }
        for (name, kind) in shards.kinds() {
            let seats = self.names.iter().zip(&self.weights);
            let weights = seats.map(|(host, &weight)| match kind.hosts.contains(host) {
                true => weight,
                false => 0,
            });
            let pinned = Pinned {
                shards: planted::shards(shards_by_slot(name, kind.count, slots)),
                weights: weights.collect(),
                readers: self.readers.clone(),
            };
            if pinned.can_be_placed() {
                self.pinned.push(pinned);
            }
        }
        self
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
