//! A host in a domain besides the home domain: from a URL in its configuration to a session that serves slots there.
//!
//! The host opens the domain's store, reads whose store it is, offers the domain to the leader if the record lacks it or
//! its store, opens a session, and asks to serve with it. Whatever fails concerns this domain only: the host goes on with
//! the others and tries again here.
//!
//! Invariants:
//!
//! * A session is opened only in the store that the newest record binds the domain to.
//! * A session acts only on a record that lists it as open, and is never used again once it is over.
//! * The `domain` object is created only while the record names no store for the domain: where it is missing later, the
//!   URL is wrong or the store was emptied.

mod terms;

use alloc::{collections::BTreeSet, format, string::String, sync::Arc, vec, vec::Vec};
use core::time::Duration;

pub use self::terms::{Create, Effect, Event, Look};

use crate::{
    control::report::{Access, DomainHealth, Progress, ServeRequest},
    epoch::{
        domain::{DomainState, Names, Offer, Rule, differing, other_store},
        record::EpochRecord,
    },
    ids::{DomainId, Epoch, HostName, SessionId, StoreId},
    planted,
    time::Time,
};

/// The pause before a request to the leader is repeated.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);
/// The pause before a store that can't be used is looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The pause after the first session that was ended; doubles with each, up to [`REST_MAX`].
pub const REST_MIN: Duration = Duration::from_secs(1);
/// The longest pause before a domain is served again.
pub const REST_MAX: Duration = Duration::from_secs(5 * 60);
/// A session that served for so long makes the next pause short again.
pub const SERVED_WELL: Duration = Duration::from_secs(10 * 60);

/// How far this host is in the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The store is not open, and is looked at from then on.
    Away { look_at: Time },
    /// A look is under way.
    Looking,
    /// The store has this id. The leader is asked to bind the domain to it, until the record does.
    Found { store: StoreId, ask_at: Time },
    /// A session's journal is being opened.
    Opening { store: StoreId, session: SessionId },
    /// It is open; the leader is asked to let it serve, until the record lists it.
    Open { store: StoreId, session: SessionId, ask_at: Time, listed_since: Option<Time> },
}

/// One host in one domain.
#[derive(Clone, Debug)]
pub struct DomainMember {
    name: String,
    rules: Vec<Rule>,
    probe_every: Duration,
    phase: Phase,
    record: Option<Arc<EpochRecord>>,
    /// This host's session in the home domain, if the newest record lists it.
    home: Option<SessionId>,
    opened: BTreeSet<SessionId>,
    /// Sessions that were ended in a row.
    ended: u32,
    probe_at: Time,
    /// What keeps this host from serving the domain, as was said last.
    trouble: Option<String>,
    /// Whether it was said that the configured rules differ.
    compared: bool,
}

impl DomainMember {
    /// A host that hasn't looked at the store yet. `probe_every`: how often an open store is looked at, so that a failing
    /// one is noticed without a call; longer costs fewer requests.
    #[must_use]
    pub const fn new(name: String, rules: Vec<Rule>, probe_every: Duration) -> Self {
        Self {
            name,
            rules,
            probe_every,
            phase: Phase::Away { look_at: Time::ZERO },
            record: None,
            home: None,
            opened: BTreeSet::new(),
            ended: 0,
            probe_at: Time::ZERO,
            trouble: None,
            compared: false,
        }
    }

    /// The domain's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The domain's number, once a record lists it.
    #[must_use]
    pub fn domain(&self) -> Option<DomainId> {
        self.record.as_ref()?.domain_named(&self.name).map(|(id, _)| id)
    }

    /// What keeps this host from serving the domain, for people.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What to tell the leader of the session that the newest record lists for this host in the domain. `progress` is that
    /// of the open session's journal, and `access` whether the store answers it. A session that is listed and not open any
    /// more has lost its access.
    #[must_use]
    pub fn health(
        &self,
        host: &HostName,
        progress: Progress,
        access: Access,
    ) -> Option<DomainHealth> {
        let listed = self.record.as_ref()?.hosts.get(host)?.sessions.get(&self.domain()?);
        let listed = listed.copied().filter(|_| self.home.is_some())?;
        Some(match self.phase {
            Phase::Open { session, .. } if session == listed => {
                DomainHealth { session, progress, access }
            }
            Phase::Away { .. }
            | Phase::Looking
            | Phase::Found { .. }
            | Phase::Opening { .. }
            | Phase::Open { .. } => DomainHealth {
                session: listed,
                progress: Progress::default(),
                access: Access::Failing,
            },
        })
    }

