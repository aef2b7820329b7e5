//! What the next epoch will change, kept until a record says it: an epoch that is lost to another leader costs nothing.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::String,
};
use core::time::Duration;

use super::moves::Orders;
use crate::{
    control::{admission::Cleared, report::JoinRequest},
    epoch::{
        draft::SlotReport,
        record::{EpochRecord, SessionState},
    },
    ids::{HostName, Position, SessionId},
    time::Time,
};

/// How long changes that only let garbage go wait for others, so that one epoch carries many.
pub const GARBAGE_DELAY: Duration = Duration::from_secs(1);

/// Whether a change was pending before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Now,
    Before,
}

/// What the next epoch will change.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Pending joins, each with the record as of which its session was seen not to be detached.
    pub(super) joins: BTreeMap<HostName, (JoinRequest, Cleared)>,
    /// Hosts that are members without a share of the slots, and get it now.
    pub(super) shares: BTreeMap<HostName, JoinRequest>,
    /// Sessions of failed hosts, and why they count as failed.
    pub(super) fails: BTreeMap<SessionId, String>,
    /// Sessions of hosts that leave.
    pub(super) leaves: BTreeSet<SessionId>,
    /// Where sessions were found sealed.
    pub(super) seals: BTreeMap<SessionId, Position>,
    /// What lets sources go.
    pub(super) reports: BTreeSet<SlotReport>,
    /// Detached sessions of which nothing is left.
    pub(super) forgets: BTreeSet<SessionId>,
    /// What operators want to be moved.
    pub(super) orders: Orders,
    /// When the oldest deferrable change arrived.
    deferred_since: Option<Time>,
}

impl Changes {
    /// Whether an epoch is worth writing now.
    pub(super) fn is_due(&self, now: Time) -> bool {
        let urgent = !self.joins.is_empty() || !self.shares.is_empty() || !self.fails.is_empty();
        urgent || self.deferred_since.is_some_and(|since| now.since(since) >= GARBAGE_DELAY)
    }

    pub(super) fn fail(&mut self, session: SessionId, why: &str) -> Noted {
        if self.fails.contains_key(&session) {
            return Noted::Before;
        }
        self.fails.insert(session, why.to_owned());
        Noted::Now
    }

    pub(super) fn sealed(&mut self, session: SessionId, position: Position, now: Time) {
        let before = self.seals.insert(session, position);
        assert!(before.is_none_or(|before| before == position), "{session} has two seals");
        self.defer(now);
    }

    pub(super) fn forget(&mut self, session: SessionId, now: Time) {
        self.forgets.insert(session);
        self.defer(now);
    }

    pub(super) fn report(&mut self, record: &EpochRecord, reports: &[SlotReport], now: Time) {
        let news = reports.iter().filter(|report| report.is_news_to(record));
        let before = self.reports.len();
        self.reports.extend(news);
        if self.reports.len() > before {
            self.defer(now);
        }
    }

    fn defer(&mut self, now: Time) {
        self.deferred_since.get_or_insert(now);
    }

    /// A record of ours is the newest: what it says isn't pending any more.
    pub(super) fn written(&mut self, record: &EpochRecord) {
        self.joins.retain(|_, (request, _)| !record.sessions.contains_key(&request.session));
        self.shares.clear();
        self.fails.retain(|session, _| record.is_open(*session));
        self.leaves.retain(|session| record.is_open(*session));
        self.seals.retain(|session, _| {
            // A session that this record still lists as open was sealed since it was made.
            match record.sessions.get(session).map(|entry| entry.state) {
                Some(SessionState::Open | SessionState::Sealed(None)) => true,
                Some(SessionState::Sealed(Some(_)) | SessionState::Detached(_)) | None => false,
            }
        });
        self.reports.retain(|report| report.is_news_to(record));
        self.forgets.retain(|session| record.sessions.contains_key(session));
        self.orders.written(record);
        // What came while the record was being created isn't in it.
        if self.seals.is_empty() && self.reports.is_empty() && self.forgets.is_empty() {
            self.deferred_since = None;
        }
        let mut ending = self.leaves.iter().chain(self.fails.keys());
        assert!(ending.all(|session| record.is_open(*session)), "a change of no host");
    }

    /// The next record would say nothing new: what can't change it is dropped, so that it isn't tried again and again.
    pub(super) fn without_effect(&mut self) {
        self.deferred_since = None;
        self.shares.clear();
        self.reports.clear();
        self.forgets.clear();
        self.seals.clear();
    }
}
