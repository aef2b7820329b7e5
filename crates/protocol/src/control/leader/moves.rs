//! Planned moves: slots that leave a host which lives, because it leaves or is drained, because an operator asked for it, or
//! towards balance.
//!
//! A move has three steps. First the hosts that will get slots fetch what the present owners' journals hold so far, while
//! these go on serving. Then one record moves the slots; the owners release them, and the new ones have little left to
//! read. Then nothing moves until no new owner waits for a Release any more.
//!
//! The fetch is a hint: nothing of safety relies on it, and a record moves the same slots if it fails. It is what makes
//! the pause of a planned move short: without it the callers of a slot wait while its journal is read.
//!
//! Invariants:
//!
//! * At most [`super::MOVES_MAX`] slots are moved by one record, and none while a Release of an earlier one is awaited.
//! * No slot is moved while the store fails, a host is suspected, or one has failed without its seal being known: what is
//!   left of the cluster has takeovers to do, and a slot that waits for a Release besides would wait longer. A session that
//!   can't be sealed doesn't count: an operator has to look, and that may take long.
//! * A slot is moved to a host that can't read what may be in it only if no host that takes slots can; one whose owner can't
//!   read it moves first, without a wait for loads or copies.
//! * A record that moves slots of hosts that live admits and removes no host.
//! * Every host that gets a slot was asked to fetch its journal before, and has answered or had [`FETCH_MAX`] for it, unless
//!   nothing is known of that journal.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::time::Duration;

use super::{
    Changes, Effect, Leadership, MOVES_MAX, StoreHealth,
    loads::{Balancing, Look, Reported},
};
use crate::{
    checkpoint::retain::Copying,
    epoch::{
        draft::{Draft, Move},
        placement::Need,
        record::{EpochRecord, HostEntry, HostState},
        versions::Reading,
    },
    ids::{DomainId, HostName, SessionId, Slot},
    planted,
    time::Time,
};

/// How long a new owner may take to fetch before the slots move all the same. Longer: fewer callers wait for a large
/// journal; shorter: a host that is leaving is gone sooner.
pub const FETCH_MAX: Duration = Duration::from_secs(2);
/// How often the leader looks whether slots should move.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most slots that an operator may have asked to be moved and that haven't moved yet.
pub const ORDERS_MAX: usize = 16_384;

/// A new owner, and the session whose journal it needs.
pub(super) type Pair = (SessionId, SessionId);

/// How far the next move is: between which sessions slots move, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing is to be moved, as far as is known.
    #[default]
    None,
    /// Some of these are not answered yet.
    Fetching { since: Time, asked: BTreeMap<Pair, u32>, missing: BTreeSet<Pair> },
    /// The next record moves slots between these.
    Ready { asked: BTreeMap<Pair, u32> },
}

/// What operators want, until it is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    /// Sessions whose hosts are to be drained.
    pub(super) drains: BTreeSet<SessionId>,
    /// Sessions whose hosts are to get slots again.
    pub(super) undrains: BTreeSet<SessionId>,
    /// Slots and the sessions that are to have them.
    pub(super) slots: BTreeMap<Slot, SessionId>,
}

impl Orders {
    /// What that record says is done, and what it makes impossible is given up.
    pub(super) fn written(&mut self, record: &EpochRecord) {
        let state = |session: SessionId| record.host_of(session).map(|(_, entry)| entry.state);
        self.drains.retain(|&session| state(session) == Some(HostState::Active));
        self.undrains.retain(|&session| state(session) == Some(HostState::Draining));
        self.slots.retain(|&slot, session| {
            let holding = record.home().slots.holding(slot);
            !holding.is_owned_by(*session) && state(*session) == Some(HostState::Active)
        });
        let lost = lost(record, &self.slots);
        self.slots.retain(|slot, _| !lost.contains(slot));
    }
}

impl Leadership {
    /// Goes on with the next move, if one is wanted and nothing speaks against it.
    pub(super) fn plan_moves(&mut self, now: Time) -> Vec<Effect> {
        if planted::is_troubled(self.is_troubled(now)) {
            self.plan = Plan::None;
            self.loads.start_over();
            return Vec::new();
        }
        match &self.plan {
            Plan::None => self.begin_move(now),
            Plan::Fetching { since, asked, missing } => {
                if missing.is_empty() || now.since(*since) >= FETCH_MAX {
                    self.plan = Plan::Ready { asked: asked.clone() };
                }
                Vec::new()
            }
            Plan::Ready { .. } => Vec::new(),
        }
    }