    /// What the founder of a cluster puts into the first record.
    #[must_use]
    pub fn offer(&self, store: Option<StoreId>) -> Offer {
        let (name, rules) = (self.name.clone(), self.rules.clone());
        Offer { name, rules, store, names: Names::Unverified }
    }

    /// The session that is being opened, as [`Effect::OpenSession`] asked.
    ///
    /// # Panics
    ///
    /// When none was asked for, or the id was used before.
    pub fn opens(&mut self, session: SessionId) {
        let Phase::Found { store, .. } = self.phase else { panic!("{session} was not asked for") };
        assert!(!self.opened.contains(&session), "{session} was used before");
        self.phase = Phase::Opening { store, session };
    }

    /// Takes one event to its effects. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When epochs go down.
    #[must_use]
    pub fn step(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::Epoch(record, home) => {
                let before = self.record.as_ref().map(|before| before.epoch);
                assert!(before <= Some(record.epoch), "epochs never go down: {before:?}");
                (self.record, self.home) = (Some(record), home);
                self.on_record(now)
            }
            Event::Looked(look) => self.on_looked(now, look),
            Event::Opened(session) => self.on_opened(now, session),
            Event::Cleared(session, as_of) => self.on_cleared(session, as_of),
            Event::Marked(session) => self.over(now, session, "it was detached"),
            Event::SessionOver(session) => self.over(now, session, "its journal commits no more"),
            Event::StoreLost(session, why) => {
                let mut effects = self.over(now, session, "its store is lost");
                effects.extend(self.troubled(why));
                effects
            }
            Event::Refused(why) => {
                // A newer record may change that; time alone hardly does.
                if let Phase::Found { store, .. } = self.phase {
                    self.phase = Phase::Found { store, ask_at: now + LOOK_AGAIN };
                }
                self.troubled(why)
            }
            Event::Tick => self.on_tick(now),
        }
    }

    fn on_record(&mut self, now: Time) -> Vec<Effect> {
        let mut effects = self.compare();
        let Some(record) = &self.record else { return effects };
        let entry = record.domain_named(&self.name).map(|(_, entry)| entry);
        let removed = entry.is_some_and(|entry| entry.state == DomainState::Removed);
        match self.phase {
            Phase::Open { store, session, ask_at, listed_since } if record.is_open(session) => {
                let listed_since = Some(listed_since.unwrap_or(now));
                self.phase = Phase::Open { store, session, ask_at, listed_since };
                self.trouble = None;
                effects.push(Effect::Apply);
            }
            Phase::Open { session, listed_since, .. } => {
                // One that was listed and isn't any more was detached and forgotten while this host didn't look.
                if listed_since.is_some() || record.sessions.contains_key(&session) || removed {
                    let why = format!("{} says that it is over", record.epoch);
                    effects.extend(self.over(now, session, &why));
                } else {
                    effects.extend(self.ask(now));
                }
            }
            Phase::Opening { session, .. } if removed => {
                effects.extend(self.over(now, session, "the domain was removed"));
            }
            Phase::Away { .. } | Phase::Looking | Phase::Opening { .. } => {}
            Phase::Found { store, .. } => {
                self.phase = Phase::Found { store, ask_at: now };
                effects.extend(self.ask(now));
            }
        }
        if removed {
            let why = format!("domain {} was removed from the cluster", self.name);
            effects.extend(self.troubled(why));
        }
        effects
    }

    /// Says once if the configuration's rules aren't the record's.
    fn compare(&mut self) -> Vec<Effect> {
        let record = self.record.as_ref().filter(|_| !self.compared);
        let entry = record.and_then(|record| record.domain_named(&self.name));
        let Some((_, entry)) = entry else { return Vec::new() };
        self.compared = true;
        differing(entry, &self.rules).map(Effect::Warn).into_iter().collect()
    }

    fn on_tick(&mut self, now: Time) -> Vec<Effect> {
        let mut effects = match self.phase {
            Phase::Away { look_at } if now >= look_at => self.look(),
            Phase::Away { .. } | Phase::Looking | Phase::Opening { .. } => Vec::new(),
            Phase::Found { .. } | Phase::Open { .. } => self.ask(now),
        };
        if let Phase::Open { .. } = self.phase
            && now >= self.probe_at
        {
            self.probe_at = now + self.probe_every;
            effects.push(Effect::Probe);
        }
        effects
    }

    /// Looks at the store, if this host is a member and the domain is in use.
    fn look(&mut self) -> Vec<Effect> {
        let (Some(record), Some(_)) = (&self.record, self.home) else { return Vec::new() };
        let entry = record.domain_named(&self.name).map(|(_, entry)| entry);
        if entry.is_some_and(|entry| entry.state == DomainState::Removed) {
            return Vec::new();
        }
        let is_bound = entry.is_some_and(|entry| entry.store.is_some());
        self.phase = Phase::Looking;
        vec![Effect::Look(if is_bound { Create::Never } else { Create::IfAbsent })]
    }

    fn on_looked(&mut self, now: Time, look: Look) -> Vec<Effect> {
        if self.phase != Phase::Looking {
            return Vec::new();
        }
        match look {
            Look::Found(store) => {
                self.phase = Phase::Found { store, ask_at: now };
                self.ask(now)
            }
            Look::Unusable(why) => {
                self.phase = Phase::Away { look_at: now + LOOK_AGAIN };
                self.troubled(why)
            }
        }
    }

    /// Goes on with the store or the session that it has, by the newest record.
    fn ask(&mut self, now: Time) -> Vec<Effect> {
        let (Some(record), Some(home)) = (self.record.clone(), self.home) else {
            return Vec::new();
        };
        match self.phase {
            Phase::Found { store, ask_at } => {
                let bound = record.domain_named(&self.name).and_then(|(_, entry)| entry.store);
                if planted::is_bound(bound == Some(store)) {
                    return vec![Effect::OpenSession];
                }
                if bound.is_some() {
                    self.phase = Phase::Away { look_at: now + LOOK_AGAIN };
                    return self.troubled(other_store(&self.name));
                }
                if now < ask_at {
                    return Vec::new();
                }
                self.phase = Phase::Found { store, ask_at: now + ASK_AGAIN };
                vec![Effect::Offer(record.leader.clone(), self.offer(Some(store)))]
            }
            Phase::Open { store, session, ask_at, listed_since } => {
                if record.is_open(session) || now < ask_at {
                    return Vec::new();
                }
                let ask_at = now + ASK_AGAIN;
                self.phase = Phase::Open { store, session, ask_at, listed_since };
                assert_ne!(session, home, "a session is in one domain");
                vec![Effect::CheckEndMark(session, record.epoch)]
            }
            Phase::Away { .. } | Phase::Looking | Phase::Opening { .. } => Vec::new(),
        }
    }

    fn on_opened(&mut self, now: Time, session: SessionId) -> Vec<Effect> {
        let Phase::Opening { store, session: opening } = self.phase else { return Vec::new() };
        if opening != session {
            return Vec::new();
        }
        self.opened.insert(session);
        self.probe_at = now + self.probe_every;
        self.phase = Phase::Open { store, session, ask_at: now, listed_since: None };
        self.ask(now)
    }

    /// The end mark was absent, as of that record.
    fn on_cleared(&self, cleared: SessionId, as_of: Epoch) -> Vec<Effect> {
        let (Some(record), Some(home), Some(domain)) = (&self.record, self.home, self.domain())
        else {
            return Vec::new();
        };
        match self.phase {
            // As of an older record it is of no use: the next request looks again.
            Phase::Open { session, .. } if session == cleared && as_of == record.epoch => {
                let request = ServeRequest { home, domain, session, as_of };
                vec![Effect::AskToServe(record.leader.clone(), request)]
            }
            Phase::Open { .. }
            | Phase::Away { .. }
            | Phase::Looking
            | Phase::Found { .. }
            | Phase::Opening { .. } => Vec::new(),
        }
    }

    /// The session is over. The next one is opened after a rest, and the store is looked at before.
    fn over(&mut self, now: Time, over: SessionId, why: &str) -> Vec<Effect> {
        let (session, listed_since) = match self.phase {
            Phase::Open { session, listed_since, .. } => (session, listed_since),
            Phase::Opening { session, .. } => (session, None),
            Phase::Away { .. } | Phase::Looking | Phase::Found { .. } => return Vec::new(),
        };
        if session != over {
            return Vec::new();
        }
        let served = listed_since.map_or(Duration::ZERO, |since| now.since(since));
        if served >= SERVED_WELL {
            self.ended = 0;
        }
        let rest = REST_MIN.saturating_mul(1 << self.ended.min(16)).min(REST_MAX);
        self.ended += 1;
        self.phase = Phase::Away { look_at: now + rest };
        vec![Effect::EndSession(String::from(why))]
    }

    /// Says what keeps this host from serving the domain, unless that was said last.
    fn troubled(&mut self, why: String) -> Vec<Effect> {
        if self.trouble.as_ref() == Some(&why) {
            return Vec::new();
        }
        self.trouble = Some(why.clone());
        vec![Effect::Warn(why)]
    }
}
