//! Counts the calls of a host, by kind, mode and outcome, from their arrival to their answer.

use core::sync::atomic::{AtomicU64, Ordering};
use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use crate::{
    api::call::{Mode, Outcome},
    metrics::{Distribution, Histogram},
};

/// What is counted under one name of a mode.
const MODES: [&str; 5] = ["command", "query", "local", "message", "upkeep"];
/// What is counted under one name of an outcome.
const OUTCOMES: [&str; 13] = [
    "ok",
    "panicked",
    "rejected",
    "rebase",
    "not_owner",
    "busy",
    "quarantined",
    "unknown_kind",
    "undecodable",
    "unknown_command",
    "other_arguments",
    "unreadable",
    "unclear",
];

const fn mode_index(mode: Mode) -> usize {
    match mode {
        Mode::Command => 0,
        Mode::Query => 1,
        Mode::Local => 2,
        Mode::Tell | Mode::Ask | Mode::Acknowledge => 3,
        Mode::Delete
        | Mode::Exists
        | Mode::Deferred
        | Mode::Amend
        | Mode::State
        | Mode::Create
        | Mode::Watch => 4,
    }
}

const fn outcome_index(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Reply(_) => 0,
        Outcome::Panicked => 1,
        Outcome::Rejected(_) => 2,
        Outcome::Rebase(_) => 3,
        Outcome::NotOwner => 4,
        Outcome::Busy => 5,
        Outcome::Quarantined => 6,
        Outcome::UnknownKind => 7,
        Outcome::Undecodable(_) => 8,
        Outcome::UnknownCommand(_) => 9,
        Outcome::OtherArguments(_) => 10,
        Outcome::Unreadable(_) => 11,
        Outcome::Unclear => 12,
    }
}

/// The calls of one kind.
#[derive(Debug)]
pub(crate) struct KindMeter {
    in_flight: Arc<AtomicU64>,
    outcomes: [[AtomicU64; OUTCOMES.len()]; MODES.len()],
    durations: [Histogram; MODES.len()],
}

impl KindMeter {
    fn new(in_flight: &Arc<AtomicU64>) -> Self {
        Self {
            in_flight: Arc::clone(in_flight),
            outcomes: Default::default(),
            durations: core::array::from_fn(|_| Histogram::durations()),
        }
    }
}

/// The calls of all kinds of a host. Calls of a kind that it doesn't run count under an empty name: names come from outside,
/// and each takes memory.
#[derive(Debug)]
pub(crate) struct CallMeter {
    kinds: BTreeMap<&'static str, Arc<KindMeter>>,
    in_flight: Arc<AtomicU64>,
}

impl CallMeter {
    /// For these kinds.
    pub(crate) fn new(kinds: impl Iterator<Item = &'static str>) -> Self {
        let in_flight = Arc::default();
        let kinds = kinds.chain([""]);
        let kinds = kinds.map(|kind| (kind, Arc::new(KindMeter::new(&in_flight)))).collect();
        Self { kinds, in_flight }
    }

    /// A call arrived. It counts as in flight until what is returned is dropped.
    pub(crate) fn begin(&self, kind: &str, mode: Mode) -> Metered {
        let meter = self.kinds.get(kind).unwrap_or_else(|| &self.kinds[""]);
        meter.in_flight.fetch_add(1, Ordering::Relaxed);
        Metered { meter: Arc::clone(meter), mode, began: Instant::now() }
    }

    /// Calls that wait for their answer.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// All counts that aren't 0.
    pub(crate) fn read(&self) -> Vec<CallCounts> {
        let of_kind = |(kind, meter): (&&'static str, &Arc<KindMeter>)| {
            let (kind, meter) = (*kind, Arc::clone(meter));
            MODES.iter().enumerate().map(move |(at, mode)| {
                let counts = OUTCOMES.iter().zip(&meter.outcomes[at]);
                let counts = counts.map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
                CallCounts {
                    kind,
                    mode,
                    outcomes: counts.filter(|(_, count)| *count > 0).collect(),
                    durations: meter.durations[at].read(),
                }
            })
        };
        self.kinds.iter().flat_map(of_kind).filter(|counts| !counts.outcomes.is_empty()).collect()
    }
}

/// The answered calls of one kind and mode since the host started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallCounts {
    /// The kind; empty for all kinds that the host doesn't run.
    pub kind: &'static str,
    /// What the calls were: `command`, `query`, `local`, `message` of another vnode, or `upkeep` (deletes and the like).
    pub mode: &'static str,
    /// How many ended how: `ok`, `busy`, `unclear` and so on.
    pub outcomes: Vec<(&'static str, u64)>,
    /// From the arrival at the host to the answer, in nanoseconds.
    pub durations: Distribution,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(crate) struct Metered {
    meter: Arc<KindMeter>,
    mode: Mode,
    began: Instant,
}

impl Metered {
    /// It is answered.
    pub(crate) fn ended(&self, outcome: &Outcome) {
        let mode = mode_index(self.mode);
        self.meter.outcomes[mode][outcome_index(outcome)].fetch_add(1, Ordering::Relaxed);
        self.meter.durations[mode].took(self.began.elapsed());
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn calls_count_by_kind_mode_and_outcome_and_unknown_kinds_as_one() {
        let meter = CallMeter::new(["cart"].into_iter());
        let ended = |kind: &str, mode, outcome: Outcome| meter.begin(kind, mode).ended(&outcome);
        ended("cart", Mode::Command, Outcome::Reply(Bytes::new()));
        ended("cart", Mode::Command, Outcome::Busy);
        ended("cart", Mode::Tell, Outcome::Reply(Bytes::new()));
        for made_up in 0..100 {
            ended(&format!("kind{made_up}"), Mode::Query, Outcome::UnknownKind);
        }
        let waits = meter.begin("cart", Mode::Query);
        assert_eq!(meter.in_flight(), 1);
        drop(waits);
        assert_eq!(meter.in_flight(), 0);
        let read = meter.read();
        let counts: Vec<_> = read
            .iter()
            .map(|of| (of.kind, of.mode, of.outcomes.clone(), of.durations.count()))
            .collect();
        assert_eq!(
            counts,
            [
                ("", "query", vec![("unknown_kind", 100)], 100),
                ("cart", "command", vec![("ok", 1), ("busy", 1)], 2),
                ("cart", "message", vec![("ok", 1)], 1),
            ]
        );
    }
}
