//! Unit tests of drafts, and random sequences of changes.

use alloc::{string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    epoch::{
        record::{Holding, REASON_LEN_MAX},
        versions::KindVersions,
    },
    format::keys,
    ids::{ClusterId, Nonce, StoreId, Tenure},
};

const HOME: DomainId = DomainId::HOME;

/// A small log: every record is encoded and decoded, as between hosts.
struct Log {
    record: EpochRecord,
    digest: RecordDigest,
}

impl Log {
    /// Epoch 1: host `a` with session 1 has all slots.
    fn new(slots: u16) -> Self {
        let mut draft = Draft::first(&cluster(slots));
        draft.join(&name("a"), host(1)).unwrap();
        Self::store(draft)
    }

    /// Epoch 2: host `b` with session 2 has taken the upper half.
    fn of_two(slots: u16) -> Self {
        let mut log = Self::new(slots);
        log.change(|draft| {
            draft.join(&name("b"), host(2)).unwrap();
            draft.rebalance(usize::MAX);
        });
        log
    }

    fn change(&mut self, change: impl FnOnce(&mut Draft)) {
        let mut draft = self.draft();
        change(&mut draft);
        *self = Self::store(draft);
    }

    fn draft(&self) -> Draft {
        Draft::after(&self.record, self.digest)
    }

    fn store(draft: Draft) -> Self {
        let record = draft.finish(leader(), "because", 5);
        let object = record.encode(Nonce::new(9));
        let key = keys::epoch(record.epoch);
        assert_eq!(EpochRecord::decode(&key, &object).as_ref(), Ok(&record));
        Self { record, digest: RecordDigest::of(&object) }
    }

    fn holding(&self, slot: u16) -> Holding {
        self.record.holding(HOME, Slot(slot)).unwrap().clone()
    }

    fn state(&self, bits: u128) -> Option<SessionState> {
        self.record.sessions.get(&SessionId::new(bits)).map(|entry| entry.state)
    }

    fn report(&mut self, slot: u16, fact: SourceFact) {
        self.change(|draft| draft.report(report(slot, fact)));
    }
}

fn remove(draft: &mut Draft, session: u128) {
    assert!(draft.remove(SessionId::new(session)));
}

/// A host's session, if the host is listed.
fn session_of(draft: &Draft, host: &HostName) -> Option<SessionId> {
    draft.hosts().get(host).and_then(|entry| entry.sessions.get(&HOME)).copied()
}

fn drain(draft: &mut Draft, session: u128) {
    assert!(draft.drain(SessionId::new(session)));
}

fn cluster(slots: u16) -> Cluster {
    Cluster { slots, ..Cluster::new(ClusterId::new(1)) }
}

fn report(slot: u16, fact: SourceFact) -> SlotReport {
    SlotReport { domain: HOME, slot: Slot(slot), fact }
}

fn name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn leader() -> Leader {
    Leader { host: name("a"), session: SessionId::new(1), address: "a:1".into() }
}

fn host(session: u128) -> HostEntry {
    HostEntry {
        address: "h:1".into(),
        sessions: BTreeMap::from([(HOME, SessionId::new(session))]),
        state: HostState::Active,
        weight: 100,
        zone: None,
        versions: KindVersions::default(),
    }
}

fn tenure(session: u128, epoch: u64) -> Tenure {
    Tenure { epoch: Epoch::new(epoch), session: SessionId::new(session) }
}

fn holding(owner: Tenure, sources: &[Tenure]) -> Holding {
    Holding { owner: Some(owner), sources: sources.to_vec() }
}

#[test]
fn the_first_host_gets_every_slot_without_sources() {
    let log = Log::new(4);
    assert_eq!(log.record.domains[&HOME].slots.distinct(), [holding(tenure(1, 1), &[])]);
}

#[test]
fn a_kept_slot_keeps_its_tenure_and_a_moved_slot_has_the_old_tenure_as_source() {
    let log = Log::of_two(4);
    assert_eq!(log.holding(0), holding(tenure(1, 1), &[]));
    assert_eq!(log.holding(3), holding(tenure(2, 2), &[tenure(1, 1)]));
}

