//! What a member hears and does: its events, effects and settings.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, time::Duration};

use crate::{
    control::report::JoinRequest,
    epoch::{
        draft::SlotReport,
        record::{EpochRecord, Leader},
        shards::DeclaredShards,
        versions::KindVersions,
    },
    ids::{Epoch, HostName, SessionId},
};

/// What a host is called and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: HostName,
    /// Where others reach it.
    pub address: String,
    /// Its share of the slots relative to others.
    pub weight: u32,
    /// Its zone, if it has one: hosts of one zone tend to fail together.
    pub zone: Option<String>,
    /// The kinds with shards that it runs.
    pub shards: DeclaredShards,
    /// The versions of all its kinds.
    pub versions: KindVersions,
}

impl Identity {
    /// What the host asks to join with.
    #[must_use]
    pub fn joins_with(&self, session: SessionId) -> JoinRequest {
        let Self { name, address, weight, zone, shards, versions } = self.clone();
        JoinRequest { name, address, session, weight, zone, shards, versions }
    }
}

/// How often a member does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSettings {
    /// How often it puts its hint. Longer costs fewer requests and makes a host without a connection known later.
    pub hint_every: Duration,
    /// How long a leader that was heard over a connection counts as alive.
    pub leader_silence_max: Duration,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A newer record was read.
    Epoch(Arc<EpochRecord>),
    /// The journal of this session of ours was opened.
    Opened(SessionId),
    /// The journal of this session of ours is over.
    SessionOver(SessionId),
    /// What lets sources go was learned from a recovery or a checkpoint.
    Facts(Vec<SlotReport>),
    /// A leader's heartbeat came: the epoch it knows, and its session.
    Heartbeat(Epoch, SessionId),
    /// An operator, or the process itself, wants this host to leave.
    LeaveAsked,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The session acts on the newest record: it recovers, serves, drains and releases slots.
    Apply,
    /// End the session.
    EndSession(SessionEnd),
    /// Open a new session and join with it.
    OpenSession,
    /// A newer epoch may exist: read the epoch log.
    ReadEpochLog,
    /// The leader of that epoch is alive.
    LeaderHeard(Epoch),
    /// Watch the connection to this leader and to no other.
    WatchLeader(Leader),
    /// This host leads, or no leader is known: watch no leader.
    WatchNoLeader,
    /// Put the host's hint with that counter.
    PutHint(u64),
    /// Ask the leader to let this session join.
    AskToJoin(Leader),
    /// Ask the leader to let this session leave.
    AskToLeave(SessionId),
    /// Stop the host.
    Stop(StopReason),
}

/// Why a session is over; displays as the words for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// A record says that it is sealed, or doesn't list it any more.
    OverIn(Epoch),
    /// A later process has the host's name.
    Replaced,
    /// Its journal commits no more: it is sealed, its next position is taken by a foreign object, or its store is lost.
    JournalEnded,
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverIn(epoch) => write!(f, "{epoch} says that it is sealed"),
            Self::Replaced => f.write_str("a later host of the same name has taken its place"),
            Self::JournalEnded => f.write_str("its journal commits no more"),
        }
    }
}

/// Why a host stops by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It left: its slots were handed off, or it was no member, or there was no other host.
    Left,
    /// The leave took longer than [`super::LEAVE_TIMEOUT`].
    LeaveTimedOut,
    /// A later process has its name.
    Replaced,
    /// It declares other shards than the cluster has; the text says which.
    Shards(String),
}
