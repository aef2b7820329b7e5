//! After a takeover: the new owner writes, an epoch detaches the session, a collector deletes its objects.

use holocron_protocol::{
    checkpoint::collect::{Collection, Detached, EndMark},
    format::keys::Key,
    ids::Position,
};

use crate::{
    model::{Action, Bug, Journal},
    state::{Cell, POSITIONS, SESSION, State, positions},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterStep {
    NewOwnerWrites,
    Detach,
    CreateEndMark,
    DeleteEndMark,
    CollectorDeletes(Position),
}

impl AfterStep {
    pub(crate) fn take(self, state: &mut State) {
        match self {
            Self::NewOwnerWrites => state.after.new_owner_wrote = true,
            Self::Detach => state.after.detached = true,
            Self::CreateEndMark => state.end_mark = true,
            Self::DeleteEndMark => state.end_mark = false,
            Self::CollectorDeletes(position) => state.put(position, Cell::Absent),
        }
    }
}

impl Journal {
    pub(crate) fn after_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Some(sealed_at) = state.after.adopted_at else { return };
        if !state.after.new_owner_wrote && self.reads_max > 0 {
            actions.push(Action::After(AfterStep::NewOwnerWrites));
        }
        if !self.detaches {
            return;
        }
        if !state.after.detached {
            actions.push(Action::After(AfterStep::Detach));
            return;
        }
        if self.has(Bug::DeletesMarks) && state.end_mark {
            actions.push(Action::After(AfterStep::DeleteEndMark));
        }
        let beyond = Position::new(POSITIONS as u64);
        let sealed_at = if self.has(Bug::DeletesSeal) { beyond } else { sealed_at };
        let definite = state.end_mark || self.has(Bug::CollectsUnmarked);
        let end_mark = if definite { EndMark::Definite } else { EndMark::NotKnown };
        let there = positions().filter(|&at| state.at(at) != Cell::Absent);
        let listed = there.map(|at| Key::Journal(SESSION, at));
        match (Detached { session: SESSION, sealed_at }).collect(end_mark, listed) {
            Collection::CreateEndMark => actions.push(Action::After(AfterStep::CreateEndMark)),
            Collection::Delete(keys) => {
                for key in keys {
                    let Key::Journal(_, position) = key else { panic!("{key:?} was not listed") };
                    actions.push(Action::After(AfterStep::CollectorDeletes(position)));
                }
            }
        }
    }
}
