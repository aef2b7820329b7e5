//! Requests to the simulated store, and their answers.

use core::{ops::Range, time::Duration};

use bytes::Bytes;
use holocron_store::{Error, Listed};
use tokio::sync::oneshot;

/// Receives the answer of a request, if the sender still waits.
pub(super) type Reply = oneshot::Sender<Result<Answer, Error>>;

/// A request in flight.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) node: String,
    pub(super) verb: Verb,
    /// The receiver of the answer, if there is one.
    pub(super) reply: Option<Reply>,
    pub(super) report: Report,
    /// The latency of the answer.
    pub(super) told_after: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Verb {
    Create(String, Bytes),
    Put(String, Bytes),
    Get(String),
    GetRange(String, Range<u64>),
    List(String),
    Delete(String),
    /// No effect, only an answer.
    Nothing(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Truth,
    Failed,
    Conflict,
    Denied,
}

#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Got(Option<Bytes>),
    Listed(Vec<Listed>),
}

impl Due {
    /// It is never carried out, and its answer is a failure.
    pub(super) fn fails_unheard(&mut self) {
        self.verb = Verb::Nothing(self.verb.key().to_owned());
        self.report = Report::Failed;
    }

    /// It is never carried out, because its sender has no access.
    pub(super) fn is_denied(&mut self) {
        self.verb = Verb::Nothing(self.verb.key().to_owned());
        self.report = Report::Denied;
    }

    /// A duplicate without an answer.
    pub(super) fn again(&self) -> Self {
        Self {
            node: self.node.clone(),
            verb: self.verb.clone(),
            reply: None,
            report: Report::Truth,
            told_after: Duration::ZERO,
        }
    }
}

impl Verb {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Create(key, _)
            | Self::Put(key, _)
            | Self::Get(key)
            | Self::GetRange(key, _)
            | Self::List(key)
            | Self::Delete(key)
            | Self::Nothing(key) => key,
        }
    }

    /// Whether it is an upload.
    pub(super) const fn writes(&self) -> bool {
        matches!(self, Self::Create(..) | Self::Put(..))
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Create(..) => "create",
            Self::Put(..) => "put",
            Self::Get(_) => "get",
            Self::GetRange(..) => "get a range",
            Self::List(_) => "list",
            Self::Delete(_) => "delete",
            Self::Nothing(_) => "nothing",
        }
    }
}
