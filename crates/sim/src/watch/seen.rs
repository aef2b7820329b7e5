//! The newest epoch that each host reports. Checks invariant 8: within one process of a host it never goes down.

use std::collections::BTreeMap;

use holocron_protocol::ids::Epoch;

use super::invariant::{Broken, Invariant};

/// The newest epoch reported by each host's current process.
#[derive(Debug, Default)]
pub(super) struct EpochsSeen(BTreeMap<String, Epoch>);

impl EpochsSeen {
    /// A process starts: it knows no epoch.
    pub(super) fn started(&mut self, node: &str) {
        self.0.remove(node);
    }

    /// A host reports the newest epoch it knows.
    pub(super) fn says(&mut self, node: &str, epoch: Epoch) -> Option<Broken> {
        if !self.0.contains_key(node) {
            self.0.insert(node.to_owned(), epoch);
        }
        let newest = self.0.get_mut(node)?;
        if epoch < *newest {
            let how = format!("{node} knew {newest} and now reports {epoch}");
            return Some(Invariant::EpochsGrow.broken(how));
        }
        *newest = epoch;
        None
    }
}
