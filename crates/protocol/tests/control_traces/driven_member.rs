//! A member driven at random, as its driver and other hosts might: records end its session, forget it, or give its name
//! to another process, and it reads only some of them; tasks of its sessions end late.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use holocron_protocol::{
    control::member::{ASK_AGAIN, Effect, Event, Member, SessionEnd},
    epoch::{
        draft::{Draft, SlotReport, SourceFact},
        record::{EpochRecord, HostEntry, HostState, SessionState, WEIGHT_DEFAULT},
        versions::KindVersions,
    },
    ids::{DomainId, Position, SessionId, Slot},
    time::Time,
};
use proptest::prelude::*;

use crate::{
    leader::{cluster, digest},
    member::{SETTINGS, identity},
    random,
    words::{SLOT_COUNT, address, host_of, leader_of, next_session, session},
};

#[derive(Clone, Debug)]
enum Action {
    /// So many milliseconds pass.
    Tick(u64),
    /// The journal of the current session is opened.
    Opened,
    /// The journal of the current session is over, or that of the session before once more.
    Over,
    OverBefore,
    /// The next record: of which leader, and what it says of the name h2.
    Write(bool, Says),
    /// The newest record is read.
    Read,
    /// A heartbeat of the leader of the newest record.
    Heartbeat,
    /// A full checkpoint of a slot was committed.
    Copied(u16),
    Leave,
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Nothing,
    /// The current session is a member, with this weight.
    Joins(u32),
    /// Another process is.
    Replaced,
    /// The host is taken out.
    Removed,
    /// Every session that is over is detached, or forgotten if it was.
    Detached,
}

fn action() -> impl Strategy<Value = Action> {
    let says = prop_oneof![
        2 => Just(Says::Nothing),
        8 => prop_oneof![Just(0), Just(WEIGHT_DEFAULT)].prop_map(Says::Joins),
        1 => Just(Says::Replaced),
        2 => Just(Says::Removed),
        3 => Just(Says::Detached),
    ];
    prop_oneof![
        8 => (10..700u64).prop_map(Action::Tick),
        8 => Just(Action::Opened),
        2 => Just(Action::Over),
        1 => Just(Action::OverBefore),
        8 => (prop::bool::weighted(0.8), says).prop_map(|(stays, says)| Action::Write(stays, says)),
        6 => Just(Action::Read),
        3 => Just(Action::Heartbeat),
        3 => (0..SLOT_COUNT).prop_map(Action::Copied),
        1 => prop::bool::weighted(0.2).prop_map(|leaves| if leaves { Action::Leave } else { Action::Read }),
    ]
}

/// The journal of the current session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Journal {
    Opening,
    Open,
    /// The member was told to end the session.
    Ended,
}

/// A member, and the world around it.
struct Driven {
    now: Time,
    member: Member,
    newest: EpochRecord,
    read: Option<Arc<EpochRecord>>,
    session: SessionId,
    journal: Journal,
    /// Sessions that it opened.
    opened: BTreeSet<SessionId>,
    leaving: bool,
    stopped: bool,
    watched: Option<SessionId>,
    counter: u64,
    hinted_at: Option<Time>,
    asked_at: Option<Time>,
    seen: BTreeSet<&'static str>,
}

