//! What may happen to a leader.

use holocron_protocol::control::leader::StoreHealth;
use proptest::{prelude::*, sample::Index};

use crate::words::SLOT_COUNT;

/// The hosts; the first is the one that is driven.
pub(super) const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// So many milliseconds pass.
    Tick(u64),
    /// From now on requests of the leader succeed, or don't.
    Store(StoreHealth),
    /// A host answers a heartbeat: how many epochs it is behind, whether work waits, which session it awaits.
    Health(usize, u64, bool, Option<usize>),
    /// A host says what a slot costs.
    Loads(usize, u16, u64),
    Connected(usize),
    Broken(usize),
    Refused(usize),
    /// The hints of all hosts were read.
    Hints(u64),
    Sealed(Index),
    NotSealed(Index),
    Collected(Index),
    Probed(Index),
    Cleared(Index),
    /// What lets the sources of a slot go.
    Fact(u16, bool),
    /// A host asks to join, or asks with the session before.
    Join(usize, bool),
    /// A host has started again.
    Restart(usize),
    Leave(usize),
    SealHost(usize),
    Drain(usize),
    Undrain(usize),
    Move(u16, usize),
    /// A host has fetched a journal.
    Fetched(Index),
    /// The next record is made.
    Make,
    /// Its create is won; it has landed, but that is only read; it hasn't landed.
    Won,
    Lands,
    Fails,
    /// Another host takes over.
    Rival(usize),
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let host = || 0..HOSTS.len();
    prop_oneof![
        8 => (10..600u64).prop_map(Action::Tick),
        1 => prop_oneof![Just(StoreHealth::Working), Just(StoreHealth::Failing)].prop_map(Action::Store),
        8 => (host(), 0..2u64, any::<bool>(), proptest::option::of(host()))
            .prop_map(|(at, behind, waits, awaits)| Action::Health(at, behind, waits, awaits)),
        4 => (host(), 0..SLOT_COUNT, 0..20_000u64).prop_map(|(at, slot, load)| Action::Loads(at, slot, load)),
        2 => host().prop_map(Action::Connected),
        1 => host().prop_map(Action::Broken),
        2 => host().prop_map(Action::Refused),
        2 => (0..9u64).prop_map(Action::Hints),
        4 => any::<Index>().prop_map(Action::Sealed),
        1 => any::<Index>().prop_map(Action::NotSealed),
        3 => any::<Index>().prop_map(Action::Collected),
        3 => any::<Index>().prop_map(Action::Probed),
        6 => any::<Index>().prop_map(Action::Cleared),
        6 => (0..SLOT_COUNT, any::<bool>()).prop_map(|(slot, full)| Action::Fact(slot, full)),
        8 => (host(), prop::bool::weighted(0.1)).prop_map(|(at, old)| Action::Join(at, old)),
        2 => (1..HOSTS.len()).prop_map(Action::Restart),
        1 => host().prop_map(Action::Leave),
        1 => host().prop_map(Action::SealHost),
        1 => host().prop_map(Action::Drain),
        1 => host().prop_map(Action::Undrain),
        2 => (0..SLOT_COUNT, host()).prop_map(|(slot, at)| Action::Move(slot, at)),
        4 => any::<Index>().prop_map(Action::Fetched),
        8 => Just(Action::Make),
        8 => Just(Action::Won),
        1 => Just(Action::Lands),
        1 => Just(Action::Fails),
        1 => host().prop_map(Action::Rival),
    ]
}
