//! What hosts and operators ask of a leader: to let a host join or leave, to seal a host.

use alloc::{format, string::String, vec, vec::Vec};

use super::{Effect, Leadership, home_session};
use crate::{
    control::{
        admission::{Admission, admission},
        report::JoinRequest,
    },
    ids::{HostName, SessionId},
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
        match admission(&self.record, request.session) {
            Admission::Over => {
                let why = "this session is over: open a new one".into();
                vec![Effect::Answer(Answer::Refused(why))]
            }
            Admission::Member => {
                // An earlier leader may have let it wait for its share.
                let entry = self.record.hosts.get(&request.name);
                if entry.is_some_and(|entry| entry.weight != request.weight) {
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
        }
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
            None => {
                let why = format!("there is no host {host}");
                vec![Effect::Answer(Answer::Refused(why))]
            }
        }
    }
}
