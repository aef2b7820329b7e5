//! Where the newest committed records of vnodes are: in the tail, or where the index says.

use bytes::Bytes;
use holocron_protocol::{
    ids::{Epoch, Slot, VnodeHash},
    slot::residency::Newest,
};

use super::Journal;
use crate::session::tail::{Tail, TailMoment};

impl Journal {
    /// Accesses the tail under the lock: keep it short.
    pub(crate) fn with_tail<T>(&self, look: impl FnOnce(&mut Tail) -> T) -> T {
        look(&mut self.state().tail)
    }

    /// Where the newest committed record of a vnode is, and its bytes if they are in the tail.
    pub(crate) fn find(&self, slot: Slot, hash: VnodeHash) -> (Newest, Option<Bytes>) {
        let state = self.state();
        let found = state.tail.find(hash);
        let newest = state.residency.newest(slot, found.as_ref().map(|(place, _)| place.position));
        (newest, found.map(|(_, record)| record))
    }

    /// The tail now; and for each of these slots, if it is served, its tenure and from which batch on the tail counts for it.
    pub(crate) fn tail_moment(&self, slots: &[Slot]) -> (Vec<Option<(Epoch, usize)>>, TailMoment) {
        let state = self.state();
        let tail = state.tail.moment();
        let held = |slot: &Slot| match state.residency.newest(*slot, None) {
            Newest::InIndex(tenure) => {
                let counts =
                    |position| state.residency.newest(*slot, Some(position)) == Newest::InTail;
                Some((tenure, tail.first(counts)))
            }
            Newest::InTail | Newest::NotServed => None,
        };
        (slots.iter().map(held).collect(), tail)
    }
}
