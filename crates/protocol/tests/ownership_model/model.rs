//! One slot over several sessions and epochs. Each store request is one action; a session may pause between any two.

use std::sync::Arc;

use holocron_protocol::slot::{
    fold::Fold,
    tenure::{Adopter, Submitted},
};
use stateright::{Model, Property};

use crate::{
    leader::{self, Change, Known, Listed, tenure},
    log::{self, History, Log, VNODES},
    plant::{self, Bug},
    session::foreign,
    state::{Batch, Copies, Session, Snapshot, State, Status},
};

/// The bounds of a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ownership {
    pub(crate) sessions: usize,
    pub(crate) epochs: usize,
    pub(crate) writes: u8,
    /// How much a checkpoint may copy; empty: no checkpoints.
    pub(crate) copies: &'static [Copies],
    pub(crate) steps: Steps,
    pub(crate) bug: Option<Bug>,
}

/// Which operations are split into several steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steps {
    /// None: a batch is committed when it is submitted, a checkpoint when it is planned.
    Whole,
    /// Checkpoints are planned in one step and committed in a later one.
    SplitCheckpoints,
    /// A read decides its range in one step and reads the objects in a later one, if they still exist.
    SplitReadings,
    /// Checkpoints are planned in one step and committed in a later one; submitted batches land later, or never.
    Split,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Lead(Change),
    Seal(u8),
    Delete(u8),
    Learn(u8, u8),
    Read {
        reader: u8,
        source: u8,
    },
    Adopt(u8),
    /// Only for planted bugs: adopts what the session, or another one, remembers.
    Resume(u8, u8),
    Release(u8),
    Write(u8),
    Land(u8),
    Plan(u8, Copies),
    Checkpoint(u8),
}

impl Model for Ownership {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let first = leader::first(self.sessions);
        let never_listed = || Arc::new(Session::default());
        let sessions: Vec<_> = core::iter::repeat_with(never_listed).take(self.sessions).collect();
        let mut state = State {
            records: vec![Some(first)],
            sessions,
            known: Known::default(),
            writes: 0,
            acknowledged: [History::default(); VNODES],
            violation: None,
        };
        state.learn(0, 1);
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        self.lead(state, actions);
        for (number, session) in (0..).zip(&state.sessions) {
            if session.seen > 0 {
                self.session_actions(state, number, session, actions);
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Lead(change) => self.led(&mut state, change)?,
            Action::Seal(session) => self.seal(&mut state, session),
            Action::Delete(session) => {
                let session = state.session_mut(session);
                session.status = Status::Deleted;
                session.stored = Log::default();
            }
            Action::Learn(session, epoch) => {
                let moved = state.record(state.session(session).seen).chain().collect::<Vec<_>>()
                    != state.record(epoch).chain().collect::<Vec<_>>();
                state.learn(session, epoch);
                if moved {
                    state.session_mut(session).forget_readings();
                }
            }
            Action::Read { reader, source } => {
                self.read(&mut state, reader, source)?;
            }
            Action::Adopt(session) => self.adopt(&mut state, session)?,
            Action::Resume(session, of) => {
                let remembered = state.session_mut(of).remembered.take()?;
                let given = state.seen_by(session).owner.0;
                self.submit(&mut state, session, Batch::Adopt(given, foreign(remembered)));
            }
            Action::Release(session) => {
                let given = state.seen_by(session).owner.0;
                self.submit(&mut state, session, Batch::Release(given));
            }
            Action::Write(session) => self.write(&mut state, session)?,
            Action::Land(session) => self.land(&mut state, session),
            Action::Plan(session, copies) => self.plan(&mut state, session, copies)?,
            Action::Checkpoint(session) => self.checkpoint(&mut state, session),
        }
        // Only these actions change what a new owner would recover.
        let found = matches!(
            action,
            Action::Lead(_) | Action::Delete(_) | Action::Land(_) | Action::Checkpoint(_)
        );
        if found || self.steps != Steps::Split {
            self.check(&mut state);
        }
        state.normalize();
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always("nothing is violated", |_, state: &State| {
            state.violation.is_none()
        })];
        properties.extend(
            crate::HAPPENS.iter().map(|&(name, happens)| Property::sometimes(name, happens)),
        );
        properties
    }
}

