//! Messages between hosts (and from operators' tools), except calls. Safety does not depend on them: every message is
//! a hint that saves a wait or a request, and its content is checked in the store before use.

use bytes::Bytes;
pub use holocron_protocol::control::report::{Health, JoinRequest, Progress, ServeRequest};
use holocron_protocol::{
    checkpoint::retain::Copying,
    control::leader::LeaderStatus,
    epoch::domain::Offer,
    ids::{CutId, DomainId, Epoch, HostName, Position, SessionId, Slot, VnodeHash},
    slot::listing::{Filter, Reached},
};
use serde::{Deserialize, Serialize};

/// A message to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// Asks for the newest epoch record.
    View,
    /// Asks the leader to let a host join.
    Join(JoinRequest),
    /// A heartbeat of the leader; the reply is the host's [`Health`].
    Heartbeat {
        /// The newest epoch the leader knows.
        epoch: Epoch,
        /// The leader's session.
        leader: SessionId,
        /// The number of the newest report of loads that it has of the receiver; 0 if it has none.
        loads_heard: u64,
    },
    /// The receiver may soon need that session's journal: the sender is about to seal the session, or to move slots of it
    /// to the receiver. The reply comes when what is known of the journal was fetched.
    Prefetch {
        /// Whose journal.
        session: SessionId,
        /// Its last known progress.
        progress: Progress,
    },
    /// That session is sealed.
    Sealed {
        /// Which session.
        session: SessionId,
        /// The position of its seal.
        position: Position,
    },
    /// A new epoch record.
    Epoch {
        /// Its number.
        epoch: Epoch,
        /// The bytes of the record in the store.
        stored: Bytes,
    },
    /// The sender has committed the release of slots that the receiver waits for.
    Released {
        /// The session that released.
        session: SessionId,
        /// The position of the newest such Release.
        position: Position,
    },
    /// Asks the leader to seal a host, even if it is healthy: the session it has when the leader receives this.
    Seal(HostName),
    /// Asks the leader to let the host of this session leave: seal the session and reassign its slots. Names the
    /// session, because another process may have the host's name by the time this arrives.
    Leave(SessionId),
    /// Asks for the [`HostStatus`].
    Status,
    /// Asks the leader to move all slots of a host to others. Lasts until the host restarts or [`Self::Undrain`].
    Drain(HostName),
    /// Asks the leader to give a drained host slots again.
    Undrain(HostName),
    /// Asks the leader to move slots to a host.
    Move {
        /// Which slots; at most [`holocron_protocol::control::leader::ORDERS_MAX`].
        slots: Vec<Slot>,
        /// The host.
        to: HostName,
    },
    /// Asks whether a vnode is in the host's memory; the reply is its [`VnodeStatus`].
    Vnode {
        /// The vnode's domain.
        domain: DomainId,
        /// The hash of its name.
        hash: VnodeHash,
    },
    /// Asks which kinds the host runs, with their commands and queries.
    Kinds,
    /// Asks for the next page of a listing; the reply is [`PeerReply::Listed`].
    List(ListRequest),
    /// Offers a domain to the leader.
    OfferDomain(Offer),
    /// Asks the leader to take a domain out of use.
    RemoveDomain(String),
    /// Asks the leader to let a host serve a domain.
    Serve(ServeRequest),
    /// Asks a host with access to a domain's store to seal a session there, which its own newest record says is over. The
    /// leader asks that has no access.
    SealSession {
        /// Which.
        session: SessionId,
        /// The position up to which it was known to have committed.
        committed: Option<Position>,
    },
    /// Asks a host with access to a domain's store to delete what is left of a session there, which its own newest record
    /// says is detached.
    CollectSession(SessionId),
    /// Asks a session of the host to submit nothing until [`Self::Thaw`], at most for seconds; the reply is
    /// [`PeerReply::Frozen`]. The host deletes nothing for a while.
    Freeze {
        /// Which session.
        session: SessionId,
        /// For which cut.
        cut: CutId,
    },
    /// Tells a frozen session to go on. Noted if it had been frozen all the time, else refused.
    Thaw {
        /// Which session.
        session: SessionId,
        /// For which cut it was frozen.
        cut: CutId,
    },
    /// Asks the host to delete nothing for a while: a backup is being made.
    Keep,
    /// Asks for what the host measures; the reply is [`PeerReply::Measures`].
    Measures,
}

