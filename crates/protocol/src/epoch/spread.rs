//! Spread: the slots that hold shards of a kind are placed so that every host has its share of the shards, before the other
//! slots are placed ([`crate::epoch::placement`]). All functions are pure: every leader computes the same.
//!
//! A host's share is rounded up or down, as in placement; between hosts of equal weight the numbers of shards differ by at
//! most one. A slot with several shards moves with all of them, so a host may miss its share by less than the shards of a
//! slot, if no slot with fewer is left to even it out. While some host can't read what may be in some slot, a host that can read
//! the slot comes first, and shares may be missed by more.
//!
//! Invariants:
//!
//! * Each move brings the hosts nearer to their shares. So a second call moves nothing.
//! * A slot moves only from a host above its share to one below it.
//! * A slot goes to a host that can't read it only if no host that takes slots can.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use crate::epoch::placement::{self, Mobility, Owners, Readers};

/// The shards of one kind: by slot, how many are in it; and by host, its weight, 0 if it lacks the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// By slot, how many shards of the kind are in it.
    pub shards: Vec<u16>,
    /// By host, its weight; 0 for one that gets no shards.
    pub weights: Vec<u32>,
    /// Which hosts may have which slots; none if all may have all.
    pub readers: Option<Arc<Readers>>,
}

/// Gives the free slots with shards to the hosts that lack most of their share. A slot that no host with the kind may have
/// stays free.
///
/// # Panics
///
/// When a slot's owner isn't in the list.
pub fn settle_pinned(pinned: &Pinned, owners: &mut Owners) {
    let mut free: Vec<usize> = (0..owners.len())
        .filter(|&slot| owners[slot].is_none() && pinned.shards[slot] > 0)
        .collect();
    if free.is_empty() || !pinned.can_be_placed() {
        return;
    }
    // Those with many shards first: what they leave uneven, the others even out.
    free.sort_by_key(|&slot| core::cmp::Reverse(pinned.shards[slot]));
    let mut counts = pinned.counts(owners);
    let quotas =
        pinned.quotas(&counts, pinned.shards.iter().map(|&count| usize::from(count)).sum());
    for slot in free {
        let lacks = |host: usize| quotas[host].cast_signed() - counts[host].cast_signed();
        let host = (0..quotas.len())
            .filter(|&host| pinned.weights[host] > 0 && pinned.may_have(host, slot))
            .max_by_key(|&host| (lacks(host), core::cmp::Reverse(host)));
        let Some(host) = host else { continue };
        counts[host] += usize::from(pinned.shards[slot]);
        owners[slot] = Some(host);
    }
}

/// Moves at most `moves_max` slots from hosts with more shards than their share to hosts with fewer; those of hosts of weight
/// 0 first. Returns how many moved.
///
/// # Panics
///
/// When a slot's owner isn't in the list.
pub fn spread_pinned(
    pinned: &Pinned,
    owners: &mut Owners,
    mobility: &[Mobility],
    moves_max: usize,
) -> usize {
    let mut moved = 0;
    while moved < moves_max
        && let Some((slot, taker)) = next_move(pinned, owners, mobility)
    {
        assert_ne!(owners[slot], Some(taker), "a slot moves to where it is");
        owners[slot] = Some(taker);
        moved += 1;
    }
    moved
}

/// The move that brings the hosts nearest to their shares; `None` if none does.
#[must_use]
pub fn next_move(
    pinned: &Pinned,
    owners: &Owners,
    mobility: &[Mobility],
) -> Option<(usize, usize)> {
    if !pinned.can_be_placed() {
        return None;
    }
    let counts = pinned.counts(owners);
    let quotas = pinned.quotas(&counts, counts.iter().sum());
    let above = |host: usize| counts[host].saturating_sub(quotas[host]);
    let below = |host: usize| quotas[host].saturating_sub(counts[host]);
    let mut givers: Vec<usize> = (0..counts.len()).filter(|&host| above(host) > 0).collect();
    givers.sort_by_key(|&host| (pinned.weights[host] > 0, core::cmp::Reverse(above(host))));
    let mut takers: Vec<usize> = (0..counts.len()).filter(|&host| below(host) > 0).collect();
    takers.sort_by_key(|&host| core::cmp::Reverse(below(host)));
    for giver in givers {
        let mut slots = movable(pinned, owners, mobility, (giver, None));
        for &taker in &takers {
            if pinned.readers.is_some() {
                slots = movable(pinned, owners, mobility, (giver, Some(taker)));
            }
            let (above, below) = (above(giver), below(taker));
            let gain = |count: usize| {
                (above + below).saturating_sub(above.abs_diff(count) + below.abs_diff(count))
            };
            let best = slots.iter().max_by_key(|(count, _)| gain(usize::from(**count)));
            if let Some((&count, &slot)) = best
                && gain(usize::from(count)) > 0
            {
                return Some((slot, taker));
            }
        }
    }
    None
}

