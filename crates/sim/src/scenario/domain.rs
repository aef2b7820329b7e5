//! A second domain, in a third of the seeds: which vnodes live there, and what goes wrong with its store.
//!
//! Everything is drawn from generators of its own, so that seeds without a domain run as if there were none.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron::{Rule, Vnode};

use super::{
    Story,
    strikes::{MILLISECOND, Strikes},
};
use crate::{
    chance::Chance,
    store::{Slow, StoreFaults},
    workload::{bank, cell, tally},
};

/// The longest time between two strikes at the domain's store.
const GAP_MAX: Duration = Duration::from_secs(3);

/// What lives in the domain of a seed, if it has one.
pub(super) fn drawn(seed: u64) -> Option<Rule> {
    let chance = Chance::new(seed ^ 0xd0_3a1);
    if chance.below(3) != 0 {
        return None;
    }
    Some(match chance.below(4) {
        0 => Rule::Kind(bank::Account::KIND.to_owned()),
        1 => Rule::Kind(cell::Cell::KIND.to_owned()),
        2 => Rule::Kind(tally::Tally::KIND.to_owned()),
        // Some of each kind: their keys end with a number, and begin with a letter of the kind.
        _ => Rule::KeyPrefix(["a", "c", "t"][index(chance.below(3))].to_owned()),
    })
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("it is small")
}

/// The end of a strike.
#[derive(Clone, Debug)]
enum End {
    GiveAccess(String),
    Quicken(String),
}

/// What goes wrong with the domain's store.
#[derive(Debug)]
pub(super) struct DomainStrikes {
    chance: Chance,
    next: Duration,
    ends: BTreeMap<(Duration, u64), End>,
    ends_made: u64,
}

impl DomainStrikes {
    /// For a seed; `None` if it has no domain.
    pub(super) fn new(seed: u64, now: Duration) -> Option<Self> {
        drawn(seed)?;
        let chance = Chance::new(seed ^ 0xd0_3a2);
        let next = now + chance.between(MILLISECOND, GAP_MAX);
        Some(Self { chance, next, ends: BTreeMap::new(), ends_made: 0 })
    }

    fn after(&mut self, at: Duration, end: End) {
        self.ends_made += 1;
        self.ends.insert((at, self.ends_made), end);
    }
}

impl Story {
    /// Whether anything goes wrong with the domain's store: if the scenario has faults at all.
    pub(super) fn has_domain_strikes(&self) -> bool {
        self.scenario.faults.iter().next().is_some()
    }
}

impl Strikes<'_> {
    /// Strikes at the domain's store if it is time.
    pub(super) fn strike_domain(&mut self) {
        let Some(mut domain) = self.domain.take() else { return };
        let now = self.now();
        let store = self.story.cluster.world.further.clone();
        while let Some(entry) = domain.ends.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                End::GiveAccess(node) => store.set_denied(&node, false),
                End::Quicken(node) => store.set_slow(&node, None),
            }
        }
        if now >= domain.next {
            domain.next = now + domain.chance.between(MILLISECOND, GAP_MAX);
            let nodes: Vec<String> =
                self.nodes().into_iter().filter(|node| self.runs(node)).collect();
            if !nodes.is_empty() {
                let node = nodes[index(domain.chance.below(nodes.len() as u64))].clone();
                match domain.chance.below(4) {
                    0 => {
                        let span = domain.chance.between(MILLISECOND * 100, MILLISECOND * 4_000);
                        store.set_outage(span);
                    }
                    1 => {
                        store.set_slow(&node, Some(Slow::Requests(MILLISECOND * 200)));
                        let span = domain.chance.between(MILLISECOND * 500, MILLISECOND * 5_000);
                        domain.after(now + span, End::Quicken(node));
                    }
                    _ => {
                        store.set_denied(&node, true);
                        let long = domain.chance.below(2) == 0;
                        let most = if long { 12_000 } else { 3_000 };
                        let span = domain.chance.between(MILLISECOND * 200, MILLISECOND * most);
                        domain.after(now + span, End::GiveAccess(node));
                    }
                }
                self.count(|counters| counters.domain_strikes += 1);
            }
        }
        self.domain = Some(domain);
    }

    /// Ends all strikes at the domain's store.
    pub(super) fn heal_domain(&mut self) {
        self.domain = None;
        let store = &self.story.cluster.world.further;
        store.set_faults(StoreFaults::none());
        store.set_outage(Duration::ZERO);
        for node in self.nodes() {
            store.set_denied(&node, false);
            store.set_slow(&node, None);
        }
    }
}
