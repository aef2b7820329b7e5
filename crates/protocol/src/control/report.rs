//! What hosts tell the leader: requests to join, progress and health. Hints: nothing of it carries safety.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::retain::Copying,
    control::load::LoadReport,
    epoch::{draft::SlotReport, shards::DeclaredShards, versions::KindVersions},
    ids::{DomainId, Epoch, HostName, Position, SessionId},
};

/// The progress of a session's journal, as its host reports it. A hint for hosts that seal or read the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The newest committed position.
    pub committed: Position,
    /// Positions up to here may have been trimmed.
    pub low_water: Position,
    /// The position of the newest checkpoint record; 0 when there is none.
    pub checkpoint_at: Position,
    /// Whether changes wait to be committed. If so, a journal without progress means that the host is hung.
    pub waiting: bool,
}

/// A host's request to join the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Its stable name.
    pub name: HostName,
    /// The address at which other hosts reach it.
    pub address: String,
    /// Its session in the home domain.
    pub session: SessionId,
    /// Its share of the slots relative to others; 100 is one share.
    pub weight: u32,
    /// Its zone, if it has one.
    pub zone: Option<String>,
    /// The kinds with shards that it runs.
    pub shards: DeclaredShards,
    /// The versions of all its kinds.
    pub versions: KindVersions,
}

/// A host's request to serve a domain besides the home domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServeRequest {
    /// Its session in the home domain, which is a member.
    pub home: SessionId,
    /// The domain.
    pub domain: DomainId,
    /// Its session there.
    pub session: SessionId,
    /// The epoch as of which the host has seen that this session has no end mark. It looked itself: the leader may have no
    /// access to the domain's store.
    pub as_of: Epoch,
}

/// Whether a host's requests to a domain's store succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// They do.
    Working,
    /// They don't.
    Failing,
}

/// What a host says of its session in a domain besides the home domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainHealth {
    /// The session.
    pub session: SessionId,
    /// The progress of its journal.
    pub progress: Progress,
    /// Whether the domain's store answers this host.
    pub access: Access,
}

/// A host's reply to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its session. Another than expected means that it has started a new one.
    pub session: SessionId,
    /// The newest epoch it knows.
    pub epoch: Epoch,
    /// The progress of its journal.
    pub progress: Progress,
    /// Reports that let the leader drop sources of its slots; repeated until an epoch record reflects them. Bounded.
    pub facts: Vec<SlotReport>,
    /// Sessions whose Release it waits for, in any domain.
    pub awaiting: Vec<SessionId>,
    /// Whether states of slots that it got are still to be copied.
    pub copying: Copying,
    /// The load of its slots, if the leader hasn't heard it.
    pub loads: Option<LoadReport>,
    /// Its sessions in further domains.
    pub domains: Vec<DomainHealth>,
}
