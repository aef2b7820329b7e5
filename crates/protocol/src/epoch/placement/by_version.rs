//! Placement while some host can't read what may be in some slot: during an upgrade that isn't finished, and in a roll back.
//!
//! Shares by weight can't be had then in general, so hosts are compared by pairs: a slot moves from the fuller host to one that may
//! have it and is still not the fuller one afterwards. Slots that the fewest hosts can read are placed first. Without known
//! loads each slot counts as a load of 1.
//!
//! Invariants:
//!
//! * A slot goes only to a host that may have it: one that takes slots and can read it, or, if there is none, any that
//!   takes slots.
//! * A slot whose owner can't read it moves before any other.
//! * A second call moves nothing: each move takes from the fuller of two hosts and leaves it at least as full as the other.

use alloc::{collections::BTreeMap, vec, vec::Vec};
use core::cmp::Reverse;

use super::{EVEN_PERCENT, Loads, Mobility, Need, Owners, UNEVEN_PERCENT};

/// Which hosts may have which slots. Slots that the same hosts can read form a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    classes: Vec<Class>,
    of_slot: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    /// By host, whether it is given such slots.
    may_have: Vec<bool>,
    /// By host, whether such slots are taken from it: it can't read them, and one that takes slots can.
    gives_up: Vec<bool>,
}

impl Class {
    fn takers(&self) -> impl Iterator<Item = usize> {
        (0..self.may_have.len()).filter(|&host| self.may_have[host])
    }
}

impl Readers {
    /// From the weights of hosts, the class of each slot, and by class and host, whether the host can read it. `None` if every
    /// host that takes slots can read every slot, or none can: then all may have all.
    ///
    /// # Panics
    ///
    /// When a slot is of an unknown class.
    #[must_use]
    pub fn new(weights: &[u32], of_slot: &[u16], readable: &[Vec<bool>]) -> Option<Self> {
        assert!(
            of_slot.iter().all(|&class| usize::from(class) < readable.len()),
            "every slot is of a class"
        );
        let classes: Vec<Class> = readable.iter().map(|can| Class::of(weights, can)).collect();
        let takes = taking(weights);
        let differs = classes.iter().any(|class| class.may_have != takes);
        differs.then(|| Self { classes, of_slot: of_slot.to_vec() })
    }

    fn class(&self, slot: usize) -> &Class {
        &self.classes[usize::from(self.of_slot[slot])]
    }

    /// Whether a host may be given a slot.
    #[must_use]
    pub fn may_have(&self, host: usize, slot: usize) -> bool {
        self.class(slot).may_have[host]
    }

    /// Whether a slot is taken from a host that has it: the host can't read it, and one that takes slots can.
    #[must_use]
    pub fn gives_up(&self, host: usize, slot: usize) -> bool {
        self.class(slot).gives_up[host]
    }
}

impl Class {
    fn of(weights: &[u32], can: &[bool]) -> Self {
        let takes = taking(weights);
        let reading: Vec<bool> = takes.iter().zip(can).map(|(takes, can)| *takes && *can).collect();
        if !reading.contains(&true) {
            return Self { may_have: takes, gives_up: vec![false; weights.len()] };
        }
        let is_drained = weights.iter().all(|&weight| weight == 0);
        let gives_up = can.iter().map(|can| !can && !is_drained).collect();
        Self { may_have: reading, gives_up }
    }
}

/// By host, whether it takes slots. If all are drained, all do.
fn taking(weights: &[u32]) -> Vec<bool> {
    let is_drained = weights.iter().all(|&weight| weight == 0);
    weights.iter().map(|&weight| weight > 0 || is_drained).collect()
}

/// What is known of slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots<'a> {
    pub(super) loads: Loads<'a>,
    pub(super) mobility: &'a [Mobility],
}

impl Slots<'_> {
    fn may_move(&self, slot: usize) -> bool {
        self.mobility[slot] == Mobility::Movable
    }
}

/// What a slot costs.
fn load_of(loads: Loads<'_>, slot: usize) -> u64 {
    loads.map_or(1, |loads| loads[slot])
}

/// What each host has.
struct Fill<'a> {
    weights: &'a [u32],
    loads: Vec<u64>,
    counts: Vec<u64>,
}

impl<'a> Fill<'a> {
    fn of(weights: &'a [u32], owners: &Owners, loads: Loads<'_>) -> Self {
        let none = vec![0; weights.len()];
        let mut fill = Self { weights, loads: none.clone(), counts: none };
        for (slot, owner) in owners.iter().enumerate() {
            if let Some(owner) = *owner {
                assert!(
                    owner < weights.len(),
                    "a slot is owned by host {owner} of {}",
                    weights.len()
                );
                fill.add(owner, load_of(loads, slot));
            }
        }
        fill
    }

    fn add(&mut self, host: usize, load: u64) {
        self.loads[host] += load;
        self.counts[host] += 1;
    }

