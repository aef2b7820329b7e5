//! Which objects belong to a cut.
//!
//! All of them are immutable, so they can be copied while hosts go on. What was written after the cut doesn't belong to it, and
//! neither do hints, nor sessions that the cut's record doesn't list.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    format::{cluster::Cluster, keys::Key},
    ids::{Epoch, Position, SessionId},
};

/// A moment of a cluster: its newest record, and where each journal ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// The newest record.
    pub epoch: Epoch,
    /// The sessions that this record lists.
    pub ends: BTreeMap<SessionId, End>,
}

/// Where a journal ended at the moment of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The session was open: nothing at or above this position had been submitted.
    Frozen(FrozenAt),
    /// The session was over, and its seal stands here.
    Sealed(Position),
    /// It was over, and everything but seal and marks may be deleted.
    Detached(Position),
}

/// A frozen journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrozenAt {
    /// The first position that was never submitted.
    pub position: Position,
    /// Everything at or below is in a committed checkpoint.
    pub low_water: Position,
    /// The position of that checkpoint's record; 0 when there is none.
    pub checkpoint_at: Position,
}

impl Cut {
    /// Whether an object belongs to the cut. Packs that nobody needs may be among those that do: readers find packs by the
    /// records that name them.
    #[must_use]
    pub fn includes(&self, key: &Key, cluster: &Cluster) -> bool {
        match key {
            Key::Cluster | Key::Kind(..) => true,
            // The store of a further domain isn't below this root.
            Key::Domain | Key::LeaderHint | Key::HostHint(_) => false,
            Key::Epoch(epoch) => *epoch <= self.epoch,
            Key::EpochMark(segment) => cluster.epoch_segments().last(*segment) < self.epoch,
            Key::Journal(session, position) => match self.ends.get(session) {
                Some(End::Frozen(frozen)) => *position < frozen.position,
                Some(End::Sealed(seal)) => position <= seal,
                Some(End::Detached(seal)) => position == seal,
                None => false,
            },
            Key::TrimMark(session, segment) => match self.ends.get(session) {
                // A mark that was made after the cut speaks for a checkpoint that doesn't belong to it.
                Some(End::Frozen(frozen)) => {
                    cluster.journal_segments().last(*segment) <= frozen.low_water
                }
                Some(End::Sealed(_) | End::Detached(_)) => true,
                None => false,
            },
            Key::EndMark(session) => matches!(self.ends.get(session), Some(End::Detached(_))),
            Key::Pack(session, _) => {
                matches!(self.ends.get(session), Some(End::Frozen(_) | End::Sealed(_)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClusterId, HostName, PackNumber, Segment};

    const OPEN: SessionId = SessionId::new(1);
    const OVER: SessionId = SessionId::new(2);
    const GONE: SessionId = SessionId::new(3);
    const LATER: SessionId = SessionId::new(4);

    fn at(position: u64) -> Position {
        Position::new(position)
    }

    #[test]
    fn what_was_written_after_the_cut_does_not_belong_to_it() {
        let frozen = FrozenAt { position: at(9), low_water: at(7), checkpoint_at: at(8) };
        let cut = Cut {
            epoch: Epoch::new(5),
            ends: BTreeMap::from([
                (OPEN, End::Frozen(frozen)),
                (OVER, End::Sealed(at(4))),
                (GONE, End::Detached(at(4))),
            ]),
        };
        let cluster = Cluster {
            journal_segment_len: 4,
            epoch_segment_len: 2,
            ..Cluster::new(ClusterId::new(1))
        };
        let pack = PackNumber::new(1);
        for (key, belongs) in [
            (Key::Cluster, true),
            (Key::Kind("cart".into(), 1), true),
            (Key::Domain, false),
            (Key::LeaderHint, false),
            (Key::HostHint(HostName::new("h1").unwrap()), false),
            (Key::Epoch(Epoch::new(5)), true),
            (Key::Epoch(Epoch::new(6)), false),
            (Key::EpochMark(cluster.epoch_segments().segment(Epoch::new(3))), true),
            (Key::EpochMark(cluster.epoch_segments().segment(Epoch::new(5))), false),
            (Key::Journal(OPEN, at(0)), true),
            (Key::Journal(OPEN, at(8)), true),
            (Key::Journal(OPEN, at(9)), false),
            (Key::Journal(OVER, at(4)), true),
            (Key::Journal(OVER, at(5)), false),
            (Key::Journal(GONE, at(4)), true),
            (Key::Journal(GONE, at(3)), false),
            (Key::Journal(LATER, at(0)), false),
            (Key::TrimMark(OPEN, cluster.journal_segments().segment(at(7))), true),
            (Key::TrimMark(OPEN, cluster.journal_segments().segment(at(8))), false),
            (Key::TrimMark(OVER, Segment::new(1)), true),
            (Key::TrimMark(LATER, Segment::new(1)), false),
            (Key::EndMark(OPEN), false),
            (Key::EndMark(OVER), false),
            (Key::EndMark(GONE), true),
            (Key::Pack(OPEN, pack), true),
            (Key::Pack(GONE, pack), false),
            (Key::Pack(LATER, pack), false),
        ] {
            assert_eq!(cut.includes(&key, &cluster), belongs, "{key:?}");
        }
    }
}
