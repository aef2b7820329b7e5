//! Making the next record: everything that is to change, on top of the newest one.

use std::collections::BTreeSet;

use holocron_protocol::{
    epoch::{EpochRecord, Handover, HostEntry, HostState, Leader, RecordDigest},
    ids::{DomainId, Epoch, HostName},
    topology::{Draft, Need},
};

use super::{Changes, Lead};
use crate::{host::run::Run, peer::JoinRequest};

/// Most slots moved by one epoch; the rest follow when these have arrived.
pub(super) const MOVES_MAX: usize = 1_024;

impl Run {
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
        let leading = self.lead.is_some();
        if !leading {
            self.take_over(&mut draft, &mut reasons)?;
        }
        if let Some(lead) = &mut self.lead {
            if let Some(view) = &self.view {
                lead.change(&mut draft, &mut reasons, &view.record);
            }
        }
        let moves = draft.rebalance(MOVES_MAX);
        if draft.need(&leader) == Need::Nothing {
            if let Some(lead) = &mut self.lead {
                lead.changes.came_to_nothing();
            }
            return None;
        }
        if reasons.is_empty() {
            let moved = if moves > 0 {
                "slots move towards balance"
            } else {
                "what is not needed any more goes"
            };
            reasons.push(moved.to_owned());
        }
        Some(draft.finish(leader, &reasons.join("; "), parts.clock.wall_ms()))
    }

    /// What a host that becomes leader changes: itself in, a leader that is gone out.
    fn take_over(&self, draft: &mut Draft, reasons: &mut Vec<String>) -> Option<()> {
        let own = self.join_request();
        match &self.view {
            None => reasons.push(format!("{} founds the cluster", own.name)),
            Some(view) => {
                let before = &view.record.leader;
                let another = before.host != own.name;
                if another
                    && view.record.handover == Handover::Stays
                    && view.record.hosts.contains_key(&before.host)
                {
                    draft.remove(&before.host);
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
    fn change(&mut self, draft: &mut Draft, reasons: &mut Vec<String>, record: &EpochRecord) {
        let newest = record.epoch;
        let owning = owning(record);
        let Changes { joins, fails, leaves, seals, reports, forgets, .. } = &mut self.changes;
        for (host, why) in &*fails {
            draft.remove(host);
            reasons.push(why.clone());
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
        // Cleared as of an older record: asked again, and cleared anew.
        joins.retain(|_, (_, as_of)| *as_of >= newest);
        joins.retain(|name, (request, _)| match draft.join(name, entry(request)) {
            Ok(()) => {
                reasons.push(format!("{name} joins"));
                true
            }
            Err(refused) => {
                tracing::warn!(host = %name, %refused, "can't join");
                false
            }
        });
        for host in &*leaves {
            let owns_nothing = !owning.contains(host);
            if owns_nothing || draft.hosts().len() <= 1 {
                draft.remove(host);
                reasons.push(format!("{host} has left"));
            } else {
                draft.drain(host);
                reasons.push(format!("{host} is leaving"));
            }
        }
    }
}

/// The hosts that own slots.
fn owning(record: &EpochRecord) -> BTreeSet<HostName> {
    let slots = record.domains.values().flat_map(|domain| domain.slots.distinct());
    let owners = slots.filter_map(|holding| record.host_of(holding.owner?.session));
    owners.map(|(name, _)| name.clone()).collect()
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