    fn take(&mut self, host: usize, load: u64) {
        self.loads[host] -= load;
        self.counts[host] -= 1;
    }

    /// A host's load per weight once it has so much more, as a fraction that can be compared.
    fn fullness(&self, host: usize, more: u64) -> u128 {
        match u128::from(self.weights[host]) {
            0 => u128::MAX,
            weight => u128::from(self.loads[host] + more) * u128::from(u32::MAX) / weight,
        }
    }

    /// The emptiest host that may have a slot of this class and load.
    fn emptiest(&self, class: &Class, load: u64) -> usize {
        class
            .takers()
            .min_by_key(|&host| (self.fullness(host, load), host))
            .expect("a host takes slots")
    }

    /// Whether one host is fuller than the other by more than that part of the other's load.
    fn is_fuller(&self, host: usize, other: usize, percent: u64) -> bool {
        let (load, weight) = (u128::from(self.loads[host]), u128::from(self.weights[host]));
        let (less, other_weight) = (u128::from(self.loads[other]), u128::from(self.weights[other]));
        load * other_weight * 100 > less * weight * u128::from(100 + percent)
    }

    /// The largest load that may go from one host to another without making the other the fuller one.
    fn room(&self, from: usize, to: usize) -> u64 {
        // (to + load) / weight of to <= (from - load) / weight of from
        let (from_weight, to_weight) =
            (u128::from(self.weights[from]), u128::from(self.weights[to]));
        let (from, to) = (u128::from(self.loads[from]), u128::from(self.loads[to]));
        let above = (from * to_weight).saturating_sub(to * from_weight);
        u64::try_from(above / (from_weight + to_weight)).unwrap_or(u64::MAX)
    }

    /// Whether a host has so much less than another that it has just joined, or as good as.
    fn is_empty_beside(&self, host: usize, other: usize) -> bool {
        let (weight, other_weight) =
            (u64::from(self.weights[host]), u64::from(self.weights[other]));
        self.counts[host] * 4 * other_weight < self.counts[other] * weight
            && self.is_fuller(other, host, 100)
    }
}

/// Gives every slot without an owner to the emptiest host that may have it.
pub(super) fn settle(readers: &Readers, weights: &[u32], owners: &mut Owners, loads: Loads<'_>) {
    let unowned = (0..owners.len()).filter(|&slot| owners[slot].is_none()).collect();
    let mut fill = Fill::of(weights, owners, loads);
    hand_out(in_order(readers, unowned, loads), readers, &mut fill, owners, loads);
}

/// Those that the fewest hosts may have first, then the heaviest.
fn in_order(readers: &Readers, mut slots: Vec<usize>, loads: Loads<'_>) -> Vec<usize> {
    let takers: Vec<usize> = readers.classes.iter().map(|class| class.takers().count()).collect();
    slots.sort_by_key(|&slot| {
        (takers[usize::from(readers.of_slot[slot])], Reverse(load_of(loads, slot)), slot)
    });
    slots
}

fn hand_out(
    slots: Vec<usize>,
    readers: &Readers,
    fill: &mut Fill<'_>,
    owners: &mut Owners,
    loads: Loads<'_>,
) {
    for slot in slots {
        let load = load_of(loads, slot);
        if let Some(before) = owners[slot] {
            fill.take(before, load);
        }
        let taker = fill.emptiest(readers.class(slot), load);
        fill.add(taker, load);
        owners[slot] = Some(taker);
    }
}

/// Moves at most so many slots away from hosts that can't read them; returns how many moved.
pub(super) fn move_to_readers(
    readers: &Readers,
    weights: &[u32],
    owners: &mut Owners,
    slots: Slots<'_>,
    moves_max: usize,
) -> usize {
    let lost = |slot: usize, owner| readers.gives_up(owner, slot);
    hand_over(readers, weights, owners, slots, (lost, moves_max))
}

/// Moves at most so many slots that go to the emptiest hosts that may have them; returns how many moved.
fn hand_over(
    readers: &Readers,
    weights: &[u32],
    owners: &mut Owners,
    slots: Slots<'_>,
    (goes, moves_max): (impl Fn(usize, usize) -> bool, usize),
) -> usize {
    let going = (0..owners.len())
        .filter(|&slot| slots.may_move(slot))
        .filter(|&slot| owners[slot].is_some_and(|owner| goes(slot, owner)))
        .collect();
    let mut going = in_order(readers, going, slots.loads);
    going.truncate(moves_max);
    let moved = going.len();
    let mut fill = Fill::of(weights, owners, slots.loads);
    hand_out(going, readers, &mut fill, owners, slots.loads);
    moved
}

