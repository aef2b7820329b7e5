//! The rules for one epoch record, and for a record and the previous one.
//!
//! The leader asserts both before it writes; every reader checks the first; `scrub` and the simulator check the second
//! along the whole log. A broken rule is returned as a sentence for people.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
};

use crate::{
    epoch::{
        domain::{self, DomainState},
        record::{
            ADDRESS_LEN_MAX, DOMAINS_MAX, DomainEntry, EpochRecord, HOSTS_MAX, Handover, Holding,
            HostEntry, LABEL_LEN_MAX, REASON_LEN_MAX, RecordDigest, SessionState, WEIGHT_MAX,
        },
        versions,
    },
    ids::{DomainId, Epoch, HostName, Slot, Tenure},
};

/// Returns `Err` with a sentence when the condition doesn't hold; the sentence is formatted only then.
macro_rules! ensure {
    ($condition:expr, $($sentence:tt)+) => {
        if !$condition {
            return Err(format!($($sentence)+));
        }
    };
}

impl HostEntry {
    /// Checks a host's entry by itself.
    ///
    /// # Errors
    ///
    /// A sentence naming the broken rule.
    pub fn check(&self) -> Result<(), String> {
        ensure!(
            self.address.len() <= ADDRESS_LEN_MAX,
            "an address of {} bytes, more than the limit of {ADDRESS_LEN_MAX}",
            self.address.len()
        );
        ensure!(
            self.weight <= WEIGHT_MAX,
            "weight {}, more than the limit of {WEIGHT_MAX}",
            self.weight
        );
        let zone_len = self.zone.as_ref().map_or(0, String::len);
        ensure!(
            zone_len <= LABEL_LEN_MAX,
            "a zone of {zone_len} bytes, more than the limit of {LABEL_LEN_MAX}"
        );
        self.versions.check()
    }
}

impl EpochRecord {
    /// Checks the rules for one record.
    ///
    /// # Errors
    ///
    /// A sentence naming the first broken rule.
    pub fn check(&self) -> Result<(), String> {
        ensure!(self.epoch > Epoch::ZERO, "the first epoch is 1");
        ensure!(
            self.previous.is_none() == (self.epoch == Epoch::new(1)),
            "only epoch 1 has no previous record"
        );
        ensure!(self.slot_count > 0, "no slots");
        ensure!(
            self.hosts.len() <= HOSTS_MAX,
            "{} hosts, more than the limit of {HOSTS_MAX}",
            self.hosts.len()
        );
        ensure!(
            self.domains.len() <= DOMAINS_MAX,
            "{} domains, more than the limit of {DOMAINS_MAX}",
            self.domains.len()
        );
        ensure!(
            self.reason.len() <= REASON_LEN_MAX,
            "a reason of {} bytes, more than the limit of {REASON_LEN_MAX}",
            self.reason.len()
        );
        ensure!(self.leader.address.len() <= ADDRESS_LEN_MAX, "the leader's address is too long");
        if let Handover::Leaves { successor: Some(successor) } = &self.handover {
            ensure!(
                self.hosts.contains_key(successor),
                "successor {successor} is not a host of the record"
            );
        }
        ensure!(self.domains.contains_key(&DomainId::HOME), "no home domain");
        for (name, host) in &self.hosts {
            self.check_host(name, host)?;
        }
        self.check_sessions()?;
        for (id, domain) in &self.domains {
            self.check_domain(*id, domain)?;
        }
        versions::check_total(self.hosts.values())?;
        self.check_unread()?;
        self.shards.check(|host| self.hosts.contains_key(host))
    }

    fn check_host(&self, name: &HostName, host: &HostEntry) -> Result<(), String> {
        host.check().map_err(|why| format!("{name}: {why}"))?;
        for (domain, session) in &host.sessions {
            let Some(entry) = self.sessions.get(session) else {
                return Err(format!("{name}: session {session} is not listed"));
            };
            ensure!(
                entry.host == *name && entry.domain == *domain,
                "{name}: session {session} belongs to another host"
            );
            ensure!(entry.state == SessionState::Open, "{name}: session {session} is over");
        }
        Ok(())
    }

    fn check_sessions(&self) -> Result<(), String> {
        for (session, entry) in &self.sessions {
            ensure!(
                self.domains.contains_key(&entry.domain),
                "session {session} is in an unknown domain"
            );
            if entry.state == SessionState::Open {
                let lived =
                    self.hosts.get(&entry.host).and_then(|host| host.sessions.get(&entry.domain));
                ensure!(lived == Some(session), "session {session} is open, but no host has it");
            }
        }
        Ok(())
    }

