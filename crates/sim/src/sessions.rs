//! Watching the sessions of one host: nothing but a seal or an epoch ends one.
//!
//! A host that gives its session up for any other reason, because the store was away or because it met its own batch,
//! loses what was in flight for nothing. Nobody else would miss it: whoever called tries again. A leader is left out: it
//! ends its own session when somebody asks for that. An epoch that gives a host's name to another process ends the
//! session too, even if the next one, which the host doesn't know yet, takes it in.

use std::collections::BTreeSet;

use holocron::HostStatus;
use holocron_protocol::ids::{Epoch, SessionId};

use crate::{store::Shelf, trace::Trace};

/// What was seen of the sessions of one host's process.
#[derive(Debug)]
pub(crate) struct Sessions {
    node: String,
    shelf: Shelf,
    trace: Trace,
    /// The session it was in when somebody last looked, if it didn't lead then, and the newest epoch it knew.
    following: Option<(SessionId, Epoch)>,
    /// Every session it was seen in.
    ours: BTreeSet<SessionId>,
}

impl Sessions {
    /// None so far.
    pub(crate) const fn new(node: String, shelf: Shelf, trace: Trace) -> Self {
        Self { node, shelf, trace, following: None, ours: BTreeSet::new() }
    }

    /// Where the host runs.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// How the host says it is.
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
