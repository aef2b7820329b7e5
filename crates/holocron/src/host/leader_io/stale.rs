//! Deletes hints of hosts that are gone, and what start-up probes left behind.

use std::sync::Arc;

use holocron_protocol::{control::leader::Event as LeaderEvent, format::keys};
use holocron_store::{Patience, delete_until, list_until};

use crate::host::{
    driver::{Driver, Event},
    shared::Shared,
};

/// How long such a request is tried. It is made again at the next look.
const WITHIN: core::time::Duration = core::time::Duration::from_secs(30);

fn patience(shared: &Shared) -> Patience {
    Patience { budget: Some(WITHIN), ..shared.parts.patience() }
}

impl Driver {
    /// Lists the objects of start-up probes.
    pub(super) fn list_scratch(&self) {
        let Some(lead) = &self.lead else { return };
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        self.shared.spawn(async move {
            let store = shared.parts.store();
            match list_until(&*store, keys::PROBE, patience(&shared), &stop).await {
                Ok(listed) => {
                    let listed = listed.into_iter().map(|object| object.key).collect();
                    shared.tell_self(Event::Lead(LeaderEvent::Scratch(listed)));
                }
                Err(error) => tracing::debug!(%error, "list of probe objects failed; the next look repeats it"),
            }
        });
    }

    /// Deletes objects that no session owns, one after the other, in a task of its own.
    pub(super) fn delete_stale(&self, stale: Vec<String>) {
        let Some(lead) = &self.lead else { return };
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        self.shared.spawn(async move {
            let store = shared.parts.store();
            for key in stale {
                match delete_until(&*store, &key, patience(&shared), &stop).await {
                    Ok(()) => tracing::info!(host = %shared.parts.name, key, "leftover of a process that is gone is deleted"),
                    Err(error) => tracing::debug!(key, %error, "leftover not deleted; the next look repeats it"),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::control::stale::SCRATCH_AFTER;
    use holocron_store::PROBE_DEADLINE_MAX;

    #[test]
    fn no_object_of_a_running_probe_is_deleted() {
        assert!(
            SCRATCH_AFTER >= PROBE_DEADLINE_MAX * 2,
            "the age is known only from a first look on"
        );
    }
}