#[test]
fn a_failed_host_is_to_be_sealed_and_its_tenure_becomes_the_first_source() {
    let mut log = Log::of_two(4);
    log.change(|draft| remove(draft, 2));
    assert_eq!(log.holding(3), holding(tenure(1, 3), &[tenure(2, 2), tenure(1, 1)]));
    assert_eq!(log.record.seals_wanted().collect::<Vec<_>>(), [SessionId::new(2)]);
    assert_eq!(log.state(2), Some(SessionState::Sealed(None)));
}

#[test]
fn a_removed_source_is_to_be_sealed_and_a_known_seal_is_noted() {
    let mut log = Log::of_two(4);
    assert!(log.record.lists_open(SessionId::new(1)));
    log.change(|draft| remove(draft, 1));
    log.change(|draft| draft.seal_known(SessionId::new(1), Position::new(7)));
    assert_eq!(log.state(1), Some(SessionState::Sealed(Some(Position::new(7)))));
}

#[test]
fn a_host_that_rejoins_with_a_new_session_gets_new_tenures() {
    let mut log = Log::of_two(4);
    log.change(|draft| draft.join(&name("b"), host(3)).unwrap());
    assert_eq!(log.state(2), Some(SessionState::Sealed(None)));
    assert_eq!(log.holding(3), holding(tenure(3, 3), &[tenure(2, 2), tenure(1, 1)]));
    let refused = log.draft().join(&name("b"), host(2));
    assert_eq!(refused, Err(Refused::SessionOver(SessionId::new(2))));
    let refused = log.draft().join(&name("c"), host(3));
    assert_eq!(refused, Err(Refused::SessionTaken(SessionId::new(3))));
}

#[test]
fn removing_or_draining_a_session_does_not_affect_a_later_one_of_its_host() {
    let mut log = Log::of_two(4);
    // In the same draft, and in a later one.
    log.change(|draft| {
        draft.join(&name("b"), host(3)).unwrap();
        assert!(!draft.remove(SessionId::new(2)), "it is over");
        assert!(!draft.drain(SessionId::new(2)));
    });
    log.change(|draft| {
        assert!(!draft.remove(SessionId::new(2)));
        assert!(!draft.drain(SessionId::new(2)));
        assert!(!draft.remove(SessionId::new(9)), "it never existed");
        assert_eq!(draft.host_of(SessionId::new(2)), None);
        assert_eq!(draft.host_of(SessionId::new(3)), Some(&name("b")));
    });
    assert_eq!(log.state(3), Some(SessionState::Open));
    assert_eq!(log.record.hosts[&name("b")].state, HostState::Active);
    assert_eq!(log.holding(3).owner, Some(tenure(3, 3)));
}

#[test]
fn a_host_that_joins_and_fails_in_one_draft_leaves_no_trace() {
    let mut log = Log::of_two(4);
    log.change(|draft| {
        remove(draft, 2);
        draft.join(&name("c"), host(3)).unwrap();
        draft.rebalance(usize::MAX);
        remove(draft, 3);
    });
    assert_eq!(log.state(3), None);
    assert_eq!(log.holding(3), holding(tenure(1, 3), &[tenure(2, 2), tenure(1, 1)]));
}

#[test]
fn many_changes_fit_in_one_epoch() {
    let mut log = Log::of_two(8);
    log.change(|draft| {
        remove(draft, 1);
        remove(draft, 2);
        draft.join(&name("c"), host(3)).unwrap();
        draft.join(&name("d"), host(4)).unwrap();
    });
    assert_eq!(log.record.epoch, Epoch::new(3));
    assert_eq!(log.holding(0), holding(tenure(3, 3), &[tenure(1, 1)]));
    assert_eq!(log.holding(7), holding(tenure(4, 3), &[tenure(2, 2), tenure(1, 1)]));
}

#[test]
fn slots_of_the_last_host_have_no_owner_until_the_next_host_joins() {
    let mut log = Log::new(4);
    log.change(|draft| {
        remove(draft, 1);
        draft.resign(None).unwrap();
    });
    assert_eq!(log.holding(0), Holding { owner: None, sources: vec![tenure(1, 1)] });
    log.change(|draft| draft.join(&name("b"), host(2)).unwrap());
    assert_eq!(log.holding(0), holding(tenure(2, 3), &[tenure(1, 1)]));
    assert_eq!(log.record.handover, Handover::Stays, "a handover applies to one record");
}

