//! What a host in a further domain hears and does.

use alloc::{string::String, sync::Arc};

use crate::{
    control::report::ServeRequest,
    epoch::{
        domain::Offer,
        record::{EpochRecord, Leader},
    },
    ids::{Epoch, SessionId, StoreId},
};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The newest record, and this host's session in the home domain if the record lists it.
    Epoch(Arc<EpochRecord>, Option<SessionId>),
    /// Answers [`Effect::Look`].
    Looked(Look),
    /// The journal of this session was opened.
    Opened(SessionId),
    /// Answers [`Effect::CheckEndMark`]: the mark is absent, by a request that began as of that record.
    Cleared(SessionId, Epoch),
    /// Answers [`Effect::CheckEndMark`]: the mark is there.
    Marked(SessionId),
    /// The journal of this session is over.
    SessionOver(SessionId),
    /// The store of this session is lost, and how.
    StoreLost(SessionId, String),
    /// The leader refused an offer or a request to serve, and why.
    Refused(String),
    /// Time passed.
    Tick,
}

/// What a look at a domain's store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is the domain's, and has this id.
    Found(StoreId),
    /// It can't be used, and why: a sentence for the operator.
    Unusable(String),
}

/// Whether the `domain` object may be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// If it is absent: the record names no store yet.
    IfAbsent,
    /// It must be there.
    Never,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the store and read its `domain` object; answered by [`Event::Looked`].
    Look(Create),
    /// Offer the domain and its store to the leader.
    Offer(Leader, Offer),
    /// Open a session in the store that was found, and say so to [`super::DomainMember::opens`].
    OpenSession,
    /// Get the end mark of this session; the newest record is that one.
    CheckEndMark(SessionId, Epoch),
    /// Ask the leader to let a session serve.
    AskToServe(Leader, ServeRequest),
    /// The session acts on the newest record.
    Apply,
    /// End the session, for this reason.
    EndSession(String),
    /// Look whether the open store answers and is the same.
    Probe,
    /// Tell operators.
    Warn(String),
}
