//! What hosts (and operators' tools) say to each other beside calls. Nothing here carries safety: every message is a
//! hint that saves a wait or a request, and what it says is checked against the store before it is relied on.

use bytes::Bytes;
use holocron_protocol::{
    epoch::draft::SlotReport,
    ids::{Epoch, HostName, Position, SessionId},
};
use serde::{Deserialize, Serialize};

/// How far a session's journal has come, as its host says. A hint for whoever must seal or read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The newest committed position.
    pub committed: Position,
    /// What may have been trimmed.
    pub low_water: Position,
    /// Where the newest checkpoint record stands; 0 when there is none.
    pub checkpoint_at: Position,
    /// Whether something waits to be committed: a standstill then means "hung".
    pub waiting: bool,
}

/// What a host wants to be in the cluster as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Its stable name.
    pub name: HostName,
    /// Where others reach it.
    pub address: String,
    /// Its session in the home domain.
    pub session: SessionId,
    /// Its share of the slots relative to others; 100 is one share.
    pub weight: u32,
}

/// A message to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// What is your newest epoch record?
    View,
    /// Take me in. For the leader.
    Join(JoinRequest),
    /// I lead that epoch; how are you?
    Heartbeat {
        /// The newest epoch the leader knows.
        epoch: Epoch,
        /// Who leads.
        leader: SessionId,
    },
    /// I am about to seal that session; you may soon need its journal.
    Prefetch {
        /// Whose journal.
        session: SessionId,
        /// How far it was known to have come.
        progress: Progress,
    },
    /// That session is sealed.
    Sealed {
        /// Which session.
        session: SessionId,
        /// Where its seal stands.
        position: Position,
    },
    /// A new epoch record.
    Epoch {
        /// Its number.
        epoch: Epoch,
        /// The record as it stands in the store.
        stored: Bytes,
    },
    /// I have committed the release of slots you wait for.
    Released {
        /// The session that released.
        session: SessionId,
        /// Where the newest such Release stands.
        position: Position,
    },
    /// Seal that host, though it may be well: the session it lives when the leader hears this. For the leader.
    Seal(HostName),
    /// The host that lives this session leaves on purpose: seal it and give its slots away. For the leader. A session,
    /// because another process may have the host's name by the time this arrives.
    Leave(SessionId),
    /// How are things?
    Status,
}

/// The reply to a [`PeerMessage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerReply {
    /// Taken note of.
    Noted,
    /// The newest epoch record, as it stands in the store; empty when none is known yet.
    View(Bytes),
    /// Not for me: the leader is there, as far as I know.
    NotLeader {
        /// The leader's address, if known.
        leader: Option<String>,
    },
    /// Refused, and why.
    Refused(String),
    /// How this host is.
    Health(Health),
    /// How this host is, for people.
    Status(HostStatus),
}

/// A host's reply to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its session; another than expected means it started anew.
    pub session: SessionId,
    /// The newest epoch it knows.
    pub epoch: Epoch,
    /// How far its journal has come.
    pub progress: Progress,
    /// What lets sources of its slots go, as far as it wasn't seen to have an effect yet; bounded.
    pub facts: Vec<SlotReport>,
    /// Sessions whose Release it waits for.
    pub awaiting: Vec<SessionId>,
}

/// What `holocron status` shows of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: HostName,
    /// Its session.
    pub session: SessionId,
    /// The newest epoch it knows.
    pub epoch: Epoch,
    /// Whether it leads.
    pub leads: bool,
    /// How far its journal has come.
    pub progress: Progress,
    /// Slots it serves.
    pub slots_serving: u32,
    /// Slots it was given and is still recovering or waiting for.
    pub slots_waiting: u32,
    /// Vnodes with an actor.
    pub vnodes_active: u64,
    /// Vnodes in its indexes, active or not.
    pub vnodes_known: u64,
    /// Commands committed since it started.
    pub commands: u64,
    /// Commands since it started that had run before: their callers, who had no answer, were given the recorded one.
    pub repeats: u64,
    /// Queries answered since it started.
    pub queries: u64,
    /// Packs of its session named by its newest checkpoint.
    pub packs: u32,
    /// Calls in flight.
    pub in_flight: u64,
    /// Store requests it has made since it started.
    pub requests: u64,
}
