//! Checkpoints: planned by the real [`Plan`] from the session's log at a low water, visible to readers once committed.

use std::collections::BTreeMap;

use holocron_protocol::{
    checkpoint::plan::{Plan, PlanInput, Survey, TenureStatus},
    ids::{Epoch, PackNumber, Position},
    slot::log::SlotLog,
    state::{
        checkpoint::Coverage,
        index::SlotIndex,
        pack::PackRef,
        place::{Origin, Place},
    },
};

use crate::{
    leader::{SLOT, session_id},
    log::{self, Log, PLANNER, epoch, hash, model_files, number, place},
    model::{Ownership, Steps},
    plant::Bug,
    session::apply,
    state::{Batch, CHECKPOINTS, Copies, Planned, Session, State},
};

impl Ownership {
    pub(crate) fn plan(&self, state: &mut State, session: u8, copies: Copies) -> Option<()> {
        let seen = state.seen_by(session).holding.clone();
        let me = state.session_mut(session);
        let mut at_low_water = me.log.real();
        let kept = if self.planted(Bug::ListedSlotLeftOut) {
            at_low_water.open().is_some()
        } else {
            at_low_water.keep_listed(session_id(session.into()), &seen)
        };
        let at_low_water = if kept { Log::of(&at_low_water) } else { Log::default() };
        let open = me.submitted().open().map(number);
        let above = Vec::new();
        me.checkpoint = Some(Planned { at_low_water, open, copies, above });
        if matches!(self.steps, Steps::Whole | Steps::SplitReadings) {
            self.checkpoint(state, session);
        }
        Some(())
    }

    /// The planned checkpoint is committed: from now on readers find it and the batches above its low water.
    pub(crate) fn checkpoint(&self, state: &mut State, session: u8) {
        let mut me = state.session(session).clone();
        let Some(planned) = me.checkpoint.take() else { return };
        let low = planned.at_low_water.real();
        let plan = compose(&low, planned.open, planned.copies);
        let mut stored = self.written(&me, &planned, &low, &plan);
        let mut own = me.log.real();
        for copy in plan.copies() {
            own.copied(copy, &own_place(&copy.from));
        }
        for full in stored.tenures().iter().filter(|tenure| tenure.coverage == Coverage::Full) {
            own.settled(full.epoch);
            state.known.full |= 1 << number(full.epoch);
        }
        me.log = Log::of(&own);
        me.log.tenures.retain(|held| {
            let adopted =
                |batch: &Batch| matches!(batch, Batch::Adopt(given, _) if *given == held.epoch);
            low.tenure(epoch(held.epoch)).is_some() || planned.above.iter().any(adopted)
        });
        for batch in planned.above {
            if apply(&mut stored, batch, Origin::Own).is_err() {
                state.violation = Some("a journal breaks a rule");
                return;
            }
        }
        me.stored = Log::of(&stored);
        if self.steps == Steps::SplitReadings {
            me.checkpoints = (me.checkpoints + 1) % CHECKPOINTS;
        }
        *state.session_mut(session) = me;
    }

    /// The checkpoint's content, as readers find it.
    fn written(&self, me: &Session, planned: &Planned, low: &SlotLog, plan: &Plan) -> SlotLog {
        let holds = if self.planted(Bug::FullAfterRelease) {
            planned.open.map(epoch)
        } else {
            me.submitted().open()
        };
        let pack = PackRef { number: PackNumber::new(1), length: 99, index_offset: 50 };
        let packs = if plan.copies().is_empty() { vec![] } else { vec![pack] };
        let mut content = plan.content(&packs, |_| holds);
        let mut entry = content.slots.remove(&SLOT).unwrap_or_default();
        if self.planted(Bug::PartTakenAsFull) {
            for tenure in entry.tenures.iter_mut().filter(|tenure| holds == Some(tenure.epoch)) {
                tenure.coverage = Coverage::Full;
            }
        }
        let mut stored = SlotLog::of_checkpoint(&entry);
        for tenure in low.tenures() {
            let Some(written) = stored.tenure_mut(tenure.epoch) else { continue };
            let own = tenure.entries.iter().filter(|(_, place)| place.origin == Origin::Own);
            let copies = plan.copies().iter().filter(|copy| copy.epoch == tenure.epoch);
            let copied = copies.map(|copy| (copy.hash, own_place(&copy.from)));
            let entries: BTreeMap<_, _> = own.chain(copied).collect();
            written.entries = SlotIndex::from_sorted(entries);
        }
        stored
    }
}

fn own_place(from: &Place) -> Place {
    let mut index = SlotIndex::default();
    index.put(hash(0), from);
    let mut entries = log::entries(&index);
    entries[0].origin = Origin::Own;
    place(entries[0])
}

/// The real plan for a log.
fn compose(low: &SlotLog, open: Option<u8>, copies: Copies) -> Plan {
    let status = |given: Epoch| TenureStatus::of(given, open.map(epoch));
    let mut survey = Survey::default();
    for tenure in low.tenures() {
        survey.tenure(tenure, status(tenure.epoch));
    }
    let input = PlanInput {
        session: PLANNER,
        low_water: Position::new(1),
        slots: [(SLOT, low.checkpoint_entry())].into(),
        packs: Vec::new(),
        copy_len_max: match copies {
            Copies::Nothing => 0,
            Copies::One => 1,
            Copies::All => 1 << 20,
        },
    };
    let files = &model_files().files;
    let mut plan = Plan::new(input, &survey, files);
    for tenure in low.tenures() {
        plan.tenure(SLOT, tenure, status(tenure.epoch), files);
    }
    plan
}
