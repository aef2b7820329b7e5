//! What may change from one epoch to the next, and why a change may be refused.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::epoch::record::{EpochRecord, Holding};
use crate::ids::{DomainId, HostName, SessionId, Slot, Tenure};

/// A slot with this many sources isn't moved voluntarily: its owner's full checkpoint comes first.
pub const SOURCES_MAX: usize = 8;

/// What somebody learned about the sources of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotReport {
    /// The slot's domain.
    pub domain: DomainId,
    /// The slot.
    pub slot: Slot,
    /// What is known for ever.
    pub fact: SourceFact,
}

impl SlotReport {
    /// Whether a record doesn't reflect the report yet, so that the next one would change with it. Once it does, the
    /// report need not be told or kept any more.
    #[must_use]
    pub fn is_news_to(&self, record: &EpochRecord) -> bool {
        let Some(domain) = record.domains.get(&self.domain) else { return false };
        let Holding { owner, sources } = domain.slots.holding(self.slot);
        match self.fact {
            SourceFact::Full(full) => {
                // Only a tenure of the chain stands between its sources and the owner.
                let in_chain = *owner == Some(full) || sources.contains(&full);
                in_chain && sources.iter().any(|source| source.epoch < full.epoch)
            }
            SourceFact::Empty(empty) => sources.contains(&empty),
        }
    }
}

/// A fact that lets sources go. Neither ever stops being true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SourceFact {
    /// A checkpoint that holds the slot in `full` under this tenure is committed.
    Full(Tenure),
    /// This tenure has ended (its reader saw the seal or the Release) with neither Adopt nor checkpoint entry.
    Empty(Tenure),
}

/// Why a change isn't taken into a draft.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The session is sealed or detached. Open a new one and join with that.
    #[error("session {0} is over: open a new one")]
    SessionOver(SessionId),
    /// The session is another host's, or of another domain. Two processes share a name or a session.
    #[error("session {0} is another's")]
    SessionTaken(SessionId),
    /// The cluster has no such domain.
    #[error("there is no domain {}", .0.0)]
    NoDomain(DomainId),
    /// The cluster has no such slot.
    #[error("there is no slot {0}")]
    NoSlot(Slot),
    /// The record has no such host, or it has no session in the slot's domain.
    #[error("{0} can't hold that slot")]
    NoHost(HostName),
    /// The slot has [`SOURCES_MAX`] sources. Try again after its owner's next full checkpoint.
    #[error("{0} waits for a checkpoint of its owner before it can move")]
    TooManySources(Slot),
    /// The cluster or the entry is too large, in a sentence.
    #[error("{0}")]
    TooLarge(String),
}
