//! What may be in slots, from record to record.

use alloc::{format, string::ToString, vec::Vec};

use crate::{
    epoch::{
        draft::{Draft, Refused},
        record::{EpochRecord, HostEntry, HostState, Leader, RecordDigest},
        versions::{KindVersions, VERSIONS_MAX},
    },
    format::cluster::Cluster,
    ids::{ClusterId, DomainId, HostName, SessionId, Slot},
};

fn name(host: u128) -> HostName {
    HostName::new(&format!("h{host}")).unwrap()
}

fn versions(all: &[(&str, u32)]) -> KindVersions {
    all.iter().copied().collect()
}

/// Its session has the host's number.
fn host(number: u128, all: &[(&str, u32)]) -> HostEntry {
    HostEntry {
        address: "h:1".into(),
        sessions: [(DomainId::HOME, SessionId::new(number))].into(),
        state: HostState::Active,
        weight: 100,
        zone: None,
        versions: versions(all),
    }
}

fn founded(hosts: &[(u128, &[(&str, u32)])]) -> EpochRecord {
    let cluster = Cluster { slots: 12, ..Cluster::new(ClusterId::new(1)) };
    let mut draft = Draft::first(&cluster);
    for (number, all) in hosts {
        draft.join(&name(*number), host(*number, all)).unwrap();
    }
    finish(draft)
}

fn finish(draft: Draft) -> EpochRecord {
    let leader = Leader { host: name(1), session: SessionId::new(1), address: "h:1".into() };
    draft.finish(leader, "a test", 1)
}

fn after(record: &EpochRecord) -> Draft {
    Draft::after(record, RecordDigest::of(b"its bytes"))
}

fn slots_of(record: &EpochRecord, host: u128) -> Vec<Slot> {
    let owned = record.home().slots.owned_by(SessionId::new(host));
    owned.map(|(slot, _)| slot).collect()
}

#[test]
fn what_the_next_owner_can_not_read_is_recorded_and_remembered_until_one_can() {
    let first = founded(&[(1, &[("cart", 1)]), (2, &[("cart", 2)])]);
    let of_new = slots_of(&first, 2);
    let mut draft = after(&first);
    draft.remove(SessionId::new(2));
    let second = finish(draft);
    assert_eq!(slots_of(&second, 1).len(), 12, "every slot is served");
    assert_eq!(second.home().unread.keys().copied().collect::<Vec<_>>(), of_new);
    assert!(second.home().unread.values().all(|unread| *unread == versions(&[("cart", 2)])));
    // A host that has more versions, but not this one, is no better.
    let mut draft = after(&second);
    draft.join(&name(3), host(3, &[("cart", 1), ("order", 5)])).unwrap();
    assert_eq!(draft.move_to_readers(usize::MAX), 0);
    let third = finish(draft);
    assert_eq!(third.home().unread, second.home().unread);
    let mut draft = after(&third);
    draft.join(&name(4), host(4, &[("cart", 3)])).unwrap();
    assert_eq!(draft.move_to_readers(2), 2);
    assert_eq!(draft.move_to_readers(usize::MAX), of_new.len() - 2);
    let fourth = finish(draft);
    assert_eq!(slots_of(&fourth, 4), of_new);
    assert!(fourth.home().unread.is_empty());
}

#[test]
fn the_last_host_takes_its_needs_along_and_they_are_there_when_one_comes() {
    let first = founded(&[(1, &[("cart", 2)])]);
    let mut draft = after(&first);
    draft.remove(SessionId::new(1));
    let empty = finish(draft);
    assert_eq!(empty.home().unread.len(), 12, "no host has the slots");
    let mut draft = after(&empty);
    draft.join(&name(2), host(2, &[("cart", 1)])).unwrap();
    let old = finish(draft);
    assert_eq!(old.home().unread.len(), 12);
    let mut draft = after(&empty);
    draft.join(&name(2), host(2, &[("cart", 2)])).unwrap();
    assert!(finish(draft).home().unread.is_empty());
}