    /// Whether the next record is to move slots.
    pub(super) const fn moves_next(&self) -> bool {
        matches!(self.plan, Plan::Ready { .. })
    }

    /// Whether the store fails, a host is suspected, or one has failed without its seal being known.
    fn is_troubled(&self, now: Time) -> bool {
        let store_fails =
            self.own_state.as_ref().is_some_and(|own| own.store == StoreHealth::Failing);
        let Changes { fails, seals, .. } = &self.changes;
        let mut wanted = self.record.seals_wanted();
        store_fails
            || !fails.is_empty()
            || wanted
                .any(|session| !seals.contains_key(&session) && !self.unsealable.contains(&session))
            || !self.watch.suspects(now).is_empty()
    }

    fn begin_move(&mut self, now: Time) -> Vec<Effect> {
        if now < self.look_at {
            return Vec::new();
        }
        // Until every host has acted on the newest record, and no slot waits for a Release.
        if self.awaited().is_none_or(|awaited| !awaited.is_empty()) {
            return Vec::new();
        }
        self.look_at = now + LOOK_EVERY;
        let mut draft = Draft::after(&self.record, self.digest);
        self.weigh(&mut draft);
        let mut reasons = Vec::new();
        let ordered = self.follow_orders(&mut draft, &mut reasons);
        self.look_at_loads(now, &draft);
        let moves = self.move_slots(&mut draft, ordered, &mut reasons);
        if reasons.is_empty() {
            return Vec::new();
        }
        let asked = pairs(&moves);
        assert!(asked.keys().all(|(to, from)| to != from), "a slot moves to where it is");
        let mut effects = Vec::new();
        let mut missing = BTreeSet::new();
        for &(to, from) in asked.keys() {
            if let Some(effect) = self.prefetch(to, from) {
                effects.push(effect);
                missing.insert((to, from));
            }
        }
        self.plan = if missing.is_empty() {
            Plan::Ready { asked }
        } else {
            Plan::Fetching { since: now, asked, missing }
        };
        effects
    }

    /// Decides whether the load is uneven enough, and for long enough, for slots to move towards balance.
    fn look_at_loads(&mut self, now: Time, draft: &Draft) {
        let others = self.heard.values().any(|health| health.copying == Copying::Remaining);
        let own = self.own_state.as_ref().is_some_and(|own| own.copying == Copying::Remaining);
        let copying = if others || own { Copying::Remaining } else { Copying::Complete };
        self.loads.look(now, Look { need: draft.need(), copying }, self.reported());
    }

    /// Whether every host has reported its loads to this leader; one that is known by its hints alone reports nothing.
    fn reported(&self) -> Reported {
        let hosts = self.record.hosts.values();
        let sessions = hosts.filter_map(|host| host.sessions.get(&DomainId::HOME)).copied();
        let connected = sessions.filter(|session| !self.by_hint.contains(session));
        if self.loads.have_reported(connected) { Reported::All } else { Reported::Some }
    }

    /// Weighs the slots of a draft by what is known of their load.
    pub(super) fn weigh(&self, draft: &mut Draft) {
        if let Some(loads) = self.loads.weights() {
            draft.weigh(DomainId::HOME, &loads);
        }
    }

    /// Moves slots in the next record, if that is its turn: unless it admits or removes a host, or would move slots between
    /// hosts that were not asked to fetch. Then the move is planned anew.
    pub(super) fn move_as_planned(
        &mut self,
        now: Time,
        draft: &mut Draft,
        reasons: &mut Vec<String>,
    ) {
        let Plan::Ready { asked } = &self.plan else { return };
        let (mut moved, mut why) = (draft.clone(), Vec::new());
        let ordered = self.follow_orders(&mut moved, &mut why);
        let moves = self.move_slots(&mut moved, ordered, &mut why);
        let members = |hosts: &BTreeMap<HostName, HostEntry>| -> Vec<_> {
            hosts.values().flat_map(|host| host.sessions.clone()).collect()
        };
        let same_members = members(draft.hosts()) == members(&self.record.hosts);
        if same_members && pairs(&moves).keys().all(|pair| asked.contains_key(pair)) {
            *draft = moved;
            reasons.append(&mut why);
        } else {
            (self.plan, self.look_at) = (Plan::None, now);
        }
    }

