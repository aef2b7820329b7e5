//! A leader driven at random, as its driver and the other hosts might: answers come late, in any order or not at all, but
//! only to what was asked; other hosts take over in between.

mod action;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use holocron_protocol::{
    checkpoint::retain::Copying,
    control::{
        admission::Cleared,
        hints::HostHint,
        leader::{
            Base, Effect, Event, Founded, Leadership, Next, Own, StoreHealth, Writer, next_record,
        },
        load::{Coarse, LoadReport},
        member::Identity,
        report::{Health, JoinRequest, Progress},
    },
    epoch::{
        draft::{SlotReport, SourceFact},
        record::{EpochRecord, Handover, SessionState, WEIGHT_DEFAULT},
        versions::KindVersions,
    },
    ids::{DomainId, Epoch, HostName, Position, SessionId, Slot},
    time::Time,
};
use proptest::sample::Index;

use self::action::{Action, HOSTS, action};
use crate::{
    leader::{cluster, digest, settings},
    random,
    words::{address, host, host_of, next_session, session},
};

/// A leadership, and the world around it.
struct Driven {
    now: Time,
    newest: Option<Arc<EpochRecord>>,
    leadership: Option<Leadership>,
    /// The record that is being created.
    made: Option<Arc<EpochRecord>>,
    store: StoreHealth,
    /// Sessions that have said what their slots cost.
    reported: BTreeSet<SessionId>,
    /// The current session of each host.
    live: Vec<SessionId>,
    /// Sessions with an end mark.
    marked: BTreeSet<SessionId>,
    /// The effects that are to be answered.
    sealing: BTreeSet<SessionId>,
    collecting: BTreeSet<SessionId>,
    /// Sessions that it was told are sealed.
    sealed: BTreeSet<SessionId>,
    /// Sessions that it was told could not be sealed.
    unsealable: BTreeSet<SessionId>,
    /// Sessions that have answered a heartbeat.
    heard: BTreeSet<SessionId>,
    /// Who was asked to fetch whose journal.
    asked: BTreeSet<(SessionId, SessionId)>,
    probes: Vec<Time>,
    /// Who fetches whose journal.
    fetching: Vec<(SessionId, SessionId)>,
    /// With the record as of which a mark was found absent.
    clearing: Vec<(JoinRequest, Cleared)>,
    /// What the leadership was told.
    cleared: BTreeSet<(SessionId, Epoch)>,
    left: BTreeSet<SessionId>,
    /// What it told.
    failed: BTreeSet<SessionId>,
    seen: BTreeSet<&'static str>,
}

