//! Hosts that are slow rather than gone, and the store that may be to blame.
//!
//! A journal that stands still, or slots that aren't released, may be the store's fault. So such a host is suspected
//! only while our own looks at the store are answered at once, and have been for a while: when a store comes back, its
//! hosts get as long to go on.

use core::time::Duration;
use std::sync::Arc;

use holocron_protocol::{
    control::suspicion::{Suspect, Suspicion},
    format::keys,
    time::Time,
};
use holocron_store::{Patience, get_until};

use super::LeadEvent;
use crate::host::driver::{Driver, Event};

/// How quick an answer must be to count.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long the store must have answered at once before a slow host is suspected.
const ANSWERS_FOR: Duration = Duration::from_secs(2);
/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether a suspicion could be the store's fault.
pub(super) fn is_slow(suspect: &Suspect) -> bool {
    match suspect.why {
        Suspicion::Refused | Suspicion::Silent(_) => false,
        Suspicion::Standstill(_) | Suspicion::Handoff(..) => true,
    }
}

impl Driver {
    /// Looks whether the store answers, while some host is slow.
    pub(super) fn look_at_store(&mut self, now: Time) {
        let Some(lead) = &mut self.lead else {
            return;
        };
        if now < lead.look_at {
            return;
        }
        lead.look_at = now + LOOK_EVERY;
        let (shared, stop) = (Arc::clone(&self.shared), lead.stop.clone());
        self.shared.spawn(async move {
            let patience = Patience { budget: Some(AT_ONCE), ..shared.parts.patience() };
            if get_until(&*shared.parts.store, keys::CLUSTER, patience, &stop).await.is_ok() {
                shared.tell_self(Event::Lead(LeadEvent::StoreAnswered(now)));
            }
        });
    }

    /// The store answered a look that was asked then.
    pub(super) fn on_store_answered(&mut self, asked_at: Time) {
        let now = self.now();
        let Some(lead) = &mut self.lead else {
            return;
        };
        if now.since(asked_at) > AT_ONCE {
            lead.answers_since = None;
            return;
        }
        // A gap in the answers is an outage, however short.
        let since = match lead.answers_since {
            Some(since) if now.since(lead.answered_at) <= AT_ONCE + LOOK_EVERY => since,
            Some(_) | None => now,
        };
        lead.answers_since = Some(since);
        lead.answered_at = now;
        if now.since(since) < ANSWERS_FOR {
            return;
        }
        let suspects: Vec<Suspect> = lead.watch.suspects(now).into_iter().filter(is_slow).collect();
        for suspect in suspects {
            self.fail(suspect.session, &suspect.to_string());
        }
    }

    /// Nobody is slow: what the store answered until now says nothing about the next time.
    pub(super) fn forget_store_answer(&mut self) {
        if let Some(lead) = &mut self.lead {
            lead.answers_since = None;
        }
    }

    /// Gives hosts that were sealed a moment ago their share of the slots, when they have waited long enough.
    pub(super) fn give_shares(&mut self, now: Time) {
        let epoch = self.epoch();
        let Some(lead) = &mut self.lead else {
            return;
        };
        let waited: Vec<_> = lead
            .shares
            .keys()
            .filter(|host| lead.waits.slots_from(host, now) <= now)
            .cloned()
            .collect();
        for host in waited {
            if let Some(request) = lead.shares.remove(&host) {
                lead.changes.share(request, epoch);
            }
        }
    }
}
