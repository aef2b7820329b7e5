//! What this host measures, for tools.

use std::collections::BTreeMap;

use holocron_protocol::{epoch::changes::SlotRanges, slot::residency::SlotState};
use holocron_store::Verb;

use super::{memory, shared::Shared};
use crate::transport::measures::{Buckets, CallMeasures, HostMeasures};

/// The outcome of a call that ended well.
const OK: &str = "ok";

impl Shared {
    pub(crate) fn measures(&self) -> HostMeasures {
        let (recovering, going) = self.moving_slots();
        let mut commits = Buckets::default();
        commits.add(self.counts.commits.read().buckets());
        let requests = self.parts.store.counts();
        let by_verb = Verb::ALL.into_iter();
        HostMeasures {
            status: self.status(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            wall_ms: self.parts.clock.wall_ms(),
            started_ms: self.started_ms,
            resident_bytes: memory::resident(),
            commits,
            calls: self.calls_by_mode(),
            requests: by_verb
                .map(|verb| (verb.to_string(), requests.of_verb(verb).requests))
                .collect(),
            recovering: recovering.to_string(),
            going: going.to_string(),
            takeovers: self.counts.takeovers.steps(),
        }
    }

    fn calls_by_mode(&self) -> BTreeMap<String, CallMeasures> {
        let mut calls = BTreeMap::<String, CallMeasures>::new();
        for of_kind in self.counts.calls.read() {
            let of_mode = calls.entry(of_kind.mode.to_owned()).or_default();
            for (outcome, count) in of_kind.outcomes {
                *if outcome == OK { &mut of_mode.ok } else { &mut of_mode.others } += count;
            }
            of_mode.durations.add(of_kind.durations.buckets());
        }
        calls
    }

    /// Slots of the home domain that are given and not yet recovered, and those given away and not yet released.
    fn moving_slots(&self) -> (SlotRanges, SlotRanges) {
        let (mut recovering, mut going) = (Vec::new(), Vec::new());
        if let Some(session) = self.session() {
            session.journal.with_residency(|residency| {
                for (slot, state) in residency.states() {
                    match state {
                        SlotState::Recovering { .. } => recovering.push(slot),
                        SlotState::Draining { .. } | SlotState::ReleaseOwed { .. } => {
                            going.push(slot);
                        }
                        SlotState::Serving { .. } | SlotState::NotOurs => {}
                    }
                }
            });
        }
        (SlotRanges::of(&recovering), SlotRanges::of(&going))
    }
}
