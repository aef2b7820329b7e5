//! The order in which batches and epochs landed, and whether a cut is one moment of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::{
    backup::contents::{Cut, End},
    format::{
        codec::{self, ObjectKind},
        keys::{self, Key},
    },
    ids::{Epoch, Position, SessionId},
};

use super::Shelf;

impl Shelf {
    /// Why a cut isn't one moment, if it isn't.
    pub(crate) fn is_no_moment(&self, cut: &Cut) -> Option<String> {
        self.state().landings.broken(cut)
    }
}

/// When each batch and each epoch landed first. A request that is carried out twice may create an object again after it was
/// trimmed.
#[derive(Debug, Default)]
pub(super) struct Landings {
    next: u64,
    batches: BTreeMap<(SessionId, Position), u64>,
    epochs: BTreeMap<Epoch, u64>,
}

impl Landings {
    /// An object was created.
    pub(super) fn created(&mut self, key: &str, body: &Bytes) {
        self.next += 1;
        let Some(key_of) = keys::parse(key) else { return };
        if let Key::Epoch(epoch) = key_of {
            self.epochs.entry(epoch).or_insert(self.next);
        } else if let Key::Journal(session, position) = key_of
            && codec::open_as(key, body, ObjectKind::Batch).is_ok()
        {
            self.batches.entry((session, position)).or_insert(self.next);
        }
    }

    /// Why the batches of a cut aren't those that had landed at one moment, if they aren't. A frozen session has nothing in
    /// flight, so the order of landing has that moment, too.
    pub(super) fn broken(&self, cut: &Cut) -> Option<String> {
        let of_record = self.epochs.get(&cut.epoch)?;
        let (mut last_in, mut first_out) = (None, None);
        for (&(session, position), &landed) in &self.batches {
            let is_in = match cut.ends.get(&session) {
                Some(End::Frozen(frozen)) => position < frozen.position,
                Some(End::Sealed(seal) | End::Detached(seal)) => position < *seal,
                // It was over and forgotten before, or joined later.
                None if landed < *of_record => continue,
                None => false,
            };
            let found = (landed, session, position);
            if is_in {
                last_in = last_in.max(Some(found));
            } else {
                first_out = Some(first_out.map_or(found, |first| found.min(first)));
            }
        }
        let ((last, session, position), (first, other, after)) = (last_in?, first_out?);
        (first < last).then(|| {
            format!("{position} of {session:?} is in the cut and landed after {after} of {other:?}, which isn't")
        })
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::{
        backup::contents::FrozenAt,
        ids::Nonce,
        journal::{
            batch::BatchBuilder,
            writer::{Carries, Writer},
        },
    };

    use super::*;

    const A: SessionId = SessionId::new(1);
    const B: SessionId = SessionId::new(2);

    fn land(landings: &mut Landings, writer: &mut Writer, session: SessionId) {
        let header = writer.submit(Carries::Records);
        let object = BatchBuilder::default().finish(header, Nonce::new(1));
        landings.created(&keys::journal_position(session, header.position), &object);
        assert_eq!(writer.won(header.position), Some(header.position));
    }

    fn cut(a: u64, b: u64) -> Cut {
        let frozen = |position| {
            End::Frozen(FrozenAt {
                position: Position::new(position),
                low_water: Position::ZERO,
                checkpoint_at: Position::ZERO,
            })
        };
        Cut { epoch: Epoch::new(1), ends: BTreeMap::from([(A, frozen(a)), (B, frozen(b))]) }
    }

    #[test]
    fn a_cut_is_a_moment_of_the_order_in_which_batches_landed() {
        let mut landings = Landings::default();
        landings.created(&keys::epoch(Epoch::new(1)), &Bytes::new());
        let (mut a, mut b) = (Writer::new(A, 1), Writer::new(B, 1));
        land(&mut landings, &mut a, A);
        land(&mut landings, &mut b, B);
        land(&mut landings, &mut a, A);
        for (of_a, of_b) in [(1, 1), (2, 1), (2, 2), (3, 2)] {
            assert_eq!(landings.broken(&cut(of_a, of_b)), None, "{of_a} {of_b}");
        }
        assert!(landings.broken(&cut(1, 2)).is_some());
        assert!(landings.broken(&cut(3, 1)).is_some());
        let mut later = cut(3, 2);
        later.ends.remove(&B);
        assert!(landings.broken(&later).is_some(), "a session that the record doesn't list");
    }
}
