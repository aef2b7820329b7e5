//! What changes are found and how they read, and laws over the records of random logs.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::*;
use crate::{
    epoch::{
        domain::{Names, Offer, Rule},
        draft::{Draft, SlotReport, SourceFact},
        record::{EpochRecord, HostEntry, HostState, RecordDigest},
        versions::KindVersions,
    },
    format::cluster::Cluster,
    ids::{ClusterId, Slot, Tenure},
};

const HOME: DomainId = DomainId::HOME;

fn name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn host(session: u128) -> HostEntry {
    HostEntry {
        address: "h:1".into(),
        sessions: BTreeMap::from([(HOME, SessionId::new(session << 96))]),
        state: HostState::Active,
        weight: 100,
        zone: None,
        versions: KindVersions::default(),
    }
}

fn session(number: u128) -> SessionId {
    SessionId::new(number << 96)
}

fn leader(host: &str, number: u128) -> Leader {
    Leader { host: name(host), session: session(number), address: "h:1".into() }
}

/// The records of a log.
#[derive(Debug)]
struct Log(Vec<EpochRecord>);

impl Log {
    /// Epoch 1: a, with session 1, has all slots.
    fn new(slots: u16) -> Self {
        let mut draft = Draft::first(&Cluster { slots, ..Cluster::new(ClusterId::new(1)) });
        draft.join(&name("a"), host(1)).unwrap();
        Self(vec![draft.finish(leader("a", 1), "a founds the cluster", 5)])
    }

    fn newest(&self) -> &EpochRecord {
        &self.0[self.0.len() - 1]
    }

    fn draft(&self) -> Draft {
        Draft::after(self.newest(), RecordDigest::of(b"stored"))
    }

    fn write(&mut self, change: impl FnOnce(&mut Draft)) {
        let mut draft = self.draft();
        change(&mut draft);
        self.0.push(draft.finish(leader("a", 1), "because", 5));
    }

    /// What changed from one epoch to another, in words; from nothing if `before` is 0.
    fn said(&self, before: usize, after: usize) -> Vec<String> {
        let before = before.checked_sub(1).map(|before| &self.0[before]);
        changes(before, &self.0[after - 1]).iter().map(ToString::to_string).collect()
    }
}

/// b joins, gets half of the slots, fails, is sealed, and is no longer needed.
fn failover() -> Log {
    let mut log = Log::new(8);
    log.write(|draft| {
        draft
            .join(&name("b"), HostEntry { weight: 100, zone: Some("z".into()), ..host(2) })
            .unwrap();
        draft.rebalance(usize::MAX);
    });
    log.write(|draft| assert!(draft.remove(session(2))));
    log.write(|draft| draft.seal_known(session(2), Position::new(7)));
    log.write(|draft| {
        for slot in (0..8).map(Slot) {
            let owner = Tenure { epoch: Epoch::new(3), session: session(1) };
            draft.report(SlotReport { domain: HOME, slot, fact: SourceFact::Full(owner) });
        }
    });
    log.write(|draft| draft.forget(session(2)));
    log
}

#[test]
fn a_domain_is_told_by_its_name() {
    let mut log = failover();
    let begin = log.0.len();
    let acme = DomainId(1);
    let offer = |store| Offer {
        name: "acme".into(),
        rules: vec![Rule::Kind("order".into())],
        store,
        names: Names::New,
    };
    log.write(|draft| assert!(draft.offer(&offer(None)).is_ok()));
    log.write(|draft| assert!(draft.offer(&offer(Some(StoreId::new(7)))).is_ok()));
    log.write(|draft| draft.serve_domain(session(1), acme, session(9)).unwrap());
    log.write(|draft| assert!(draft.remove_domain("acme")));
    let said = |at: usize| log.said(begin + at, begin + at + 1);
    assert_eq!(said(0), ["domain acme is added"]);
    let bound = format!("domain acme has its store now, with the id {}", StoreId::new(7));
    assert_eq!(said(1), [bound]);
    let given = "8 slots of domain acme without an owner were given to a: 0-7";
    assert_eq!(said(2), ["a serves domain acme now", given]);
    assert_eq!(
        said(3),
        [
            "domain acme is removed: no host serves it any more",
            "a no longer serves domain acme",
            "8 slots of domain acme of a have no owner now (no host is left): 0-7",
            "session 00000009 of a is over and is being sealed",
        ]
    );
}

#[test]
fn a_failover_is_told_from_join_to_forgetting() {
    let log = failover();
    assert_eq!(
        log.said(0, 1),
        [
            "a leads",
            "the cluster is founded",
            "a joined at h:1",
            "8 slots without an owner were given to a: 0-7",
        ]
    );
    assert_eq!(
        log.said(1, 2),
        ["b joined at h:1, in zone z", "4 slots moved from a to b (planned): 4-7"]
    );
    assert_eq!(
        log.said(2, 3),
        [
            "b is out of the cluster",
            "4 slots moved from b to a (takeover): 4-7",
            "session 00000002 of b is over and is being sealed",
        ]
    );
    assert_eq!(
        log.said(3, 4),
        ["session 00000002 of b is sealed at position 7: it can commit nothing more"]
    );
    assert_eq!(
        log.said(4, 5),
        [
            "4 slots of a can be recovered without what a (earlier) and b wrote: 4-7",
            "session 00000002 of b is no longer needed by any slot: its objects are deleted",
        ]
    );
    assert_eq!(log.said(5, 6), ["session 00000002 of b is deleted: only its seal and marks stay"]);
}

