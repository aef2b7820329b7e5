//! Placement by load: slots differ in what they cost.
//!
//! A host's share of the load is the whole load times its weight divided by the sum of weights. Slots move from the host
//! that is fullest to the one that is emptiest, the heaviest first that overshoots neither; what turns out not to be needed
//! is taken back. Exact least numbers of moves would be a knapsack problem.
//!
//! Invariants:
//!
//! * Slots move only if a host is off its share by more than [`UNEVEN_PERCENT`]; then until all are within
//!   [`EVEN_PERCENT`], as far as the sizes of slots allow. Noise between the two moves nothing.
//! * No host that was within its share leaves it by a move, and none crosses to the other side.
//! * Without any one of the moves some host would not be within its share.

use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

use super::{Mobility, Need, Owners, UNEVEN_PERCENT};

/// How far off its share a host may be after slots were moved, in percent of the share, if the sizes of slots allow.
pub const EVEN_PERCENT: u64 = 5;
/// A host with less than this part of its share of the load, and less than half of this part of its share of the slots, has
/// just joined, or as good as: slots move to it at once.
const EMPTY_PERCENT: u64 = 50;

/// Hosts and their loads. Loads and shares are compared as `load * sum of weights` and `sum of loads * weight`.
struct Fill<'a> {
    weights: &'a [u32],
    loads: Vec<u64>,
    weight: u128,
    load: u128,
}

impl<'a> Fill<'a> {
    fn of(weights: &'a [u32], owners: &Owners, slots: &[u64]) -> Self {
        let mut loads = vec![0; weights.len()];
        for (owner, &load) in owners.iter().zip(slots) {
            if let Some(owner) = *owner {
                assert!(owner < loads.len(), "a slot is owned by host {owner} of {}", loads.len());
                loads[owner] += load;
            }
        }
        let load = loads.iter().map(|&load| u128::from(load)).sum();
        let weight = weights.iter().map(|&weight| u128::from(weight)).sum();
        Self { weights, loads, weight, load }
    }

    fn has(&self, host: usize) -> u128 {
        u128::from(self.loads[host]) * self.weight
    }

    fn share(&self, host: usize) -> u128 {
        self.load * u128::from(self.weights[host])
    }

    /// How much of its share a host may be off.
    fn slack(&self, host: usize, percent: u64) -> u128 {
        self.share(host) * u128::from(percent) / 100
    }

    fn is_within(&self, host: usize, percent: u64) -> bool {
        self.has(host).abs_diff(self.share(host)) <= self.slack(host, percent)
    }

    /// A host's load per weight, as a fraction of the share; hosts of weight 0 are the fullest.
    fn fullness(&self, host: usize) -> u128 {
        match u128::from(self.weights[host]) {
            0 => u128::MAX,
            weight => u128::from(self.loads[host]) * u128::from(u32::MAX) / weight,
        }
    }

    /// The host that takes slots and is the emptiest.
    fn emptiest(&self, without: &[bool]) -> Option<usize> {
        let takers = (0..self.loads.len()).filter(|&host| self.weights[host] > 0 && !without[host]);
        takers.min_by_key(|&host| self.fullness(host))
    }

    fn fullest(&self, without: &[bool]) -> Option<usize> {
        let givers = (0..self.loads.len()).filter(|&host| !without[host]);
        givers.max_by_key(|&host| (self.fullness(host), Reverse(host)))
    }

    /// The largest load that may go from one host to another so that neither is further off its share than
    /// [`EVEN_PERCENT`] on the other side.
    fn room(&self, giver: usize, taker: usize) -> u64 {
        let floor = self.share(giver) - self.slack(giver, EVEN_PERCENT);
        let ceiling = self.share(taker) + self.slack(taker, EVEN_PERCENT);
        let gives = self.has(giver).saturating_sub(floor);
        let takes = ceiling.saturating_sub(self.has(taker));
        u64::try_from(gives.min(takes) / self.weight).unwrap_or(u64::MAX)
    }

    fn shift(&mut self, load: u64, from: usize, to: usize) {
        self.loads[from] -= load;
        self.loads[to] += load;
    }
}

/// Gives every slot without an owner to the host that is then the emptiest, the heaviest first.
pub(super) fn settle(weights: &[u32], owners: &mut Owners, slots: &[u64]) {
    let mut fill = Fill::of(weights, owners, slots);
    let mut unowned: Vec<usize> =
        (0..owners.len()).filter(|&slot| owners[slot].is_none()).collect();
    unowned.sort_by_key(|&slot| (Reverse(slots[slot]), slot));
    let nobody = vec![false; weights.len()];
    for slot in unowned {
        let taker = fill.emptiest(&nobody).expect("a host has a weight");
        fill.loads[taker] += slots[slot];
        owners[slot] = Some(taker);
    }
}

/// What the load of hosts needs.
pub(super) fn need(weights: &[u32], owners: &Owners, slots: &[u64]) -> Need {
    let fill = Fill::of(weights, owners, slots);
    if fill.weight == 0 {
        return Need::Nothing;
    }
    let hosts = 0..weights.len();
    let drains = |host: usize| weights[host] == 0 && owners.contains(&Some(host));
    let numbers = Fill::of(weights, owners, &vec![1; slots.len()]);
    let has_less = |fill: &Fill<'_>, host: usize, percent: u64| {
        fill.has(host) * 100 < fill.share(host) * u128::from(percent)
    };
    let is_empty = |host: usize| {
        has_less(&fill, host, EMPTY_PERCENT) && has_less(&numbers, host, EMPTY_PERCENT / 2)
    };
    if hosts.clone().any(|host| drains(host) || is_empty(host)) {
        return Need::AtOnce;
    }
    let even = |host: usize| fill.is_within(host, UNEVEN_PERCENT);
    if hosts.clone().all(even) { Need::Nothing } else { Need::Lasting }
}

