//! Domains besides the home domain: which are added and removed, which hosts serve them, and which host loses its slots in
//! one of them because it can't reach the domain's store.
//!
//! A host has one session per domain. When it fails, all of them are sealed. When only its access to one domain fails, that
//! session alone is ended, and the host goes on with the others. Access has failed when the host says so for a while and
//! another host in the domain says at the same time that the store works: otherwise it is the store's outage, which moving
//! slots doesn't cure, and each host goes on where it was once the store is back.
//!
//! Invariants:
//!
//! * A session joins a domain only if its end mark was seen to be absent as of the newest record. Its host has looked,
//!   because the leader may have no access to that store.
//! * A session in a further domain is ended for lack of access only while another host reaches the store.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};
use core::time::Duration;

use super::{Answer, Effect, Leadership};
use crate::{
    control::{
        admission::{Admission, Cleared, admission},
        report::{Access, DomainHealth, Progress, ServeRequest},
    },
    epoch::{
        domain::{DomainState, Offer, Offered},
        draft::Draft,
        record::EpochRecord,
    },
    ids::{DomainId, SessionId},
    planted,
    time::Time,
};

/// How long a host may say that it can't reach a domain's store, while another host can, before it loses its slots there.
/// Longer: fewer takeovers by short failures. Shorter: calls wait less when a key is revoked.
pub const ACCESS_FAILS_MAX: Duration = Duration::from_secs(5);
/// How long what a host said of a store counts.
const SAID_FOR: Duration = Duration::from_secs(3);

/// What happened about domains besides the home domain.
#[derive(Clone, Debug)]
pub enum DomainEvent {
    /// A host or an operator offers one.
    Offer(Offer),
    /// An operator asks for one to be taken out of use.
    Remove(String),
    /// A member asks to serve one.
    Serve(ServeRequest),
    /// What our own host says of its sessions there.
    Own(Vec<DomainHealth>),
}

/// What one session's host said last.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: Time,
    health: DomainHealth,
    /// Since when it says that its requests fail.
    failing_since: Option<Time>,
}

/// What is pending and known about further domains.
#[derive(Clone, Debug, Default)]
pub(super) struct Domains {
    /// Domains to be added or bound to their store.
    offers: BTreeMap<String, Offer>,
    /// Domains to be removed.
    removals: BTreeSet<String>,
    /// Sessions that are to serve a domain.
    serves: BTreeMap<SessionId, ServeRequest>,
    /// Sessions that are to be ended while their hosts go on, and why.
    ends: BTreeMap<SessionId, String>,
    said: BTreeMap<SessionId, Said>,
    /// Since when a Release of these sessions is waited for.
    owing: BTreeMap<SessionId, Time>,
}

impl Domains {
    /// Whether an epoch is worth writing now.
    pub(super) fn is_due(&self) -> bool {
        !(self.offers.is_empty()
            && self.removals.is_empty()
            && self.serves.is_empty()
            && self.ends.is_empty())
    }

    /// What a host said of its sessions.
    pub(super) fn heard(&mut self, now: Time, healths: &[DomainHealth]) {
        for &health in healths {
            let before = self.said.get(&health.session).and_then(|said| said.failing_since);
            let failing_since = match health.access {
                Access::Working => None,
                Access::Failing => Some(before.unwrap_or(now)),
            };
            self.said.insert(health.session, Said { at: now, health, failing_since });
        }
    }

    /// How far a session had come, by what its host said last.
    pub(super) fn progress(&self, session: SessionId) -> Option<Progress> {
        self.said.get(&session).map(|said| said.health.progress)
    }

    /// Whether a host other than that of `except` reaches a domain's store.
    fn another_works(&self, now: Time, record: &EpochRecord, except: SessionId) -> bool {
        let domain = record.domain_of_session(except);
        planted::another_reaches(self.said.iter().any(|(&session, said)| {
            session != except
                && record.is_open(session)
                && record.domain_of_session(session) == domain
                && said.health.access == Access::Working
                && now.since(said.at) <= SAID_FOR
        }))
    }

