//! How many creates each host asks for. Checks invariant 11 in every run, loosely: one batch in flight means so many
//! creates in a second and no more, however many vnodes are dirty. (That a takeover's requests don't grow with vnodes,
//! and that an idle host asks for hints only, is counted exactly by tests of their own.)

use core::time::Duration;
use std::collections::BTreeMap;

use super::invariant::{Broken, Invariant};

/// Creates that a host may ask for in a second beside its batches: openings, marks, epochs, seals.
const CREATES_BESIDE_MAX: u64 = 100;
/// Over how long creates are counted.
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
    /// A host asks for a create at that time, on a store that answers in no less than `latency`.
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
        let how = || format!("{node} asks for more than {most} creates in {SPAN:?}");
        // Once a second is enough to say so.
        (counted.count == most.saturating_add(1)).then(|| Invariant::Requests.broken(how()))
    }
}
