//! Placement: which host gets which slot. Moves as few slots as bring every host to its share.
//!
//! If nothing is known of loads, all slots count the same, and this module decides. A host's share of `n` slots is then `n`
//! times its weight divided by the sum of weights, rounded up or down; the hosts to round up are chosen so that fewer slots
//! move, and then so that zones are even. If loads are known, `by_load` decides; while some host can't read what may be in
//! some slot, `by_version`. All functions are pure: every leader computes the same.
//!
//! Invariants, of placement by count:
//!
//! * Hosts of equal weight differ by at most one slot, unless slots are pinned or moves are limited; so do zones of hosts of
//!   equal weight that are equally many.
//! * A second call moves nothing.
//! * A slot moves only from a host above its share to a host below it.
//!
//! And of all placement: a slot goes to a host that can't read it only if no host that takes slots can.

use alloc::{vec, vec::Vec};

mod by_load;
mod by_version;

pub use by_load::EVEN_PERCENT;
pub use by_version::Readers;

/// The owner of each slot: the index of a host in the list of weights, or none.
pub type Owners = [Option<usize>];

/// How far off its share a host may be, in percent of the share, before slots are moved towards balance.
pub const UNEVEN_PERCENT: u64 = 10;

/// The hosts that may have slots.
#[derive(Clone, Copy, Debug)]
pub struct Hosts<'a> {
    /// Their weights. A host of weight 0 is drained: its slots move away.
    pub weights: &'a [u32],
    /// Their zones, by number; none for a host without one. Hosts of one zone tend to fail together.
    pub zones: &'a [Option<u16>],
    /// Which of them may have which slots; none if all may have all.
    pub readers: Option<&'a Readers>,
}

/// What is known of the load of slots: a number above 0 for each, in any unit; `None` if nothing is.
pub type Loads<'a> = Option<&'a [u64]>;

/// Whether a slot may be moved voluntarily.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mobility {
    /// It may.
    Movable,
    /// It stays with its owner as long as that host is in the cluster.
    Pinned,
}

/// Whether moving slots is worth what it costs; the more pressing is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// It isn't.
    Nothing,
    /// It is if it stays so: the load is uneven, and loads change.
    Lasting,
    /// It is: a drained host has slots, or one that can't read them; a host has far less than its share, or the numbers of
    /// slots are uneven.
    AtOnce,
}

/// Assigns every slot without an owner, and moves no other. A host of weight 0 gets none, unless all weights are 0:
/// then all count the same, because an unserved slot is worse than one served by a draining host. Without hosts nothing
/// happens.
///
/// # Panics
///
/// When a slot's owner isn't in the list.
pub fn settle(hosts: Hosts<'_>, owners: &mut Owners, loads: Loads<'_>) {
    let weights = hosts.weights;
    if weights.is_empty() {
        return;
    }
    let even = vec![1; weights.len()];
    let weights = if weights.iter().all(|&weight| weight == 0) { &even } else { weights };
    if let Some(readers) = hosts.readers {
        return by_version::settle(readers, weights, owners, loads);
    }
    if let Some(loads) = loads {
        return by_load::settle(weights, owners, loads);
    }
    let counts = count(weights.len(), owners);
    let hosts = Hosts { weights, ..hosts };
    let quotas = quotas(hosts, &counts, owners.len());
    let unowned: Vec<usize> = (0..owners.len()).filter(|&slot| owners[slot].is_none()).collect();
    hand_out(&unowned, &Shares { weights, quotas, counts }, owners);
}

/// Moves at most `moves_max` slots from hosts above their share to hosts below it; slots of weight-0 hosts (drains) go
/// first. Slots without an owner stay so. Returns how many moved.
///
/// # Panics
///
/// When a slot's owner isn't in the list, or there isn't one mobility per slot.
pub fn rebalance(
    hosts: Hosts<'_>,
    owners: &mut Owners,
    loads: Loads<'_>,
    mobility: &[Mobility],
    moves_max: usize,
) -> usize {
    assert_eq!(owners.len(), mobility.len(), "one mobility per slot");
    let weights = hosts.weights;
    if weights.iter().all(|&weight| weight == 0) {
        return 0;
    }
    if let Some(readers) = hosts.readers {
        let slots = by_version::Slots { loads, mobility };
        return by_version::rebalance(readers, weights, owners, slots, moves_max);
    }
    if let Some(loads) = loads {
        return by_load::rebalance(weights, owners, loads, mobility, moves_max);
    }
    let mut counts = count(weights.len(), owners);
    let held = counts.iter().sum();
    let quotas = quotas(hosts, &counts, held);
    let mut givers: Vec<usize> = (0..weights.len()).collect();
    // Stable: drains first, then by place.
    givers.sort_by_key(|&host| weights[host] > 0);
    let mut moving = Vec::new();
    for giver in givers {
        // From the end, so that the slots that stay are one run.
        for slot in (0..owners.len()).rev() {
            if moving.len() == moves_max || counts[giver] <= quotas[giver] {
                break;
            }
            if owners[slot] == Some(giver) && mobility[slot] == Mobility::Movable {
                moving.push(slot);
                counts[giver] -= 1;
            }
        }
    }
    moving.sort_unstable();
    hand_out(&moving, &Shares { weights, quotas, counts }, owners);
    moving.len()
}

