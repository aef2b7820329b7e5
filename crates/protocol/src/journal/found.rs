//! What stands at a position of the own journal, and what follows for the session.
//!
//! Invariant: whatever isn't the session's own batch ends the session. Nothing can be committed at that position or
//! above, and a session doesn't go on beside a writer that it can't name.

use core::fmt;

use bytes::Bytes;

use crate::{
    format::codec::Malformed,
    ids::HostName,
    journal::batch::{self, JournalObject},
};

/// What a get of the next position found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A batch of the session itself.
    OwnBatch,
    /// Another writer's object.
    Foreign(Foreign),
}

/// Another writer's object in the session's journal: the session is over. Displays as the words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// This host sealed the session.
    Seal(HostName),
    /// A batch or an opening that is not ours.
    Other,
    /// It can't be decoded.
    Undecodable(Malformed),
}

impl Found {
    /// Judges what a get of a key in the own journal found. A batch that names another session than its key doesn't decode.
    #[must_use]
    pub fn judge(key: &str, object: Option<&Bytes>) -> Self {
        let Some(object) = object else { return Self::Absent };
        match batch::decode(key, object) {
            Ok(JournalObject::Batch(_)) => Self::OwnBatch,
            Ok(JournalObject::Seal(seal)) => Self::Foreign(Foreign::Seal(seal.by)),
            Ok(JournalObject::Opening(_)) => Self::Foreign(Foreign::Other),
            Err(malformed) => Self::Foreign(Foreign::Undecodable(malformed)),
        }
    }
}

impl Foreign {
    /// Judges the object that a create of our batch lost to. It has other bytes than ours, so even a batch with our
    /// session's id is foreign: we have written no other at this position.
    #[must_use]
    pub fn winner(key: &str, object: &Bytes) -> Self {
        match batch::decode(key, object) {
            Ok(JournalObject::Seal(seal)) => Self::Seal(seal.by),
            Ok(JournalObject::Batch(_) | JournalObject::Opening(_)) => Self::Other,
            Err(malformed) => Self::Undecodable(malformed),
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal(by) => write!(f, "sealed by {by}"),
            Self::Other => f.write_str("another writer's object is in this journal"),
            Self::Undecodable(malformed) => write!(f, "{malformed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::keys,
        ids::{Epoch, Nonce, Position, SessionId},
        journal::batch::{BatchBuilder, BatchHeader, Seal},
    };

    const OURS: SessionId = SessionId::new(1);
    const AT: Position = Position::new(3);

    fn judge(object: &Bytes) -> Found {
        Found::judge(&keys::journal_position(OURS, AT), Some(object))
    }

    fn batch_of(session: SessionId) -> Bytes {
        let header = BatchHeader {
            session,
            position: AT,
            committed: Position::ZERO,
            low_water: Position::ZERO,
            checkpoint_at: Position::ZERO,
        };
        BatchBuilder::with_capacity(0).finish(header, Nonce::new(7))
    }

    #[test]
    fn only_an_own_batch_lets_the_session_go_on() {
        let key = keys::journal_position(OURS, AT);
        assert_eq!(Found::judge(&key, None), Found::Absent);
        assert_eq!(judge(&batch_of(OURS)), Found::OwnBatch);
        let other = judge(&batch_of(SessionId::new(2)));
        assert!(matches!(other, Found::Foreign(Foreign::Undecodable(_))), "{other:?}");
        let by: HostName = HostName::new("b").expect("a name");
        let seal = Seal {
            by: by.clone(),
            epoch: Epoch::new(4),
            low_water: Position::ZERO,
            checkpoint_at: Position::ZERO,
        };
        assert_eq!(judge(&seal.encode(Nonce::new(7))), Found::Foreign(Foreign::Seal(by)));
        let torn = Bytes::from_static(b"torn");
        assert!(matches!(judge(&torn), Found::Foreign(Foreign::Undecodable(_))));
    }

    #[test]
    fn a_batch_that_won_against_ours_is_foreign_even_under_our_id() {
        let key = keys::journal_position(OURS, AT);
        assert_eq!(Foreign::winner(&key, &batch_of(OURS)), Foreign::Other);
    }
}
