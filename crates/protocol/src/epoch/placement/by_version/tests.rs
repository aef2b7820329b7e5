//! Placement with needs: directed cases, and random ones.

use proptest::prelude::*;

use super::{super::Hosts, *};
use crate::epoch::placement;

const MOVABLE: [Mobility; 64] = [Mobility::Movable; 64];

/// Hosts with versions of one kind, and what each slot needs of it.
#[derive(Clone, Debug)]
struct Case {
    weights: Vec<u32>,
    versions: Vec<u16>,
    needs: Vec<u16>,
}

impl Case {
    fn readers(&self) -> Option<Readers> {
        let classes = self.needs.iter().max().map_or(0, |need| need + 1);
        let readable: Vec<Vec<bool>> = (0..classes)
            .map(|need| self.versions.iter().map(|version| *version >= need).collect())
            .collect();
        Readers::new(&self.weights, &self.needs, &readable)
    }

    fn hosts<'a>(&'a self, readers: &'a Option<Readers>) -> Hosts<'a> {
        Hosts { weights: &self.weights, zones: &[], readers: readers.as_ref() }
    }

    /// Whether a host that takes slots can read a slot.
    fn has_reader(&self, slot: usize) -> bool {
        let takes = self.weights.iter().zip(&self.versions);
        takes.into_iter().any(|(&weight, &version)| weight > 0 && version >= self.needs[slot])
    }

    fn reads(&self, host: usize, slot: usize) -> bool {
        self.versions[host] >= self.needs[slot]
    }
}

fn held(hosts: usize, owners: &Owners) -> Vec<usize> {
    (0..hosts).map(|host| owners.iter().filter(|owner| **owner == Some(host)).count()).collect()
}

#[test]
fn slots_of_a_new_host_that_failed_go_to_the_other_new_one() {
    let case =
        Case { weights: vec![1; 3], versions: vec![1, 1, 2], needs: [[1; 4], [2; 4]].concat() };
    let readers = case.readers();
    let mut owners = [[Some(0), Some(0), Some(1), Some(1)], [None; 4]].concat();
    placement::settle(case.hosts(&readers), &mut owners, None);
    assert_eq!(owners[4..], [Some(2); 4]);
    assert_eq!(placement::need(case.hosts(&readers), &owners, None), Need::Nothing);
}

#[test]
fn a_new_host_gets_its_share_from_old_ones_and_gives_nothing_back() {
    let mut case = Case { weights: vec![1; 3], versions: vec![1, 1, 2], needs: vec![1; 12] };
    let mut owners: Vec<Option<usize>> = (0..12).map(|slot| Some(slot % 2)).collect();
    assert!(case.readers().is_none(), "all can read all: placed as ever");
    placement::rebalance(case.hosts(&None), &mut owners, None, &MOVABLE[..12], usize::MAX);
    assert_eq!(held(3, &owners), [4, 4, 4]);
    // What the new host has counts as new. Now it leaves, and comes back with half its weight.
    for (need, owner) in case.needs.iter_mut().zip(&owners) {
        *need = if *owner == Some(2) { 2 } else { 1 };
    }
    case.weights[2] = 0;
    let readers = case.readers();
    placement::rebalance(case.hosts(&readers), &mut owners, None, &MOVABLE[..12], usize::MAX);
    assert_eq!(held(3, &owners), [6, 6, 0], "none that takes slots can read them");
    case.weights = vec![2, 2, 1];
    let readers = case.readers();
    assert_eq!(placement::need(case.hosts(&readers), &owners, None), Need::AtOnce);
    assert_eq!(
        placement::move_to_readers(case.hosts(&readers), &mut owners, None, &MOVABLE[..12], 3),
        3
    );
    placement::rebalance(case.hosts(&readers), &mut owners, None, &MOVABLE[..12], usize::MAX);
    assert_eq!(held(3, &owners), [4, 4, 4]);
    assert_eq!(placement::need(case.hosts(&readers), &owners, None), Need::Nothing);
}

#[test]
fn in_a_roll_back_the_last_new_host_keeps_what_only_it_can_read() {
    let case =
        Case { weights: vec![1; 3], versions: vec![1, 1, 2], needs: [[2; 8], [1; 8]].concat() };
    let readers = case.readers();
    let mut owners = [[Some(2); 8], [Some(0); 8]].concat();
    assert_eq!(placement::need(case.hosts(&readers), &owners, None), Need::AtOnce);
    placement::rebalance(case.hosts(&readers), &mut owners, None, &MOVABLE[..16], usize::MAX);
    assert_eq!(held(3, &owners), [4, 4, 8]);
    assert_eq!(placement::need(case.hosts(&readers), &owners, None), Need::Nothing);
}