#[test]
fn a_draining_host_gives_its_slots_away_but_keeps_them_if_no_other_host_is_there() {
    let mut log = Log::new(4);
    log.change(|draft| {
        drain(draft, 1);
        assert_eq!(draft.rebalance(usize::MAX), 0);
    });
    assert_eq!(log.holding(0), holding(tenure(1, 1), &[]));
    log.change(|draft| {
        draft.join(&name("b"), host(2)).unwrap();
        assert_eq!(draft.rebalance(3), 3);
    });
    assert_eq!(log.record.domains[&HOME].slots.owned_by(SessionId::new(1)).count(), 1);
}

#[test]
fn a_full_checkpoint_drops_only_older_sources() {
    let mut log = Log::of_two(2);
    log.change(|draft| remove(draft, 2));
    log.change(|draft| {
        draft.join(&name("c"), host(3)).unwrap();
        draft.rebalance(usize::MAX);
    });
    let chain = [tenure(1, 3), tenure(2, 2), tenure(1, 1)];
    assert_eq!(log.holding(1), holding(tenure(3, 4), &chain));
    log.report(1, SourceFact::Full(tenure(2, 2)));
    assert_eq!(log.holding(1), holding(tenure(3, 4), &chain[..2]));
    log.report(1, SourceFact::Full(tenure(1, 1)));
    assert_eq!(log.holding(1), holding(tenure(3, 4), &chain[..2]), "no longer listed");
    log.report(1, SourceFact::Empty(tenure(1, 3)));
    assert_eq!(log.holding(1), holding(tenure(3, 4), &[tenure(2, 2)]));
    log.report(1, SourceFact::Full(tenure(3, 4)));
    assert_eq!(log.holding(1), holding(tenure(3, 4), &[]));
}

#[test]
fn an_owner_that_continues_under_its_old_tenure_keeps_it_listed() {
    // Slot 1 goes from a to b and back, before a has released it: the record says a@3, a writes under a@1.
    let mut log = Log::of_two(2);
    log.change(|draft| draft.move_slot(HOME, Slot(1), &name("a")).unwrap());
    log.report(1, SourceFact::Full(tenure(1, 1)));
    assert_eq!(log.holding(1), holding(tenure(1, 3), &[tenure(2, 2), tenure(1, 1)]));
    log.report(1, SourceFact::Empty(tenure(2, 2)));
    assert_eq!(log.holding(1), holding(tenure(1, 3), &[tenure(1, 1)]));
}

#[test]
fn a_session_is_detached_when_its_seal_is_known_and_no_slot_names_it() {
    let mut log = Log::of_two(2);
    log.change(|draft| remove(draft, 2));
    log.report(1, SourceFact::Full(tenure(1, 3)));
    assert_eq!(log.state(2), Some(SessionState::Sealed(None)), "it may still acknowledge");
    log.change(|draft| draft.seal_known(SessionId::new(2), Position::new(9)));
    assert_eq!(log.state(2), Some(SessionState::Detached(Position::new(9))));
    assert_eq!(log.record.detached().count(), 1);
    let refused = log.draft().join(&name("b"), host(2));
    assert_eq!(refused, Err(Refused::SessionOver(SessionId::new(2))));
    log.change(|draft| draft.forget(SessionId::new(2)));
    assert_eq!(log.state(2), None);
}

#[test]
fn a_sealed_session_that_is_still_a_source_is_not_detached_nor_forgotten() {
    let mut log = Log::of_two(2);
    log.change(|draft| {
        remove(draft, 2);
        draft.seal_known(SessionId::new(2), Position::new(9));
        draft.forget(SessionId::new(2));
    });
    assert_eq!(log.state(2), Some(SessionState::Sealed(Some(Position::new(9)))));
}

#[test]
fn a_seal_of_an_open_session_is_not_noted_before_its_host_is_removed() {
    let mut log = Log::of_two(2);
    log.change(|draft| draft.seal_known(SessionId::new(2), Position::new(9)));
    assert_eq!(log.state(2), Some(SessionState::Open));
}

#[test]
#[should_panic(expected = "has two seals")]
fn a_second_seal_of_a_session_panics() {
    let mut log = Log::of_two(2);
    log.change(|draft| {
        remove(draft, 2);
        draft.seal_known(SessionId::new(2), Position::new(9));
        draft.seal_known(SessionId::new(2), Position::new(8));
    });
}