#[test]
fn over_several_epochs_a_move_names_the_epoch_that_made_it() {
    let log = failover();
    assert_eq!(
        log.said(1, 6),
        ["4 slots of a went to other hosts and came back (in epoch 3): 4-7"]
    );
    assert_eq!(
        log.said(2, 6),
        [
            "b is out of the cluster",
            "4 slots moved from b to a (in epoch 3): 4-7",
            "session 00000002 of b is deleted: only its seal and marks stay",
        ]
    );
}

#[test]
fn every_change_of_a_host_is_told() {
    let mut log = Log::new(2);
    log.write(|draft| draft.join(&name("b"), host(2)).unwrap());
    log.write(|draft| {
        let after =
            HostEntry { address: "h:2".into(), weight: 7, zone: Some("z".into()), ..host(2) };
        draft.join(&name("b"), after).unwrap();
        assert!(draft.drain(session(2)));
    });
    assert_eq!(
        log.said(2, 3),
        [
            "b drains: its slots move to other hosts",
            "b is at h:2 now, before at h:1",
            "b has weight 7 now, before 100",
            "b has zone z now, before none",
        ]
    );
    log.write(|draft| draft.join(&name("b"), host(3)).unwrap());
    assert_eq!(log.said(3, 4)[..2], ["b rejoined with a new session", "b takes slots again"]);
}

#[test]
fn a_kind_with_shards_and_the_hosts_that_run_it_are_told() {
    let index = [("index".into(), 64)].into();
    let mut log = Log::new(2);
    log.write(|draft| draft.declare(&name("a"), &index).unwrap());
    assert_eq!(log.said(1, 2), ["kind index has 64 shards; hosts that run it: a"]);
    log.write(|draft| draft.declare(&name("a"), &BTreeMap::new()).unwrap());
    assert_eq!(log.said(2, 3), ["kind index has 64 shards, and no host runs it"]);
    log.write(|draft| drop(draft.declare(&name("a"), &[("index".into(), 32)].into())));
    assert_eq!(log.said(3, 4), Vec::<String>::new(), "the number is fixed");
}

#[test]
fn a_leader_that_resigns_names_its_successor_and_another_leads() {
    let mut log = Log::new(2);
    log.write(|draft| draft.join(&name("b"), host(2)).unwrap());
    log.write(|draft| draft.resign(Some(&name("b"))).unwrap());
    assert_eq!(log.said(2, 3), ["a leads no longer after this and asks b to lead next"]);
    let next = log.draft().finish(leader("b", 2), "because", 5);
    log.0.push(next);
    assert_eq!(log.said(3, 4), ["b leads now instead of a"]);
    log.0.push(EpochRecord { leader: leader("a", 1), ..log.newest().clone() });
    assert_eq!(log.said(3, 5), ["a leads on, although it had resigned"]);
}

#[test]
fn the_last_hosts_slots_have_no_owner() {
    let mut log = Log::new(3);
    log.write(|draft| assert!(draft.remove(session(1))));
    assert!(
        log.said(1, 2).contains(&"3 slots of a have no owner now (no host is left): 0-2".into())
    );
}

#[test]
fn many_ranges_are_cut_in_words_and_whole_otherwise() {
    let slots: Vec<Slot> = (0..40).filter(|slot| slot % 3 > 0).map(Slot).collect();
    let ranges = SlotRanges::of(&slots);
    assert_eq!(format!("{ranges:#}"), "1-2, 4-5, 7-8, 10-11, 13-14, 16-17 and 7 more ranges");
    assert!(format!("{ranges}").ends_with("34-35 37-38"), "{ranges}");
    assert_eq!(ranges.count(), slots.len());
    assert_eq!(ranges.iter().collect::<Vec<_>>(), slots);
    assert_eq!(format!("{}", SlotRanges::of(&[Slot(u16::MAX)])), "65535");
}