/// By number of shards, the last slot of a host that has so many and may move, to the taker if one is named.
fn movable(
    pinned: &Pinned,
    owners: &Owners,
    mobility: &[Mobility],
    (giver, taker): (usize, Option<usize>),
) -> BTreeMap<u16, usize> {
    let may_move = |slot: &usize| {
        owners[*slot] == Some(giver)
            && taker.is_none_or(|taker| pinned.may_have(taker, *slot))
            && pinned.shards[*slot] > 0
            && mobility[*slot] == Mobility::Movable
    };
    (0..owners.len()).filter(may_move).map(|slot| (pinned.shards[slot], slot)).collect()
}

impl Pinned {
    /// Whether any host takes shards.
    #[must_use]
    pub fn can_be_placed(&self) -> bool {
        self.weights.iter().any(|&weight| weight > 0)
    }

    fn may_have(&self, host: usize, slot: usize) -> bool {
        self.readers.as_ref().is_none_or(|readers| readers.may_have(host, slot))
    }

    /// By host, how many shards it has.
    fn counts(&self, owners: &Owners) -> Vec<usize> {
        let mut counts = alloc::vec![0; self.weights.len()];
        for (owner, &count) in owners.iter().zip(&self.shards) {
            if let Some(owner) = owner {
                counts[*owner] += usize::from(count);
            }
        }
        counts
    }