#[test]
fn a_slot_with_eight_sources_moves_only_when_its_owner_fails() {
    let mut log = Log::of_two(1);
    for move_number in 0..SOURCES_MAX {
        let target = if move_number % 2 == 0 { "b" } else { "a" };
        log.change(|draft| draft.move_slot(HOME, Slot(0), &name(target)).unwrap());
    }
    assert_eq!(log.holding(0).sources.len(), SOURCES_MAX);
    let mut draft = log.draft();
    let refused = draft.move_slot(HOME, Slot(0), &name("b"));
    assert_eq!(refused, Err(Refused::TooManySources(Slot(0))));
    drain(&mut draft, 1);
    assert_eq!(draft.rebalance(usize::MAX), 0);
    log.change(|draft| remove(draft, 1));
    assert_eq!(log.holding(0).sources.len(), SOURCES_MAX + 1);
}

#[test]
fn an_epoch_is_needed_only_when_something_changes() {
    let log = Log::of_two(4);
    let is_needed = |draft: Draft, leader: &Leader| {
        draft.finish(leader.clone(), "any", 9).is_news_after(&log.record)
    };
    assert!(!is_needed(log.draft(), &leader()));
    let successor = Leader { host: name("b"), session: SessionId::new(2), address: String::new() };
    assert!(is_needed(log.draft(), &successor));
    let mut draft = log.draft();
    draft.report(report(3, SourceFact::Full(tenure(2, 2))));
    assert!(is_needed(draft, &leader()));
    let mut draft = log.draft();
    drain(&mut draft, 2);
    assert!(is_needed(draft, &leader()));
    let mut draft = log.draft();
    draft.join(&name("b"), host(2)).unwrap();
    assert!(!is_needed(draft.clone(), &leader()), "the join changed nothing");
    draft.resign(Some(&name("b"))).unwrap();
    assert!(is_needed(draft, &leader()));
}

fn offer() -> Offer {
    let rules = vec![Rule::Kind("archive".into())];
    Offer { name: "archive".into(), rules, store: Some(StoreId::new(7)), names: Names::New }
}

#[test]
fn a_domain_is_served_only_by_hosts_with_a_session_there() {
    let mut log = Log::of_two(4);
    let archive = DomainId(1);
    log.change(|draft| {
        draft.offer(&offer()).unwrap();
    });
    assert_eq!(log.record.holding(archive, Slot(0)), Some(&Holding::default()));
    log.change(|draft| {
        let mut both = host(2);
        both.sessions.insert(archive, SessionId::new(20));
        draft.join(&name("b"), both).unwrap();
    });
    let served: Vec<_> = log.record.domains[&archive].slots.distinct().to_vec();
    assert_eq!(served, [holding(tenure(20, 4), &[])]);
    let mut elsewhere = host(3);
    elsewhere.sessions.insert(DomainId(7), SessionId::new(30));
    assert_eq!(log.draft().join(&name("c"), elsewhere), Err(Refused::NoDomain(DomainId(7))));
}

#[test]
fn a_host_whose_session_is_over_in_one_domain_continues_in_the_other() {
    let mut log = Log::of_two(4);
    let archive = DomainId(1);
    let mut both = host(2);
    both.sessions.insert(archive, SessionId::new(20));
    log.change(|draft| {
        draft.offer(&offer()).unwrap();
        draft.join(&name("b"), both.clone()).unwrap();
    });
    both.sessions.insert(archive, SessionId::new(21));
    log.change(|draft| draft.join(&name("b"), both).unwrap());
    assert_eq!(log.state(2), Some(SessionState::Open));
    assert_eq!(log.holding(3).owner, Some(tenure(2, 2)));
    let archived = log.record.holding(archive, Slot(0)).unwrap();
    assert_eq!(*archived, holding(tenure(21, 4), &[tenure(20, 3)]));
}

#[test]
fn a_session_that_ends_alone_leaves_the_host_its_others() {
    let mut log = Log::of_two(4);
    log.change(|draft| {
        draft.offer(&offer()).unwrap();
    });
    let archive = DomainId(1);
    log.change(|draft| draft.serve_domain(SessionId::new(1), archive, SessionId::new(10)).unwrap());
    log.change(|draft| draft.serve_domain(SessionId::new(2), archive, SessionId::new(20)).unwrap());
    log.change(|draft| assert!(draft.end_session(SessionId::new(10))));
    assert_eq!(log.state(1), Some(SessionState::Open));
    assert_eq!(log.state(10), Some(SessionState::Sealed(None)));
    let archived = log.record.holding(archive, Slot(0)).unwrap();
    assert_eq!(*archived, holding(tenure(20, 6), &[tenure(10, 4)]));
    assert_eq!(log.holding(0).owner, Some(tenure(1, 1)), "home is as before");
}