    fn check_domain(&self, id: DomainId, domain: &DomainEntry) -> Result<(), String> {
        ensure!(domain.name.len() <= LABEL_LEN_MAX, "domain {}: its name is too long", id.0);
        domain::check_rules(&domain.rules).map_err(|why| format!("domain {}: {why}", id.0))?;
        let namesake =
            self.domains.iter().find(|(other, entry)| **other != id && entry.name == domain.name);
        ensure!(namesake.is_none(), "two domains are named {}", domain.name);
        let is_home = id == DomainId::HOME;
        let is_served = self.hosts.values().any(|host| host.sessions.contains_key(&id));
        if is_home {
            ensure!(domain.store.is_none(), "the home domain has a store of its own");
            ensure!(domain.state == DomainState::Serving, "the home domain is removed");
        } else {
            ensure!(!domain.rules.is_empty(), "domain {} takes no vnodes", id.0);
            ensure!(
                !is_served || domain.store.is_some(),
                "domain {} is served without a store",
                id.0
            );
            ensure!(
                !is_served || domain.state == DomainState::Serving,
                "domain {} is served though it was removed",
                id.0
            );
        }
        ensure!(
            domain.slots.slot_count() == self.slot_count,
            "domain {}: {} slots instead of {}",
            id.0,
            domain.slots.slot_count(),
            self.slot_count
        );
        for holding in domain.slots.distinct() {
            match holding.owner {
                Some(owner) => {
                    ensure!(self.is_open(owner.session), "owner {} is over", owner.session);
                    ensure!(
                        owner.epoch <= self.epoch,
                        "a tenure of a later epoch: {}",
                        owner.epoch
                    );
                    self.check_tenure(id, owner)?;
                }
                None => ensure!(!is_served, "domain {}: slots without owner", id.0),
            }
            self.check_sources(id, holding)?;
        }
        Ok(())
    }

    fn check_sources(&self, id: DomainId, holding: &Holding) -> Result<(), String> {
        let mut newer = holding.owner.map_or(self.epoch, |owner| owner.epoch);
        for source in &holding.sources {
            ensure!(source.epoch < newer, "sources out of order: {} after {newer}", source.epoch);
            newer = source.epoch;
            self.check_tenure(id, *source)?;
        }
        Ok(())
    }

    fn check_tenure(&self, id: DomainId, tenure: Tenure) -> Result<(), String> {
        ensure!(tenure.epoch > Epoch::ZERO, "a tenure of epoch 0");
        let Some(entry) = self.sessions.get(&tenure.session) else {
            return Err(format!("session {} is not listed", tenure.session));
        };
        ensure!(entry.domain == id, "session {} is in another domain", tenure.session);
        ensure!(
            !matches!(entry.state, SessionState::Detached(_)),
            "session {} is detached, and a slot names it",
            tenure.session
        );
        Ok(())
    }

    /// Checks that this record may follow `previous`, whose stored bytes have this digest.
    ///
    /// # Errors
    ///
    /// A sentence naming the first broken rule.
    pub fn follows(&self, previous: &Self, digest: RecordDigest) -> Result<(), String> {
        ensure!(self.epoch == previous.epoch.next(), "{} after {}", self.epoch, previous.epoch);
        ensure!(self.previous == Some(digest), "its digest of {} does not match", previous.epoch);
        ensure!(self.wall_ms >= previous.wall_ms, "its wall time is before {}'s", previous.epoch);
        ensure!(self.slot_count == previous.slot_count, "the slot count changed");
        self.shards.follows(&previous.shards)?;
        for (session, before) in &previous.sessions {
            let after = self.sessions.get(session).map(|entry| entry.state);
            ensure!(
                may_become(before.state, after),
                "session {session} went from {:?} to {after:?}",
                before.state
            );
        }
        for (id, before) in &previous.domains {
            let Some(after) = self.domains.get(id) else {
                return Err(format!("domain {} is gone", id.0));
            };
            follows_domain(before, after).map_err(|why| format!("domain {}: {why}", id.0))?;
            // Only distinct pairs: thousands of slots have few distinct histories.
            let mut checked = BTreeSet::new();
            for slot in (0..self.slot_count).map(Slot) {
                let places =
                    (before.slots.places()[slot.index()], after.slots.places()[slot.index()]);
                if checked.insert(places) {
                    let (before, after) = (before.slots.holding(slot), after.slots.holding(slot));
                    self.check_succession(before, after).map_err(|why| format!("{slot}: {why}"))?;
                }
            }
        }
        self.needs_follow(previous)
    }

