//! What hosts and operators ask of a leader: to let a host join or leave, to seal or drain a host, to move slots.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};

use super::{Changes, Effect, Leadership, ORDERS_MAX, home_session};
use crate::{
    control::{
        admission::{Admission, admission},
        report::JoinRequest,
    },
    epoch::{
        draft::Draft,
        placement::Need,
        record::{HostEntry, HostState},
        versions::{KindVersions, Reading},
    },
    ids::{DomainId, HostName, SessionId, Slot},
    time::Time,
};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It will be done, if nothing comes in between.
    Noted,
    /// It won't, and why.
    Refused(String),
}

impl Leadership {
    pub(super) fn on_join(&mut self, request: JoinRequest) -> Vec<Effect> {
        if let Err(why) = self.record.check_shards(&request.shards) {
            return vec![Effect::Answer(Answer::Refused(why))];
        }
        match admission(&self.record, request.session) {
            Admission::Over => {
                let why = "this session is over: open a new one".into();
                vec![Effect::Answer(Answer::Refused(why))]
            }
            Admission::Member => {
                // An earlier leader may have let it wait for its share, or have known it by its hint alone.
                let entry = self.record.hosts.get(&request.name);
                let as_asked = |entry: &HostEntry| {
                    entry.weight == request.weight && entry.zone == request.zone
                };
                if !entry.is_none_or(as_asked) {
                    self.waiting_for_share.insert(request.name.clone(), request.clone());
                }
                // It may not know that it is a member.
                vec![Effect::PushEpoch(request.address), Effect::Answer(Answer::Noted)]
            }
            Admission::CheckEndMark => {
                let mut effects: Vec<Effect> = self.clear(request).into_iter().collect();
                effects.push(Effect::Answer(Answer::Noted));
                effects
            }
        }
    }

    /// Before a session that no record lists joins: its end mark must be absent.
    pub(super) fn clear(&self, request: JoinRequest) -> Option<Effect> {
        let pending = self.changes.joins.get(&request.name);
        let known = pending.is_some_and(|(pending, _)| *pending == request);
        (!known).then_some(Effect::CheckEndMark(request))
    }

    pub(super) fn on_leave(&mut self, now: Time, session: SessionId) -> Vec<Effect> {
        // One that isn't a member any more asks in vain, and will learn it from the epoch.
        if self.record.is_open(session) {
            self.changes.leaves.insert(session);
            self.changes.orders.undrains.remove(&session);
        }
        self.look_now(now)
    }

    /// Until its process restarts, or the order is taken back. A host that leaves is drained anyway.
    pub(super) fn on_drain(&mut self, now: Time, host: &HostName) -> Vec<Effect> {
        let Some(session) = home_session(&self.record, host) else {
            return vec![no_host(host)];
        };
        let pending = self.changes.leaves.iter().chain(&self.changes.orders.drains);
        let pending: BTreeSet<&HostName> = pending
            .filter_map(|&session| self.record.host_of(session))
            .map(|(name, _)| name)
            .collect();
        let mut others = self.record.hosts.clone();
        others.retain(|name, _| !pending.contains(name));
        if !self.has_taker(&others, host) {
            let why = "no other host can take its slots: start one, or end the draining of one";
            return vec![Effect::Answer(Answer::Refused(why.into()))];
        }
        if let Some(why) = self.last_reader(host, &others) {
            return vec![Effect::Answer(Answer::Refused(why))];
        }
        self.changes.orders.undrains.remove(&session);
        self.changes.orders.drains.insert(session);
        self.look_now(now)
    }

    pub(super) fn on_undrain(&mut self, now: Time, host: &HostName) -> Vec<Effect> {
        let Some(session) = home_session(&self.record, host) else {
            return vec![no_host(host)];
        };
        if self.changes.leaves.contains(&session) {
            let why = format!("{host} is leaving");
            return vec![Effect::Answer(Answer::Refused(why))];
        }
        self.changes.orders.drains.remove(&session);
        let entry = self.record.hosts.get(host);
        if entry.is_some_and(|entry| entry.state == HostState::Draining) {
            self.changes.orders.undrains.insert(session);
        }
        self.look_now(now)
    }

    pub(super) fn on_move(&mut self, now: Time, slots: &[Slot], host: &HostName) -> Vec<Effect> {
        let Some(session) = home_session(&self.record, host) else {
            return vec![no_host(host)];
        };
        if let Some(why) = self.not_movable(slots, host, session) {
            return vec![Effect::Answer(Answer::Refused(why))];
        }
        for &slot in slots {
            let holding = self.record.home().slots.holding(slot);
            if holding.is_owned_by(session) {
                self.changes.orders.slots.remove(&slot);
            } else {
                self.changes.orders.slots.insert(slot, session);
            }
        }
        self.look_now(now)
    }