#[test]
fn a_removed_domain_keeps_its_sources_and_is_never_served_again() {
    let mut log = Log::of_two(4);
    log.change(|draft| {
        draft.offer(&offer()).unwrap();
    });
    let archive = DomainId(1);
    log.change(|draft| draft.serve_domain(SessionId::new(1), archive, SessionId::new(10)).unwrap());
    log.change(|draft| assert!(draft.remove_domain("archive")));
    let archived = log.record.holding(archive, Slot(0)).unwrap();
    assert_eq!(*archived, Holding { owner: None, sources: vec![tenure(10, 4)] });
    let mut draft = log.draft();
    assert!(!draft.remove_domain("archive") && !draft.remove_domain("home"));
    let served = draft.serve_domain(SessionId::new(1), archive, SessionId::new(11));
    assert_eq!(served, Err(Refused::NoDomain(archive)));
    assert!(matches!(draft.offer(&offer()), Err(Refused::Domain(why)) if why.contains("removed")));
}

#[test]
fn wall_time_never_goes_back_and_a_long_reason_is_cut_between_letters() {
    let log = Log::new(2);
    let record = log.draft().finish(leader(), &"ä".repeat(REASON_LEN_MAX), 3);
    assert_eq!(record.wall_ms, 5);
    assert_eq!(record.reason.len(), REASON_LEN_MAX);
}

/// A random change: hosts h0..h3, a new session for each join, slots 0..6.
#[derive(Clone, Debug)]
enum Change {
    Join(u8),
    Remove(u8),
    Drain(u8),
    Weigh(u8, u32),
    Move(u16, u8),
    Rebalance(usize),
    Seals,
    Full(u16, usize),
    Empty(u16, usize),
    Forget,
    Write,
}

fn change() -> impl Strategy<Value = Change> {
    let (host, slot) = (0..4u8, 0..6u16);
    prop_oneof![
        3 => host.clone().prop_map(Change::Join),
        2 => host.clone().prop_map(Change::Remove),
        1 => host.clone().prop_map(Change::Drain),
        1 => (host.clone(), 0..3u32).prop_map(|(host, weight)| Change::Weigh(host, weight)),
        3 => (slot.clone(), host).prop_map(|(slot, host)| Change::Move(slot, host)),
        2 => (0..7usize).prop_map(Change::Rebalance),
        1 => Just(Change::Seals),
        2 => (slot.clone(), 0..9usize).prop_map(|(slot, at)| Change::Full(slot, at)),
        1 => (slot, 0..9usize).prop_map(|(slot, at)| Change::Empty(slot, at)),
        1 => Just(Change::Forget),
        6 => Just(Change::Write),
    ]
}

/// A simple model of the slots' histories: the tenures of each, newest first, without those that facts dropped.
#[derive(Default)]
struct Histories {
    chains: Vec<Vec<Tenure>>,
    /// All sessions that were removed.
    over: BTreeSet<SessionId>,
}

impl Histories {
    /// Checks a new record against each slot's history, and adds the new tenures.
    fn take(&mut self, record: &EpochRecord) {
        self.chains.resize(6, Vec::new());
        for (slot, holding) in record.domains[&HOME].slots.iter() {
            let chain = &mut self.chains[slot.index()];
            let mut listed = holding.sources.clone();
            if let Some(owner) = holding.owner {
                assert!(
                    !self.over.contains(&owner.session),
                    "{slot}: given to a session that is over"
                );
                if chain.first().is_none_or(|newest| newest.session != owner.session) {
                    assert_eq!(owner.epoch, record.epoch, "{slot}: a new owner gets a new tenure");
                    chain.insert(0, owner);
                }
                listed.insert(0, owner);
            } else {
                assert!(record.hosts.is_empty(), "{slot}: no owner although there are hosts");
            }
            assert_eq!(listed, *chain, "{slot}");
        }
        for (session, entry) in &record.sessions {
            match entry.state {
                SessionState::Open => assert!(!self.over.contains(session)),
                SessionState::Sealed(_) => {}
                SessionState::Detached(_) => {
                    let named =
                        self.chains.iter().flatten().any(|tenure| tenure.session == *session);
                    assert!(!named, "{session}: detached although a slot needs it");
                }
            }
        }
    }