/// Moves at most so many slots: those that their owners can't read, those of drained hosts, then those of fuller hosts.
/// Returns how many moved.
pub(super) fn rebalance(
    readers: &Readers,
    weights: &[u32],
    owners: &mut Owners,
    slots: Slots<'_>,
    moves_max: usize,
) -> usize {
    let mut moved = move_to_readers(readers, weights, owners, slots, moves_max);
    let drains = |_: usize, owner: usize| weights[owner] == 0;
    moved += hand_over(readers, weights, owners, slots, (drains, moves_max - moved));
    let mut fill = Fill::of(weights, owners, slots.loads);
    let mut groups = Groups::of(readers, owners, slots.loads, |slot| slots.may_move(slot));
    // Noise of loads moves nothing.
    let percent = slots.loads.map_or(0, |_| 2 * EVEN_PERCENT);
    while moved < moves_max
        && let Some((slot, from, to)) = groups.next(&fill, readers, percent)
    {
        let load = load_of(slots.loads, slot);
        fill.take(from, load);
        fill.add(to, load);
        owners[slot] = Some(to);
        groups.shift(readers, slot, (from, to));
        moved += 1;
    }
    moved
}

/// Whether moving slots is worth what it costs.
pub(super) fn need(readers: &Readers, weights: &[u32], owners: &Owners, loads: Loads<'_>) -> Need {
    let is_wrong = |(slot, owner): (usize, &Option<usize>)| {
        owner.is_some_and(|owner| weights[owner] == 0 || readers.gives_up(owner, slot))
    };
    if weights.iter().all(|&weight| weight == 0) {
        return Need::Nothing;
    }
    if owners.iter().enumerate().any(is_wrong) {
        return Need::AtOnce;
    }
    let fill = Fill::of(weights, owners, loads);
    let groups = Groups::of(readers, owners, loads, |_| true);
    match groups.next(&fill, readers, 2 * UNEVEN_PERCENT) {
        // One slot too many isn't uneven.
        Some((_, from, to)) if loads.is_none() && fill.room(from, to) <= 1 => Need::Nothing,
        Some((_, from, to)) if loads.is_none() || fill.is_empty_beside(to, from) => Need::AtOnce,
        Some(_) => Need::Lasting,
        None => Need::Nothing,
    }
}

/// The slots of each host that may move, by class.
struct Groups<'a> {
    loads: Loads<'a>,
    /// By host and class, the slots, the lightest first.
    slots: BTreeMap<(usize, u16), Vec<usize>>,
}

impl<'a> Groups<'a> {
    fn of(
        readers: &Readers,
        owners: &Owners,
        loads: Loads<'a>,
        may_move: impl Fn(usize) -> bool,
    ) -> Self {
        let mut slots: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (slot, owner) in owners.iter().enumerate().filter(|(slot, _)| may_move(*slot)) {
            if let Some(owner) = *owner {
                slots.entry((owner, readers.of_slot[slot])).or_default().push(slot);
            }
        }
        for group in slots.values_mut() {
            group.sort_by_key(|&slot| (load_of(loads, slot), slot));
        }
        Self { loads, slots }
    }

    /// The heaviest slot that may go from the fullest host that can give one, to the emptiest that may have it; with both hosts.
    fn next(
        &self,
        fill: &Fill<'_>,
        readers: &Readers,
        percent: u64,
    ) -> Option<(usize, usize, usize)> {
        let emptiest: Vec<usize> =
            readers.classes.iter().map(|class| fill.emptiest(class, 0)).collect();
        let mut givers: Vec<usize> = (0..fill.weights.len()).collect();
        givers.sort_by_key(|&host| (Reverse(fill.fullness(host, 0)), host));
        givers.into_iter().filter(|&host| fill.weights[host] > 0).find_map(|from| {
            let groups = self.slots.range((from, 0)..=(from, u16::MAX));
            let moves = groups.filter_map(|(&(_, class), slots)| {
                let to = emptiest[usize::from(class)];
                if to == from || !fill.is_fuller(from, to, percent) {
                    return None;
                }
                let room = fill.room(from, to);
                let fits = slots.partition_point(|&slot| load_of(self.loads, slot) <= room);
                let slot = *slots.get(fits.checked_sub(1)?)?;
                Some((slot, from, to))
            });
            moves.min_by_key(|&(slot, _, to)| (fill.fullness(to, 0), Reverse(slot)))
        })
    }

    /// A slot has moved. What may be in it is what it was.
    fn shift(&mut self, readers: &Readers, slot: usize, (from, to): (usize, usize)) {
        let class = readers.of_slot[slot];
        let group = self.slots.get_mut(&(from, class)).expect("it was found there");
        group.retain(|&other| other != slot);
        let group = self.slots.entry((to, class)).or_default();
        let key = |&slot: &usize| (load_of(self.loads, slot), slot);
        let at = group.partition_point(|other| key(other) < key(&slot));
        group.insert(at, slot);
    }
}

#[cfg(test)]
mod tests;
