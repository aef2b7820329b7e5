//! Listing: which vnodes a page shows, and where the next page goes on.
//!
//! An index knows vnodes by hash; their names are in their records. So a listing goes through slots, and in a slot through
//! hashes, and reads the newest committed record of each vnode that has a state. A page may span slots: it says how many it
//! has listed to their end, and up to which hash the next one. Whoever owns a slot then can go on from there.
//!
//! Invariants:
//!
//! * A record in the tail is newer than any in the index, so it alone counts.
//! * A page reads a bounded number of records and bytes, and at least one record, so a listing always gets on.

use alloc::{collections::BTreeMap, string::String};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{VnodeHash, VnodeName},
    planted,
    state::place::{Place, PlaceKind},
};

/// Most slots that one page is asked for.
pub const SLOTS_MAX: usize = 1_024;
/// Most records that one page reads.
pub const RECORDS_MAX: usize = 4_096;
/// Most bytes of records that one page reads, unless one record alone is longer.
pub const LEN_MAX: u64 = 16 << 20;

/// How far a listing has come in the slots that it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// So many slots are listed to their end.
    pub slots: u32,
    /// The last vnode that was looked at in the slot after them; none if that slot has not begun.
    pub after: Option<VnodeHash>,
}

/// What a listing shows: the vnodes of a kind whose keys begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The kind.
    pub kind: String,
    /// The prefix; empty for all keys.
    pub prefix: String,
}

impl Filter {
    /// Whether a vnode is shown.
    #[must_use]
    pub fn shows(&self, vnode: &VnodeName) -> bool {
        vnode.kind() == self.kind && vnode.key().starts_with(&self.prefix)
    }
}

/// Where the newest committed record of a vnode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest<T> {
    /// In the tail, as this.
    InTail(T),
    /// At the place that the index names.
    InIndex(Place),
}

/// The vnodes of a slot after one of them, by hash, each with its newest committed record. `index` has what the slot's index
/// has of them; `tail` the newest record of each vnode that was written under the slot's tenure and is in the tail.
pub fn newest<'a, T: Copy>(
    index: impl IntoIterator<Item = (VnodeHash, Place)> + 'a,
    tail: &'a BTreeMap<VnodeHash, T>,
    after: Option<VnodeHash>,
) -> impl Iterator<Item = (VnodeHash, Newest<T>)> + 'a {
    let indexed = index.into_iter().skip_while(move |(hash, _)| Some(*hash) <= after);
    let mut indexed = indexed.peekable();
    let mut tailed = tail.iter().skip_while(move |(hash, _)| Some(**hash) <= after).peekable();
    core::iter::from_fn(move || {
        let in_index = indexed.peek().copied();
        let in_tail = tailed.peek().map(|(hash, record)| (**hash, **record));
        match (in_index, in_tail) {
            (Some((hash, place)), Some((other, record))) if hash == other => {
                indexed.next();
                tailed.next();
                Some((hash, planted::list_newest(Newest::InTail(record), place)))
            }
            (Some((hash, place)), other) if other.is_none_or(|(other, _)| hash < other) => {
                indexed.next();
                Some((hash, Newest::InIndex(place)))
            }
            (_, Some((hash, record))) => {
                tailed.next();
                Some((hash, Newest::InTail(record)))
            }
            (_, None) => None,
        }
    })
}

/// Whether a page has room for another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It is on the page.
    Taken,
    /// The page ends before it.
    Full,
}

/// A page in the making.
#[derive(Clone, Debug)]
pub struct Page {
    reached: Reached,
    records: usize,
    len: u64,
}

impl Page {
    /// A page that begins in its first slot after this vnode, or with the slot's first.
    #[must_use]
    pub const fn after(after: Option<VnodeHash>) -> Self {
        Self { reached: Reached { slots: 0, after }, records: 0, len: 0 }
    }

    /// How far it has come.
    #[must_use]
    pub const fn reached(&self) -> Reached {
        self.reached
    }

    /// The next vnode of the slot has a state, whose record has so many bytes.
    pub fn record(&mut self, hash: VnodeHash, len: u32) -> Room {
        let len = self.len + u64::from(len);
        if self.records > 0 && (self.records == RECORDS_MAX || len > LEN_MAX) {
            return Room::Full;
        }
        self.records += 1;
        self.len = len;
        self.pass(hash);
        Room::Taken
    }

    /// The next vnode of the slot has no state.
    pub fn pass(&mut self, hash: VnodeHash) {
        assert!(self.reached.after < Some(hash), "a page goes through a slot by hash");
        self.reached.after = Some(hash);
    }

    /// The slot has no more vnodes.
    pub fn slot_ends(&mut self) {
        self.reached = Reached { slots: self.reached.slots + 1, after: None };
    }
}

/// Whether a place has a state.
#[must_use]
pub const fn has_state(place: &Place) -> bool {
    match place.kind {
        PlaceKind::Live => true,
        PlaceKind::Tombstone => false,
    }
}

#[cfg(test)]
mod tests;