    /// Asks the host of `to` to fetch the journal of `from`; `None` if nothing is known of that journal.
    fn prefetch(&self, to: SessionId, from: SessionId) -> Option<Effect> {
        let (host, _) = self.record.host_of(to)?;
        if from == self.record.leader.session {
            return Some(Effect::PrefetchOwn(host.clone(), to));
        }
        let (source, _) = self.record.host_of(from)?;
        let progress = self.progress(source, from)?;
        Some(Effect::Prefetch { by: host.clone(), to, from, progress })
    }

    pub(super) fn on_prefetched(&mut self, now: Time, pair: Pair) -> Vec<Effect> {
        if let Plan::Fetching { missing, .. } = &mut self.plan {
            missing.remove(&pair);
        }
        self.on_tick(now)
    }

    /// Changes a draft as leaving hosts and operators want; returns how many slots an operator moves.
    fn follow_orders(&self, draft: &mut Draft, reasons: &mut Vec<String>) -> usize {
        self.set_draining(draft, reasons);
        let ordered = self.move_ordered(draft);
        if ordered > 0 {
            reasons.push(format!("an operator asked for slots to be moved ({ordered})"));
        }
        ordered
    }

    /// Moves slots away from draining hosts and towards balance. Returns all that the draft moves, and says why.
    fn move_slots(
        &self,
        draft: &mut Draft,
        ordered: usize,
        reasons: &mut Vec<String>,
    ) -> Vec<Move> {
        let readable = draft.move_to_readers(MOVES_MAX - ordered);
        if readable > 0 && reasons.is_empty() {
            reasons.push(format!("slots move to hosts that can read them ({readable})"));
        }
        let draining = draft.draining();
        // Balance waits for an order that takes several records, or it would take back what the first of them moved.
        let waits = !self.changes.orders.slots.is_empty()
            || self.loads.balancing() == Balancing::No
            || self.reported() == Reported::Some;
        let wanted = !draining.is_empty() || (!waits && draft.need() != Need::Nothing);
        let left = MOVES_MAX - ordered - readable;
        let moved = if wanted { draft.rebalance(left) } else { 0 };
        if moved > 0 && reasons.is_empty() {
            reasons.push(if draining.is_empty() {
                "slots move towards balance".to_owned()
            } else {
                let names: Vec<&str> = draining.iter().map(HostName::as_str).collect();
                format!("slots move away from {}", names.join(", "))
            });
        }
        let moves = draft.moves();
        assert!(moves.len() <= MOVES_MAX, "{} slots are moved by one record", moves.len());
        moves
    }

    /// Marks hosts that leave or are to be drained, as long as another host can take their slots.
    fn set_draining(&self, draft: &mut Draft, reasons: &mut Vec<String>) {
        let Changes { leaves, orders, .. } = &self.changes;
        // With every host leaving, the leader is the one that the others hand over to.
        let leader = self.record.leader.session;
        let (last, first): (Vec<SessionId>, Vec<SessionId>) =
            leaves.iter().partition(|&&session| session == leader);
        for session in first.into_iter().chain(last) {
            let Some(host) = draft.host_of(session).cloned() else { continue };
            if self.has_taker(draft.hosts(), &host) && draft.drain(session) {
                reasons.push(format!("{host} is leaving"));
            }
        }
        for &session in &orders.drains {
            let Some(host) = draft.host_of(session).cloned() else { continue };
            if self.has_taker(draft.hosts(), &host) && draft.drain(session) {
                reasons.push(format!("an operator asked for {host} to be drained"));
            }
        }
        for &session in &orders.undrains {
            let Some(host) = draft.host_of(session).cloned() else { continue };
            if draft.undrain(session) {
                reasons.push(format!("an operator asked for {host} to be given slots again"));
            }
        }
    }

