//! What the leader knows of the load of slots, and when uneven load is worth moving slots.
//!
//! Loads change all the time, so slots move only if the load was uneven at every look for [`LASTS`], and then until it is even
//! again. Between two moves the new owners copy what they got.
//!
//! Invariants:
//!
//! * Nothing moves for balance before every host has reported what it knows: a new leader would otherwise undo what the one
//!   before has done.
//! * What a slot's owner reported last counts until its next owner has measured it.

use alloc::{collections::BTreeSet, sync::Arc, vec, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::retain::Copying,
    control::load::{BASE, LoadReport},
    epoch::{placement::Need, record::EpochRecord},
    ids::SessionId,
    planted,
    time::Time,
};

/// How long the load must be uneven before slots move. Longer: a passing hot spot moves nothing. Shorter: a lasting one is
/// spread sooner.
pub const LASTS: Duration = Duration::from_secs(10);
/// How long slots don't move towards balance because states of moved slots are still to be copied; then they do, or a record
/// that can't be read would keep a cluster uneven for ever.
pub const COPY_MAX: Duration = Duration::from_secs(60);

/// The load of slots, as far as reported.
#[derive(Clone, Debug)]
pub(super) struct Loads {
    /// By slot; 0 for one that nobody has measured.
    slots: Vec<u64>,
    /// The sessions that have reported.
    heard: BTreeSet<SessionId>,
    /// Since when every look found the load uneven.
    uneven_since: Option<Time>,
    /// When the newest record was written.
    written: Time,
    /// Whether slots move towards balance, as decided at the last look.
    balancing: Balancing,
    /// What they wait for, as found at the last look.
    waits: Option<Waits>,
}

/// What slots that would move towards balance wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waits {
    /// The load isn't uneven for long enough yet.
    Lasting,
    /// Hosts still copy the states of slots that they got.
    Copies,
    /// Not every host has reported its loads to this leader.
    Reports,
}

/// Whether slots move towards balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Balancing {
    Yes,
    No,
}

/// What the leader knows at a look, besides loads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) need: Need,
    /// Whether states of moved slots are still to be copied.
    pub(super) copying: Copying,
}

impl Loads {
    pub(super) fn new(slot_count: u16, now: Time) -> Self {
        Self {
            slots: vec![0; slot_count.into()],
            heard: BTreeSet::new(),
            uneven_since: None,
            written: now,
            balancing: Balancing::No,
            waits: None,
        }
    }

    /// A session of the newest record reports.
    pub(super) fn report(&mut self, session: SessionId, report: &LoadReport) {
        for (slot, load) in &report.slots {
            if let Some(known) = self.slots.get_mut(slot.index()) {
                *known = load.load();
            }
        }
        self.heard.insert(session);
    }

    /// A record of this leader is the newest.
    pub(super) fn written(&mut self, now: Time, record: &EpochRecord) {
        self.heard.retain(|session| record.is_open(*session));
        self.written = now;
        self.balancing = Balancing::No;
    }

    /// What each slot costs its owner; `None` if no load is known of any.
    pub(super) fn weights(&self) -> Option<Arc<[u64]>> {
        let any = self.slots.iter().any(|&load| load > 0);
        any.then(|| self.slots.iter().map(|load| load + BASE).collect())
    }

    /// Whether all of these have reported.
    pub(super) fn have_reported(&self, mut sessions: impl Iterator<Item = SessionId>) -> bool {
        planted::have_reported(sessions.all(|session| self.heard.contains(&session)))
    }

    /// Decides whether slots move towards balance until the next look.
    pub(super) fn look(&mut self, now: Time, look: Look, reported: Reported) {
        let lasts = match look.need {
            Need::Nothing => false,
            Need::AtOnce => true,
            Need::Lasting => {
                let since = *self.uneven_since.get_or_insert(now);
                planted::lasts(now.since(since) >= LASTS)
            }
        };
        if look.need == Need::Nothing {
            self.uneven_since = None;
        }
        let copied = look.copying == Copying::Complete || now.since(self.written) >= COPY_MAX;
        self.waits = if look.need == Need::Nothing {
            None
        } else if reported != Reported::All {
            Some(Waits::Reports)
        } else if !lasts {
            Some(Waits::Lasting)
        } else {
            (!copied).then_some(Waits::Copies)
        };
        let go = look.need != Need::Nothing && self.waits.is_none();
        self.balancing = if go { Balancing::Yes } else { Balancing::No };
    }

    /// What was seen until now says nothing: the store failed, or a host did.
    pub(super) fn start_over(&mut self) {
        self.uneven_since = None;
    }

    /// For how many milliseconds the load has been uneven, and what slots wait for.
    pub(super) fn describe(&self, now: Time) -> (Option<u64>, Option<Waits>) {
        let uneven = self.uneven_since.map(|since| now.since(since).as_millis());
        (uneven.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)), self.waits)
    }

    pub(super) const fn balancing(&self) -> Balancing {
        self.balancing
    }
}

/// Who has reported loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reported {
    /// Every host that the leader is connected to.
    All,
    Some,
}
