//! Admission: whether a record may give slots to a session that the record before it doesn't list.
//!
//! A session that was sealed, detached and then forgotten is in no record any more. Its host may have slept through all
//! of that and ask to join. Nothing of such a session may ever be used again, so a session that no record lists is
//! admitted only after its end mark was seen to be absent, by a request that began after the newest record was read: what
//! a later record forgets is marked before.

use crate::{
    epoch::record::{EpochRecord, SessionState},
    ids::{Epoch, SessionId},
    planted,
};

/// Whether the next record may list a session as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The newest record lists it as open.
    Member,
    /// No record lists it: its end mark has to be looked up first.
    CheckEndMark,
    /// It is sealed or detached: it can't be used again.
    Over,
}

/// Whether a session may be open in the record after `newest`.
#[must_use]
pub fn admission(newest: &EpochRecord, session: SessionId) -> Admission {
    match newest.sessions.get(&session).map(|entry| entry.state) {
        Some(SessionState::Open) => Admission::Member,
        Some(SessionState::Sealed(_) | SessionState::Detached(_)) => Admission::Over,
        None => Admission::CheckEndMark,
    }
}

/// The end mark of a session was seen to be absent, by a request that began when this record was the newest known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cleared {
    /// The epoch of the record.
    pub as_of: Epoch,
}

impl Cleared {
    /// Whether it still holds for the record after `newest`.
    #[must_use]
    pub fn holds_after(self, newest: Epoch) -> bool {
        planted::clearance(self.as_of >= newest)
    }
}