    /// Moves the slots that operators named; returns how many. A slot with many sources stays for now, and so does its order.
    fn move_ordered(&self, draft: &mut Draft) -> usize {
        let mut ordered = 0;
        let lost = lost(&self.record, &self.changes.orders.slots);
        for (&slot, &session) in &self.changes.orders.slots {
            if lost.contains(&slot) {
                continue;
            }
            let Some(host) = draft.host_of(session).cloned() else { continue };
            let takes = draft.hosts().get(&host).is_some_and(|entry| entry.share() > 0);
            if ordered < MOVES_MAX && takes && draft.move_slot(DomainId::HOME, slot, &host).is_ok()
            {
                ordered += 1;
            }
        }
        ordered
    }

    /// Whether a host that leaves has nothing left to hand over: no slot is its own, and no new owner waits for its Release.
    pub(super) fn is_drained(&self, session: SessionId) -> bool {
        let host = self.record.host_of(session);
        let own: BTreeSet<SessionId> =
            host.map(|(_, entry)| entry.sessions.values().copied().collect()).unwrap_or_default();
        let owns = host.is_some_and(|(name, _)| self.record.slots_to_hand_over(name) > 0);
        let released = self.awaited().is_some_and(|awaited| awaited.is_disjoint(&own));
        planted::is_drained(!owns && released)
    }

    /// A host that has left is no member of the record that says so, and waits for it. (One that failed is not told: it
    /// reads the log when it wakes, which may say that another process has its name.)
    pub(super) fn have_left(&self, record: &EpochRecord) -> Vec<Effect> {
        let own = self.record.leader.session;
        let left = self.changes.leaves.iter().filter(|&&session| session != own);
        let left = left.filter(|&&session| !record.is_open(session));
        left.filter_map(|&session| self.record.host_of(session))
            .map(|(_, host)| Effect::PushEpoch(host.address.clone()))
            .collect()
    }

    /// Whether some host that leaves can go now.
    pub(super) fn one_can_go(&self) -> bool {
        self.changes.leaves.iter().any(|&session| self.can_go(&self.record.hosts, session))
    }

    /// Whether a host that leaves can go now: it is drained, or no other host could take its slots. With every host leaving
    /// at once, the leader goes last: the others hand over to it, and only its own slots wait for a seal.
    pub(super) fn can_go(&self, hosts: &BTreeMap<HostName, HostEntry>, session: SessionId) -> bool {
        let Some((host, _)) = self.record.host_of(session) else { return true };
        let mut others = self.changes.leaves.iter().filter(|&&other| other != session);
        let is_last = session != self.record.leader.session
            || !others.any(|&other| self.record.is_open(other));
        self.is_drained(session) || (is_last && !self.has_taker(hosts, host))
    }

    /// Whether another host can take the slots of this one, now or when it gets its share after a back-off.
    pub(super) fn has_taker(&self, hosts: &BTreeMap<HostName, HostEntry>, host: &HostName) -> bool {
        hosts.iter().any(|(name, entry)| name != host && self.takes(name, entry))
    }

    /// Whether a host takes slots, now or when it gets its share after a back-off.
    pub(super) fn takes(&self, name: &HostName, entry: &HostEntry) -> bool {
        let waits = self.waiting_for_share.contains_key(name);
        entry.state == HostState::Active
            && (entry.weight > 0 || waits || self.changes.shares.contains_key(name))
    }
}

/// The slots that are ordered to be moved to hosts that can't read them while others that take slots can.
fn lost(record: &EpochRecord, ordered: &BTreeMap<Slot, SessionId>) -> BTreeSet<Slot> {
    if ordered.is_empty() || record.reads_alike() {
        return BTreeSet::new();
    }
    let reading = Reading::of(record, DomainId::HOME);
    let mut known = BTreeMap::new();
    let lost = ordered.iter().filter(|&(&slot, &session)| {
        let class = (reading.classes()[slot.index()], session);
        *known.entry(class).or_insert_with(|| {
            let own = record.versions_of(session);
            !reading.reads(slot, &own) && reading.taker(record, slot).is_some()
        })
    });
    lost.map(|(slot, _)| *slot).collect()
}

/// The new owners, each with the session whose journal it needs, and how many slots it gets from there.
fn pairs(moves: &[Move]) -> BTreeMap<Pair, u32> {
    let mut pairs = BTreeMap::new();
    for slot in moves {
        *pairs.entry((slot.to, slot.from)).or_default() += 1;
    }
    pairs
}
