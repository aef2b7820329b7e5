//! Why a call failed, and whether it ran.

use crate::api::call::Outcome;

/// Why a call failed: what its caller may do now. [`CallError::ran`] says whether it took effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not run: too many calls were in flight, here or at the host, until the deadline. Try again later, or send
    /// less.
    #[error("busy: too many calls are in flight")]
    Busy,
    /// It may have run, or may still run. The client tried until the deadline to find out. A new call would be
    /// another request, so look at the vnode before acting.
    #[error("unclear: the call may have taken effect")]
    Unclear,
    /// Not run (or an unanswered query): the vnode can't be called at the moment.
    #[error("unavailable: {why}")]
    Unavailable {
        /// Why, for the program.
        reason: Unavailable,
        /// Why, for people: the last obstacle.
        why: String,
    },
    /// Not run, and a retry will be rejected too. Send something else.
    #[error("rejected: {why}")]
    Rejected {
        /// What is wrong with it.
        why: String,
    },
    /// Not run: the host's version of the kind has no such command or query. Upgrade the hosts, or send another.
    #[error("unknown: {why}")]
    UnknownCommand {
        /// What there is instead.
        why: String,
    },
    /// Not run: the command or query has other arguments, or another result, in the host's version of the kind, and they
    /// can't be translated by name. Upgrade the hosts, or this caller.
    #[error("sent for another version of the kind: {why}")]
    OtherArguments {
        /// What the host expects.
        why: String,
    },
    /// The vnode's code panicked and its effects were undone.
    #[error("the vnode's code panicked; the call had no effect")]
    Panicked,
    /// Not run: the host doesn't know the vnode's kind. Register it there.
    #[error("the host doesn't know this kind of vnode")]
    UnknownKind,
    /// It ran, but its reply isn't of the type this caller expects: the two ends were built from different versions
    /// of the kind.
    #[error("the reply can't be read: {why}")]
    Unreadable {
        /// The codec's error.
        why: String,
    },
}

/// Why a vnode can't be called at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No host answered. Try again later.
    Unreachable,
    /// The vnode's slot is moving to another host. Try again soon.
    Moving,
    /// No host serves the vnode's domain, or its slot. An operator has to look if that lasts.
    NotServed,
    /// The vnode is quarantined after repeated panics. Try again later; a developer has to look.
    Quarantined,
    /// Its stored state can't be read by its host: the host's version of the kind is older, or has no migration, or an
    /// object is damaged. Trying again doesn't help; an operator has to look.
    Unreadable,
    /// The store is lost: emptied, replaced, or restored from an older copy. An operator has to look.
    StoreLost,
}

/// Whether a call took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It did.
    Yes,
    /// It did not, and won't by itself. Sending it again is safe.
    No,
    /// Perhaps, or it may yet.
    Unclear,
}

impl CallError {
    /// Whether the call took effect. One that was rolled back, after a panic or because its state would be too large, did
    /// not.
    #[must_use]
    pub const fn ran(&self) -> Ran {
        match self {
            Self::Unclear => Ran::Unclear,
            Self::Unreadable { .. } => Ran::Yes,
            Self::Busy
            | Self::Unavailable { .. }
            | Self::Rejected { .. }
            | Self::UnknownCommand { .. }
            | Self::OtherArguments { .. }
            | Self::Panicked
            | Self::UnknownKind => Ran::No,
        }
    }

    /// Why a vnode or its host refuses a call, or undid it; none for outcomes after which the caller goes on trying.
    pub(crate) fn of_outcome(outcome: Outcome) -> Option<Self> {
        let unavailable = |reason, why| Some(Self::Unavailable { reason, why });
        match outcome {
            Outcome::Panicked => Some(Self::Panicked),
            Outcome::Rejected(why) | Outcome::Undecodable(why) => Some(Self::Rejected { why }),
            Outcome::Quarantined => {
                let why = "the vnode is quarantined after repeated panics";
                unavailable(Unavailable::Quarantined, why.to_owned())
            }
            Outcome::UnknownKind => Some(Self::UnknownKind),
            Outcome::UnknownCommand(why) => Some(Self::UnknownCommand { why }),
            Outcome::OtherArguments(why) => Some(Self::OtherArguments { why }),
            Outcome::Unreadable(why) => unavailable(Unavailable::Unreadable, why),
            Outcome::Reply(_)
            | Outcome::Rebase(_)
            | Outcome::NotOwner
            | Outcome::Busy
            | Outcome::Unclear => None,
        }
    }

    pub(crate) fn unavailable(reason: Unavailable, why: impl Into<String>) -> Self {
        Self::Unavailable { reason, why: why.into() }
    }
}
