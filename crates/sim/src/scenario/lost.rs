//! The store is lost under load: it comes back empty, or with another cluster. The hosts must detect it, log it and
//! stop; the watch checks what they answer and write meanwhile. Then another host starts, as an operator would try.

use core::time::Duration;

use holocron_protocol::{
    control::founding::{Absent, Founding, Remains},
    format::{cluster::Cluster, keys},
    ids::{ClusterId, Nonce},
};

use super::{
    SLOTS, store_faults,
    strikes::{GUEST, Strikes},
};
use crate::{
    chance::Chance,
    fault::Fault,
    store::{Replacement, StoreFaults},
};

/// How long everything is quiet after the healing, before the store is lost, so that no host is starting.
const QUIET: Duration = Duration::from_secs(4);
/// How long hosts may take to detect the loss: an idle host looks with every hint, every 10 s, and then for 2 s more.
const NOTICE_WITHIN: Duration = Duration::from_secs(20);
/// How long nothing may be written after every host has stopped, and how long a start may take.
const AFTERWARDS: Duration = Duration::from_secs(8);

impl Strikes<'_> {
    /// Loses the store and ends the scenario, in one of four seeds with this fault. Returns whether it did.
    pub(super) fn lose_store(&mut self) -> bool {
        let scenario = &self.story.scenario;
        let only = scenario.faults.iter().all(|fault| fault == Fault::Lost);
        let chosen = only || Chance::new(scenario.seed ^ 0x1057).below(4) == 0;
        if !scenario.faults.contains(Fault::Lost) || !chosen {
            return false;
        }
        self.heal();
        self.story.cluster.world.run(QUIET);
        let replacement = self.replacement();
        if self.story.scenario.faults.contains(Fault::Store) {
            let faults = store_faults(&self.story.chance);
            self.story.cluster.world.shelf.set_faults(faults);
        }
        // One host may be paused during the loss.
        if self.story.chance.happens(0.5)
            && let Some(sleeper) = self.victim()
        {
            let span = self.span(Duration::from_millis(500), Duration::from_secs(8));
            self.story.cluster.world.pause(&sleeper, span);
        }
        let absent = match &replacement {
            Replacement::Nothing => Absent::Cluster,
            Replacement::Cluster(_) => Absent::Epochs,
        };
        self.story.cluster.world.shelf.lose(replacement);
        self.count(|counters| counters.lost_stores += 1);
        self.all_notice();
        self.story.cluster.world.shelf.set_faults(StoreFaults::none());
        self.story.work.end();
        self.story.finish_calls();
        self.nothing_is_written();
        self.another_starts(absent);
        true
    }

    fn replacement(&self) -> Replacement {
        if self.story.chance.happens(0.5) {
            return Replacement::Nothing;
        }
        let id = ClusterId::new(u128::from(self.story.chance.bits()));
        let other = Cluster { slots: SLOTS, journal_segment_len: 4, ..Cluster::new(id) };
        Replacement::Cluster(other.encode(Nonce::new(1)))
    }

    fn all_notice(&mut self) {
        let until = self.now() + NOTICE_WITHIN;
        let nodes = self.nodes();
        while nodes.iter().any(|node| self.runs(node)) {
            if self.now() >= until {
                let run: Vec<_> = nodes.iter().filter(|node| self.runs(node)).collect();
                self.violate(format_args!(
                    "{run:?} still run {NOTICE_WITHIN:?} after the store was lost"
                ));
                return;
            }
            self.story.cluster.world.step();
        }
    }

    fn nothing_is_written(&mut self) {
        let shelf = self.story.cluster.world.shelf.clone();
        // Requests sent before may land late.
        self.story.cluster.world.run(AFTERWARDS);
        let before = shelf.keys("");
        self.story.cluster.world.run(AFTERWARDS);
        let after = shelf.keys("");
        if before != after {
            self.violate(format_args!("stopped hosts write: {before:?}, then {after:?}"));
        }
    }

    /// A new host founds a cluster in an empty store, and names what remains in one that isn't empty.
    fn another_starts(&mut self, absent: Absent) {
        let listed = self.story.cluster.world.shelf.keys("");
        let remains = Remains::among(absent, listed.iter().map(String::as_str));
        self.story.cluster.start(GUEST);
        self.story.cluster.world.run(AFTERWARDS);
        let serves = self
            .story
            .cluster
            .status(GUEST)
            .is_some_and(|status| status.slots_serving == u32::from(SLOTS));
        let refuses = self
            .story
            .cluster
            .stopped(GUEST)
            .is_some_and(|why| why.contains("of an earlier cluster there remains"));
        let may = remains.allow(Founding::IfEmpty);
        // The create of an epoch that was under way has landed beside the other cluster's object: together they look like a
        // cluster. Its journals are missing, so nothing may be served.
        let looks_whole =
            absent == Absent::Epochs && listed.iter().any(|key| key.starts_with(keys::EPOCHS));
        let as_expected = if looks_whole { !serves } else { serves == may && refuses != may };
        if !as_expected {
            let stopped = self.story.cluster.stopped(GUEST);
            self.violate(format_args!(
                "a host starts in a store with {remains}: serves: {serves}, stopped: {stopped:?}"
            ));
        }
    }

    fn violate(&self, how: core::fmt::Arguments<'_>) {
        self.story.trace.violate(format_args!(
            "invariant 14 (no call that comes after the store was lost is answered from memory): {how}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::Faults, scenario::Scenario};

    #[test]
    fn hosts_detect_the_loss_of_their_store_with_any_replacement() {
        let mut lost = 0;
        for seed in 1..=12 {
            let faults: Faults = [Fault::Lost].into_iter().collect();
            let outcome = crate::scenario::run(&Scenario { faults, ..Scenario::new(seed) });
            assert_eq!(outcome.broken, Vec::<String>::new(), "seed {seed}: {:#?}", outcome.tail);
            lost += outcome.counters.lost_stores;
        }
        assert_eq!(lost, 12);
    }
}
