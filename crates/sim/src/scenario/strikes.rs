//! Injection of faults: which, when, and for how long.
//!
//! Strikes overlap: each has its own end, and the next one doesn't wait for it. Faults are drawn from a shuffled deck
//! that is used up before it is shuffled again, so that each kind has its turn.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron::PeerMessage;
use holocron_protocol::ids::HostName;

use super::{CALLING_NODES, Story, domain::DomainStrikes};
use crate::{
    chance::Chance,
    counters::Counters,
    fault::Fault,
    store::{Slow, StoreFaults},
};

/// The additional host that joins and leaves.
pub(super) const GUEST: &str = "guest";
/// The suffix of the node of a second process under a host's name.
const TWIN: &str = "-twin";

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
/// The longest time to the next strike after one without a possible victim.
const AFTER_NOTHING_MAX: Duration = Duration::from_millis(100);

/// How long hosts that were paused get to notice it, before stopped hosts are restarted.
const WAKING: Duration = Duration::from_millis(100);

/// The end of a strike.
#[derive(Clone, Debug)]
pub(super) enum End {
    Start(String),
    Mend(String, String),
    SetClockRight(String),
    Quicken(String),
    Undrain(HostName),
}

/// The strikes of a scenario.
pub(super) struct Strikes<'a> {
    pub(super) story: &'a mut Story,
    /// The hosts that exist from the start.
    hosts: Vec<String>,
    deck: Vec<Fault>,
    ends: BTreeMap<(Duration, u64), End>,
    ends_made: u64,
    /// The longest time between two strikes.
    gap_max: Duration,
    /// The end of the load.
    until: Duration,
    /// How many more long outages are allowed.
    long_outages: u32,
    /// A separate generator, so that other draws of the seed don't change.
    pub(super) apart: Chance,
    /// What goes wrong with the store of the domain besides the home domain, if there is one.
    pub(super) domain: Option<DomainStrikes>,
}

impl<'a> Strikes<'a> {
    pub(super) fn new(story: &'a mut Story, hosts: Vec<String>) -> Self {
        let struck = story.scenario.faults.iter().filter(|fault| strikes(*fault)).count();
        let gaps = u32::try_from(struck).unwrap_or(u32::MAX).saturating_add(1);
        let calm = story.scenario.load * 2 / gaps;
        let share = u32::try_from(1 + story.chance.below(4)).expect("below five");
        let until = story.cluster.world.now() + story.scenario.load;
        Self {
            gap_max: calm / share,
            apart: Chance::new(story.scenario.seed ^ 0x7a4e),
            domain: story
                .has_domain_strikes()
                .then(|| DomainStrikes::new(story.scenario.seed, story.cluster.world.now()))
                .flatten(),
            story,
            hosts,
            deck: Vec::new(),
            ends: BTreeMap::new(),
            ends_made: 0,
            until,
            long_outages: 1,
        }
    }

    /// Runs the world until the load is over, with one strike after the other.
    pub(super) fn go_on(&mut self) {
        let mut next = self.now() + self.span(MILLISECOND, self.gap_max);
        while self.now() < self.until {
            self.story.cluster.world.step();
            self.strike_domain();
            if let Some(mut members) = self.story.members.take() {
                members.go_on(self.story);
                self.story.members = Some(members);
            }
            while let Some(entry) = self
                .ends
                .first_entry()
                .filter(|entry| entry.key().0 <= self.story.cluster.world.now())
            {
                let end = entry.remove();
                self.end(end);
            }
            if self.now() >= next {
                let in_vain = self.deal().is_some_and(|fault| self.strike(fault).is_none());
                let gap_max =
                    if in_vain { self.gap_max.min(AFTER_NOTHING_MAX) } else { self.gap_max };
                next = self.now() + self.span(MILLISECOND, gap_max);
            }
        }
    }

    /// Every node that a host may run at.
    pub(super) fn nodes(&self) -> Vec<String> {
        let twins = self.hosts.iter().map(|host| twin_of(host));
        self.hosts.iter().cloned().chain(twins).chain([GUEST.to_owned()]).collect()
    }