#[test]
fn a_slot_that_was_given_away_in_a_draft_goes_to_a_host_that_can_read_it_and_joins_later() {
    let first = founded(&[(1, &[("cart", 1)]), (2, &[("cart", 2)])]);
    let of_new = slots_of(&first, 2);
    let mut draft = after(&first);
    draft.remove(SessionId::new(2));
    draft.rebalance(usize::MAX);
    draft.join(&name(3), host(3, &[("cart", 2)])).unwrap();
    assert_eq!(slots_of(&finish(draft), 3), of_new);
}

#[test]
fn a_host_that_lacks_a_kind_with_shards_may_have_slots_without_its_shards() {
    let declared = [("index".into(), 3)].into();
    let cluster = Cluster { slots: 12, ..Cluster::new(ClusterId::new(1)) };
    let mut draft = Draft::first(&cluster);
    draft.declare(&name(1), &declared).unwrap();
    draft.join(&name(1), host(1, &[("index", 1)])).unwrap();
    let first = finish(draft);
    let mut draft = after(&first);
    draft.join(&name(2), host(2, &[("cart", 1)])).unwrap();
    draft.rebalance(usize::MAX);
    let second = finish(draft);
    assert_eq!(slots_of(&second, 2).len(), 6);
    assert!(second.home().unread.is_empty());
    // Without a host that has the kind, what is missing is recorded for the slots with shards only.
    let mut draft = after(&second);
    draft.remove(SessionId::new(1));
    let third = finish(draft);
    let unread = third.home().unread.len();
    assert!((1..=3).contains(&unread), "{unread}");
}

#[test]
fn a_record_may_not_forget_a_need_nor_invent_one() {
    let first = founded(&[(1, &[("cart", 1)]), (2, &[("cart", 2)])]);
    let mut draft = after(&first);
    draft.remove(SessionId::new(2));
    let second = finish(draft);
    let follows = |record: &EpochRecord| record.follows(&first, RecordDigest::of(b"its bytes"));
    assert_eq!(follows(&second), Ok(()));
    let mut forgetful = second.clone();
    forgetful.domains.get_mut(&DomainId::HOME).unwrap().unread.pop_first();
    assert_eq!(forgetful.check(), Ok(()));
    assert!(follows(&forgetful).unwrap_err().contains("can't read version 2 of kind cart"));
    let mut inventive = second.clone();
    let unread = &mut inventive.domains.get_mut(&DomainId::HOME).unwrap().unread;
    let slot = *unread.keys().next().unwrap();
    unread.insert(slot, versions(&[("cart", 1)]));
    assert!(inventive.check().unwrap_err().contains("its owner can read"));
    // A program that doesn't know versions drops them all.
    let mut old = second;
    old.domains.get_mut(&DomainId::HOME).unwrap().unread.clear();
    old.hosts.values_mut().for_each(|host| host.versions = KindVersions::default());
    assert_eq!(follows(&old), Ok(()));
}

#[test]
fn there_is_a_limit_to_different_versions() {
    let kinds = |of: u128| -> KindVersions {
        (0..1_024_u32).map(|kind| (format!("kind-{kind}-of-{of}"), 1)).collect()
    };
    let mut draft = after(&founded(&[(1, &[])]));
    for number in 2..18 {
        let entry = HostEntry { versions: kinds(number), ..host(number, &[]) };
        draft.join(&name(number), entry).unwrap();
    }
    let entry = HostEntry { versions: kinds(18), ..host(18, &[]) };
    let Err(Refused::TooLarge(why)) = draft.join(&name(18), entry) else {
        panic!("there is a limit")
    };
    assert!(why.contains(&(VERSIONS_MAX + 1_024).to_string()), "{why}");
    // Those that another host has cost nothing.
    let entry = HostEntry { versions: kinds(2), ..host(18, &[]) };
    draft.join(&name(18), entry).unwrap();
}