impl Ownership {
    pub(crate) fn planted(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn lead(&self, state: &State, actions: &mut Vec<Action>) {
        if state.records.len() == self.epochs {
            return;
        }
        let newest = state.newest();
        let known = self.known(state);
        // Sessions that were never listed are equivalent: only the first of them is tried.
        let fresh = state.sessions.iter().position(|session| session.seen == 0);
        let named = state.sessions.iter().position(|session| session.seen > 0);
        assert!(named.is_some(), "the slot has an owner");
        let candidates: Vec<u8> = (0..state.sessions.len())
            .filter(|&session| state.sessions[session].seen > 0 || Some(session) == fresh)
            .filter(|&session| newest.listed[session] == Listed::Open)
            .map(|session| u8::try_from(session).expect("few sessions"))
            .filter(|&session| session != newest.owner.1)
            .collect();
        for known in [Known::default(), known] {
            let change = Change { known, ..Change::default() };
            if known != Known::default() {
                actions.push(Action::Lead(change));
            }
            for &session in &candidates {
                let change = Change { move_to: Some(session), ..change };
                actions.push(Action::Lead(change));
                actions.push(Action::Lead(Change { remove: Some(newest.owner.1), ..change }));
            }
            for &(_, session) in &newest.sources {
                if session != newest.owner.1 {
                    actions.push(Action::Lead(Change { remove: Some(session), ..change }));
                }
            }
        }
    }

    fn known(&self, state: &State) -> Known {
        let mut known = state.known;
        for (number, session) in (0..).zip(&state.sessions) {
            known.sealed |= u8::from(session.status != Status::Live) << number;
        }
        if self.planted(Bug::FullOfAnOlderTenureCounts) {
            for (given, session) in state.newest().chain() {
                let full = |held: &log::AdoptedTenure| known.full >> held.epoch & 1 == 1;
                if state.session(session).stored.tenures.iter().any(full) {
                    known.full |= 1 << given;
                }
            }
        }
        known
    }

    fn led(&self, state: &mut State, change: Change) -> Option<()> {
        let next = leader::next(state.newest(), change)?;
        let epoch = next.epoch;
        state.records.push(Some(Arc::clone(&next)));
        for (_, session) in next.chain() {
            if state.session(session).seen == 0 {
                state.learn(session, epoch);
            }
        }
        Some(())
    }

    fn session_actions(
        &self,
        state: &State,
        number: u8,
        session: &Session,
        actions: &mut Vec<Action>,
    ) {
        if self.may_delete(state, number, session) {
            actions.push(Action::Delete(number));
        }
        if session.status != Status::Live {
            return;
        }
        actions.push(Action::Seal(number));
        let newest = u8::try_from(state.records.len()).expect("few epochs");
        actions.extend((session.seen + 1..=newest).map(|epoch| Action::Learn(number, epoch)));
        if session.in_flight.is_some() {
            actions.push(Action::Land(number));
        } else {
            self.duties(state, number, session, actions);
            if session.checkpoint.is_some() {
                actions.push(Action::Checkpoint(number));
            }
        }
        if session.checkpoint.is_none() {
            actions.extend(self.copies.iter().map(|&copies| Action::Plan(number, copies)));
        }
    }

    fn may_delete(&self, state: &State, number: u8, session: &Session) -> bool {
        let at = usize::from(number);
        let newest = state.newest();
        let mut detached = newest.listed[at] == Listed::Detached;
        if self.planted(Bug::LiveSessionDetached) {
            detached |= !newest.names(number);
        }
        if self.planted(Bug::DeletesBeforeTheEpochCommits) {
            let change = Change { known: self.known(state), ..Change::default() };
            let next = leader::next(newest, change);
            detached |= next.is_some_and(|next| next.listed[at] == Listed::Detached);
        }
        session.status != Status::Deleted && detached
    }

    fn check(&self, state: &mut State) {
        if state.violation.is_some() {
            return;
        }
        let holds = |session: &&Arc<Session>| {
            session.status == Status::Live && session.stored.open().is_some()
        };
        if state.sessions.iter().filter(holds).count() > 1 {
            state.violation = Some("two sessions hold the slot");
        } else if let Some(violation) = recoverable(state) {
            state.violation = Some(violation);
        }
    }
}

/// Checks that a new owner would recover all acknowledged writes by the newest epoch, if all sessions died now.
fn recoverable(state: &State) -> Option<&'static str> {
    let newest = state.newest();
    let sources: Vec<_> = newest.chain().collect();
    let read: Vec<Option<Snapshot>> = state
        .sessions
        .iter()
        .map(|session| {
            let there = session.status != Status::Deleted;
            there.then(|| Snapshot { log: session.stored.clone(), sealed: true })
        })
        .collect();
    let new_owner = Adopter {
        tenure: tenure((newest.epoch + 1, u8::try_from(leader::SESSIONS_MAX).expect("few"))),
        submitted: Submitted::default(),
    };
    match plant::fold(&new_owner, &sources, &read) {
        Err(_) => Some("the listed tenures contradict each other"),
        Ok(Fold::Missing(_)) => Some("the newest epoch needs a deleted session"),
        Ok(Fold::Recovered(recovered)) => {
            let entries = log::entries(&recovered.index);
            let mut acknowledged = state.acknowledged.iter().zip(&entries);
            let all = acknowledged.all(|(acknowledged, entry)| acknowledged.begins(entry.history));
            (!all).then_some("an acknowledged write can no longer be recovered")
        }
    }
}