    /// Ends all strikes, and restarts each host that is down or leaving.
    pub(super) fn heal(&mut self) {
        self.ends.clear();
        self.heal_domain();
        let nodes = self.nodes();
        let world = &mut self.story.cluster.world;
        world.trace.note(format_args!("everything is healed"));
        world.shelf.set_faults(StoreFaults::none());
        world.shelf.set_outage(Duration::ZERO);
        world.wire.heal();
        for node in &nodes {
            world.wake(node);
            world.set_clock_rate(node, 1_000);
            world.shelf.set_slow(node, None);
        }
        // Some hosts that were paused notice now that they must stop.
        world.run(WAKING);
        for host in self.hosts.clone() {
            let twin = twin_of(&host);
            if self.stays(&host) || self.stays(&twin) {
                continue;
            }
            if let Some(free) = [host, twin].iter().find(|node| !self.runs(node)) {
                self.story.cluster.start(free);
            }
        }
    }

    fn deal(&mut self) -> Option<Fault> {
        if self.deck.is_empty() {
            let chance = &self.story.chance;
            let faults = self.story.scenario.faults.iter().filter(|fault| strikes(*fault));
            let mut deck: Vec<_> = faults.map(|fault| (chance.bits(), fault)).collect();
            deck.sort_unstable();
            self.deck = deck.into_iter().map(|(_, fault)| fault).collect();
        }
        self.deck.pop()
    }

    /// `None`, here and below, if there was no possible victim.
    fn strike(&mut self, fault: Fault) -> Option<()> {
        match fault {
            Fault::Crash => self.crash(),
            Fault::Pause => self.pause(),
            Fault::Partition => self.partition(),
            Fault::Reset => self.reset(),
            Fault::Clock => self.skew(),
            Fault::Store | Fault::Lost => None,
            Fault::Outage => {
                self.outage();
                Some(())
            }
            Fault::Slow => self.slow(),
            Fault::Alarm => self.alarm(),
            Fault::Order => self.order(),
            Fault::JoinLeave => self.join_or_leave(),
            Fault::Namesake => self.namesake(),
        }
    }

    fn crash(&mut self) -> Option<()> {
        let victim = self.victim()?;
        let address = self.story.cluster.address(&victim);
        let owned = self.story.cluster.world.shelf.owns_slots(&address);
        self.story.cluster.world.crash(&victim);
        self.count(|counters| {
            counters.crashes += 1;
            counters.owner_crashes += u64::from(owned);
        });
        let down = self.span(MILLISECOND * 50, MILLISECOND * 4_000);
        self.after(down, End::Start(victim));
        Some(())
    }

    fn pause(&mut self) -> Option<()> {
        let victim = self.victim()?;
        let long = self.story.chance.below(8) == 0;
        let (least, most) = if long { (10_000, 60_000) } else { (200, 5_000) };
        let span = self.span(MILLISECOND * least, MILLISECOND * most);
        self.story.cluster.world.pause(&victim, span);
        self.count(|counters| counters.pauses += 1);
        Some(())
    }

    fn partition(&mut self) -> Option<()> {
        let (one, other) = self.pair()?;
        let cut = self.span(MILLISECOND * 100, MILLISECOND * 5_000);
        self.story.cluster.world.wire.cut(&one, &other);
        self.after(cut, End::Mend(one.clone(), other.clone()));
        if self.story.chance.happens(0.5) {
            self.story.cluster.world.wire.cut(&other, &one);
            self.after(cut, End::Mend(other, one));
        }
        self.count(|counters| counters.partitions += 1);
        Some(())
    }

    fn reset(&mut self) -> Option<()> {
        let (one, other) = self.pair()?;
        if !self.story.cluster.world.wire.reset(&one, &other) {
            return None;
        }
        self.count(|counters| counters.resets += 1);
        Some(())
    }

    fn skew(&mut self) -> Option<()> {
        let victim = self.victim()?;
        let rate = [300, 700, 1_400, 3_000][self.below(4)];
        self.story.cluster.world.set_clock_rate(&victim, rate);
        self.count(|counters| counters.skewed_clocks += 1);
        let span = self.span(MILLISECOND * 500, MILLISECOND * 6_000);
        self.after(span, End::SetClockRight(victim));
        Some(())
    }

    fn outage(&mut self) {
        let long = self.long_outages > 0 && self.story.chance.below(12) == 0;
        let (least, most) = if long { (20_000, 60_000) } else { (100, 3_000) };
        let span = self.span(MILLISECOND * least, MILLISECOND * most);
        if long {
            self.long_outages -= 1;
            self.until += span;
        }
        self.story.cluster.world.shelf.set_outage(span);
        self.count(|counters| counters.outages += 1);
    }

