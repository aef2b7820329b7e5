//! Reports about slots, why a change is refused, and the reason of a record.

use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};

use crate::epoch::record::{EpochRecord, Holding, REASON_LEN_MAX};
use crate::ids::{DomainId, HostName, SessionId, Slot, Tenure};

/// A slot with this many sources isn't moved until its owner's next full checkpoint, unless its owner fails.
pub const SOURCES_MAX: usize = 8;

/// A fact that a host learned about the sources of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotReport {
    /// The slot's domain.
    pub domain: DomainId,
    /// The slot.
    pub slot: Slot,
    /// The fact. It stays true permanently.
    pub fact: SourceFact,
}

impl SlotReport {
    /// Whether the report would change the next record. Once a record reflects it, the report need not be sent or kept any
    /// more.
    #[must_use]
    pub fn is_news_to(&self, record: &EpochRecord) -> bool {
        let Some(domain) = record.domains.get(&self.domain) else { return false };
        let Holding { owner, sources } = domain.slots.holding(self.slot);
        match self.fact {
            SourceFact::Full(full) => {
                // Only a listed tenure may make older sources unnecessary.
                let in_chain = *owner == Some(full) || sources.contains(&full);
                in_chain && sources.iter().any(|source| source.epoch < full.epoch)
            }
            SourceFact::Empty(empty) => sources.contains(&empty),
        }
    }
}

/// A fact that makes sources unnecessary. It stays true permanently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SourceFact {
    /// A checkpoint is committed that holds the slot in full under this tenure.
    Full(Tenure),
    /// This tenure has ended (a reader saw the seal or the Release) without an Adopt or a checkpoint entry.
    Empty(Tenure),
}

/// Why a draft refuses a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The session is sealed or detached. Open a new one and join with that.
    #[error("session {0} is over: open a new one")]
    SessionOver(SessionId),
    /// The session belongs to another host or another domain: two processes share a name or a session.
    #[error("session {0} belongs to another host or domain")]
    SessionTaken(SessionId),
    /// The cluster has no such domain, or it isn't in use.
    #[error("there is no domain {}, or it was removed", .0.0)]
    NoDomain(DomainId),
    /// A domain can't be added, or not in this way; the text is for the operator.
    #[error("{0}")]
    Domain(String),
    /// The cluster has no such slot.
    #[error("there is no slot {0}")]
    NoSlot(Slot),
    /// The record has no such host, or it has no session in the slot's domain.
    #[error("host {0} is not listed, or has no session in the slot's domain")]
    NoHost(HostName),
    /// The slot has [`SOURCES_MAX`] sources. Try again after its owner's next full checkpoint.
    #[error("{0} has too many sources: it can move after its owner's next full checkpoint")]
    TooManySources(Slot),
    /// A host declares shards that it may not declare; the text says why.
    #[error("{0}")]
    Shards(String),
    /// The cluster or the entry is too large; the text names the limit.
    #[error("{0}")]
    TooLarge(String),
}

/// A reason, cut to the length that a record may have.
pub(super) fn cut(reason: &str) -> String {
    let mut end = reason.len().min(REASON_LEN_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_string()
}
