//! What is to be in the next epoch, kept until it is.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::{
    epoch::{
        draft::{SlotReport, SourceFact},
        record::{EpochRecord, SessionState},
    },
    ids::{DomainId, Epoch, HostName, Position, SessionId},
    time::Time,
};

use crate::transport::peer::JoinRequest;

/// What is to change.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Who asks to join, and the epoch as of which its session was seen not to be detached.
    pub(super) joins: BTreeMap<HostName, (JoinRequest, Epoch)>,
    /// Who is in without a share of the slots and is to have it.
    pub(super) shares: BTreeMap<HostName, (JoinRequest, Epoch)>,
    /// Sessions whose hosts are taken for dead, and why.
    pub(super) fails: BTreeMap<SessionId, String>,
    /// Sessions whose hosts leave on purpose.
    pub(super) leaves: BTreeSet<SessionId>,
    /// Where sessions were found sealed.
    pub(super) seals: BTreeMap<SessionId, Position>,
    /// What lets sources go.
    pub(super) reports: BTreeSet<SlotReport>,
    /// Detached sessions of which nothing is left.
    pub(super) forgets: BTreeSet<SessionId>,
    /// Whether slots should move towards balance.
    pub(super) balance: bool,
    /// When the first of what may wait for company came.
    garbage_since: Option<Time>,
}

impl Changes {
    /// Whether an epoch should be written now.
    pub(super) fn wanted(&self, now: Time, garbage_wait: Duration) -> bool {
        let urgent = !self.joins.is_empty()
            || !self.shares.is_empty()
            || !self.fails.is_empty()
            || self.balance
            || !self.leaves.is_empty();
        urgent || self.garbage_since.is_some_and(|since| now.since(since) >= garbage_wait)
    }

    /// The host that lives a session is to go; whether that is news.
    pub(super) fn fail(&mut self, session: SessionId, why: &str) -> bool {
        let known = self.fails.contains_key(&session);
        if !known {
            self.fails.insert(session, why.to_owned());
        }
        !known
    }

    pub(super) fn leave(&mut self, session: SessionId) {
        self.leaves.insert(session);
    }

    pub(super) fn join(&mut self, request: JoinRequest, as_of: Epoch) {
        self.joins.insert(request.name.clone(), (request, as_of));
    }

    /// A host that is in without a share gets it.
    pub(super) fn share(&mut self, request: JoinRequest, as_of: Epoch) {
        self.shares.insert(request.name.clone(), (request, as_of));
    }

    pub(super) fn sealed(&mut self, session: SessionId, position: Position, now: Time) {
        self.seals.insert(session, position);
        self.garbage(now);
    }

    pub(super) fn forget(&mut self, session: SessionId, now: Time) {
        self.forgets.insert(session);
        self.garbage(now);
    }

    pub(super) fn facts(&mut self, facts: Vec<SlotReport>, now: Time) {
        if !facts.is_empty() {
            self.reports.extend(facts);
            self.garbage(now);
        }
    }

    fn garbage(&mut self, now: Time) {
        self.garbage_since.get_or_insert(now);
    }

    /// A record of ours is the newest: what it says need not be said again.
    pub(super) fn written(&mut self, record: &EpochRecord) {
        self.joins.retain(|_, (request, _)| !record.sessions.contains_key(&request.session));
        self.shares.clear();
        self.fails.retain(|session, _| record.is_open(*session));
        self.leaves.retain(|session| record.is_open(*session));
        self.seals.retain(|session, _| {
            record
                .sessions
                .get(session)
                .is_some_and(|entry| entry.state == SessionState::Sealed(None))
        });
        let domain = record.domains.get(&DomainId::HOME).expect("every record has the home domain");
        self.reports.retain(|report| {
            let sources = &domain.slots.holding(report.slot).sources;
            match report.fact {
                SourceFact::Full(tenure) => {
                    sources.iter().any(|source| source.epoch < tenure.epoch)
                }
                SourceFact::Empty(tenure) => sources.contains(&tenure),
            }
        });
        self.forgets.retain(|session| record.sessions.contains_key(session));
        self.balance = false;
        self.garbage_since = None;
    }

    /// What has been tried and led to nothing is let go, so that it isn't tried for ever.
    pub(super) fn came_to_nothing(&mut self) {
        self.balance = false;
        self.garbage_since = None;
        self.reports.clear();
        self.forgets.clear();
        self.seals.clear();
    }
}