impl Driven {
    fn new() -> Self {
        let mut first = Draft::first(&cluster());
        let leader = session("h1a");
        first.join(&host_of(leader), entry(leader, WEIGHT_DEFAULT)).unwrap();
        let session = session("h2a");
        Self {
            now: Time::ZERO,
            member: Member::new(identity(), SETTINGS, session),
            newest: first.finish(leader_of(leader), "", 0),
            read: None,
            session,
            journal: Journal::Opening,
            opened: BTreeSet::new(),
            leaving: false,
            stopped: false,
            watched: None,
            counter: 0,
            hinted_at: None,
            asked_at: None,
            seen: BTreeSet::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        if self.stopped {
            return;
        }
        match *action {
            Action::Tick(millis) => {
                self.now += Duration::from_millis(millis);
                self.step(Event::Tick);
            }
            Action::Opened if self.journal == Journal::Opening => {
                self.journal = Journal::Open;
                self.opened.insert(self.session);
                self.step(Event::Opened(self.session));
            }
            Action::Opened => {}
            Action::Over => self.step(Event::SessionOver(self.session)),
            Action::OverBefore => {
                let before = self.opened.iter().copied().find(|&before| before != self.session);
                before.into_iter().for_each(|before| self.step(Event::SessionOver(before)));
            }
            Action::Write(stays, says) => self.write(stays, says),
            Action::Read => {
                if self.read.as_ref().is_none_or(|read| read.epoch < self.newest.epoch) {
                    let read = Arc::new(self.newest.clone());
                    self.read = Some(Arc::clone(&read));
                    self.step(Event::Epoch(read));
                }
            }
            Action::Heartbeat => {
                let leader = self.newest.leader.session;
                if !self.opened.contains(&leader) {
                    self.step(Event::Heartbeat(self.newest.epoch, leader));
                }
            }
            Action::Copied(slot) => {
                let (domain, slot) = (DomainId::HOME, Slot(slot));
                let owner = self.newest.home().slots.holding(slot).owner;
                let full = SourceFact::Full(owner.expect("h1 owns what others don't"));
                self.step(Event::Facts(vec![SlotReport { domain, slot, fact: full }]));
            }
            Action::Leave => {
                self.leaving = true;
                self.step(Event::LeaveAsked);
            }
        }
    }

    /// A session can be listed only once it asked to join, so it was opened.
    fn write(&mut self, stays: bool, says: Says) {
        let before = &self.newest;
        let mut draft = Draft::after(before, digest(before));
        let own = host_of(self.session);
        let listed = before.hosts.get(&own).map(|entry| entry.sessions[&DomainId::HOME]);
        let known = before.sessions.get(&self.session).map(|entry| entry.state);
        match says {
            Says::Nothing => {}
            Says::Joins(weight) => {
                let may = known == Some(SessionState::Open)
                    || (known.is_none() && self.journal == Journal::Open);
                if may {
                    draft.join(&own, entry(self.session, weight)).unwrap();
                }
            }
            Says::Replaced => {
                // Each process of that name opens sessions of its own.
                let later = SessionId::new(session("h2k").get() + u128::from(before.epoch.get()));
                draft.join(&own, entry(later, WEIGHT_DEFAULT)).unwrap();
            }
            Says::Removed => {
                if let Some(listed) = listed {
                    assert!(draft.remove(listed), "a member is taken out");
                }
            }
            Says::Detached => {
                for (&session, entry) in &before.sessions {
                    match entry.state {
                        SessionState::Open | SessionState::Sealed(Some(_)) => {}
                        SessionState::Sealed(None) => draft.seal_known(session, Position::new(9)),
                        SessionState::Detached(_) => draft.forget(session),
                    }
                }
                draft.rebalance(4);
            }
        }
        let member = listed.filter(|_| draft.host_of(listed.unwrap()).is_some());
        let leader = member.filter(|_| !stays).unwrap_or(session("h1a"));
        self.newest = draft.finish(leader_of(leader), "", 0);
    }

    fn step(&mut self, event: Event) {
        let is_heartbeat = matches!(event, Event::Heartbeat(..));
        for effect in self.member.step(self.now, event) {
            assert!(!self.stopped, "{effect:?} after it has stopped");
            self.effect(effect, is_heartbeat);
        }
        let leader = self.read.as_ref().map(|read| read.leader.session);
        let wanted = leader.filter(|leader| !self.opened.contains(leader));
        assert_eq!(self.watched, wanted, "it watches another than the leader");
        let listed = self.read.as_ref().is_some_and(|read| read.is_open(self.session));
        assert_eq!(self.member.is_member(), listed);
        if let Some(read) = &self.read {
            let facts = self.member.facts();
            assert!(facts.iter().all(|fact| fact.is_news_to(read)), "{facts:?} are no news");
            if !facts.is_empty() {
                self.seen.insert("facts");
            }
        }
    }

    fn effect(&mut self, effect: Effect, is_heartbeat: bool) {
        let is_open = self.opened.contains(&self.session);
        match effect {
            Effect::Apply => {
                let may = self.journal == Journal::Open && self.member.is_member();
                assert!(may, "it must not act");
                self.seen.insert("acts");
            }
            Effect::EndSession(end) => {
                self.journal = Journal::Ended;
                self.seen.insert(match end {
                    SessionEnd::OverIn(_) => "over in a record",
                    SessionEnd::Replaced => "replaced",
                    SessionEnd::JournalEnded => "sealed",
                });
            }
            Effect::OpenSession => {
                assert!(!self.leaving, "it rejoins although it leaves");
                let read = self.read.as_ref();
                let entry = read.and_then(|read| read.hosts.get(&self.member.identity().name));
                let listed = entry.map(|entry| entry.sessions[&DomainId::HOME]);
                let replaced = listed.is_some_and(|listed| !self.member.is_own(listed));
                assert!(!replaced, "it rejoins although it was replaced");
                self.session = next_session(self.session);
                // It asks at once with the new one.
                (self.journal, self.asked_at) = (Journal::Opening, None);
                self.member.opens(self.session);
                self.seen.insert("rejoins");
            }
            Effect::ReadEpochLog => {}
            Effect::LeaderHeard(epoch) => {
                let known = self.read.as_ref().map(|read| read.epoch);
                assert!(is_heartbeat || Some(epoch) == known, "it heard no leader of {epoch}");
            }
            Effect::WatchLeader(leader) => self.watched = Some(leader.session),
            Effect::WatchNoLeader => self.watched = None,
            Effect::PutHint(counter) => {
                assert!(is_open && counter > self.counter, "hint {counter}");
                let early = self.hinted_at.is_some_and(|at| self.now < at + SETTINGS.hint_every);
                assert!(!early, "an early hint");
                (self.counter, self.hinted_at) = (counter, Some(self.now));
            }
            Effect::AskToJoin(leader) => {
                assert!(is_open && !self.leaving && !self.opened.contains(&leader.session));
                let early = self.asked_at.is_some_and(|at| self.now < at + ASK_AGAIN);
                assert!(!early, "it asks again too early");
                self.asked_at = Some(self.now);
                self.seen.insert("asks to join");
            }
            Effect::AskToLeave(session) => {
                assert!(self.leaving && session == self.session);
                self.seen.insert("asks to leave");
            }
            Effect::Stop(_) => {
                self.stopped = true;
                self.seen.insert("stops");
            }
        }
    }
}

fn entry(session: SessionId, weight: u32) -> HostEntry {
    HostEntry {
        address: address(&host_of(session)),
        sessions: [(DomainId::HOME, session)].into(),
        state: HostState::Active,
        weight,
        zone: None,
        versions: KindVersions::default(),
    }
}

#[test]
fn a_member_acts_only_on_what_lists_it() {
    let actions = proptest::collection::vec(action(), 1..120);
    let seen = random::search(1_024, &actions, |actions| {
        let mut driven = Driven::new();
        actions.iter().for_each(|action| driven.act(action));
        driven.seen
    });
    assert_eq!(seen.len(), 9, "too little came up: {seen:?}");
}