/// A random record after the newest: some hosts of b, c, d join, leave, drain or rejoin, slots move, facts arrive.
#[derive(Clone, Debug)]
enum Step {
    Join(u8, u32),
    Remove(u8),
    Drain(u8),
    Move(u16, u8),
    Rebalance,
    Seals,
    Full(u16),
    Forget,
    Resign,
    Declare(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let host = 0..3u8;
    prop_oneof![
        3 => (host.clone(), 99..102u32).prop_map(|(host, weight)| Step::Join(host, weight)),
        2 => host.clone().prop_map(Step::Remove),
        1 => host.clone().prop_map(Step::Drain),
        3 => (0..6u16, host).prop_map(|(slot, host)| Step::Move(slot, host)),
        2 => Just(Step::Rebalance),
        2 => Just(Step::Seals),
        3 => (0..6u16).prop_map(Step::Full),
        1 => Just(Step::Forget),
        1 => Just(Step::Resign),
        2 => (0..3u8, any::<bool>()).prop_map(|(host, has)| Step::Declare(host, has)),
    ]
}

/// Applies a step to a draft after `record`; `fresh` is the number of a new session.
fn apply(draft: &mut Draft, record: &EpochRecord, step: &Step, fresh: u128) {
    let name_of = |number: &u8| name(["b", "c", "d"][usize::from(*number)]);
    let session_of =
        |number: &u8| record.hosts.get(&name_of(number)).map(|entry| entry.sessions[&HOME]);
    match step {
        Step::Join(number, weight) => {
            let entry = HostEntry { weight: *weight, ..host(fresh) };
            draft.join(&name_of(number), entry).unwrap();
        }
        Step::Remove(number) => drop(session_of(number).map(|session| draft.remove(session))),
        Step::Drain(number) => drop(session_of(number).map(|session| draft.drain(session))),
        Step::Move(slot, number) => drop(draft.move_slot(HOME, Slot(*slot), &name_of(number))),
        Step::Rebalance => drop(draft.rebalance(usize::MAX)),
        Step::Seals => {
            for session in record.seals_wanted() {
                draft.seal_known(session, Position::new(7));
            }
        }
        Step::Full(slot) => {
            let owner = record.home().slots.holding(Slot(*slot)).owner.unwrap();
            let fact = SourceFact::Full(owner);
            draft.report(SlotReport { domain: HOME, slot: Slot(*slot), fact });
        }
        Step::Forget => {
            for (session, _) in record.detached() {
                draft.forget(session);
            }
        }
        Step::Resign => draft.resign(None).unwrap(),
        Step::Declare(number, has) => {
            let declared = has.then(|| ("index".into(), 3)).into_iter().collect();
            draft.declare(&name_of(number), &declared).unwrap();
        }
    }
}

fn logs() -> impl Strategy<Value = Log> {
    let steps = proptest::collection::vec(proptest::collection::vec(step(), 0..4), 1..12);
    steps.prop_map(|steps| {
        let mut log = Log::new(6);
        let mut fresh = 1;
        for steps in steps {
            let record = log.newest().clone();
            log.write(|draft| {
                for step in &steps {
                    fresh += 1;
                    apply(draft, &record, step, fresh);
                }
            });
        }
        log
    })
}

/// The slots that a change names.
fn slots_of(change: &Change) -> Vec<Slot> {
    if let Change::SlotsMoved(Moved { slots, .. }) | Change::SourcesDropped { slots, .. } = change {
        return slots.iter().collect();
    }
    Vec::new()
}

proptest! {
    #[test]
    fn changes_are_found_exactly_where_records_differ(log in logs()) {
        for (at, before) in log.0.iter().enumerate() {
            for after in &log.0[at..] {
                let all = changes(Some(before), after);
                prop_assert_eq!(all.is_empty(), !after.is_news_after(before), "{:?}", all);
                let mut named: Vec<Slot> = all.iter().flat_map(slots_of).collect();
                named.sort_unstable();
                let differ = after.home().slots.iter()
                    .filter(|(slot, holding)| before.home().slots.holding(*slot) != *holding)
                    .map(|(slot, _)| slot);
                prop_assert!(named.iter().copied().eq(differ), "{:?}", all);
                for change in &all {
                    prop_assert!(!change.to_string().contains("as before"), "{}", change);
                }
            }
        }
    }

    /// What a change says is enough to make the owners of the later record from those of the earlier one.
    #[test]
    fn moves_applied_to_the_earlier_owners_give_the_later_ones(log in logs()) {
        let owners = |record: &EpochRecord| -> Vec<Option<Tenure>> {
            record.home().slots.iter().map(|(_, holding)| holding.owner).collect()
        };
        for (at, before) in log.0.iter().enumerate() {
            for after in &log.0[at..] {
                let mut now = owners(before);
                for change in changes(Some(before), after) {
                    let Change::SlotsMoved(moved) = change else { continue };
                    for slot in moved.slots.iter() {
                        let was = now[slot.index()].map(|owner| owner.session);
                        prop_assert_eq!(was, moved.from.as_ref().map(|party| party.session));
                        now[slot.index()] = moved.to.as_ref().map(|party| Tenure {
                            epoch: moved.since.unwrap(),
                            session: party.session,
                        });
                    }
                }
                prop_assert_eq!(now, owners(after));
            }
        }
    }

    #[test]
    fn a_takeover_is_told_apart_from_a_planned_move(log in logs()) {
        for pair in log.0.windows(2) {
            for change in changes(Some(&pair[0]), &pair[1]) {
                let Change::SlotsMoved(moved) = change else { continue };
                let from = moved.from.expect("a always has a session");
                let open = pair[1].lists_open(from.session);
                prop_assert_eq!(moved.how, if open { How::HandedOver } else { How::TakenOver });
            }
        }
    }
}
