//! Requests to the simulated store, from the asking to the answer.

use core::{ops::Range, time::Duration};

use bytes::Bytes;
use holocron_store::{Error, Listed};
use tokio::sync::oneshot;

/// Hears what came of a request, if it still listens.
pub(super) type Reply = oneshot::Sender<Result<Answer, Error>>;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) node: String,
    pub(super) verb: Verb,
    /// Who asked, if it is to be told.
    pub(super) reply: Option<Reply>,
    pub(super) report: Report,
    /// How long the answer takes on its way back.
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
    /// Nothing is carried out, only answered.
    Nothing(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Truth,
    Failed,
    Conflict,
}

#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Got(Option<Bytes>),
    Listed(Vec<Listed>),
}

impl Due {
    /// It is never carried out, and its asker hears that it failed.
    pub(super) fn fails_unheard(&mut self) {
        self.verb = Verb::Nothing(self.verb.key().to_owned());
        self.report = Report::Failed;
    }

    /// The same once more, of which nobody hears.
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