/// Moves at most `moves_max` slots away from hosts that can't read them, to hosts that can; returns how many moved.
///
/// # Panics
///
/// When a slot's owner isn't in the list, or there isn't one mobility per slot.
pub fn move_to_readers(
    hosts: Hosts<'_>,
    owners: &mut Owners,
    loads: Loads<'_>,
    mobility: &[Mobility],
    moves_max: usize,
) -> usize {
    assert_eq!(owners.len(), mobility.len(), "one mobility per slot");
    let slots = by_version::Slots { loads, mobility };
    hosts.readers.map_or(0, |readers| {
        by_version::move_to_readers(readers, hosts.weights, owners, slots, moves_max)
    })
}

/// Whether moving slots is worth what it costs: a host of weight 0 has some, or a host is off its share by more than one
/// slot and more than [`UNEVEN_PERCENT`] of it. Between that and an exact share nothing moves, so that an operator's choice
/// of a host for a slot isn't answered by moving another one back.
///
/// # Panics
///
/// When a slot's owner isn't in the list.
#[must_use]
pub fn need(hosts: Hosts<'_>, owners: &Owners, loads: Loads<'_>) -> Need {
    let weights = hosts.weights;
    if let Some(readers) = hosts.readers {
        return by_version::need(readers, weights, owners, loads);
    }
    if let Some(loads) = loads {
        return by_load::need(weights, owners, loads);
    }
    let counts = count(weights.len(), owners);
    let held: u64 = counts.iter().map(|&count| count as u64).sum();
    let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    let is_uneven = total > 0
        && counts.iter().zip(weights).any(|(&count, &weight)| {
            // Everything times the total weight, without dividing.
            let share = held * u64::from(weight);
            let off = (count as u64 * total).abs_diff(share);
            (weight == 0 && count > 0) || (off > total && off * 100 > share * UNEVEN_PERCENT)
        });
    if is_uneven { Need::AtOnce } else { Need::Nothing }
}

/// How many slots each host should have, and has.
struct Shares<'a> {
    weights: &'a [u32],
    quotas: Vec<usize>,
    counts: Vec<usize>,
}

/// Assigns slots to the hosts below their quota, the emptiest first, and each host's new slots in one run where
/// possible: runs keep records short. The quotas add up to the number of assigned slots.
fn hand_out(slots: &[usize], shares: &Shares<'_>, owners: &mut Owners) {
    let mut counts = shares.counts.clone();
    for _ in slots {
        let host = (0..counts.len())
            .filter(|&host| counts[host] < shares.quotas[host])
            .min_by(|&one, &other| {
                // (count + 1) / weight, without dividing.
                let fill = |host: usize, by: usize| {
                    (counts[host] as u64 + 1) * u64::from(shares.weights[by])
                };
                fill(one, other).cmp(&fill(other, one))
            })
            .expect("quotas add up to the number of slots");
        counts[host] += 1;
    }
    let takers = (0..counts.len())
        .flat_map(|host| core::iter::repeat_n(host, counts[host] - shares.counts[host]));
    for (&slot, taker) in slots.iter().zip(takers) {
        owners[slot] = Some(taker);
    }
}

fn count(hosts: usize, owners: &Owners) -> Vec<usize> {
    let mut counts = vec![0; hosts];
    for owner in owners.iter().flatten() {
        assert!(*owner < hosts, "a slot is owned by host {owner} of {hosts}");
        counts[*owner] += 1;
    }
    counts
}

/// Each host's share of `slots`, in whole slots that add up to `slots`. At least one weight is positive.
pub(super) fn quotas(hosts: Hosts<'_>, counts: &[usize], slots: usize) -> Vec<usize> {
    let weights = hosts.weights;
    let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    assert!(total > 0, "at least one weight is positive");
    let share = |host: usize| slots as u64 * u64::from(weights[host]);
    let whole = |host: usize| usize::try_from(share(host) / total).expect("at most all slots");
    let mut quotas: Vec<usize> = (0..weights.len()).map(whole).collect();
    let mut candidates: Vec<usize> =
        (0..weights.len()).filter(|&host| share(host) % total > 0).collect();
    for _ in quotas.iter().sum::<usize>()..slots {
        // Hosts that already have one more keep it; then zones with less than their share come first, and among the others
        // the largest fraction.
        let rank = |host: usize| {
            let keeps = counts[host] > quotas[host];
            (!keeps, hosts.fullness(host, &quotas), core::cmp::Reverse(share(host) % total), host)
        };
        let (at, &host) = candidates
            .iter()
            .enumerate()
            .min_by_key(|&(_, &host)| rank(host))
            .expect("as many hosts have a fraction as slots are left");
        quotas[host] += 1;
        candidates.remove(at);
    }
    quotas
}

