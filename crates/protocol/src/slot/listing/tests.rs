//! Listings of small slots, and the bounds of a page.

use alloc::vec::Vec;

use super::*;
use crate::state::{
    index::SlotIndex,
    place::{Origin, tests as places},
};

fn hash(bits: u128) -> VnodeHash {
    VnodeHash::from_bits(bits)
}

fn place(commit: u64, kind: PlaceKind) -> Place {
    Place {
        file: places::file(1),
        offset: 0,
        length: 10,
        checksum: 0,
        commit: crate::ids::CommitNumber::new(commit),
        wake_at: 0,
        kind,
        origin: Origin::Own,
    }
}

/// Vnodes in the index, some of them in its map of recent ones.
fn index(hashes: &[u128]) -> SlotIndex {
    let (sorted, recent) = hashes.split_at(hashes.len() / 2);
    let entry = |bits: &u128| (hash(*bits), place(1, PlaceKind::Live));
    let mut index = SlotIndex::from_sorted(sorted.iter().map(entry));
    for bits in recent {
        index.put(hash(*bits), &place(1, PlaceKind::Live));
    }
    index
}

#[test]
fn the_tail_is_newer_than_the_index_and_both_are_merged_by_hash() {
    let index = index(&[10, 20, 30, 40]);
    let tail = BTreeMap::from([(hash(5), 'a'), (hash(20), 'b'), (hash(50), 'c')]);
    let place = Newest::InIndex(place(1, PlaceKind::Live));
    let all: Vec<_> = newest(index.iter(), &tail, None).collect();
    let wanted = [
        (hash(5), Newest::InTail('a')),
        (hash(10), place),
        (hash(20), Newest::InTail('b')),
        (hash(30), place),
        (hash(40), place),
        (hash(50), Newest::InTail('c')),
    ];
    assert_eq!(all, wanted);
    for (at, (hash, _)) in wanted.iter().enumerate() {
        let rest: Vec<_> = newest(index.iter_after(Some(*hash)), &tail, Some(*hash)).collect();
        assert_eq!(rest, wanted[at + 1..], "after {hash:?}");
    }
    assert_eq!(newest([], &tail, Some(hash(20))).count(), 1, "a slot without an index");
}

#[test]
fn a_page_ends_at_its_bounds_but_always_gets_on() {
    let mut page = Page::after(None);
    for number in 1..=RECORDS_MAX as u128 {
        assert_eq!(page.record(hash(number), 1), Room::Taken);
    }
    assert_eq!(page.record(hash(1 << 20), 1), Room::Full);
    let last = Some(hash(RECORDS_MAX as u128));
    assert_eq!(page.reached(), Reached { slots: 0, after: last }, "the refused one comes again");

    let mut page = Page::after(last);
    let long = u32::try_from(LEN_MAX + 1).unwrap();
    assert_eq!(page.record(hash(1 << 20), long), Room::Taken, "one record fits in any case");
    assert_eq!(page.record(hash(1 << 21), 1), Room::Full);
    page.pass(hash(1 << 22));
    page.slot_ends();
    assert_eq!(page.reached(), Reached { slots: 1, after: None });
}

#[test]
#[should_panic(expected = "by hash")]
fn a_page_never_goes_back() {
    Page::after(Some(hash(7))).pass(hash(7));
}

#[test]
fn a_filter_shows_one_kind_and_keys_with_a_prefix() {
    let filter = Filter { kind: "cart".into(), prefix: "eu/".into() };
    let shows = |kind, key| filter.shows(&VnodeName::new(kind, key).unwrap());
    assert!(shows("cart", "eu/1") && shows("cart", "eu/"));
    assert!(!shows("cart", "us/1") && !shows("cart", "eu") && !shows("carts", "eu/1"));
}
