//! What a journal that is missing, or that doesn't show an end, needs.

use super::{FetchUpTo, JournalState, LOOK_AGAIN, Recovery};
use crate::{epoch::record::SessionState, journal::sealing::Hint, slot::fold::Missing, time::Time};

/// What one missing journal needs.
pub(super) enum Need {
    Fetch(FetchUpTo),
    WaitUntil(Time),
    /// What was read of it doesn't show the end: to be read again after a while.
    ReadAgain,
    NewerEpoch,
}

impl Recovery {
    /// What a missing journal, or the missing end of a tenure, needs; `None` while a fetch is in flight.
    pub(super) fn need(&mut self, now: Time, missing: Missing) -> Option<Need> {
        let (session, own) = (missing.session(), self.session);
        let state = match &self.record {
            Some(record) => record.sessions.get(&session).map(|entry| entry.state),
            None => return Some(Need::WaitUntil(now + LOOK_AGAIN)),
        };
        let journal = self.journal(session);
        match journal.state {
            JournalState::Fetching => return None,
            JournalState::Failed(until) if now < until => return Some(Need::WaitUntil(until)),
            JournalState::Failed(_) | JournalState::Absent | JournalState::Fetched(_) => {}
        }
        if session == own {
            return Some(Need::Fetch(FetchUpTo::OwnCommitted));
        }
        Some(match state {
            Some(SessionState::Sealed(known)) => {
                let hint = known.map(Hint::Sealed).or(journal.hint);
                Need::Fetch(FetchUpTo::Seal(hint.unwrap_or(Hint::Nothing)))
            }
            Some(SessionState::Open) => match (missing, journal.released_at) {
                (Missing::Journal(_), Some(position)) => Need::Fetch(FetchUpTo::Release(position)),
                (Missing::Journal(_), None) => Need::Fetch(FetchUpTo::NewestBatch),
                // The announced one was another Release; the right one may have been committed before.
                (Missing::End(_), Some(_)) => {
                    journal.released_at = None;
                    Need::Fetch(FetchUpTo::NewestBatch)
                }
                // The newest batch doesn't show the end: the session hasn't released the slot yet.
                (Missing::End(_), None) => Need::ReadAgain,
            },
            Some(SessionState::Detached(_)) | None => Need::NewerEpoch,
        })
    }
}