    /// Why slots can't be moved to a host, if they can't.
    fn not_movable(&self, slots: &[Slot], host: &HostName, session: SessionId) -> Option<String> {
        let Changes { leaves, orders, .. } = &self.changes;
        let entry = self.record.hosts.get(host)?;
        if entry.share() == 0 || leaves.contains(&session) || orders.drains.contains(&session) {
            return Some(format!(
                "{host} takes no slots: it is drained or leaving, or was sealed a moment ago"
            ));
        }
        if let Some(slot) = slots.iter().find(|slot| slot.0 >= self.record.slot_count) {
            return Some(format!("there is no slot {slot}: there are {}", self.record.slot_count));
        }
        let new = slots.iter().filter(|slot| !orders.slots.contains_key(slot)).count();
        if orders.slots.len() + new > ORDERS_MAX {
            return Some(format!(
                "more than {ORDERS_MAX} slots would wait to be moved: move fewer at a time"
            ));
        }
        if let Some(why) = self.not_readable(slots, entry, host) {
            return Some(why);
        }
        let mut draft = Draft::after(&self.record, self.digest);
        self.weigh(&mut draft);
        let was_even = draft.need() == Need::Nothing;
        for &slot in slots {
            // One with many sources is moved later.
            let (Ok(()) | Err(_)) = draft.move_slot(DomainId::HOME, slot, host);
        }
        (was_even && draft.need() != Need::Nothing).then(|| {
            format!("{host} or another host would be more than a tenth off its share, or off its share of shards, and slots would move back: change weights instead")
        })
    }

    /// Why a host can't be given these slots, if it can't read one of them and another host that takes slots can.
    fn not_readable(&self, slots: &[Slot], entry: &HostEntry, host: &HostName) -> Option<String> {
        if self.record.reads_alike() {
            return None;
        }
        let reading = Reading::of(&self.record, DomainId::HOME);
        reading.distinct(slots.iter().copied()).find_map(|slot| {
            let unread = reading.unread(slot, &entry.versions);
            let (kind, version) = unread.iter().next()?;
            let other = reading.taker(&self.record, slot)?;
            Some(format!(
                "{host} can't read {slot}: it may hold states of version {version} of kind {kind}, and {host} {}; {other} \
                 can read it",
                has(&entry.versions, kind)
            ))
        })
    }

    /// Why a host may not be drained, if none of the others can read some slot that it can.
    fn last_reader(
        &self,
        host: &HostName,
        others: &BTreeMap<HostName, HostEntry>,
    ) -> Option<String> {
        let own = &self.record.hosts.get(host)?.versions;
        if self.record.reads_alike() {
            return None;
        }
        let session = home_session(&self.record, host)?;
        let reading = Reading::of(&self.record, DomainId::HOME);
        let owned = self.record.home().slots.owned_by(session).map(|(slot, _)| slot);
        reading.distinct(owned).find_map(|slot| {
            let takes = |(name, other): (&HostName, &HostEntry)| {
                *name != *host && self.takes(name, other) && reading.reads(slot, &other.versions)
            };
            if !reading.reads(slot, own) || others.iter().any(takes) {
                return None;
            }
            let unread = |(name, other): (&HostName, &HostEntry)| {
                let lacks = *name != *host && self.takes(name, other);
                lacks.then(|| reading.unread(slot, &other.versions))
            };
            let unread = others.iter().find_map(unread)?;
            let (kind, version) = unread.iter().next()?;
            Some(format!(
                "no other host that takes slots can read version {version} of kind {kind}, which may be in {slot} of {host}: \
                 start one first, or stop {host}, and these vnodes are refused until one comes"
            ))
        })
    }

    /// The request is noted, and done as soon as nothing speaks against it.
    fn look_now(&mut self, now: Time) -> Vec<Effect> {
        self.look_at = self.look_at.min(now);
        let mut effects = vec![Effect::Answer(Answer::Noted)];
        effects.extend(self.on_tick(now));
        effects
    }

    pub(super) fn on_seal_host(&mut self, now: Time, host: &HostName) -> Vec<Effect> {
        if *host == self.own {
            // Sealing ourselves is starting over: the others will see to the slots.
            return vec![Effect::EndOwnSession, Effect::Answer(Answer::Noted)];
        }
        match home_session(&self.record, host) {
            Some(session) => {
                let why = format!("an operator asked for {host} to be sealed");
                let mut effects = self.fail(now, session, &why);
                effects.push(Effect::Answer(Answer::Noted));
                effects
            }
            None => vec![no_host(host)],
        }
    }
}

/// `has version 1`, or that it lacks the kind.
fn has(own: &KindVersions, kind: &str) -> String {
    match own.has(kind) {
        true => format!("has version {}", own.of(kind)),
        false => "doesn't have the kind".into(),
    }
}

fn no_host(host: &HostName) -> Effect {
    Effect::Answer(Answer::Refused(format!("there is no host {host}")))
}