    /// Whether every host that serves a domain says that its store doesn't answer.
    pub(super) fn is_out(&self, record: &EpochRecord, domain: DomainId) -> bool {
        let of_domain = record.hosts.values().filter_map(|host| host.sessions.get(&domain));
        let mut said = of_domain.map(|session| self.said.get(session));
        domain != DomainId::HOME
            && said.all(|said| said.is_some_and(|said| said.health.access == Access::Failing))
    }

    /// A record of ours is the newest: what it says isn't pending any more.
    pub(super) fn written(&mut self, record: &EpochRecord) {
        self.offers.retain(|_, offer| {
            matches!(record.offered(offer), Ok(Offered::New | Offered::Binds(..)))
        });
        self.removals.retain(|name| in_use(record, name));
        self.serves.retain(|session, request| {
            !record.sessions.contains_key(session) && record.is_open(request.home)
        });
        self.ends.retain(|session, _| record.is_open(*session));
        self.said.retain(|session, _| record.is_open(*session));
        self.owing.retain(|session, _| record.is_open(*session));
    }

    /// The next record would say nothing new: what can't change it is dropped.
    pub(super) fn without_effect(&mut self) {
        self.offers.clear();
        self.serves.clear();
    }

    /// Adds what is pending to the next record.
    pub(super) fn apply(
        &mut self,
        draft: &mut Draft,
        reasons: &mut Vec<String>,
        record: &EpochRecord,
    ) {
        for name in &self.removals {
            if draft.remove_domain(name) {
                reasons.push(format!("an operator asked for domain {name} to be removed"));
            }
        }
        self.offers.retain(|name, offer| match draft.offer(offer) {
            Ok(Offered::New) => {
                reasons.push(format!("domain {name} is added"));
                true
            }
            Ok(Offered::Binds(..)) => {
                reasons.push(format!("the store of domain {name} is known"));
                true
            }
            Ok(Offered::Known) => true,
            Err(_) => false,
        });
        self.serves.retain(|&session, request| {
            // One that was cleared as of an older record is dropped: its host asks again.
            let cleared = Cleared { as_of: request.as_of };
            if !cleared.holds_after(record.epoch) {
                return false;
            }
            let Some(host) = draft.host_of(request.home).cloned() else { return false };
            let served = draft.serve_domain(request.home, request.domain, session);
            if served.is_ok() {
                let name = record.domains.get(&request.domain).map(|domain| domain.name.as_str());
                reasons.push(format!("{host} serves domain {}", name.unwrap_or_default()));
            }
            served.is_ok()
        });
    }

    /// Ends sessions that are to be ended, before anything is given to a host.
    pub(super) fn end(&self, draft: &mut Draft, reasons: &mut Vec<String>) {
        for (&session, why) in &self.ends {
            if draft.end_session(session) {
                reasons.push(why.clone());
            }
        }
    }
}

fn in_use(record: &EpochRecord, name: &str) -> bool {
    let found = record.domain_named(name);
    found.is_some_and(|(id, domain)| id != DomainId::HOME && domain.state == DomainState::Serving)
}

impl Leadership {
    pub(super) fn on_domain(&mut self, now: Time, event: DomainEvent) -> Vec<Effect> {
        match event {
            DomainEvent::Offer(offer) => self.on_offer(now, offer),
            DomainEvent::Remove(name) => self.on_remove_domain(now, &name),
            DomainEvent::Serve(request) => self.on_serve(now, request),
            DomainEvent::Own(healths) => {
                self.domains.heard(now, &healths);
                Vec::new()
            }
        }
    }

    /// A host, or an operator, offers a domain.
    fn on_offer(&mut self, now: Time, offer: Offer) -> Vec<Effect> {
        match self.record.offered(&offer) {
            Err(why) => return vec![Effect::Answer(Answer::Refused(why))],
            Ok(Offered::Known) => {}
            Ok(Offered::New | Offered::Binds(..)) => {
                let pending = self.domains.offers.get(&offer.name);
                if pending.is_none_or(|pending| pending.store.is_none()) {
                    self.domains.offers.insert(offer.name.clone(), offer);
                }
            }
        }
        let mut effects = vec![Effect::Answer(Answer::Noted)];
        effects.extend(self.on_tick(now));
        effects
    }

