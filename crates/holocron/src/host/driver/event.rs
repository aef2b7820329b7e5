//! The events of a host's own task: from its other tasks, its transport and its user.

use bytes::Bytes;
use holocron_protocol::{
    control::{
        domain_member::{self, Look},
        election::{CreateOutcome, MarkOutcome},
        leader::{self, DomainEvent},
    },
    epoch::draft::SlotReport,
    ids::{Epoch, HostName, Position, SessionId, Slot},
};
use tokio::sync::oneshot;

use crate::{
    host::domain::DomainStore,
    store_io::epoch_log::LogError,
    transport::{
        peer::{JoinRequest, PeerReply, Progress},
        serve::View,
    },
};

/// An event of a host's own task.
#[derive(Debug)]
pub(crate) enum Event {
    /// Another host pushed a record.
    Pushed(Epoch, Bytes),
    /// A newer epoch may exist.
    ReadEpochLog,
    /// The log was read; answers the election's read.
    LogRead(Result<Option<View>, LogError>),
    /// The create of an epoch ended.
    EpochCreated { view: View, before: Option<View>, outcome: CreateOutcome },
    /// No epoch is written; answers the election's create.
    EpochWithdrawn,
    /// Whether our session, which the newest record doesn't list, has an end mark. Asked before `epoch` is created.
    OwnEndMark { session: SessionId, epoch: Epoch, mark: MarkOutcome },
    /// Whether an epoch's segment has a mark.
    Marked(MarkOutcome),
    /// Our session was opened.
    Opened(SessionId),
    /// Our session is over.
    SessionOver(SessionId),
    /// An assertion failed in one of our tasks; its message.
    Failed(String),
    /// The leader's heartbeat; the reply is our health.
    Heartbeat {
        epoch: Epoch,
        leader: SessionId,
        loads_heard: u64,
        reply: oneshot::Sender<PeerReply>,
    },
    /// The leader's hint in the store moved.
    HintMoved(Epoch),
    /// The leader with this session can't be reached at its address.
    LeaderUnreachable(SessionId),
    /// A host asks to join.
    Join(JoinRequest, oneshot::Sender<PeerReply>),
    /// An operator asks to seal a host.
    SealHost(HostName, oneshot::Sender<PeerReply>),
    /// A host asks to leave; its session.
    Leave(SessionId, oneshot::Sender<PeerReply>),
    /// An operator asks for a host to be drained.
    Drain(HostName, oneshot::Sender<PeerReply>),
    /// An operator asks for a drained host to be given slots again.
    Undrain(HostName, oneshot::Sender<PeerReply>),
    /// An operator asks for slots to be moved to a host.
    Move(Vec<Slot>, HostName, oneshot::Sender<PeerReply>),
    /// A host or an operator asks for something about domains.
    DomainAsked(DomainEvent, oneshot::Sender<PeerReply>),
    /// The store of a domain was looked at; it is open if that succeeded. The number is that of the configuration.
    DomainLooked(usize, Look, Option<DomainStore>),
    /// An event of this host in one of its domains.
    Domain(usize, domain_member::Event),
    /// The user asks this host to leave.
    LeaveSelf,
    /// The journal of a session may soon be needed here; the reply is sent once what is known of it was fetched.
    Prefetch { session: SessionId, progress: Progress, reply: oneshot::Sender<PeerReply> },
    /// A session is sealed.
    Sealed { session: SessionId, position: Position },
    /// A session has released slots.
    Released { session: SessionId, position: Position },
    /// Facts that make sources of slots unnecessary.
    Facts(Vec<SlotReport>),
    /// An event for the leader's duties.
    Lead(leader::Event),
}