/// One slot's move.
#[derive(Clone, Copy, Debug)]
struct Shift {
    slot: usize,
    to: usize,
}

/// Moves at most `moves_max` slots; those of weight-0 hosts first. Returns how many moved.
pub(super) fn rebalance(
    weights: &[u32],
    owners: &mut Owners,
    slots: &[u64],
    mobility: &[Mobility],
    moves_max: usize,
) -> usize {
    let before = owners.to_vec();
    let mut fill = Fill::of(weights, owners, slots);
    let drains =
        drain(&mut fill, &movable(weights.len(), owners, slots, mobility), slots, moves_max);
    let mut left = moves_max - drains.len();
    carry_out(&drains, owners);
    // What one pass has moved may make room for another slot.
    loop {
        let movable = movable(weights.len(), owners, slots, mobility);
        let shifts = balance(&mut fill, movable, slots, left);
        if shifts.is_empty() {
            break;
        }
        left -= shifts.len();
        carry_out(&shifts, owners);
    }
    take_back(&mut fill, &before, owners, slots);
    before.iter().zip(&*owners).filter(|(before, after)| before != after).count()
}

fn carry_out(shifts: &[Shift], owners: &mut Owners) {
    for shift in shifts {
        owners[shift.slot] = Some(shift.to);
    }
}

/// The movable slots of each host, the heaviest last.
fn movable(hosts: usize, owners: &Owners, slots: &[u64], mobility: &[Mobility]) -> Vec<Vec<usize>> {
    let mut movable = vec![Vec::new(); hosts];
    for (slot, owner) in owners.iter().enumerate() {
        if let Some(owner) = *owner
            && mobility[slot] == Mobility::Movable
        {
            movable[owner].push(slot);
        }
    }
    for of_host in &mut movable {
        of_host.sort_by_key(|&slot| (slots[slot], Reverse(slot)));
    }
    movable
}

fn drain(
    fill: &mut Fill<'_>,
    movable: &[Vec<usize>],
    slots: &[u64],
    moves_max: usize,
) -> Vec<Shift> {
    let nobody = vec![false; movable.len()];
    let mut shifts = Vec::new();
    for (from, of_host) in movable.iter().enumerate().filter(|(host, _)| fill.weights[*host] == 0) {
        for &slot in of_host.iter().rev().take(moves_max - shifts.len()) {
            let to = fill_emptiest(fill, &nobody);
            fill.shift(slots[slot], from, to);
            shifts.push(Shift { slot, to });
        }
    }
    shifts
}

fn fill_emptiest(fill: &Fill<'_>, nobody: &[bool]) -> usize {
    fill.emptiest(nobody).expect("a host has a weight")
}

/// Moves slots between hosts until each is within its share, or no slot fits any more.
fn balance(
    fill: &mut Fill<'_>,
    mut movable: Vec<Vec<usize>>,
    slots: &[u64],
    moves_max: usize,
) -> Vec<Shift> {
    let (mut gives_none, mut takes_none) = (vec![false; movable.len()], vec![false; movable.len()]);
    for (host, &weight) in fill.weights.iter().enumerate() {
        gives_none[host] = weight == 0;
    }
    let mut shifts = Vec::new();
    while shifts.len() < moves_max {
        let (Some(from), Some(to)) = (fill.fullest(&gives_none), fill.emptiest(&takes_none)) else {
            break;
        };
        let (even, also) = (fill.is_within(from, EVEN_PERCENT), fill.is_within(to, EVEN_PERCENT));
        if from == to || (even && also) {
            break;
        }
        let room = fill.room(from, to);
        let fits = movable[from].partition_point(|&slot| slots[slot] <= room);
        if fits == 0 {
            // The one that is off its share can't be helped by the other, nor by any that has less to give or to take.
            let stuck = if even { &mut takes_none[to] } else { &mut gives_none[from] };
            *stuck = true;
            continue;
        }
        let slot = movable[from].remove(fits - 1);
        fill.shift(slots[slot], from, to);
        shifts.push(Shift { slot, to });
    }
    shifts
}

/// Takes back the moves without which the hosts would be within their shares too, the smallest first.
fn take_back(fill: &mut Fill<'_>, before: &Owners, owners: &mut Owners, slots: &[u64]) {
    if !(0..fill.weights.len()).all(|host| fill.is_within(host, EVEN_PERCENT)) {
        return;
    }
    let mut moved: Vec<usize> =
        (0..slots.len()).filter(|&slot| before[slot] != owners[slot]).collect();
    moved.sort_by_key(|&slot| (slots[slot], slot));
    // One that was needed may not be any more once another was taken back.
    loop {
        let count = moved.len();
        moved.retain(|&slot| !takes_back(fill, slots[slot], before[slot], &mut owners[slot]));
        if moved.len() == count {
            break;
        }
    }
}

/// Takes one move back if the hosts stay within their shares.
fn takes_back(
    fill: &mut Fill<'_>,
    load: u64,
    before: Option<usize>,
    owner: &mut Option<usize>,
) -> bool {
    let (Some(from), Some(to)) = (before, *owner) else { return false };
    fill.shift(load, to, from);
    let is_good = fill.weights[from] > 0
        && fill.is_within(from, EVEN_PERCENT)
        && fill.is_within(to, EVEN_PERCENT);
    if is_good {
        *owner = before;
    } else {
        fill.shift(load, from, to);
    }
    is_good
}

#[cfg(test)]
mod tests;
