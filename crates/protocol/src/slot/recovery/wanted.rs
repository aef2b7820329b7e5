//! The slots that a session recovers, and the live sources that they may wait for.

use alloc::{collections::BTreeSet, vec::Vec};

use crate::{
    epoch::record::EpochRecord,
    ids::{SessionId, Slot, Tenure},
    slot::{
        residency::{Residency, SlotState},
        tenure::Submitted,
    },
};

/// A slot to recover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub slot: Slot,
    /// The tenure to adopt it under.
    pub tenure: Tenure,
    /// What it is recovered from, newest first.
    pub sources: Vec<Tenure>,
    /// What this session has submitted about it.
    pub submitted: Submitted,
}

/// The slots that a session recovers, by the newest record it has read.
#[must_use]
pub fn wanted(residency: &Residency, session: SessionId, record: &EpochRecord) -> Vec<Wanted> {
    let Some(slots) = record.slots_around(session) else { return Vec::new() };
    let recovering = residency.states().filter_map(|(slot, state)| {
        let SlotState::Recovering { tenure } = state else { return None };
        let tenure = Tenure { epoch: tenure, session };
        let holding = slots.holding(slot);
        // A record older or newer than the residency's says nothing about this tenure.
        (holding.owner == Some(tenure)).then(|| Wanted {
            slot,
            tenure,
            sources: holding.sources.clone(),
            submitted: residency.submitted(slot),
        })
    });
    recovering.collect()
}

/// The live sessions whose Release the slots may wait for, before anything was fetched of their journals.
#[must_use]
pub fn live_sources(wanted: &[Wanted], session: SessionId, record: &EpochRecord) -> Vec<SessionId> {
    let sources = wanted.iter().flat_map(|wanted| &wanted.sources).map(|source| source.session);
    let live = sources.filter(|&source| source != session && record.lists_open(source));
    live.collect::<BTreeSet<_>>().into_iter().collect()
}
