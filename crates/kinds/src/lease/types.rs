//! What a `lease` stores and answers.

use serde::{Deserialize, Serialize};

/// Who has the lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The holder.
    pub holder: String,
    /// The fencing token: larger than that of every earlier grant.
    pub token: u64,
    /// When it is over, by the clock of the host that has the lease.
    pub expires_at_ms: u64,
}

impl Grant {
    pub(super) fn is(&self, holder: &str, token: u64) -> bool {
        self.holder == holder && self.token == token
    }

    /// Never shortens: the holder was told that it has the lease until then.
    pub(super) fn extend(&mut self, now: u64, ttl_ms: u64) {
        self.expires_at_ms = self.expires_at_ms.max(now + ttl_ms);
    }
}

/// A holder in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Its name.
    pub holder: String,
    /// For how long it wants the lease.
    pub ttl_ms: u64,
    /// When it is dropped unless it asks again.
    pub until_ms: u64,
}

/// What became of an `acquire`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acquired {
    /// The caller has the lease.
    Granted(Grant),
    /// The caller waits in line.
    Waiting {
        /// How many are before it in line.
        before: usize,
        /// When it is dropped unless it asks again.
        until_ms: u64,
    },
    /// Another holder has it, and the caller doesn't wait.
    Held(Grant),
}

/// A lease as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseState {
    /// Who has it, if any.
    pub grant: Option<Grant>,
    /// Who waits, the next one first.
    pub waiters: Vec<Waiter>,
}

/// Why a lease refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseError {
    /// The caller doesn't have the lease, or no longer, or not with this token.
    #[error("the lease isn't held with this name and token")]
    NotHolder,
    /// The line is full.
    #[error("{max} holders wait already")]
    TooManyWaiters {
        /// How many may wait.
        max: usize,
    },
    /// A holder's name is empty or too long.
    #[error("a holder's name has 1 to {max} bytes")]
    HolderLength {
        /// Its bytes, at most.
        max: usize,
    },
    /// A time is too short or too long.
    #[error("{argument} is between {min} and {max}")]
    OutOfRange {
        /// Which argument.
        argument: String,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}