/// The reply to a [`PeerMessage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerReply {
    /// Received.
    Noted,
    /// The bytes of the newest epoch record in the store; empty when none is known yet.
    View(Bytes),
    /// The receiver is not the leader.
    NotLeader {
        /// The leader's address, if known.
        leader: Option<String>,
    },
    /// Refused, and why.
    Refused(String),
    /// The health of this host.
    Health(Health),
    /// The status of this host, for people.
    Status(Box<HostStatus>),
    /// The status of a vnode at this host, for people.
    Vnode(VnodeStatus),
    /// The session is sealed at this position.
    Sealed(Position),
    /// The kinds that this host runs: a list of [`crate::KindDescription`] as JSON, because shapes may be deep.
    Kinds(String),
    /// A page of a listing.
    Listed(ListedPage),
    /// The receiver doesn't serve the slot.
    NotServed,
    /// The session submits nothing, and has come so far.
    Frozen(Progress),
    /// What this host measures: [`super::measures::HostMeasures`] as JSON, so that a release may add to it.
    Measures(String),
}

/// A request for one page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// The slots' domain.
    pub domain: DomainId,
    /// Slots that the receiver owns; at most [`holocron_protocol::slot::listing::SLOTS_MAX`].
    pub slots: Vec<Slot>,
    /// In the first slot, the page begins after this vnode.
    pub after: Option<VnodeHash>,
    /// Which vnodes are shown.
    pub filter: Filter,
}

/// One page of a listing. It may be empty although others follow, because it reads a bounded number of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPage {
    /// The keys of the vnodes, in no order.
    pub keys: Vec<String>,
    /// How far the page comes.
    pub reached: Reached,
}

/// What a host says of a vnode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VnodeStatus {
    /// It is in memory.
    Active {
        /// Calls that wait for it.
        waiting: u32,
    },
    /// It isn't in memory; its next call loads it.
    Dormant,
    /// The host was given its slot and is still recovering it; calls wait.
    Recovering,
    /// The host doesn't serve its slot.
    NotServed,
}

/// Most vnodes that a host's status names because they aren't open.
pub const NOT_OPEN_MAX: usize = 16;

/// The shards of a host, and what isn't open there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardsStatus {
    /// Shards in the slots that it serves.
    pub serving: u32,
    /// Those of them that are active, and open if their kind has hooks.
    pub open: u32,
    /// Vnodes that should be open and aren't, shards or not, those with the most failures first; at most [`NOT_OPEN_MAX`].
    pub not_open: Vec<NotOpen>,
}

/// A vnode that should be open and isn't.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotOpen {
    /// Its name.
    pub vnode: String,
    /// Attempts to open it that failed in a row.
    pub failures: u32,
    /// What it waits for, and the last error.
    pub why: String,
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
    /// The progress of its journal.
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
    /// Commands since it started that had run before: their callers had got no answer, and get the recorded one.
    pub repeats: u64,
    /// Queries answered since it started.
    pub queries: u64,
    /// Handlers since it started that ran longer than [`Settings::handler_warn_after`](crate::Settings::handler_warn_after).
    pub slow_handlers: u64,
    /// Vnodes that left memory since it started because they were not used.
    pub evictions: u64,
    /// Packs of its session named by its newest checkpoint.
    pub packs: u32,
    /// Its shards, and what isn't open.
    pub shards: ShardsStatus,
    /// Calls in flight.
    pub in_flight: u64,
    /// Store requests it has made since it started.
    pub requests: u64,
    /// Slots it gives away and hasn't released yet.
    pub slots_going: u32,
    /// Whether states of slots that it got are still to be copied.
    pub copying: Copying,
    /// The measured load of its slots: as much as that many commands per second. 0 before the first report.
    pub load: u64,
    /// What it is about to do as the leader.
    pub leading: Option<LeaderStatus>,
    /// The domains that it is configured with, besides the home domain, by name. Everything above except the counts since
    /// it started is about the home domain.
    pub domains: Vec<DomainStatus>,
}

/// What `holocron status` shows of one host in a domain besides the home domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStatus {
    /// The domain's name.
    pub name: String,
    /// Its session there, if one is open.
    pub session: Option<SessionStatus>,
    /// What keeps it from serving the domain, if anything does.
    pub trouble: Option<String>,
}

/// What a host says of one of its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its id.
    pub session: SessionId,
    /// The progress of its journal.
    pub progress: Progress,
    /// Slots it serves.
    pub slots_serving: u32,
    /// Slots it was given and is still recovering or waiting for.
    pub slots_waiting: u32,
    /// Vnodes with an actor.
    pub vnodes_active: u64,
    /// Vnodes in its indexes, active or not.
    pub vnodes_known: u64,
    /// Packs named by its newest checkpoint.
    pub packs: u32,
    /// Slots it gives away and hasn't released yet.
    pub slots_going: u32,
    /// Whether states of slots that it got are still to be copied.
    pub copying: Copying,
    /// The measured load of its slots: as much as that many commands per second. 0 before the first report.
    pub load: u64,
}