impl Hosts<'_> {
    /// What a host's zone has of the slots, per weight; the same for all hosts without a zone.
    fn fullness(&self, host: usize, quotas: &[usize]) -> u64 {
        let Some(zone) = self.zones.get(host).copied().flatten() else { return 0 };
        let zone = || (0..self.zones.len()).filter(|&other| self.zones[other] == Some(zone));
        let slots: u64 = zone().map(|host| quotas[host] as u64).sum();
        let weight: u64 = zone().map(|host| u64::from(self.weights[host])).sum();
        slots * u64::from(u32::MAX) / weight.max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOVABLE: [Mobility; 64] = [Mobility::Movable; 64];

    const fn no_zones(weights: &[u32]) -> Hosts<'_> {
        Hosts { weights, zones: &[], readers: None }
    }

    fn is_uneven(weights: &[u32], owners: &Owners) -> bool {
        need(no_zones(weights), owners, None) != Need::Nothing
    }

    fn held(weights: &[u32], owners: &Owners) -> Vec<usize> {
        count(weights.len(), owners)
    }

    fn moved(before: &Owners, after: &Owners) -> usize {
        before.iter().zip(after).filter(|(one, other)| one != other).count()
    }

    /// A balanced cluster of that many slots.
    fn balanced(weights: &[u32], slots: usize) -> Vec<Option<usize>> {
        let mut owners = vec![None; slots];
        settle(no_zones(weights), &mut owners, None);
        owners
    }

    #[test]
    fn the_first_host_gets_everything_in_one_run() {
        assert_eq!(balanced(&[100], 8), vec![Some(0); 8]);
    }

    #[test]
    fn a_joining_host_gets_its_share_and_no_other_slot_moves() {
        let before = balanced(&[1, 1], 64);
        let mut after = before.clone();
        assert_eq!(rebalance(no_zones(&[1, 1, 1]), &mut after, None, &MOVABLE, usize::MAX), 21);
        assert_eq!(held(&[1; 3], &after), [22, 21, 21]);
        assert_eq!(moved(&before, &after), 21);
    }

    #[test]
    fn a_dead_hosts_slots_spread_over_the_others() {
        let mut owners = balanced(&[1, 1, 1, 1], 64);
        for owner in &mut owners {
            *owner = owner.and_then(|host| host.checked_sub(1)); // Host 0 is dead.
        }
        settle(no_zones(&[1, 1, 1]), &mut owners, None);
        assert_eq!(held(&[1; 3], &owners), [22, 21, 21]);
    }

    #[test]
    fn a_draining_host_empties_first_and_gets_nothing() {
        let mut owners = balanced(&[1, 1, 1], 9);
        assert_eq!(rebalance(no_zones(&[0, 1, 1]), &mut owners, None, &MOVABLE[..9], 2), 2);
        assert_eq!(held(&[1; 3], &owners), [1, 4, 4]);
        assert_eq!(rebalance(no_zones(&[0, 1, 1]), &mut owners, None, &MOVABLE[..9], 2), 1);
        assert_eq!(held(&[1; 3], &owners)[0], 0);
    }

    #[test]
    fn the_last_draining_host_keeps_serving() {
        let mut owners = vec![Some(0), None];
        settle(no_zones(&[0]), &mut owners, None);
        assert_eq!(rebalance(no_zones(&[0]), &mut owners, None, &MOVABLE[..2], usize::MAX), 0);
        assert_eq!(owners, [Some(0), Some(0)]);
    }

    #[test]
    fn a_pinned_slot_stays_with_a_host_above_its_share() {
        let mut owners = vec![Some(0); 4];
        let mobility = [Mobility::Pinned, Mobility::Pinned, Mobility::Pinned, Mobility::Movable];
        assert_eq!(rebalance(no_zones(&[1, 1]), &mut owners, None, &mobility, usize::MAX), 1);
        assert_eq!(held(&[1; 2], &owners), [3, 1]);
    }

    #[test]
    fn weights_divide_the_slots() {
        let owners = balanced(&[1, 3], 64);
        assert_eq!(held(&[1, 3], &owners), [16, 48]);
    }

    #[test]
    fn slots_are_worth_moving_when_a_host_is_off_its_share_by_a_tenth() {
        let owned =
            |first: usize, second: usize| [vec![Some(0); first], vec![Some(1); second]].concat();
        assert!(!is_uneven(&[1, 1], &owned(110, 90)), "a tenth");
        assert!(is_uneven(&[1, 1], &owned(111, 89)));
        assert!(!is_uneven(&[1, 1], &owned(3, 1)), "one slot");
        assert!(is_uneven(&[1, 1], &owned(4, 0)));
        assert!(!is_uneven(&[3, 1], &owned(150, 50)));
        assert!(is_uneven(&[3, 1], &owned(100, 100)));
        assert!(is_uneven(&[0, 1], &owned(1, 99)), "a drain has one left");
        assert!(!is_uneven(&[0, 0], &owned(4, 0)), "no host takes any");
    }

    #[test]
    fn what_is_left_over_after_whole_shares_is_spread_over_zones() {
        let zones = [Some(0), Some(0), Some(0), Some(1), Some(1), Some(1)];
        let hosts = Hosts { weights: &[1; 6], zones: &zones, readers: None };
        let mut owners = vec![None; 8];
        settle(hosts, &mut owners, None);
        let counts = held(&[1; 6], &owners);
        assert_eq!(counts.iter().sum::<usize>(), 8);
        assert_eq!(counts[..3].iter().sum::<usize>(), 4, "{counts:?}");
        // What is there stays, though the zones are uneven.
        let mut owners = [0, 1, 2].map(Some).to_vec();
        assert_eq!(rebalance(hosts, &mut owners, None, &MOVABLE[..3], usize::MAX), 0);
    }

    proptest! {
        #[test]
        fn balanced_hosts_are_not_uneven(weights in proptest::collection::vec(0..50u32, 1..8), slots in 1..200usize) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            prop_assert!(!is_uneven(&weights, &balanced(&weights, slots)));
        }

        #[test]
        fn equal_hosts_differ_by_at_most_one_slot_after_a_failure(hosts in 2..9usize, dead in 0..9usize, slots in 1..200usize) {
            let dead = dead % hosts;
            let mut owners = balanced(&vec![7; hosts], slots);
            for owner in &mut owners {
                *owner = match *owner {
                    Some(host) if host == dead => None,
                    Some(host) if host > dead => Some(host - 1),
                    other => other,
                };
            }
            let survivors = owners.clone();
            settle(no_zones(&vec![7; hosts - 1]), &mut owners, None);
            let counts = held(&vec![7; hosts - 1], &owners);
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            for (before, after) in survivors.iter().zip(&owners) {
                prop_assert!(before.is_none() || before == after, "a survivor's slot moved");
            }
        }

        #[test]
        fn a_join_moves_only_the_share_of_the_joining_host(hosts in 1..9usize, slots in 1..200usize) {
            let before = balanced(&vec![7; hosts], slots);
            let mut after = before.clone();
            let weights = vec![7; hosts + 1];
            let moves = rebalance(no_zones(&weights), &mut after, None, &vec![Mobility::Movable; slots], usize::MAX);
            let counts = held(&weights, &after);
            prop_assert_eq!(moves, counts[hosts]);
            prop_assert_eq!(moves, moved(&before, &after));
            prop_assert!(moves <= slots.div_ceil(hosts + 1));
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }

        #[test]
        fn a_second_call_moves_nothing_and_limited_steps_reach_the_same_balance(
            weights in proptest::collection::vec(0..50u32, 1..8),
            owners in proptest::collection::vec(proptest::option::of(0..8usize), 1..100),
            step in 1..10usize,
        ) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let mut owners: Vec<_> = owners.into_iter().map(|owner| owner.map(|host| host % weights.len())).collect();
            let mobility = vec![Mobility::Movable; owners.len()];
            settle(no_zones(&weights), &mut owners, None);
            let mut stepped = owners.clone();
            let moves = rebalance(no_zones(&weights), &mut owners, None, &mobility, usize::MAX);
            prop_assert_eq!(rebalance(no_zones(&weights), &mut owners, None, &mobility, usize::MAX), 0);
            let total: u32 = weights.iter().sum();
            for (host, count) in held(&weights, &owners).into_iter().enumerate() {
                let share = owners.len() * weights[host] as usize / total as usize;
                prop_assert!(count == share || count == share + 1, "host {} has {} of {}", host, count, share);
            }
            let mut steps = 0;
            loop {
                let moved = rebalance(no_zones(&weights), &mut stepped, None, &mobility, step);
                prop_assert!(moved <= step);
                steps += moved;
                if moved == 0 { break; }
            }
            prop_assert_eq!(steps, moves, "small steps move no more slots in total");
        }
    }
}