    fn quotas(&self, counts: &[usize], shards: usize) -> Vec<usize> {
        let hosts = placement::Hosts { weights: &self.weights, zones: &[], readers: None };
        placement::quotas(hosts, counts, shards)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::epoch::shards::shards_by_slot;

    fn held(pinned: &Pinned, owners: &Owners) -> Vec<usize> {
        pinned.counts(owners)
    }

    fn settled(pinned: &Pinned) -> Vec<Option<usize>> {
        let mut owners = vec![None; pinned.shards.len()];
        settle_pinned(pinned, &mut owners);
        owners
    }

    fn even(hosts: usize, shards: &[u16]) -> Pinned {
        Pinned { shards: shards.into(), weights: vec![100; hosts], readers: None }
    }

    #[test]
    fn a_slot_with_two_shards_is_evened_out_by_those_with_one() {
        let pinned = even(3, &[1, 0, 2, 1, 1, 0, 2, 1, 1]);
        let owners = settled(&pinned);
        assert_eq!(held(&pinned, &owners), [3, 3, 3]);
        assert!(owners[1].is_none(), "a slot without shards is left to placement");
    }

    #[test]
    fn a_host_that_lacks_the_kind_gives_its_shards_away() {
        let mut pinned = even(3, &[1; 9]);
        let mut owners = settled(&pinned);
        pinned.weights[0] = 0;
        let mobility = [Mobility::Movable; 9];
        assert_eq!(spread_pinned(&pinned, &mut owners, &mobility, usize::MAX), 3);
        let counts = held(&pinned, &owners);
        assert_eq!((counts[0], counts[1] + counts[2]), (0, 9));
        assert!(counts[1].abs_diff(counts[2]) <= 1);
    }

    #[test]
    fn a_shard_that_only_new_hosts_can_read_goes_to_one_of_them() {
        let readable = [vec![true; 3], vec![false, true, true]];
        let of_slot = [1, 1, 1, 0, 0, 0];
        let readers = Readers::new(&[100; 3], &of_slot, &readable).map(Arc::new);
        let pinned = Pinned { readers, ..even(3, &[1; 6]) };
        let owners = settled(&pinned);
        assert_eq!(held(&pinned, &owners), [2, 2, 2]);
        assert!(owners[..3].iter().all(|owner| *owner != Some(0)), "{owners:?}");
        // Those that the old host could take stay with it, and the others can't be evened out.
        let mut owners = [Some(1), Some(1), Some(1), Some(0), Some(2), Some(2)];
        let mobility = [Mobility::Movable; 6];
        assert_eq!(spread_pinned(&pinned, &mut owners, &mobility, usize::MAX), 0);
        assert_eq!(held(&pinned, &owners), [1, 3, 2]);
    }

    #[test]
    fn without_a_host_that_has_the_kind_nothing_is_placed() {
        let pinned = Pinned { shards: vec![1; 4], weights: vec![0; 2], readers: None };
        assert_eq!(settled(&pinned), [None; 4]);
        let mut owners = vec![Some(0); 4];
        assert_eq!(spread_pinned(&pinned, &mut owners, &[Mobility::Movable; 4], 9), 0);
    }

    #[test]
    fn sixty_four_shards_of_many_kinds_are_within_one_on_one_to_seven_hosts() {
        for kind in 0..200 {
            let shards = shards_by_slot(&alloc::format!("kind-{kind}"), 64, 4_096);
            let mut owners = vec![None; 4_096];
            for hosts in [1, 2, 4, 3, 7, 5] {
                let pinned = even(hosts, &shards);
                for owner in &mut owners {
                    *owner = owner.filter(|&host| host < hosts);
                }
                settle_pinned(&pinned, &mut owners);
                let mobility = vec![Mobility::Movable; 4_096];
                spread_pinned(&pinned, &mut owners, &mobility, usize::MAX);
                let counts = held(&pinned, &owners);
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(most - least <= 1, "kind {kind} on {hosts} hosts: {counts:?}");
            }
        }
    }

    fn off(pinned: &Pinned, owners: &Owners) -> usize {
        let counts = pinned.counts(owners);
        let quotas = pinned.quotas(&counts, counts.iter().sum());
        counts.iter().zip(&quotas).map(|(count, quota)| count.abs_diff(*quota)).sum()
    }

    proptest! {
        #[test]
        fn single_shards_of_equal_hosts_differ_by_at_most_one_and_the_fewest_slots_move(
            hosts in 1..9usize,
            owners in proptest::collection::vec(proptest::option::of(0..9usize), 1..120),
        ) {
            let pinned = even(hosts, &vec![1; owners.len()]);
            let mut owners: Vec<_> = owners.into_iter().map(|owner| owner.map(|host| host % hosts)).collect();
            let before = owners.clone();
            settle_pinned(&pinned, &mut owners);
            for (was, is) in before.iter().zip(&owners) {
                prop_assert!(was.is_none() || was == is, "an owned slot moved");
            }
            let needed = off(&pinned, &owners) / 2;
            let mobility = vec![Mobility::Movable; owners.len()];
            prop_assert_eq!(spread_pinned(&pinned, &mut owners, &mobility, usize::MAX), needed);
            let counts = held(&pinned, &owners);
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        }

        #[test]
        fn each_move_brings_hosts_nearer_to_their_shares_and_small_steps_end(
            weights in proptest::collection::vec(0..50u32, 1..7),
            slots in proptest::collection::vec((0..4u16, proptest::option::of(0..7usize), any::<bool>()), 1..80),
            step in 1..5usize,
        ) {
            let shards = slots.iter().map(|slot| slot.0).collect();
            let pinned = Pinned { shards, weights: weights.clone(), readers: None };
            let mut owners: Vec<_> = slots.iter().map(|slot| slot.1.map(|host| host % weights.len())).collect();
            let mobility: Vec<_> = slots.iter().map(|slot| if slot.2 { Mobility::Movable } else { Mobility::Pinned }).collect();
            settle_pinned(&pinned, &mut owners);
            let all: usize = pinned.shards.iter().map(|&count| usize::from(count)).sum();
            if pinned.can_be_placed() {
                prop_assert_eq!(held(&pinned, &owners).iter().sum::<usize>(), all, "every slot with shards has an owner");
            }
            loop {
                let before = owners.clone();
                let moved = spread_pinned(&pinned, &mut owners, &mobility, step);
                prop_assert!(moved <= step);
                if moved == 0 {
                    prop_assert_eq!(&before, &owners);
                    break;
                }
                prop_assert!(off(&pinned, &owners) < off(&pinned, &before));
                for (slot, (was, is)) in before.iter().zip(&owners).enumerate() {
                    prop_assert!(was == is || (mobility[slot] == Mobility::Movable && pinned.shards[slot] > 0));
                }
            }
            // Nothing movable is left at a host that is to have none.
            if pinned.can_be_placed() {
                for (slot, owner) in owners.iter().enumerate() {
                    let stuck = pinned.shards[slot] > 0 && mobility[slot] == Mobility::Movable
                        && owner.is_some_and(|owner| weights[owner] == 0);
                    prop_assert!(!stuck, "slot {} stays at a host of weight 0", slot);
                }
            }
        }
    }
}