    fn check_succession(&self, before: &Holding, after: &Holding) -> Result<(), String> {
        let session = |owner: Option<Tenure>| owner.map(|tenure| tenure.session);
        let mut chain = before.sources.as_slice();
        let mut listed = after.sources.as_slice();
        if session(before.owner) == session(after.owner) {
            ensure!(before.owner == after.owner, "its owner stays, but the tenure changed");
        } else {
            let given_now = after.owner.is_none_or(|owner| owner.epoch == self.epoch);
            ensure!(given_now, "a new owner under an old epoch");
            if let Some(old) = before.owner {
                let Some((front, rest)) = listed.split_first() else {
                    return Err("the old owner is not among the sources".to_string());
                };
                ensure!(*front == old, "the old owner is not in front of the sources");
                listed = rest;
            }
        }
        for source in listed {
            let Some(at) = chain.iter().position(|earlier| earlier == source) else {
                return Err(format!("source {source:?} was not in the previous record"));
            };
            chain = &chain[at + 1..];
        }
        Ok(())
    }
}

/// What of a domain never changes. Its vnodes would be looked for elsewhere.
fn follows_domain(before: &DomainEntry, after: &DomainEntry) -> Result<(), String> {
    ensure!(before.name == after.name, "its name changed");
    ensure!(before.rules == after.rules, "its rules changed");
    ensure!(before.store.is_none() || before.store == after.store, "it has another store");
    let revived = before.state == DomainState::Removed && after.state == DomainState::Serving;
    ensure!(!revived, "it was removed and is served again");
    Ok(())
}

