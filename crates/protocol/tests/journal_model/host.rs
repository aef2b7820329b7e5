//! The host that writes the journal: batches, trims, reads. It continues after its session is over, until it notices.

use holocron_protocol::{
    checkpoint::trim::next_trim,
    format::segment::{TrimStep, Trimmed},
    ids::{Position, Segment},
    journal::{
        batch::BatchHeader,
        read_barrier::{BarrierFound, ReadBarrier, ReadMode},
        writer::Carries,
    },
};

use crate::{
    model::{Action, Bug, Journal},
    state::{Cell, Frozen, Reader, SEGMENT_LEN, State, bit},
};

/// The next step of the host, or of a create it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostStep {
    Submit(Carries),
    /// With a header that a correct writer would not write.
    SubmitForged(Carries, BatchHeader),
    BatchLands(Position),
    HearsWon(Position),
    HearsLost(Position),
    CreateTrimMark(Segment),
    Deletes(Position),
    ReadArrives(ReadMode, Position),
    IssueGet,
    GetAnswered,
    HearsGet,
}

impl Journal {
    pub(crate) fn host_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut steps = Vec::new();
        self.host_steps(state, &mut steps);
        actions.extend(steps.into_iter().map(Action::Host));
    }

    fn host_steps(&self, state: &State, steps: &mut Vec<HostStep>) {
        let submitted = state.writer.submitted();
        if !state.stopped {
            self.submissions(state, steps);
            for position in between(Position::ZERO, submitted) {
                if state.heard & bit(position) != 0 {
                    continue;
                }
                let sealed = matches!(state.at(position), Cell::Seal(_));
                let trusts = self.has(Bug::TrustsAlreadyExists) && sealed;
                if state.landed & bit(position) != 0 || trusts {
                    steps.push(HostStep::HearsWon(position));
                }
                if sealed && !trusts {
                    steps.push(HostStep::HearsLost(position));
                }
            }
            self.read_actions(state, steps);
        }
        // A batch may still land when its answer is no longer awaited.
        for position in (0..=submitted.get()).map(Position::new) {
            let first =
                position > Position::ZERO && (state.heard | state.landed) & bit(position) == 0;
            if state.at(position) == Cell::Absent && (first || self.duplicates) {
                steps.push(HostStep::BatchLands(position));
            }
        }
        self.trims(state, steps);
    }

    fn submissions(&self, state: &State, steps: &mut Vec<HostStep>) {
        let mut writer = state.writer;
        if writer.submitted().get() >= self.batches_max {
            return;
        }
        let checkpoints = state.batches.iter().filter(|batch| batch.covers.is_some()).count();
        if checkpoints < self.checkpoints_max && writer.may_submit_checkpoint() {
            for low_water in between(writer.low_water(), writer.committed()) {
                let carries = Carries::Checkpoint { low_water };
                steps.push(if self.has(Bug::CheckpointNamesPrevious) {
                    let mut forger = writer;
                    HostStep::SubmitForged(carries, forger.submit(Carries::Records))
                } else {
                    HostStep::Submit(carries)
                });
            }
        }
        if !writer.may_submit() {
            return;
        }
        steps.push(HostStep::Submit(Carries::Records));
        let header = writer.submit(Carries::Records);
        if self.has(Bug::LowWaterAheadOfCommit) {
            let ahead = (header.low_water.next().get()..header.position.get()).map(Position::new);
            steps.extend(ahead.map(|low_water| {
                HostStep::SubmitForged(Carries::Records, BatchHeader { low_water, ..header })
            }));
        }
        if self.has(Bug::CheckpointNotAlone)
            && header.checkpoint_at.next() == header.position
            && let Some(before) = state.batches.iter().rev().nth(1)
        {
            // As if it had been submitted together with the previous checkpoint.
            let forged = BatchHeader { position: header.position, ..before.header };
            steps.push(HostStep::SubmitForged(Carries::Records, forged));
        }
    }

    fn trims(&self, state: &State, steps: &mut Vec<HostStep>) {
        let mut writer = state.writer;
        if self.has(Bug::TrimsBeforeCommit) && !state.stopped {
            let in_flight = between(writer.committed(), writer.submitted());
            for position in in_flight.filter(|&position| state.heard & bit(position) == 0) {
                let _moved = writer.won(position);
            }
        }
        let due = SEGMENT_LEN.whole_up_to(writer.low_water());
        let contiguous = u64::from(state.trim_marks.trailing_ones());
        let mut marked = Segment::new(contiguous.min(due.get()));
        if self.has(Bug::TrimsUnmarked) {
            marked = due;
        }
        if self.has(Bug::MarksWithGaps)
            && let Some(last) = due.previous()
        {
            if !state.trim_marked(last.get()) {
                steps.push(HostStep::CreateTrimMark(last));
                return;
            }
            marked = due;
        }
        // Repeated deletes are always possible.
        for deleted in (0..=marked.get()).map(Segment::new) {
            match next_trim(&writer, Trimmed { marked, deleted }, SEGMENT_LEN) {
                Some(TrimStep::Mark(segment)) => steps.push(HostStep::CreateTrimMark(segment)),
                Some(TrimStep::Delete(segment)) => {
                    let present = SEGMENT_LEN.members(segment);
                    let present = present.filter(|&at| state.at(at) != Cell::Absent);
                    steps.extend(present.map(HostStep::Deletes));
                }
                None => {}
            }
        }
    }

    fn read_actions(&self, state: &State, steps: &mut Vec<HostStep>) {
        let Some(reads) = &state.reads else { return };
        if reads.len() < self.reads_max {
            let mut sees = vec![state.writer.submitted()];
            if state.writer.submitted().get() < self.batches_max {
                sees.push(state.writer.next_position());
            }
            for sees in sees {
                steps.push(HostStep::ReadArrives(ReadMode::Linearizable, sees));
                steps.push(HostStep::ReadArrives(ReadMode::Local, sees));
            }
        }
        if state.get.is_some() {
            steps.push(HostStep::GetAnswered);
        } else if state.got.is_some() {
            steps.push(HostStep::HearsGet);
        } else if self.has(Bug::SharesEarlierGet)
            || ReadBarrier::clone(reads).next_get(&state.writer).is_some()
        {
            steps.push(HostStep::IssueGet);
        }
    }

    pub(crate) fn host_does(&self, state: &mut State, step: HostStep) {
        match step {
            HostStep::Submit(carries) => submit(state, carries, None),
            HostStep::SubmitForged(carries, header) => submit(state, carries, Some(header)),
            HostStep::BatchLands(position) => {
                state.put(position, Cell::Batch);
                if position > Position::ZERO && state.heard & bit(position) == 0 {
                    state.landed |= bit(position);
                }
            }
            HostStep::HearsWon(position) => self.hears_won(state, position),
            HostStep::HearsLost(position) => {
                state.writer.lost(position);
                state.stopped = true;
            }
            HostStep::CreateTrimMark(segment) => state.trim_marks |= 1 << segment.get(),
            HostStep::Deletes(position) => state.put(position, Cell::Absent),
            HostStep::ReadArrives(mode, sees) => self.read_arrives(state, mode, sees),
            HostStep::IssueGet => self.issue_get(state),
            HostStep::GetAnswered => {
                let position = state.get.take().expect("a get is in flight");
                state.got = Some((position, state.at(position)));
            }
            HostStep::HearsGet => self.hears_get(state),
        }
    }

    fn hears_won(&self, state: &mut State, position: Position) {
        state.landed &= !bit(position);
        state.heard |= bit(position);
        let moved = state.writer.won(position);
        let visible = if self.has(Bug::AcknowledgesOutOfOrder) { Some(position) } else { moved };
        state.acknowledged = state.acknowledged.max(visible.unwrap_or_default());
        if let Some(reads) = &mut state.reads
            && moved.is_some()
        {
            let answers: Vec<_> = reads.committed(&state.writer).collect();
            answer(state, answers);
        }
    }

    fn read_arrives(&self, state: &mut State, mode: ReadMode, sees: Position) {
        let stale = state.after.new_owner_wrote && mode == ReadMode::Linearizable;
        let reader = Reader { stale, sees };
        let writer = &state.writer;
        let (mut mode, mut told) = (mode, sees);
        if self.has(Bug::AnswersOpenBatch) {
            told = Position::ZERO;
        }
        if self.has(Bug::NoBarrier) {
            mode = ReadMode::Local;
        }
        if self.has(Bug::WaitsForBatchInFlight) && writer.in_flight() > 0 {
            (mode, told) = (ReadMode::Local, sees.max(writer.submitted()));
        }
        let reads = state.reads.as_mut().expect("reads are modelled");
        let at_once = reads.arrive(writer, mode, told, reader);
        answer(state, at_once);
    }

    fn issue_get(&self, state: &mut State) {
        let reads = state.reads.as_mut().expect("reads are modelled");
        state.get = if self.has(Bug::SharesEarlierGet) {
            Some(state.writer.next_position())
        } else {
            reads.next_get(&state.writer)
        };
        if self.has(Bug::GetsOwnBatch) && state.writer.in_flight() > 0 {
            state.get = state.get.and_then(Position::previous);
        }
    }

    fn hears_get(&self, state: &mut State) {
        let (position, cell) = state.got.take().expect("the get was answered");
        let reads = state.reads.as_mut().expect("reads are modelled");
        if self.has(Bug::SharesEarlierGet) && reads.next_get(&state.writer) != Some(position) {
            return;
        }
        let found = match cell {
            Cell::Absent => BarrierFound::Absent,
            Cell::Batch if self.has(Bug::GetsOwnBatch) && position <= state.writer.submitted() => {
                BarrierFound::Absent
            }
            Cell::Batch => BarrierFound::OwnBatch,
            Cell::Seal(_) => BarrierFound::Seal,
        };
        let mut answers: Vec<_> = reads.get_found(found).collect();
        if self.has(Bug::LeavesBatchInFlight) && found == BarrierFound::Absent {
            let waiting: Vec<_> = ReadBarrier::clone(reads).over().collect();
            if waiting.iter().all(|reader| reader.sees <= state.writer.committed()) {
                answers.extend(reads.over());
            }
        }
        answer(state, answers);
        state.stopped |= found == BarrierFound::Seal;
    }
}

fn submit(state: &mut State, carries: Carries, forged: Option<BatchHeader>) {
    let header = state.writer.submit(carries);
    let covers = match carries {
        Carries::Records => None,
        Carries::Checkpoint { low_water } => Some(low_water),
    };
    state.batches.push(Frozen { header: forged.unwrap_or(header), covers });
}

/// Sends answers: what they have seen is then acknowledged.
fn answer(state: &mut State, answers: impl IntoIterator<Item = Reader>) {
    for Reader { stale, sees } in answers {
        state.acknowledged = state.acknowledged.max(sees);
        if stale {
            state.violation = Some("a stale read");
        }
    }
}

fn between(above: Position, up_to: Position) -> impl Iterator<Item = Position> {
    (above.next().get()..=up_to.get()).map(Position::new)
}