#[test]
fn heavy_slots_move_to_hosts_that_can_read_them_and_noise_moves_nothing() {
    let case =
        Case { weights: vec![1; 3], versions: vec![1, 2, 2], needs: [[2; 6], [1; 6]].concat() };
    let readers = case.readers();
    let mut owners = [[Some(1); 6], [Some(0); 6]].concat();
    let loads = [100, 90, 80, 70, 60, 50, 10, 10, 10, 10, 10, 10];
    let hosts = case.hosts(&readers);
    assert_eq!(placement::need(hosts, &owners, Some(&loads)), Need::AtOnce);
    placement::rebalance(hosts, &mut owners, Some(&loads), &MOVABLE[..12], usize::MAX);
    assert!((0..6).all(|slot| case.reads(owners[slot].unwrap(), slot)));
    let load = |host: usize| -> u64 {
        (0..12).filter(|&slot| owners[slot] == Some(host)).map(|slot| loads[slot]).sum()
    };
    assert!(load(1).abs_diff(load(2)) <= 80, "{} and {}", load(1), load(2));
    let noisy = [101, 91, 79, 71, 59, 50, 11, 9, 10, 10, 10, 10];
    assert_eq!(placement::need(hosts, &owners, Some(&noisy)), Need::Nothing);
}

#[test]
fn a_pinned_slot_stays_though_its_owner_can_not_read_it() {
    let case = Case { weights: vec![1; 2], versions: vec![1, 2], needs: vec![2; 2] };
    let readers = case.readers();
    let mut owners = vec![Some(0); 2];
    let mobility = [Mobility::Pinned, Mobility::Movable];
    placement::rebalance(case.hosts(&readers), &mut owners, None, &mobility, usize::MAX);
    assert_eq!(owners, [Some(0), Some(1)]);
}

fn cases() -> impl Strategy<Value = (Case, Vec<Option<usize>>)> {
    let hosts = proptest::collection::vec((prop_oneof![Just(0), 1..9u32], 0..4u16), 1..7);
    let slots = proptest::collection::vec((0..4u16, proptest::option::of(0..7usize)), 1..64);
    (hosts, slots).prop_map(|(hosts, slots)| {
        let (weights, versions): (Vec<u32>, Vec<u16>) = hosts.into_iter().unzip();
        let (needs, owners): (Vec<u16>, Vec<Option<usize>>) = slots.into_iter().unzip();
        let owners = owners.into_iter().map(|owner| owner.map(|at| at % weights.len())).collect();
        (Case { weights, versions, needs }, owners)
    })
}

proptest! {
    #[test]
    fn every_slot_is_assigned_and_to_a_host_that_can_read_it_if_one_can(
        (case, before) in cases(),
        loads in proptest::option::of(proptest::collection::vec(1..100u64, 64)),
    ) {
        let readers = case.readers();
        let hosts = case.hosts(&readers);
        let loads = loads.as_ref().map(|loads| &loads[..before.len()]);
        let mut owners = before.clone();
        placement::settle(hosts, &mut owners, loads);
        let settled = owners.clone();
        for (slot, owner) in owners.iter().enumerate() {
            prop_assert!(owner.is_some());
            prop_assert!(before[slot].is_none() || before[slot] == *owner, "an owned slot moved");
            if before[slot].is_none() && case.has_reader(slot) {
                prop_assert!(case.reads(owner.unwrap(), slot));
            }
        }
        placement::rebalance(hosts, &mut owners, loads, &MOVABLE[..before.len()], usize::MAX);
        prop_assume!(case.weights.iter().any(|&weight| weight > 0));
        for (slot, owner) in owners.iter().enumerate() {
            let owner = owner.unwrap();
            prop_assert!(case.weights[owner] > 0, "a drained host has slots");
            prop_assert!(!case.has_reader(slot) || case.reads(owner, slot), "slot {} at {}", slot, owner);
        }
        let moves = settled.iter().zip(&owners).filter(|(before, after)| before != after).count();
        if readers.is_some() && moves > 0 {
            prop_assert_eq!(placement::need(hosts, &owners, loads), Need::Nothing);
        }
        let mut again = owners.clone();
        prop_assert_eq!(placement::rebalance(hosts, &mut again, loads, &MOVABLE[..before.len()], usize::MAX), 0);
        prop_assert_eq!(again, owners);
    }

    #[test]
    fn small_steps_end_too((case, mut owners) in cases(), step in 1..4usize) {
        prop_assume!(case.weights.iter().any(|&weight| weight > 0));
        let readers = case.readers();
        let hosts = case.hosts(&readers);
        placement::settle(hosts, &mut owners, None);
        let mut steps = 0;
        let mobility = &MOVABLE[..owners.len()];
        while placement::rebalance(hosts, &mut owners, None, mobility, step) > 0 {
            steps += 1;
            prop_assert!(steps < 1_000);
        }
        let mut weights = case.weights.iter().filter(|&&weight| weight > 0);
        let first = weights.next();
        let alike = weights.all(|weight| Some(weight) == first);
        if alike && let Some(readers) = &readers {
            let counts = held(case.weights.len(), &owners);
            for (slot, owner) in owners.iter().enumerate() {
                for other in 0..counts.len() {
                    let would_even = counts[owner.unwrap()] > counts[other] + 1;
                    prop_assert!(!(would_even && readers.may_have(other, slot)), "slot {}: {:?}", slot, counts);
                }
            }
        }
    }

    /// Then placement is what it was before hosts had versions.
    #[test]
    fn hosts_that_can_all_read_everything_are_not_told_apart((case, _) in cases()) {
        let newest = Case { versions: vec![3; case.versions.len()], ..case.clone() };
        prop_assert_eq!(newest.readers(), None);
        let oldest = Case { versions: vec![0; case.versions.len()], needs: vec![3; case.needs.len()], ..case };
        prop_assert_eq!(oldest.readers(), None);
    }
}