    fn full(&mut self, slot: u16, tenure: Tenure) {
        let chain = &mut self.chains[usize::from(slot)];
        let at = chain.iter().position(|listed| *listed == tenure).unwrap();
        chain.truncate(at + 1);
    }

    fn empty(&mut self, slot: u16, tenure: Tenure) {
        self.chains[usize::from(slot)].retain(|listed| *listed != tenure);
    }
}

proptest! {
    #[test]
    fn every_sequence_of_changes_keeps_every_slots_history(changes in proptest::collection::vec(change(), 1..60)) {
        let mut histories = Histories::default();
        let mut draft = Draft::first(&cluster(6));
        let mut log: Option<Log> = None;
        let mut sessions = 0;
        // The tenures listed for a slot in the newest record, owner first.
        let listed = |log: &Option<Log>, slot: u16| -> Vec<Tenure> {
            log.as_ref().map_or_else(Vec::new, |log| {
                let holding = log.holding(slot);
                holding.owner.into_iter().chain(holding.sources).collect()
            })
        };
        for change in changes {
            let host_name = |number: u8| name(["h0", "h1", "h2", "h3"][usize::from(number)]);
            match change {
                Change::Join(number) => {
                    sessions += 1;
                    draft.join(&host_name(number), host(sessions)).unwrap();
                }
                Change::Remove(number) => {
                    if let Some(session) = session_of(&draft, &host_name(number)) {
                        assert!(draft.remove(session));
                    }
                }
                Change::Drain(number) => {
                    if let Some(session) = session_of(&draft, &host_name(number)) {
                        let drains = draft.hosts()[&host_name(number)].state == HostState::Active;
                        assert_eq!(draft.drain(session), drains);
                    }
                }
                Change::Weigh(number, weight) => {
                    if let Some(mut entry) = draft.hosts().get(&host_name(number)).cloned() {
                        entry.weight = weight;
                        draft.join(&host_name(number), entry).unwrap();
                    }
                }
                Change::Move(slot, number) => drop(draft.move_slot(HOME, Slot(slot), &host_name(number))),
                Change::Rebalance(moves_max) => { draft.rebalance(moves_max); }
                Change::Seals => {
                    let record = log.as_ref().map(|log| &log.record);
                    for session in record.iter().flat_map(|record| record.seals_wanted()) {
                        let at = Position::new(u64::try_from(session.get()).unwrap());
                        draft.seal_known(session, at);
                    }
                }
                Change::Full(slot, at) => {
                    if let Some(&tenure) = listed(&log, slot).get(at)
                        && histories.chains[usize::from(slot)].contains(&tenure)
                    {
                        draft.report(report(slot, SourceFact::Full(tenure)));
                        histories.full(slot, tenure);
                    }
                }
                Change::Empty(slot, at) => {
                    // Only sources end; the owner's tenure is open.
                    let owned = usize::from(log.as_ref().is_some_and(|log| log.holding(slot).owner.is_some()));
                    if let Some(&tenure) = listed(&log, slot).get(at + owned) {
                        draft.report(report(slot, SourceFact::Empty(tenure)));
                        histories.empty(slot, tenure);
                    }
                }
                Change::Forget => {
                    let record = log.as_ref().map(|log| &log.record);
                    for (session, _) in record.iter().flat_map(|record| record.detached()) {
                        draft.forget(session);
                    }
                }
                Change::Write => {
                    let written = Log::store(draft);
                    if let Some(before) = &log {
                        for (session, entry) in &before.record.sessions {
                            let open = |record: &EpochRecord| record.is_open(*session);
                            if entry.state == SessionState::Open && !open(&written.record) {
                                histories.over.insert(*session);
                            }
                        }
                    }
                    histories.take(&written.record);
                    draft = written.draft();
                    let again = draft.clone().finish(leader(), "again", 9);
                    prop_assert!(!again.is_news_after(&written.record));
                    log = Some(written);
                }
            }
        }
    }
}
