//! Topology, as sentences.

use alloc::vec;

use super::*;
use crate::{
    epoch::Holding,
    ids::{ClusterId, Nonce, Tenure},
    keys,
};

const HOME: DomainId = DomainId::HOME;

/// A small log: every record goes through its stored bytes, as between hosts.
struct Log {
    record: EpochRecord,
    digest: RecordDigest,
}

impl Log {
    fn new(slots: u16) -> Self {
        let cluster = Cluster { slots, ..Cluster::new(ClusterId::new(1)) };
        let mut draft = Draft::first(&cluster);
        draft.join(&name("a"), host(1)).unwrap();
        Self::store(draft)
    }

    fn draft(&self) -> Draft {
        Draft::after(&self.record, self.digest)
    }

    fn write(&mut self, draft: Draft) {
        *self = Self::store(draft);
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
        let mut draft = self.draft();
        draft.report(SlotReport { domain: HOME, slot: Slot(slot), fact });
        self.write(draft);
    }
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
    }
}

fn tenure(session: u128, epoch: u64) -> Tenure {
    Tenure { epoch: Epoch::new(epoch), session: SessionId::new(session) }
}

#[test]
fn the_first_host_gets_every_slot_without_sources() {
    let log = Log::new(4);
    assert_eq!(log.record.domains[&HOME].slots.distinct().len(), 1);
    assert_eq!(log.holding(3), Holding { owner: Some(tenure(1, 1)), sources: vec![] });
}

#[test]
fn a_failed_hosts_slots_go_to_the_others_with_its_tenure_in_front() {
    let mut log = Log::new(4);
    let mut draft = log.draft();
    draft.join(&name("b"), host(2)).unwrap();
    assert_eq!(draft.rebalance(usize::MAX), 2);
    log.write(draft);
    assert_eq!(log.holding(0).owner, Some(tenure(1, 1)), "who stays keeps the tenure");
    assert_eq!(log.holding(3), Holding { owner: Some(tenure(2, 2)), sources: vec![tenure(1, 1)] });
    let mut draft = log.draft();
    draft.remove(&name("b"));
    log.write(draft);
    assert_eq!(
        log.holding(3),
        Holding { owner: Some(tenure(1, 3)), sources: vec![tenure(2, 2), tenure(1, 1)] }
    );
    assert_eq!(log.state(2), Some(SessionState::Sealed(None)));
    assert_eq!(log.record.seals_wanted().collect::<Vec<_>>(), [SessionId::new(2)]);
}
