//! What a member's user sees: its role, and until when it may claim to lead.

use core::{fmt, time::Duration};
use std::sync::Arc;

use holocron_protocol::{
    control::lease::Claim,
    ids::{Epoch, HostName},
    time::Time,
};

use crate::api::clock::Clock;

/// The role of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// There is no leader: none was elected yet, or the last one resigned.
    NoLeader,
    /// Another member leads, as far as this one knows.
    Following {
        /// The leader.
        leader: Leader,
        /// The leader's epoch.
        token: Epoch,
    },
    /// This member leads: less than a lease ago the store had nothing newer.
    Leading {
        /// Its fencing token. It grows with each rotation, and with each leadership.
        token: Epoch,
        /// The first token of this leadership: no other member has led since. An action that began under it may go on.
        since: Epoch,
    },
    /// This member led when it last heard from the store, but that was more than a lease ago: the store doesn't answer, or
    /// the process was paused. Others may lead by now. Without fencing, stop acting. If nothing has changed, it leads
    /// again with the same token.
    Unconfirmed {
        /// Its fencing token.
        token: Epoch,
    },
    /// It was asked to resign, and its last record is being written.
    Resigning,
    /// It takes part no more.
    Over(Over),
}

/// A leader, as its record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name. Names are for people; two members may have the same.
    pub name: HostName,
    /// Its address, if it has given one.
    pub address: Option<String>,
}

/// Why a member takes part no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// It resigned.
    #[error("resigned")]
    Resigned,
    /// It was stopped, or its resignation could not be written in time.
    #[error("stopped")]
    Stopped,
    /// The store is lost: emptied, replaced, or restored from an older copy. The member writes nothing more. Tokens of an
    /// election that is founded anew begin at 1 again, so outside resources must forget the old ones first.
    #[error("{0}")]
    StoreLost(String),
    /// It can't continue; the text says why.
    #[error("{0}")]
    Failed(String),
}

/// Until when a member may claim to lead. By its own steady clock, which also runs while the machine sleeps.
#[derive(Clone, Debug)]
pub struct LeaderUntil {
    until: Time,
    clock: Arc<dyn Clock>,
}

impl LeaderUntil {
    pub(super) fn new(until: Time, clock: Arc<dyn Clock>) -> Self {
        Self { until, clock }
    }

    /// The time that is left *now*; zero when the claim is over. Ask right before the action: the process may have been paused
    /// since.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.since(self.clock.now())
    }

    /// Whether the claim is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

impl fmt::Display for LeaderUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for {} ms", self.left().as_millis())
    }
}

/// What the member's task tells its handle.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) role: Role,
    pub(super) claim: Option<Claim>,
}