    /// An operator removes a domain.
    fn on_remove_domain(&mut self, now: Time, name: &str) -> Vec<Effect> {
        if !in_use(&self.record, name) {
            let why = format!("there is no domain {name} in use that could be removed");
            return vec![Effect::Answer(Answer::Refused(why))];
        }
        self.domains.removals.insert(name.to_owned());
        self.domains.offers.remove(name);
        let mut effects = vec![Effect::Answer(Answer::Noted)];
        effects.extend(self.on_tick(now));
        effects
    }

    /// A host asks to serve a domain.
    fn on_serve(&mut self, now: Time, request: ServeRequest) -> Vec<Effect> {
        let refused = |why: String| vec![Effect::Answer(Answer::Refused(why))];
        let Some((_, host)) = self.record.host_of(request.home) else {
            return refused("the host is no member: it joins the home domain first".into());
        };
        let push = Effect::PushEpoch(host.address.clone());
        match admission(&self.record, request.session) {
            Admission::Over => refused("this session is over: open a new one".into()),
            // It may not know that it is a member.
            Admission::Member => vec![push, Effect::Answer(Answer::Noted)],
            Admission::CheckEndMark => {
                let in_use = self.record.domains.get(&request.domain).is_some_and(|domain| {
                    domain.state == DomainState::Serving && domain.store.is_some()
                });
                if !in_use || request.domain == DomainId::HOME {
                    return refused(format!("there is no domain {} to serve", request.domain.0));
                }
                let mut effects = vec![Effect::Answer(Answer::Noted)];
                let cleared = Cleared { as_of: request.as_of };
                if cleared.holds_after(self.record.epoch) {
                    self.domains.serves.insert(request.session, request);
                    effects.extend(self.on_tick(now));
                } else {
                    effects.push(push);
                }
                effects
            }
        }
    }

    /// Ends the sessions whose hosts lost access to a domain, or don't release its slots in time.
    pub(super) fn judge_domains(&mut self, now: Time) {
        let awaited = self.heard.values().flat_map(|health| &health.awaiting);
        let awaited: BTreeSet<SessionId> = awaited
            .chain(self.own_state.iter().flat_map(|own| &own.awaiting))
            .copied()
            .filter(|&session| {
                let domain = self.record.domain_of_session(session);
                domain.is_some_and(|domain| domain != DomainId::HOME)
                    && self.record.is_open(session)
            })
            .collect();
        self.domains.owing.retain(|session, _| awaited.contains(session));
        for session in awaited {
            self.domains.owing.entry(session).or_insert(now);
        }
        let failing = self.domains.said.iter().filter_map(|(session, said)| {
            let span = now.since(said.failing_since?);
            (span >= ACCESS_FAILS_MAX).then_some((*session, Late::Access(span)))
        });
        let timeout = self.settings.suspicion.handoff_timeout;
        let owing = self.domains.owing.iter().filter_map(|(session, since)| {
            let span = now.since(*since);
            (span >= timeout).then_some((*session, Late::Release(span)))
        });
        for (session, late) in failing.chain(owing).collect::<Vec<_>>() {
            self.end_in_domain(now, session, late);
        }
    }

    fn end_in_domain(&mut self, now: Time, session: SessionId, late: Late) {
        if self.domains.ends.contains_key(&session)
            || !self.domains.another_works(now, &self.record, session)
        {
            return;
        }
        let Some((host, _)) = self.record.host_of(session) else { return };
        let entry = &self.record.sessions[&session];
        let domain = &self.record.domains[&entry.domain].name;
        let why = match late {
            Late::Access(span) => format!(
                "{host} can't reach the store of domain {domain} for {:.1} s, while another host can",
                span.as_secs_f64()
            ),
            Late::Release(span) => format!(
                "{host} has not released slots of domain {domain} for {:.1} s",
                span.as_secs_f64()
            ),
        };
        self.domains.ends.insert(session, why);
    }
}

/// What a session in a further domain is late with.
#[derive(Clone, Copy, Debug)]
enum Late {
    Access(Duration),
    Release(Duration),
}
