//! The possible steps, and the rules that must hold.

use holocron_protocol::{
    ids::Position,
    journal::{read_barrier::ReadBarrier, writer::Writer},
};
use stateright::{Model, Property};

use crate::{
    after::AfterStep,
    host::HostStep,
    sealers::SealerStep,
    state::{After, Cell, POSITIONS, SESSION, Sealer, State, positions, up_to},
};

/// What a sealer knows at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    Never,
    Listing,
    Hinted,
    Fetched,
    Told,
}

/// A bug planted in the callers of the functions. Each skips one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    AcknowledgesOutOfOrder,
    TrustsAlreadyExists,
    LowWaterAheadOfCommit,
    CheckpointNotAlone,
    CheckpointNamesPrevious,
    TrimsBeforeCommit,
    TrimsUnmarked,
    MarksWithGaps,
    SealsAtMax,
    ListUnchecked,
    NoTrimMarkGet,
    NoEndMarkGet,
    ReliesOnUnknown,
    HintUnchecked,
    HintVouchesForAll,
    SealSpeaksForHint,
    MissingIsEmpty,
    DeletesSeal,
    DeletesMarks,
    CollectsUnmarked,
    AnswersOpenBatch,
    NoBarrier,
    SharesEarlierGet,
    LeavesBatchInFlight,
    WaitsForBatchInFlight,
    GetsOwnBatch,
}

/// The bounds of one search.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each allows one kind of fault, in any combination"
)]
pub(crate) struct Journal {
    pub(crate) batches_max: u64,
    pub(crate) checkpoints_max: usize,
    pub(crate) in_flight_max: u64,
    /// A create may land again after its object was deleted.
    pub(crate) duplicates: bool,
    /// A seal's create may end without an answer.
    pub(crate) unknowns: bool,
    pub(crate) detaches: bool,
    /// Before any sealing, a batch that a later one calls committed may be deleted from outside.
    pub(crate) robs: bool,
    /// Most pending reads.
    pub(crate) reads_max: usize,
    pub(crate) begins: [Begins; 2],
    pub(crate) bug: Option<Bug>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Host(HostStep),
    Sealer(usize, SealerStep),
    /// A create of a seal lands.
    SealLands(usize),
    After(AfterStep),
    StrangerDeletes(Position),
}

impl Journal {
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

impl Model for Journal {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let writer = Writer::new(SESSION, self.in_flight_max);
        let mut store = [Cell::Absent; POSITIONS];
        store[0] = Cell::Batch;
        vec![State {
            store,
            trim_marks: 0,
            end_mark: false,
            batches: Vec::new(),
            seals_sent: Vec::new(),
            reads: (self.reads_max > 0).then(|| ReadBarrier::new(&writer)),
            writer,
            stopped: false,
            landed: 0,
            heard: 0,
            acknowledged: Position::ZERO,
            get: None,
            got: None,
            sealers: [Sealer::Idle, Sealer::Idle],
            hints: [Position::ZERO; 2],
            after: After::default(),
            deleted_outside: false,
            violation: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_none() {
            self.host_actions(state, actions);
            self.sealer_actions(state, actions);
            self.after_actions(state, actions);
            self.stranger_actions(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Host(step) => self.host_does(&mut state, step),
            Action::Sealer(who, step) => self.sealer_does(&mut state, who, step),
            Action::SealLands(which) => {
                let (position, values) = state.seals_sent[which];
                state.put(position, Cell::Seal(values));
            }
            Action::After(step) => step.take(&mut state),
            Action::StrangerDeletes(position) => {
                state.put(position, Cell::Absent);
                state.deleted_outside = true;
            }
        }
        state.forget();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        type Name = fn(&'static str, fn(&Journal, &State) -> bool) -> Property<Journal>;
        let (always, sometimes): (Name, Name) = (Property::always, Property::sometimes);
        vec![
            always("no step violates a rule", |_, state| state.violation.is_none()),
            always("no journal is broken without a deletion from outside", |_, state| {
                state.deleted_outside || !state.sealers.contains(&Sealer::Broken)
            }),
            always("one seal in untrimmed segments", |_, state| {
                let relied_on = state.after.adopted_at.into_iter();
                let mut seals = state.effective_seals().chain(relied_on);
                let first = seals.next();
                seals.all(|seal| Some(seal) == first)
            }),
            always("acknowledged changes are below the seal", |_, state| {
                let relied_on = state.sealers.iter().filter_map(Sealer::relies_on);
                state.effective_seals().chain(relied_on).all(|seal| state.acknowledged < seal)
            }),
            always("sealers rely on the same seal", |_, state| {
                let mut seals = state.sealers.iter().filter_map(Sealer::relies_on);
                let first = seals.next().or(state.after.adopted_at);
                seals.all(|seal| Some(seal) == first)
                    && (state.after.adopted_at.is_none() || first == state.after.adopted_at)
            }),
            always("acknowledged changes are recovered", |_, state| {
                let acknowledged = up_to(state.acknowledged);
                let mut recovered = state.sealers.iter().filter_map(Sealer::recovered);
                recovered.all(|recovered| acknowledged & !recovered == 0)
            }),
            always("recovered content is the same", |_, state| {
                let [one, other] = &state.sealers;
                match (one.recovered(), other.recovered()) {
                    (Some(one), Some(other)) => one == other,
                    _ => true,
                }
            }),
            sometimes("both sealers take over", |_, state| {
                state.sealers.iter().all(|sealer| sealer.recovered().is_some())
            }),
            sometimes("a sealer learns that the session is detached", |_, state| {
                state.sealers.contains(&Sealer::Detached)
            }),
            sometimes("a sealer finds an object missing", |_, state| {
                state.sealers.contains(&Sealer::Broken)
            }),
            sometimes("a seal lands in a trimmed segment", |_, state| {
                let seals = positions().filter(|&at| matches!(state.at(at), Cell::Seal(_)));
                seals.count() > state.effective_seals().count() && !state.end_mark
            }),
            sometimes("a batch lands above the seal", |_, state| {
                state.effective_seals().any(|seal| state.at(seal.next()) == Cell::Batch)
            }),
            sometimes("a host reads its own seal and stops", |_, state| {
                state.stopped && !state.writer.is_over()
            }),
            sometimes("a read sees what isn't committed", |_, state| {
                let committed = state.writer.committed();
                let waits = state.reads.as_ref().is_some_and(|reads| !reads.is_empty());
                waits && state.writer.submitted() > committed
            }),
            sometimes("everything is acknowledged", |model, state| {
                state.acknowledged.get() == model.batches_max
            }),
        ]
    }
}