/// Whether a session may go from one state to another, or leave the record, in one epoch.
fn may_become(before: SessionState, after: Option<SessionState>) -> bool {
    use SessionState::{Detached, Open, Sealed};
    match (before, after) {
        // A session leaves the log only when all its objects, except seal and marks, are deleted.
        (Detached(_), None) => true,
        (Open | Sealed(_), None) => false,
        (Open, Some(_)) => true,
        (Sealed(None), Some(Sealed(_) | Detached(_))) => true,
        (Sealed(Some(was)), Some(Sealed(Some(is)) | Detached(is))) => was == is,
        (Detached(was), Some(Detached(is))) => was == is,
        (Sealed(_), Some(Open | Sealed(None))) | (Detached(_), Some(Open | Sealed(_))) => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec};

    use super::*;
    use crate::{
        epoch::{
            domain::Rule,
            draft::Draft,
            record::{HostState, Leader, SessionEntry, SlotTable},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::{ClusterId, Position, SessionId},
    };

    const A: SessionId = SessionId::new(1);
    const B: SessionId = SessionId::new(2);

    fn name(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn host(session: SessionId) -> HostEntry {
        HostEntry {
            address: "h:1".into(),
            sessions: BTreeMap::from([(DomainId::HOME, session)]),
            state: HostState::Active,
            weight: 100,
            zone: None,
            versions: KindVersions::default(),
        }
    }

    fn digest() -> RecordDigest {
        RecordDigest::of(b"before")
    }

    /// Epoch 1 with a alone, and epoch 2 in which b joined and got slot 1 of 2.
    fn pair() -> (EpochRecord, EpochRecord) {
        let leader = Leader { host: name("a"), session: A, address: "h:1".into() };
        let cluster = Cluster { slots: 2, ..Cluster::new(ClusterId::new(1)) };
        let mut draft = Draft::first(&cluster);
        draft.join(&name("a"), host(A)).unwrap();
        let first = draft.finish(leader.clone(), "first", 5);
        let mut draft = Draft::after(&first, digest());
        draft.join(&name("b"), host(B)).unwrap();
        draft.rebalance(usize::MAX);
        let second = draft.finish(leader, "b joins", 5);
        (first, second)
    }

    /// The error of `follows` after a change of the second record.
    fn broken(change: impl FnOnce(&mut EpochRecord)) -> String {
        let (first, mut second) = pair();
        assert_eq!(second.follows(&first, digest()), Ok(()));
        change(&mut second);
        second.follows(&first, digest()).unwrap_err()
    }

    fn hold(record: &mut EpochRecord, slots: &[Holding]) {
        record.domains.get_mut(&DomainId::HOME).unwrap().slots = SlotTable::new(slots);
    }

    fn tenure(session: SessionId, epoch: u64) -> Tenure {
        Tenure { epoch: Epoch::new(epoch), session }
    }

    fn holding(owner: Tenure, sources: &[Tenure]) -> Holding {
        Holding { owner: Some(owner), sources: sources.to_vec() }
    }

    #[test]
    fn a_record_that_may_not_follow_is_refused_with_the_reason() {
        assert!(broken(|next| next.epoch = Epoch::new(3)).contains("e3 after e1"));
        assert!(broken(|next| next.previous = None).contains("digest"));
        assert!(broken(|next| next.wall_ms = 4).contains("wall time"));
        assert!(broken(|next| next.slot_count = 3).contains("slot count"));
        assert!(broken(|next| drop(next.sessions.remove(&A))).contains("went from Open to None"));
        assert!(broken(|next| next.domains.clear()).contains("domain 0 is gone"));
    }

    #[test]
    fn a_wrong_change_of_owner_is_refused_with_the_reason() {
        let stays = holding(tenure(A, 1), &[]);
        let slots = |moved: Holding| vec![stays.clone(), moved];
        for (moved, why) in [
            (holding(tenure(B, 2), &[]), "not among the sources"),
            (holding(tenure(B, 1), &[tenure(A, 1)]), "under an old epoch"),
            (holding(tenure(A, 2), &[tenure(A, 1)]), "the tenure changed"),
            (holding(tenure(B, 2), &[tenure(B, 1), tenure(A, 1)]), "not in front"),
            (
                holding(tenure(B, 2), &[tenure(A, 1), tenure(B, 0)]),
                "was not in the previous record",
            ),
        ] {
            let sentence = broken(|next| hold(next, &slots(moved.clone())));
            assert!(sentence.contains(why) && sentence.contains("#1"), "{moved:?}: {sentence}");
        }
    }

    #[test]
    fn a_session_only_moves_down_the_list() {
        use SessionState::{Detached, Open, Sealed};
        let at = |position| Position::new(position);
        let states = [
            Some(Open),
            Some(Sealed(None)),
            Some(Sealed(Some(at(3)))),
            Some(Detached(at(3))),
            None,
        ];
        for (early, before) in states.iter().enumerate() {
            for (late, after) in states.iter().enumerate() {
                let Some(before) = *before else { continue };
                let forgets = after.is_none();
                let may = early <= late && (!forgets || matches!(before, Detached(_)));
                assert_eq!(may_become(before, *after), may, "{before:?} to {after:?}");
            }
        }
        assert!(!may_become(Sealed(Some(at(3))), Some(Sealed(Some(at(4))))));
        assert!(!may_become(Sealed(Some(at(3))), Some(Detached(at(4)))));
    }

    #[test]
    fn each_rule_for_one_record_is_checked() {
        let refused = |change: fn(&mut EpochRecord)| {
            let (_, mut record) = pair();
            assert_eq!(record.check(), Ok(()));
            change(&mut record);
            record.check().unwrap_err()
        };
        let why = refused(|record| drop(record.hosts.remove(&name("b"))));
        assert!(why.contains("no host has it"), "{why}");
        let why = refused(|record| drop(record.sessions.remove(&B)));
        assert!(why.contains("is not listed"), "{why}");
        let why = refused(|record| record.reason = "x".repeat(REASON_LEN_MAX + 1));
        assert!(why.contains("a reason of 1025 bytes"), "{why}");
        let why = refused(|record| {
            let entry = SessionEntry {
                host: name("z"),
                domain: DomainId(9),
                state: SessionState::Sealed(None),
            };
            record.sessions.insert(SessionId::new(9), entry);
        });
        assert!(why.contains("an unknown domain"), "{why}");
        let why = refused(|record| hold(record, &[Holding::default()]));
        assert!(why.contains("1 slots instead of 2"), "{why}");
        fn second(record: &EpochRecord) -> DomainEntry {
            let rules = vec![Rule::Kind("order".into())];
            DomainEntry { name: "acme".into(), rules, ..record.domains[&DomainId::HOME].clone() }
        }
        let why = refused(|record| drop(record.domains.insert(DomainId(1), second(record))));
        assert!(why.contains("in another domain"), "{why}");
        let why = refused(|record| {
            let namesake = DomainEntry { name: "home".into(), ..second(record) };
            record.domains.insert(DomainId(1), namesake);
        });
        assert!(why.contains("two domains are named home"), "{why}");
        let why = refused(|record| {
            record.domains.insert(DomainId(1), DomainEntry { rules: vec![], ..second(record) });
        });
        assert!(why.contains("takes no vnodes"), "{why}");
    }
}
