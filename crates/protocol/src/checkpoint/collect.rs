//! Collecting a detached session: what is deleted of it, and what stays.
//!
//! Before anything is deleted the session's end mark is created. It says for all time that the session is over, so that a
//! late sealer or a host that woke up doesn't take a deleted journal for one that never held anything.
//!
//! Invariants:
//!
//! * Nothing of a session is deleted before its end mark is definite.
//! * The seal and the marks of a session are never deleted. (A seal that landed in a trimmed segment is garbage like the
//!   rest of the segment; the mark there says so.)

use alloc::vec::Vec;

use crate::{
    format::keys::Key,
    ids::{Position, SessionId},
    planted,
};

/// A session that an epoch says is detached, once that epoch was read and found to be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Detached {
    /// Which.
    pub session: SessionId,
    /// Where its seal stands.
    pub sealed_at: Position,
}

/// Whether a detached session's end mark is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndMark {
    /// Not that we know; a create with an unclear outcome is no more than that.
    NotKnown,
    /// Seen, or won.
    Definite,
}

/// What to do next about a detached session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collection {
    /// Create its end mark; nothing may be deleted before.
    CreateEndMark,
    /// Delete these, in any order. With none left it is done.
    Delete(Vec<Key>),
}

impl Detached {
    /// What to do next, given the keys under [`crate::format::keys::session`]. Unknown names among them are never deleted.
    ///
    /// # Panics
    ///
    /// When the seal stands at position 0, where none ever does.
    #[must_use]
    pub fn collect(self, end_mark: EndMark, listed: impl IntoIterator<Item = Key>) -> Collection {
        assert!(self.sealed_at > Position::ZERO, "position 0 is never sealed");
        match end_mark {
            EndMark::NotKnown => Collection::CreateEndMark,
            EndMark::Definite => {
                let garbage: Vec<Key> =
                    listed.into_iter().filter(|key| self.is_garbage(key)).collect();
                let marks = |key: &Key| matches!(key, Key::TrimMark(..) | Key::EndMark(_));
                assert!(!garbage.iter().any(marks), "a mark is never deleted");
                Collection::Delete(garbage)
            }
        }
    }

    fn is_garbage(self, key: &Key) -> bool {
        match *key {
            Key::Journal(session, position) => {
                session == self.session && planted::is_garbage(position != self.sealed_at)
            }
            Key::Pack(session, _) => session == self.session,
            Key::TrimMark(..) | Key::EndMark(_) => false,
            Key::Cluster
            | Key::Domain
            | Key::Epoch(_)
            | Key::EpochMark(_)
            | Key::LeaderHint
            | Key::HostHint(_)
            | Key::Kind(..) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        format::keys,
        ids::{PackNumber, Segment},
    };

    const SESSION: SessionId = SessionId::new(7);

    #[test]
    fn a_detached_session_loses_everything_but_its_seal_and_marks() {
        let detached = Detached { session: SESSION, sealed_at: Position::new(5) };
        let [batch, late, seal] = [4, 6, 5].map(|at| Key::Journal(SESSION, Position::new(at)));
        let pack = Key::Pack(SESSION, PackNumber::new(1));
        let stranger = Key::Pack(SessionId::new(8), PackNumber::new(1));
        let marks = [Key::TrimMark(SESSION, Segment::new(0)), Key::EndMark(SESSION)];
        let listed = || {
            let ours = [batch.clone(), seal.clone(), late.clone(), pack.clone(), stranger.clone()];
            ours.into_iter().chain(marks.clone())
        };
        assert_eq!(detached.collect(EndMark::NotKnown, listed()), Collection::CreateEndMark);
        assert_eq!(
            detached.collect(EndMark::Definite, listed()),
            Collection::Delete(vec![batch.clone(), late.clone(), pack.clone()])
        );
    }

    #[test]
    fn a_foreign_name_in_a_detached_session_is_left_alone() {
        let detached = Detached { session: SESSION, sealed_at: Position::new(5) };
        let foreign = alloc::format!("{}notes.txt", keys::session(SESSION));
        let listed = keys::parse(&foreign);
        assert_eq!(detached.collect(EndMark::Definite, listed), Collection::Delete(vec![]));
    }
}
