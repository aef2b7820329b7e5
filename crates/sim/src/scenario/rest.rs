//! Settling: after the faults, one host leads and every slot is served.

use core::time::Duration;

use holocron_protocol::format::keys;

use super::{Story, domain};

/// How long a cluster may take to settle after everything was healed. Its longest timeouts are those for hints of
/// unknown hosts (10 s) and for a leader that was heard only by hints.
const REST_WITHIN: Duration = Duration::from_secs(60);
/// How often to check.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The state of the whole cluster.
#[derive(Debug, Default)]
struct State {
    leaders: Vec<String>,
    leaving: Vec<String>,
    serving: u32,
    /// Slots of the domain besides the home domain.
    serving_further: u32,
    waiting: u32,
}

impl Story {
    /// Waits until the cluster has settled.
    pub(super) fn rest(&mut self, nodes: &[String]) {
        let until = self.cluster.world.now() + REST_WITHIN;
        let slots = u32::from(super::SLOTS);
        let further = domain::drawn(self.scenario.seed).map_or(0, |_| slots);
        loop {
            let state = self.state(nodes);
            let settled = state.leaving.is_empty() && state.waiting == 0;
            let served = state.serving == slots && state.serving_further == further;
            if settled && state.leaders.len() == 1 && served {
                return;
            }
            if self.cluster.world.now() >= until {
                self.note_newest_epoch();
                self.trace.violate(format_args!(
                    "invariant 12 (one leader and every slot served in the end): {REST_WITHIN:?} after the last fault: {state:?}"
                ));
                return;
            }
            self.cluster.world.run(LOOK_EVERY);
        }
    }

    /// Notes who should serve what, for debugging.
    fn note_newest_epoch(&self) {
        if let Some((key, record)) = self.cluster.world.shelf.newest(keys::EPOCHS) {
            self.trace.note(format_args!("{key}: {}", String::from_utf8_lossy(&record)));
        }
    }

    fn state(&self, nodes: &[String]) -> State {
        let mut state = State::default();
        for node in nodes {
            if !self.cluster.world.is_running(node) || self.cluster.stopped(node).is_some() {
                continue;
            }
            if self.cluster.leaves(node) {
                state.leaving.push(node.clone());
                continue;
            }
            let Some(status) = self.cluster.status(node) else { continue };
            if status.leads {
                state.leaders.push(node.clone());
            }
            state.serving += status.slots_serving;
            state.waiting += status.slots_waiting;
            for session in status.domains.iter().filter_map(|domain| domain.session) {
                state.serving_further += session.slots_serving;
                state.waiting += session.slots_waiting;
            }
        }
        state
    }
}
