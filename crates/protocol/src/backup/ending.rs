//! How the copy of a cut is ended: what is created in it, so that it is the store of a cluster whose hosts have all left.
//!
//! Each journal that was open gets its seal, at the position where it was frozen. A record after the newest says so: no host is
//! left, every slot has its tenures as sources, anybody may lead. So the first host that starts there seals nothing, calls
//! nobody, and recovers. The copy belongs to a new cluster: the hosts and clients of the original, which may still run, refuse
//! it, and it refuses them.

use alloc::string::ToString;

use bytes::Bytes;

use super::contents::{Cut, End};
use crate::{
    epoch::{
        draft::Draft,
        record::{EpochRecord, Leader, RecordDigest, SessionState},
    },
    ids::{HostName, Position, SessionId},
    journal::batch::Seal,
};

/// Who wrote the seals and the last record, for people.
const WRITER: &str = "backup";

/// The writer of what ends a copy, as hosts see it.
///
/// # Panics
///
/// Never: the name is valid.
#[must_use]
pub fn writer() -> HostName {
    HostName::new(WRITER).expect("a valid name")
}

/// The seals that end the journals that were open, and where.
pub fn seals(cut: &Cut) -> impl Iterator<Item = (SessionId, Position, Seal)> {
    cut.ends.iter().filter_map(|(&session, end)| match *end {
        End::Frozen(frozen) => {
            let seal = Seal {
                by: writer(),
                epoch: cut.epoch,
                low_water: frozen.low_water,
                checkpoint_at: frozen.checkpoint_at,
            };
            Some((session, frozen.position, seal))
        }
        End::Sealed(_) | End::Detached(_) => None,
    })
}

/// The record after the newest of a cut, whose stored bytes are given. `session` is a new id for its writer, who doesn't lead.
///
/// # Panics
///
/// When the cut isn't one of this record.
#[must_use]
pub fn record(
    cut: &Cut,
    (newest, stored): (&EpochRecord, &Bytes),
    session: SessionId,
    reason: &str,
    wall_ms: u64,
) -> EpochRecord {
    assert_eq!(cut.epoch, newest.epoch, "a cut of another record");
    let mut draft = Draft::after(newest, RecordDigest::of(stored));
    for (&session, entry) in &newest.sessions {
        if entry.state == SessionState::Open {
            draft.remove(session);
        }
        match cut.ends.get(&session) {
            Some(End::Frozen(frozen)) => draft.seal_known(session, frozen.position),
            Some(End::Sealed(at)) => draft.seal_known(session, *at),
            Some(End::Detached(_)) => {}
            None => panic!("the cut has no end for session {session}"),
        }
    }
    draft.resign(None).expect("nobody is named");
    let leader = Leader { host: writer(), session, address: "".to_string() };
    draft.finish(leader, reason, wall_ms)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use crate::{
        backup::contents::FrozenAt,
        epoch::{
            record::{Handover, HostEntry, HostState, WEIGHT_DEFAULT},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::{ClusterId, DomainId, Epoch, Nonce, Slot, Tenure},
    };

    #[test]
    fn nobody_is_left_and_every_slot_has_its_tenures_as_sources() {
        let (host, session) = (HostName::new("a").unwrap(), SessionId::new(1));
        let cluster = Cluster { slots: 2, ..Cluster::new(ClusterId::new(1)) };
        let mut draft = Draft::first(&cluster);
        let entry = HostEntry {
            address: "here".into(),
            sessions: BTreeMap::from([(DomainId::HOME, session)]),
            state: HostState::Active,
            weight: WEIGHT_DEFAULT,
            zone: None,
            versions: KindVersions::default(),
        };
        draft.join(&host, entry).unwrap();
        let leader = Leader { host, session, address: "here".into() };
        let newest = draft.finish(leader, "first", 1);
        let stored = newest.encode(Nonce::new(1));
        let at = FrozenAt {
            position: Position::new(5),
            low_water: Position::new(2),
            checkpoint_at: Position::new(3),
        };
        let ends = BTreeMap::from([(session, End::Frozen(at))]);
        let cut = Cut { epoch: Epoch::new(1), ends };
        let last = record(&cut, (&newest, &stored), SessionId::new(9), "a backup", 7);
        assert_eq!((last.epoch, last.hosts.len()), (Epoch::new(2), 0));
        assert_eq!(last.handover, Handover::Leaves { successor: None });
        assert_eq!(last.standing_leader(), None);
        let state = last.sessions[&session].state;
        assert_eq!(state, SessionState::Sealed(Some(Position::new(5))));
        let holding = last.home().slots.holding(Slot(1));
        assert_eq!(holding.owner, None);
        assert_eq!(holding.sources, [Tenure { epoch: Epoch::new(1), session }]);
        let mut seals = seals(&cut);
        let (of, position, seal) = seals.next().unwrap();
        assert_eq!((of, position, seal.low_water), (session, at.position, at.low_water));
        assert_eq!(seals.next(), None);
    }
}