impl Driven {
    fn new() -> Self {
        let mut driven = Self {
            now: Time::ZERO,
            newest: None,
            leadership: None,
            made: None,
            store: StoreHealth::Working,
            reported: BTreeSet::new(),
            live: HOSTS.iter().map(|name| session(&format!("{name}a"))).collect(),
            marked: BTreeSet::new(),
            sealing: BTreeSet::new(),
            collecting: BTreeSet::new(),
            sealed: BTreeSet::new(),
            unsealable: BTreeSet::new(),
            heard: BTreeSet::new(),
            asked: BTreeSet::new(),
            probes: Vec::new(),
            fetching: Vec::new(),
            clearing: Vec::new(),
            cleared: BTreeSet::new(),
            left: BTreeSet::new(),
            failed: BTreeSet::new(),
            seen: BTreeSet::new(),
        };
        driven.make();
        driven.written(true);
        driven
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Tick(millis) => self.tick(millis),
            Action::Store(health) => self.store = health,
            Action::Health(at, behind, waits, awaits) => self.health(at, behind, waits, awaits),
            Action::Connected(at) => self.step(Event::Connected(self.live[at])),
            Action::Broken(at) => self.step(Event::Broken(self.live[at])),
            Action::Refused(at) => self.step(Event::Refused(self.live[at])),
            Action::Hints(counter) => self.hints(counter),
            Action::Sealed(ref which) => {
                if let Some(session) = take(&mut self.sealing, which) {
                    self.sealed.insert(session);
                    self.step(Event::Sealed(session, seal_of(session)));
                }
            }
            Action::NotSealed(ref which) => {
                if let Some(session) = take(&mut self.sealing, which) {
                    self.unsealable.insert(session);
                    self.step(Event::NotSealed(session));
                }
            }
            Action::Collected(ref which) => {
                if let Some(session) = take(&mut self.collecting, which) {
                    self.step(Event::Collected(session));
                }
            }
            Action::Probed(ref which) => {
                if !self.probes.is_empty() {
                    let asked = self.probes.swap_remove(which.index(self.probes.len()));
                    self.step(Event::StoreAnswered(asked));
                }
            }
            Action::Cleared(ref which) => {
                if !self.clearing.is_empty() {
                    let at = which.index(self.clearing.len());
                    let (request, cleared) = self.clearing.swap_remove(at);
                    self.cleared.insert((request.session, cleared.as_of));
                    self.step(Event::Cleared(request, cleared));
                }
            }
            Action::Loads(at, slot, load) => self.loads(at, Slot(slot), load),
            Action::Fact(slot, full) => self.fact(Slot(slot), full),
            Action::Join(at, old) => self.join(at, old),
            Action::Restart(at) => self.live[at] = next_session(self.live[at]),
            Action::Leave(at) => {
                if self.leadership.is_some() {
                    self.left.insert(self.live[at]);
                    self.step(Event::Leave(self.live[at]));
                }
            }
            Action::Drain(at) => self.step(Event::Drain(host(HOSTS[at]))),
            Action::Undrain(at) => self.step(Event::Undrain(host(HOSTS[at]))),
            Action::Move(slot, at) => self.step(Event::Move(vec![Slot(slot)], host(HOSTS[at]))),
            Action::Fetched(ref which) => {
                if !self.fetching.is_empty() {
                    let (to, from) = self.fetching.swap_remove(which.index(self.fetching.len()));
                    self.step(Event::Prefetched { to, from });
                }
            }
            Action::SealHost(at) => self.step(Event::SealHost(host(HOSTS[at]))),
            Action::Make => self.make(),
            Action::Won => self.written(true),
            Action::Lands => self.written(false),
            Action::Fails => self.made = None,
            Action::Rival(at) => self.rival(at),
        }
    }

    fn tick(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let own = Own { store: self.store, awaiting: Vec::new(), copying: Copying::Complete };
        self.step(Event::Tick(own));
    }

    fn health(&mut self, at: usize, behind: u64, waiting: bool, awaits: Option<usize>) {
        let newest = self.newest().epoch;
        let health = Health {
            session: self.live[at],
            epoch: Epoch::new(newest.get().saturating_sub(behind)),
            progress: Progress { waiting, ..Progress::default() },
            facts: Vec::new(),
            awaiting: awaits.iter().map(|&at| self.live[at]).collect(),
            copying: Copying::Complete,
            loads: (!waiting).then(LoadReport::default),
            domains: Vec::new(),
        };
        self.says(at, health);
        if !waiting && self.leadership.is_some() && self.newest().is_open(self.live[at]) {
            self.reported.insert(self.live[at]);
        }
    }

    fn says(&mut self, at: usize, health: Health) {
        self.step(Event::Health(host(HOSTS[at]), health));
        if self.leadership.is_some() && self.newest().is_open(self.live[at]) {
            self.heard.insert(self.live[at]);
        }
    }

    /// A host says what a slot costs.
    fn loads(&mut self, at: usize, slot: Slot, load: u64) {
        let report = LoadReport { number: 1, slots: vec![(slot, Coarse::of(load))] };
        let session = self.live[at];
        if at == 0 {
            self.step(Event::OwnLoads(report));
        } else {
            let health = Health {
                session,
                epoch: self.newest().epoch,
                progress: Progress::default(),
                facts: Vec::new(),
                awaiting: Vec::new(),
                copying: Copying::Complete,
                loads: Some(report),
                domains: Vec::new(),
            };
            self.says(at, health);
        }
        if self.leadership.is_some() && self.newest().is_open(session) {
            self.reported.insert(session);
        }
    }

    fn hints(&mut self, counter: u64) {
        let hint = |&session: &SessionId| {
            let (name, sessions) = (host_of(session), BTreeMap::from([(DomainId::HOME, session)]));
            let (shards, versions) = (BTreeMap::new(), versions_of(session));
            let address = address(&name);
            (name, HostHint { address, sessions, load: 0, counter, shards, versions })
        };
        self.step(Event::Hints(self.live.iter().skip(1).map(hint).collect()));
    }

    fn fact(&mut self, slot: Slot, full: bool) {
        let holding = self.newest().home().slots.holding(slot).clone();
        let fact = if full {
            holding.owner.map(SourceFact::Full)
        } else {
            holding.sources.last().copied().map(SourceFact::Empty)
        };
        if let Some(fact) = fact {
            self.step(Event::Facts(vec![SlotReport { domain: DomainId::HOME, slot, fact }]));
        }
    }

    fn join(&mut self, at: usize, old: bool) {
        let mut session = self.live[at];
        let first = crate::words::session(&format!("{}a", HOSTS[at]));
        if old && session != first {
            session = SessionId::new(session.get() - 1);
        } else if at == 0 {
            // A later process of the leader's name.
            session = next_session(session);
        }
        let name = host_of(session);
        let address = address(&name);
        let (weight, zone, shards) = (WEIGHT_DEFAULT, None, BTreeMap::new());
        let versions = versions_of(session);
        let request = JoinRequest { name, address, session, weight, zone, shards, versions };
        self.step(Event::Join(request));
    }

    fn newest(&self) -> &EpochRecord {
        self.newest.as_ref().expect("the cluster is founded")
    }

    /// The driven host makes the next record, if none is being created.
    fn make(&mut self) {
        if self.made.is_none() {
            let mut leadership = self.leadership.take();
            self.made = self.next(self.live[0], leadership.as_mut()).map(Arc::new);
            self.leadership = leadership;
        }
    }

    fn next(
        &mut self,
        session: SessionId,
        leadership: Option<&mut Leadership>,
    ) -> Option<EpochRecord> {
        let (cluster, newest, leads) = (cluster(), self.newest.clone(), leadership.is_some());
        let name = host_of(session);
        let identity = Identity {
            address: address(&name),
            name,
            weight: WEIGHT_DEFAULT,
            zone: None,
            shards: BTreeMap::new(),
            versions: versions_of(session),
        };
        let (epoch, base) = match &newest {
            None => (
                Epoch::new(1),
                Base::Founding(Founded { cluster: &cluster, home: &[], domains: &[] }),
            ),
            Some(record) => (record.epoch.next(), Base::After(record, digest(record))),
        };
        let unlisted =
            newest.as_ref().is_some_and(|record| !record.sessions.contains_key(&session));
        if unlisted && self.marked.contains(&session) {
            return None;
        }
        let writer = Writer { identity: &identity, session, now: self.now, wall_ms: 0 };
        match next_record(epoch, base, writer, leadership) {
            Next::Record(record) => {
                if let Some(before) = &newest {
                    self.check(&record, before, leads);
                }
                Some(*record)
            }
            Next::Stale => panic!("it follows the newest record"),
            Next::NothingNew => {
                self.seen.insert("a record without news");
                None
            }
            Next::Refused(_) => {
                self.seen.insert("a host that can't lead");
                None
            }
        }
    }

    /// What every record keeps, and what a leader may do by it.
    fn check(&mut self, record: &EpochRecord, before: &EpochRecord, leads: bool) {
        record.check().unwrap();
        record.follows(before, digest(before)).unwrap();
        let writer = record.leader.session;
        for &session in record.sessions.keys() {
            if !before.sessions.contains_key(&session) && session != writer {
                let cleared = self.cleared.contains(&(session, before.epoch));
                assert!(leads && cleared, "{session} is admitted without clearance");
                assert!(!self.marked.contains(&session), "{session} has an end mark");
                self.seen.insert("a host that joins");
            }
        }
        let owns = |session| before.home().slots.owned_by(session).next().is_some();
        for (&session, entry) in &before.sessions {
            if !before.is_open(session) || record.is_open(session) {
                continue;
            }
            let replaced = record.hosts.contains_key(&entry.host);
            // With every host leaving at once, none could be drained. One that was sealed a moment ago takes none either.
            let takers = record.hosts.values().filter(|host| host.share() > 0);
            let drained = !owns(session) || takers.count() == 0;
            let left = leads && self.left.contains(&session) && drained;
            let failed = leads && self.failed.contains(&session);
            let led = !leads && session == before.leader.session;
            assert!(replaced || left || failed || led, "{session} is taken out for no reason");
            self.seen.insert(match (replaced, failed, led) {
                (true, _, _) => "a host that is replaced",
                (_, true, _) => "a host that failed",
                (_, _, true) => "a leader that failed",
                (false, false, false) => "a host that left",
            });
        }
        self.check_moves(record, before, leads);
        match record.handover {
            Handover::Stays => {}
            Handover::Leaves { .. } => {
                assert!(self.left.contains(&writer), "it leaves without being asked");
                self.seen.insert("a leader that leaves");
            }
        }
    }

    /// What a record keeps that moves slots of hosts that live.
    fn check_moves(&mut self, record: &EpochRecord, before: &EpochRecord, leads: bool) {
        let mut moved = BTreeSet::new();
        for (slot, holding) in record.home().slots.iter() {
            let (Some(from), Some(to)) = (before.home().slots.holding(slot).owner, holding.owner)
            else {
                continue;
            };
            if from.session != to.session && record.is_open(from.session) {
                moved.insert((to.session, from.session));
            }
        }
        if moved.is_empty() {
            return;
        }
        assert!(leads, "a host that takes over moves {moved:?}");
        let unsealed = |session: &SessionId| {
            !self.sealed.contains(session) && !self.unsealable.contains(session)
        };
        let mut failing = before.seals_wanted().filter(unsealed);
        assert_eq!(failing.next(), None, "{moved:?} are moved before a seal is known");
        let members = |record: &EpochRecord| -> Vec<SessionId> {
            record.hosts.values().flat_map(|host| host.sessions.values().copied()).collect()
        };
        assert_eq!(members(record), members(before), "{moved:?} are moved with another change");
        if record.reason.contains("towards balance") {
            // One that is known by its hints alone says nothing.
            let mut heard =
                members(before).into_iter().filter(|session| self.heard.contains(session));
            assert!(
                heard.all(|session| self.reported.contains(&session)),
                "{moved:?} are moved before all loads are known"
            );
            self.seen.insert("a move towards balance");
        }
        for (to, from) in moved {
            let known = from == self.live[0] || self.heard.contains(&from);
            let asked = self.asked.contains(&(to, from));
            assert!(asked || !known, "{to} was not asked to fetch {from}");
            let (_, host) = record.host_of(to).expect("it owns slots");
            assert!(host.share() > 0, "{to} takes no slots");
        }
        self.seen.insert("a planned move");
    }

    /// The record that was made has landed: its create was won, or it is read.
    fn written(&mut self, won: bool) {
        let Some(record) = self.made.take() else { return };
        let before = self.newest.replace(Arc::clone(&record));
        let digest = digest(&record);
        if self.leadership.is_none() {
            let (own, read) = (host(HOSTS[0]), Arc::clone(&record));
            self.leadership = Some(Leadership::new(own, settings(), self.now, read, digest));
        }
        self.step(Event::Written(Arc::clone(&record), digest, before.filter(|_| won)));
        if !record.is_open(self.live[0]) {
            self.leads_no_more();
        }
    }

    /// Another host takes over, if its session may.
    fn rival(&mut self, at: usize) {
        let session = self.live[at];
        if at == 0 {
            return;
        }
        if let Some(record) = self.next(session, None) {
            (self.newest, self.made) = (Some(Arc::new(record)), None);
            self.leads_no_more();
            self.seen.insert("a rival");
        }
    }

    /// The tasks of a leadership end with it. Its host may need a new session.
    fn leads_no_more(&mut self) {
        self.leadership = None;
        self.sealing.clear();
        self.collecting.clear();
        self.sealed.clear();
        self.unsealable.clear();
        self.heard.clear();
        self.reported.clear();
        self.asked.clear();
        self.probes.clear();
        self.fetching.clear();
        self.clearing.clear();
        self.cleared.clear();
        self.left.clear();
        self.failed.clear();
        let is_over = |session| {
            let state = self.newest().sessions.get(&session).map(|entry| entry.state);
            matches!(state, Some(SessionState::Sealed(_) | SessionState::Detached(_)))
        };
        if is_over(self.live[0]) {
            self.live[0] = next_session(self.live[0]);
        }
    }

    fn step(&mut self, event: Event) {
        let Some(leadership) = &mut self.leadership else { return };
        let asks = matches!(
            event,
            Event::Join(_)
                | Event::Leave(_)
                | Event::SealHost(_)
                | Event::Drain(_)
                | Event::Undrain(_)
                | Event::Move(..)
        );
        let effects = leadership.step(self.now, event);
        let answers = effects.iter().filter(|effect| matches!(effect, Effect::Answer(_))).count();
        assert_eq!(answers, usize::from(asks), "a request is answered once: {effects:?}");
        for effect in effects {
            self.effect(effect);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Watch(hosts) => {
                let others = self.newest().hosts.keys().filter(|name| *name != &host(HOSTS[0]));
                let others: BTreeSet<HostName> = others.cloned().collect();
                let watched: BTreeSet<HostName> =
                    hosts.into_values().map(|(name, _)| name).collect();
                assert_eq!(watched, others, "it watches the others");
            }
            Effect::Failed(name, _) => {
                assert_ne!(name, host(HOSTS[0]), "a leader fails itself");
                let sessions = self.newest().hosts[&name].sessions.clone();
                self.failed.extend(sessions.into_values());
            }
            Effect::Seal(session, _) => {
                assert!(self.sealing.insert(session), "{session} is being sealed");
                let failed = self.failed.contains(&session);
                assert!(failed || !self.newest().is_open(session), "{session} is open");
                self.seen.insert("a seal");
            }
            Effect::Collect(detached) => {
                let session = detached.session;
                assert!(self.collecting.insert(session), "{session} is being collected");
                let state = self.newest().sessions[&session].state;
                assert_eq!(state, SessionState::Detached(detached.sealed_at));
                self.marked.insert(session);
                self.seen.insert("a collection");
            }
            Effect::ProbeStore => self.probes.push(self.now),
            Effect::CheckEndMark(request) => {
                // A read that finds the mark is no answer.
                if !self.marked.contains(&request.session) {
                    let as_of = self.newest().epoch;
                    self.clearing.push((request, Cleared { as_of }));
                }
            }
            Effect::AnnounceSeal(name, session, _) => {
                assert!(name == host_of(session) && self.failed.contains(&session));
            }
            Effect::AnnounceSealed(session, position) => assert_eq!(position, seal_of(session)),
            Effect::Prefetch { by, to, from, .. } => {
                assert!(by == host_of(to) && to != from && self.newest().is_open(from));
                self.asked.insert((to, from));
                self.fetching.push((to, from));
            }
            Effect::PrefetchOwn(by, to) => {
                assert!(by == host_of(to) && to != self.live[0], "it owns them already");
                self.asked.insert((to, self.live[0]));
                self.fetching.push((to, self.live[0]));
            }
            Effect::EndOwnSession => {
                self.seen.insert("an end of its own session");
            }
            Effect::WriteEpoch
            | Effect::TrimEpochLog(_)
            | Effect::ListHints(_)
            | Effect::ListScratch
            | Effect::DeleteHints(_)
            | Effect::DeleteScratch(_)
            | Effect::PushEpoch(_)
            | Effect::Answer(_) => {}
        }
    }
}

/// Where the seal of a session stands.
fn seal_of(session: SessionId) -> Position {
    Position::new(1 + u64::try_from(session.get()).unwrap())
}

/// Hosts are upgraded, and back: every other session has version 2.
fn versions_of(session: SessionId) -> KindVersions {
    let version = if session.get().is_multiple_of(2) { 1 } else { 2 };
    [("cart", version)].into_iter().collect()
}

fn take(sessions: &mut BTreeSet<SessionId>, which: &Index) -> Option<SessionId> {
    let session = *sessions.iter().nth(which.index(sessions.len().max(1)))?;
    sessions.take(&session)
}

#[test]
fn no_host_is_admitted_or_taken_out_for_no_reason() {
    let actions = proptest::collection::vec(action(), 1..250);
    let seen = random::search(2_048, &actions, |actions| {
        let mut driven = Driven::new();
        actions.iter().for_each(|action| driven.act(action));
        driven.seen
    });
    assert_eq!(seen.len(), 14, "too little came up: {seen:?}");
}
