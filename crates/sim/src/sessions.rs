//! Checks the sessions of one host: only a seal or an epoch ends one.
//!
//! A host that gives up its session for another reason, such as an outage of the store or its own batch at a position,
//! loses what was in flight without need. No other checker detects that, because callers retry. A leader is exempt: it
//! ends its own session on request. An epoch that gives a host's name to another process ends the session too, even if
//! a later epoch, which the host doesn't know yet, admits it again.

use std::collections::BTreeSet;

use holocron::HostStatus;
use holocron_protocol::ids::{Epoch, SessionId};

use crate::{store::Shelf, trace::Trace};

/// The observed sessions of one host's process.
#[derive(Debug)]
pub(crate) struct Sessions {
    node: String,
    shelf: Shelf,
    trace: Trace,
    /// At the last check: its session, if it didn't lead, and the newest epoch it knew.
    following: Option<(SessionId, Epoch)>,
    /// Every session it had.
    ours: BTreeSet<SessionId>,
}

impl Sessions {
    /// No sessions yet.
    pub(crate) const fn new(node: String, shelf: Shelf, trace: Trace) -> Self {
        Self { node, shelf, trace, following: None, ours: BTreeSet::new() }
    }

    /// The host's node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Takes the host's status.
    pub(crate) fn note(&mut self, status: &HostStatus) {
        if let Some((before, known)) = self.following.take()
            && before != status.session
            && !self.shelf.is_lost()
            && !self.shelf.may_end(before)
            && !self.shelf.names_another(&status.name, known..=status.epoch, &self.ours)
        {
            self.trace.violate(format_args!(
                "invariant 12 (only a seal or an epoch ends a session): {} gave up {before}",
                self.node
            ));
        }
        let follows = status.session != SessionId::new(0) && !status.leads;
        self.ours.insert(status.session);
        self.following = follows.then_some((status.session, status.epoch));
    }
}