    fn slow(&mut self) -> Option<()> {
        let victim = self.victim()?;
        let extra = MILLISECOND * [20, 200, 2_000][self.below(3)];
        let slow = [Slow::Requests(extra), Slow::Uploads(extra)][self.below(2)];
        self.story.cluster.world.shelf.set_slow(&victim, Some(slow));
        self.count(|counters| counters.slow_stores += 1);
        let span = self.span(MILLISECOND * 500, MILLISECOND * 5_000);
        self.after(span, End::Quicken(victim));
        Some(())
    }

    fn join_or_leave(&mut self) -> Option<()> {
        if !self.runs(GUEST) {
            self.start(GUEST);
            return Some(());
        }
        let victim =
            if self.story.chance.happens(0.5) { Some(GUEST.to_owned()) } else { self.victim() };
        let victim = victim?;
        self.story.cluster.leave(&victim);
        self.count(|counters| counters.leaves += 1);
        if victim != GUEST {
            let away = self.span(MILLISECOND * 500, MILLISECOND * 6_000);
            self.after(away, End::Start(victim));
        }
        Some(())
    }

    /// A second process under a host's name; often under the leader's, which is paused meanwhile: it admits its own
    /// replacement when it wakes.
    fn namesake(&mut self) -> Option<()> {
        let mut host = self.hosts[self.below(self.hosts.len())].clone();
        let leader = self.story.cluster.leader().filter(|leader| self.hosts.contains(leader));
        if let Some(leader) = leader.filter(|_| self.apart.happens(0.5)) {
            let span = self.apart.between(MILLISECOND * 200, MILLISECOND * 900);
            self.story.cluster.world.pause(&leader, span);
            self.count(|counters| counters.pauses += 1);
            host = leader;
        }
        let twin = twin_of(&host);
        if self.runs(&twin) {
            return None;
        }
        self.story.cluster.start_at(&twin, &host);
        self.count(|counters| counters.namesakes += 1);
        let span = self.span(MILLISECOND * 1_000, MILLISECOND * 6_000);
        self.after(span, End::Start(host));
        Some(())
    }

    fn end(&mut self, end: End) {
        let world = &mut self.story.cluster.world;
        match end {
            End::Start(host) => {
                if !self.runs(&host) {
                    self.start(&host);
                }
            }
            End::Mend(from, to) => world.wire.mend(&from, &to),
            End::SetClockRight(host) => world.set_clock_rate(&host, 1_000),
            End::Quicken(host) => world.shelf.set_slow(&host, None),
            End::Undrain(name) => drop(self.ask_leader(PeerMessage::Undrain(name))),
        }
    }

    fn start(&mut self, host: &str) {
        self.story.cluster.start(host);
        self.count(|counters| counters.joins += 1);
    }

    /// Whether a host's process runs at a node and has not stopped by itself.
    pub(super) fn runs(&self, node: &str) -> bool {
        self.story.cluster.world.is_up(node) && self.story.cluster.stopped(node).is_none()
    }

    /// Whether a host runs at a node and was not told to leave.
    fn stays(&self, node: &str) -> bool {
        self.runs(node) && !self.story.cluster.leaves(node)
    }

    /// A node with a running host that isn't paused.
    pub(super) fn victim(&self) -> Option<String> {
        let running = |node: &String| self.runs(node) && self.story.cluster.world.is_running(node);
        let mut running: Vec<String> = self.nodes().into_iter().filter(running).collect();
        (!running.is_empty()).then(|| running.swap_remove(self.below(running.len())))
    }

    /// A host and a node that talks to it.
    fn pair(&self) -> Option<(String, String)> {
        let one = self.victim()?;
        let callers = CALLING_NODES.into_iter().map(ToOwned::to_owned);
        let others: Vec<String> =
            self.nodes().into_iter().chain(callers).filter(|other| *other != one).collect();
        let other = others[self.below(others.len())].clone();
        Some((one, other))
    }

    pub(super) fn after(&mut self, span: Duration, end: End) {
        self.ends_made += 1;
        self.ends.insert((self.now() + span, self.ends_made), end);
    }

    pub(super) fn now(&self) -> Duration {
        self.story.cluster.world.now()
    }

    pub(super) fn span(&self, least: Duration, most: Duration) -> Duration {
        self.story.chance.between(least, most)
    }

    pub(super) fn below(&self, end: usize) -> usize {
        usize::try_from(self.story.chance.below(end as u64)).expect("below a usize")
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Counters)) {
        add(&mut self.story.work.counters());
    }
}

/// Whether a fault is a strike; the others last, or end the scenario.
fn strikes(fault: Fault) -> bool {
    fault != Fault::Store && fault != Fault::Lost
}

fn twin_of(host: &str) -> String {
    format!("{host}{TWIN}")
}
