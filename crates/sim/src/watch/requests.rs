//! Counts each host's creates. Checks an upper bound of invariant 11 in every run: one batch in flight limits the
//! creates per second, for any number of dirty vnodes. (Separate tests count exactly that a takeover's requests don't
//! grow with vnodes, and that an idle host requests only hints.)

use core::time::Duration;
use std::collections::BTreeMap;

use super::invariant::{Broken, Invariant};

/// Creates that a host may send per second in addition to batches: openings, marks, epochs, seals.
const CREATES_BESIDE_MAX: u64 = 100;
/// The interval of a count.
const SPAN: Duration = Duration::from_secs(1);

/// The creates of each host in the current second.
#[derive(Debug, Default)]
pub(super) struct Creates(BTreeMap<String, Counted>);

#[derive(Debug, Default)]
struct Counted {
    since: Duration,
    count: u64,
}

impl Creates {
    /// A host sends a create at time `now`, to a store with a minimum latency of `latency`.
    pub(super) fn asked(&mut self, node: &str, now: Duration, latency: Duration) -> Option<Broken> {
        if !self.0.contains_key(node) {
            self.0.insert(node.to_owned(), Counted::default());
        }
        let counted = self.0.get_mut(node)?;
        if now >= counted.since + SPAN {
            *counted = Counted { since: now, count: 0 };
        }
        counted.count += 1;
        let in_turn = SPAN.as_micros() / latency.as_micros().max(1);
        let most = u64::try_from(in_turn).unwrap_or(u64::MAX).saturating_add(CREATES_BESIDE_MAX);
        let how = || format!("{node} sends more than {most} creates in {SPAN:?}");
        // Reported once per second.
        (counted.count == most.saturating_add(1)).then(|| Invariant::Requests.broken(how()))
    }
}
