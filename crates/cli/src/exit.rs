//! How a command of `holocron` ends: an exit code for scripts, a sentence for people.

use core::fmt;
use std::process::ExitCode;

use holocron::{CallError, ConnectError, StartError, inspect::ReadError};
use holocron_store::{GaveUp, ProbeError, explain};

/// Why a command failed, by what a script may do about it. The number is the exit code of the process; clap itself uses
/// 2 for wrong usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// The command failed; the sentence says why.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// An acknowledged command is missing, or one took effect twice, or a read was stale.
    Broken = 3,
    /// The call, or the seal, may have taken effect or not.
    Unclear = 4,
    /// Not done: the store or the hosts gave no answer before the deadline. Trying again later may help.
    Later = 5,
    /// Not done, and the same request will never succeed.
    Rejected = 6,
    /// The store breaks a promise that Holocron needs, or is lost.
    Unfit = 7,
    /// Objects in the store are damaged or missing.
    Damaged = 8,
}

/// The exit codes, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the message says why
  2  wrong usage
  3  an acknowledged command was lost, one took effect twice, a read was stale (demo), or a promise was broken (sim)
  4  unclear: it may have taken effect (call, seal, drain, move)
  5  not done, no answer before the deadline: try again later (call, kinds, status, history, explain, seal,
     drain, move, probe, scrub, gc, elect, backup, restore, clone)
  6  not done: the same request will never succeed (call)
  7  the store breaks a promise that Holocron needs (probe, host, elect), or is lost: emptied, replaced or restored
     (host, history, elect)
  8  the store is damaged: the findings say which objects (scrub), or the copy is not sound (backup, restore, clone)";

/// The text after a subcommand's options in its help: its own part, then the exit codes.
#[must_use]
pub fn help(own: &str) -> String {
    format!("{own}\n\n{EXIT_CODES}")
}

/// A failure and its sentence.
#[derive(Debug)]
pub struct Fail {
    failure: Failure,
    sentence: String,
}

impl Fail {
    /// A failure with its sentence.
    #[must_use]
    pub fn new(failure: Failure, sentence: impl Into<String>) -> Self {
        Self { failure, sentence: sentence.into() }
    }

    /// A failure with exit code 1.
    #[must_use]
    pub fn failed(sentence: impl Into<String>) -> Self {
        Self::new(Failure::Failed, sentence)
    }

    /// The kind of failure.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.failure
    }

    /// The process's exit code.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.failure as u8)
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<ProbeError> for Fail {
    fn from(error: ProbeError) -> Self {
        let failure = match &error {
            ProbeError::Broken { .. } => Failure::Unfit,
            ProbeError::Unreachable { .. } => Failure::Later,
            ProbeError::Refused { .. } => Failure::Failed,
        };
        Self::new(failure, error.to_string())
    }
}

impl From<holocron_store::OpenError> for Fail {
    fn from(error: holocron_store::OpenError) -> Self {
        Self::failed(explain(&error))
    }
}

impl From<StartError> for Fail {
    fn from(error: StartError) -> Self {
        let sentence = explain(&error);
        let failure = match error {
            StartError::Store(ProbeError::Broken { .. }) => Failure::Unfit,
            StartError::Exposed { .. } => Failure::Usage,
            StartError::Name(_)
            | StartError::Zone(_)
            | StartError::Open(_)
            | StartError::Store(ProbeError::Unreachable { .. } | ProbeError::Refused { .. })
            | StartError::Unreachable(_)
            | StartError::Cluster(_)
            | StartError::NoCluster
            | StartError::IsElection
            | StartError::Domain(_)
            | StartError::Remains { .. }
            | StartError::Environment(_)
            | StartError::Kind(_)
            | StartError::Shards(_)
            | StartError::Listen { .. } => Failure::Failed,
        };
        Self::new(failure, sentence)
    }
}

impl From<CallError> for Fail {
    fn from(error: CallError) -> Self {
        let failure = match &error {
            CallError::Unclear => Failure::Unclear,
            CallError::Busy | CallError::Unavailable { .. } => Failure::Later,
            CallError::Rejected { .. }
            | CallError::UnknownCommand { .. }
            | CallError::OtherArguments { .. }
            | CallError::Panicked
            | CallError::UnknownKind => Failure::Rejected,
            // It ran, but its result can't be read here.
            CallError::Unreadable { .. } => Failure::Unclear,
        };
        Self::new(failure, error.to_string())
    }
}

impl From<ReadError> for Fail {
    fn from(error: ReadError) -> Self {
        let failure = match &error {
            ReadError::GaveUp(GaveUp::Spent { .. } | GaveUp::Stopped) | ReadError::Missing(_) => {
                Failure::Later
            }
            ReadError::StoreLost(_) => Failure::Unfit,
            ReadError::NoCluster(_)
            | ReadError::NoDomain(_)
            | ReadError::GaveUp(GaveUp::Rejected(_))
            | ReadError::Malformed(_) => Failure::Failed,
        };
        Self::new(failure, explain(&error))
    }
}

impl From<ConnectError> for Fail {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Call(error) => error.into(),
            ConnectError::Unreachable(GaveUp::Spent { .. } | GaveUp::Stopped) => {
                Self::new(Failure::Later, explain(&error))
            }
            ConnectError::Open(_)
            | ConnectError::Unreachable(GaveUp::Rejected(_))
            | ConnectError::Cluster(_) => Self::failed(explain(&error)),
        }
    }
}
