//! What changed between two epoch records, for people: as values, and in words.
//!
//! The two records may be neighbours in the log or far apart; without an earlier record, everything is a change.
//!
//! Invariants:
//!
//! * There is no change exactly when the later record is no news after the earlier one.
//! * Every slot whose holding differs is in exactly one change of holdings, and no other slot is.

mod compare;
mod ranges;
mod words;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
};

use serde::Serialize;

pub use self::{compare::changes, ranges::SlotRanges};
use crate::{
    epoch::{
        record::{HostState, Leader},
        versions::KindVersions,
    },
    ids::{DomainId, Epoch, HostName, Position, SessionId, StoreId},
};

/// One difference between two records. Displays as a sentence without a full stop; in JSON, `change` names the variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Another host leads, or the same one with another session or address.
    Leads {
        /// The leader.
        leader: Leader,
        /// The leader before.
        before: Option<Leader>,
    },
    /// The leader wrote its last record.
    LeaderResigns {
        /// The leader.
        host: HostName,
        /// The host that it asks to lead next.
        successor: Option<HostName>,
    },
    /// A leader that had resigned continues to lead.
    LeaderStays {
        /// The leader.
        host: HostName,
    },
    /// The cluster has a new domain.
    DomainAdded {
        /// The domain.
        domain: DomainId,
        /// Its name.
        name: String,
    },
    /// A host opened the store of a domain, which is bound to it from now on.
    DomainBound {
        /// The domain.
        domain: DomainId,
        /// Its name.
        name: String,
        /// The store's id.
        store: StoreId,
    },
    /// The cluster no longer uses this domain.
    DomainRemoved {
        /// The domain.
        domain: DomainId,
        /// Its name.
        name: String,
    },
    /// A host is new in the cluster.
    HostJoined {
        /// Its name.
        host: HostName,
        /// Its address.
        address: String,
        /// Its weight.
        weight: u32,
        /// Its zone.
        zone: Option<String>,
        /// Its session in each domain.
        sessions: BTreeMap<DomainId, SessionId>,
    },
    /// A host is no longer in the cluster: it left, or failed.
    HostGone {
        /// Its name.
        host: HostName,
    },
    /// A host has another session in a domain: it was restarted, or rejoined after its session was sealed.
    HostSession {
        /// The host.
        host: HostName,
        /// The domain.
        domain: DomainId,
        /// The domain's name.
        domain_name: String,
        /// Its session before; `None` if it didn't serve the domain.
        before: Option<SessionId>,
        /// Its session now; `None` if it no longer serves the domain.
        after: Option<SessionId>,
    },
    /// A host drains, or takes slots again.
    HostState {
        /// The host.
        host: HostName,
        /// Its state now.
        state: HostState,
    },
    /// A host has another address.
    HostAddress {
        /// The host.
        host: HostName,
        /// Its address before.
        before: String,
        /// Its address now.
        after: String,
    },
    /// A host has another weight.
    HostWeight {
        /// The host.
        host: HostName,
        /// Its weight before.
        before: u32,
        /// Its weight now.
        after: u32,
    },
    /// A host has another zone.
    HostZone {
        /// The host.
        host: HostName,
        /// Its zone before.
        before: Option<String>,
        /// Its zone now.
        after: Option<String>,
    },
    /// A host has other versions of its kinds.
    HostVersions {
        /// The host.
        host: HostName,
        /// Its versions before.
        before: KindVersions,
        /// Its versions now.
        after: KindVersions,
    },
    /// A kind has shards, or other hosts have it.
    Shards {
        /// The kind.
        kind: String,
        /// The number of its shards.
        count: u16,
        /// The hosts that have the kind.
        hosts: BTreeSet<HostName>,
    },
    /// Slots have another owner, or the same one under another tenure.
    SlotsMoved(Moved),
    /// The owner of slots stays, and older tenures are no longer needed to recover them.
    SourcesDropped {
        /// The slots' domain.
        domain: DomainId,
        /// The domain's name.
        domain_name: String,
        /// The slots.
        slots: SlotRanges,
        /// Their owner.
        owner: Option<Party>,
        /// The owners of the tenures that are no longer needed.
        dropped: BTreeSet<Party>,
    },
    /// Something else than before may be in slots that their owner can't read.
    Unread {
        /// The slots' domain.
        domain: DomainId,
        /// The domain's name.
        domain_name: String,
        /// The slots.
        slots: SlotRanges,
        /// Their owner.
        owner: Option<Party>,
        /// What it can't read; nothing, if it can read all now.
        kinds: KindVersions,
    },
    /// A session is over, or its seal is known now, or its objects are no longer needed.
    SessionState {
        /// The session's host.
        host: HostName,
        /// The session.
        session: SessionId,
        /// What the record says of it now.
        state: SessionEnd,
    },
}

/// A host with one of its sessions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Party {
    /// The host.
    pub host: HostName,
    /// The session.
    pub session: SessionId,
}

/// Slots that went from one owner to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The slots' domain.
    pub domain: DomainId,
    /// The domain's name.
    pub domain_name: String,
    /// The slots.
    pub slots: SlotRanges,
    /// The owner before.
    pub from: Option<Party>,
    /// The owner now.
    pub to: Option<Party>,
    /// The epoch that gave them to the owner of now.
    pub since: Option<Epoch>,
    /// How they went.
    pub how: How,
}

/// How slots went from one owner to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// They had no owner.
    Given,
    /// Planned: the former owner lives, and releases them before the new one serves them.
    HandedOver,
    /// The former owner's session is over: the new one recovers them from what that session committed.
    TakenOver,
    /// No host is left to own them.
    Orphaned,
    /// There are records in between, and only those say how.
    InBetween,
}

/// The end of a session, as a record knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", content = "position", rename_all = "snake_case")]
pub enum SessionEnd {
    /// It is over, and will be sealed.
    Over,
    /// It is sealed at this position.
    Sealed(Position),
    /// Sealed there, and no slot needs it: its objects are deleted.
    Detached(Position),
    /// All its objects that may go are deleted, and the record no longer lists it.
    Forgotten,
}

#[cfg(test)]
mod tests;
