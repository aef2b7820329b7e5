//! What a host's own task hears, from its other tasks, its transport and its user.

use bytes::Bytes;
use holocron_protocol::{
    control::{
        election::{CreateOutcome, MarkOutcome},
        leader,
    },
    epoch::draft::SlotReport,
    ids::{Epoch, HostName, Position, SessionId},
};
use tokio::sync::oneshot;

use crate::{
    store_io::epoch_log::LogError,
    transport::{
        peer::{JoinRequest, PeerReply, Progress},
        serve::View,
    },
};

/// What a host's own task hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// Another host pushed a record.
    Pushed(Epoch, Bytes),
    /// A newer epoch may exist.
    ReadEpochLog,
    /// The log was read; answers the election's read.
    LogRead(Result<Option<View>, LogError>),
    /// The create of an epoch ended.
    EpochCreated(View, CreateOutcome),
    /// No epoch is written after all; answers the election's create.
    EpochWithdrawn,
    /// The end mark of our own session, which the newest record doesn't list, was asked for when `epoch` was to be created.
    OwnEndMark { session: SessionId, epoch: Epoch, mark: MarkOutcome },
    /// The mark of an epoch's segment was asked for.
    Marked(MarkOutcome),
    /// A session of ours was opened.
    Opened(SessionId),
    /// The session is over.
    SessionOver(SessionId),
    /// An assertion failed in one of our tasks, and this is what it said.
    Failed(String),
    /// A leader says it lives, and wants to know how we are.
    Heartbeat { epoch: Epoch, leader: SessionId, reply: oneshot::Sender<PeerReply> },
    /// The leader's hint in the store moved.
    HintMoved(Epoch),
    /// The leader of that session can't be reached where it was.
    LeaderUnreachable(SessionId),
    /// A host asks to be taken in.
    Join(JoinRequest, oneshot::Sender<PeerReply>),
    /// Somebody wants a host sealed.
    SealHost(HostName, oneshot::Sender<PeerReply>),
    /// A host wants to leave; the session it lives.
    Leave(SessionId, oneshot::Sender<PeerReply>),
    /// This host is to leave.
    LeaveSelf,
    /// A session is about to be sealed.
    Prefetch { session: SessionId, progress: Progress },
    /// A session is sealed.
    Sealed { session: SessionId, position: Position },
    /// A session has released slots.
    Released { session: SessionId, position: Position },
    /// What lets sources go.
    Facts(Vec<SlotReport>),
    /// Something for the leader's duties.
    Lead(leader::Event),
}
