//! Making the next record: everything that is to change, on top of the newest one.

use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::{
    control::suspicion::SlotBackoff,
    epoch::{
        draft::Draft,
        record::{EpochRecord, Handover, HostEntry, HostState, Leader, RecordDigest},
    },
    ids::{DomainId, Epoch, HostName, SessionId},
    time::Time,
};

use super::{Changes, Lead};
use crate::{host::driver::Driver, transport::peer::JoinRequest};

/// Most slots moved by one epoch; the rest follow when these have arrived.
pub(super) const MOVES_MAX: usize = 1_024;

impl Driver {
    /// The next record, if there is something to write.
    pub(crate) fn make_next(&mut self, epoch: Epoch) -> Option<EpochRecord> {
        let parts = &self.shared.parts;
        let leader = Leader {
            host: parts.name.clone(),
            session: self.life.id(),
            address: parts.address.clone(),
        };
        let mut draft = match &self.view {
            None => Draft::first(&parts.cluster),
            Some(view) => Draft::after(&view.record, RecordDigest::of(&view.stored)),
        };
        if draft.epoch() != epoch {
            // A newer record was learned since this was asked for.
            return None;
        }
        let mut reasons = Vec::new();
        let now = parts.clock.now();
        let leading = self.lead.is_some();
        if !leading {
            self.take_over(&mut draft, &mut reasons)?;
        }
        if let (Some(lead), Some(view)) = (&mut self.lead, &self.view) {
            assert_eq!(view.record.leader.session, leader.session, "a leadership is one session's");
            lead.change(&mut draft, &mut reasons, &view.record, now);
        }
        let moves = draft.rebalance(MOVES_MAX);
        if reasons.is_empty() {
            let moved = if moves > 0 {
                "slots move towards balance"
            } else {
                "what is not needed any more goes"
            };
            reasons.push(moved.to_owned());
        }
        let record = draft.finish(leader, &reasons.join("; "), parts.clock.wall_ms());
        if self.view.as_ref().is_some_and(|view| !record.is_news_after(&view.record)) {
            if let Some(lead) = &mut self.lead {
                lead.changes.came_to_nothing();
            }
            return None;
        }
        Some(record)
    }

    /// What a host that becomes leader changes: itself in, a leader that is gone out. What wasn't heard is the session
    /// that led; who has taken its place under its name is left in peace.
    fn take_over(&self, draft: &mut Draft, reasons: &mut Vec<String>) -> Option<()> {
        let own = self.join_request();
        match &self.view {
            None => reasons.push(format!("{} founds the cluster", own.name)),
            Some(view) => {
                let before = &view.record.leader;
                let another = before.host != own.name;
                if another
                    && view.record.handover == Handover::Stays
                    && draft.remove(before.session)
                {
                    reasons.push(format!(
                        "{} takes over from {}, which is not heard",
                        own.name, before.host
                    ));
                } else {
                    reasons.push(format!("{} takes over", own.name));
                }
            }
        }
        match draft.join(&own.name.clone(), entry(&own)) {
            Ok(()) => Some(()),
            Err(refused) => {
                tracing::warn!(%refused, "can't lead");
                None
            }
        }
    }
}

impl Lead {
    fn change(
        &mut self,
        draft: &mut Draft,
        reasons: &mut Vec<String>,
        record: &EpochRecord,
        now: Time,
    ) {
        let newest = record.epoch;
        let owning = owning(record);
        let Changes { joins, shares, fails, leaves, seals, reports, forgets, .. } =
            &mut self.changes;
        for (&session, why) in &*fails {
            if draft.remove(session) {
                reasons.push(why.clone());
            }
        }
        for (&session, &position) in &*seals {
            draft.seal_known(session, position);
        }
        for report in &*reports {
            draft.report(*report);
        }
        for &session in &*forgets {
            draft.forget(session);
        }
        for (name, (request, _)) in &*shares {
            if record.is_open(request.session) && draft.join(name, entry(request)).is_ok() {
                reasons.push(format!("{name} has waited for its share of the slots"));
            }
        }
        // Cleared as of an older record: asked again, and cleared anew.
        joins.retain(|_, (_, as_of)| *as_of >= newest);
        let (waits, waiting) = (&self.waits, &mut self.shares);
        joins.retain(|name, (request, _)| {
            match draft.join(name, admitted(request, waits, now, waiting)) {
                Ok(()) => {
                    reasons.push(format!("{name} joins"));
                    true
                }
                Err(refused) => {
                    tracing::warn!(host = %name, %refused, "can't join");
                    false
                }
            }
        });
        for &session in &*leaves {
            // One that was replaced in this very draft has nothing left to leave.
            let Some(host) = draft.host_of(session).cloned() else { continue };
            if !owning.contains(&session) || draft.hosts().len() <= 1 {
                if session == record.leader.session {
                    // Our own last epoch: the first of the others tries the next at once.
                    let successor = draft.hosts().keys().find(|name| **name != host).cloned();
                    draft.resign(successor.as_ref()).expect("it is among the hosts");
                }
                draft.remove(session);
                reasons.push(format!("{host} has left"));
            } else {
                draft.drain(session);
                reasons.push(format!("{host} is leaving"));
            }
        }
    }
}

/// The sessions that own slots.
fn owning(record: &EpochRecord) -> BTreeSet<SessionId> {
    let slots = record.domains.values().flat_map(|domain| domain.slots.distinct());
    slots.filter_map(|holding| Some(holding.owner?.session)).collect()
}

/// How a host that asks to join is taken in: one that was sealed a moment ago gets no slots yet.
fn admitted(
    request: &JoinRequest,
    waits: &SlotBackoff,
    now: Time,
    waiting: &mut BTreeMap<HostName, JoinRequest>,
) -> HostEntry {
    if waits.slots_from(&request.name, now) <= now {
        return entry(request);
    }
    waiting.insert(request.name.clone(), request.clone());
    HostEntry { weight: 0, ..entry(request) }
}

fn entry(request: &JoinRequest) -> HostEntry {
    HostEntry {
        address: request.address.clone(),
        sessions: [(DomainId::HOME, request.session)].into(),
        state: HostState::Active,
        weight: request.weight,
        zone: None,
    }
}
