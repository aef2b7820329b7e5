//! The sealers: they end the session, recover what it committed and take over.

use holocron_protocol::{
    ids::{Epoch, Position, Segment},
    journal::{
        batch::BatchHeader,
        sealing::{CreateOutcome, Hint, SealEffect, SealEvent, Sealing, Seen},
    },
};

use crate::{
    model::{Action, Begins, Bug, Journal},
    state::{Ask, Cell, SEGMENT_LEN, SESSION, Sealer, State, Values, bit, by, index, positions},
};

/// The next step of a sealer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SealerStep {
    Begin(Hint),
    /// The list ends with these names.
    ListEnds(u16),
    /// One of the requested gets is answered.
    Answer(usize),
    HearsCreate,
    ReadsNext,
}

impl Journal {
    pub(crate) fn sealer_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for who in 0..state.sealers.len() {
            let steps = self.sealer_steps(state, who);
            actions.extend(steps.into_iter().map(|step| Action::Sealer(who, step)));
        }
        for (which, &(position, _)) in state.seals_sent.iter().enumerate() {
            if state.at(position) == Cell::Absent {
                actions.push(Action::SealLands(which));
            }
        }
    }

    fn sealer_steps(&self, state: &State, who: usize) -> Vec<SealerStep> {
        match &state.sealers[who] {
            Sealer::Idle => {
                let hints = self.hints(state, self.begins[who]);
                hints.into_iter().map(SealerStep::Begin).collect()
            }
            Sealer::Listing { all_along, at_some_time, .. } => {
                let doubtful = at_some_time & !all_along;
                let views = (0..=doubtful).filter(|some| some & !doubtful == 0);
                views.map(|some| SealerStep::ListEnds(all_along | some)).collect()
            }
            Sealer::Getting { asked, .. } => (0..asked.len()).map(SealerStep::Answer).collect(),
            Sealer::Creating { position, .. } => {
                // Without an answer it may still land.
                let hears = state.at(*position) != Cell::Absent || self.unknowns;
                hears.then_some(SealerStep::HearsCreate).into_iter().collect()
            }
            Sealer::Reading { .. } => vec![SealerStep::ReadsNext],
            Sealer::Adopted { .. } | Sealer::Detached | Sealer::Broken => Vec::new(),
        }
    }

    /// A deletion from outside while a seal is in flight may go undetected; see the guarantees.
    pub(crate) fn stranger_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !self.robs || state.deleted_outside || state.sealers.iter().any(|it| *it != Sealer::Idle)
        {
            return;
        }
        let there = positions().skip(1).filter(|&at| state.at(at) == Cell::Batch);
        let Some(highest) = there.last().map(|at| state.frozen(at).header) else { return };
        let vouched = highest.low_water.next().get()..=highest.committed.get();
        let there = vouched.map(Position::new).filter(|&at| state.at(at) == Cell::Batch);
        actions.extend(there.map(Action::StrangerDeletes));
    }

    fn hints(&self, state: &State, begins: Begins) -> Vec<Hint> {
        let batches = positions().take(state.batches.len() + 1);
        match begins {
            Begins::Never => Vec::new(),
            Begins::Listing => vec![Hint::Nothing],
            Begins::Hinted => batches.map(Hint::Committed).collect(),
            Begins::Fetched => batches
                .skip(1)
                .filter(|&at| state.at(at) == Cell::Batch)
                .map(|at| Hint::Fetched(state.frozen(at).header))
                .collect(),
            Begins::Told => positions().take(state.batches.len() + 2).map(Hint::Sealed).collect(),
        }
    }

    pub(crate) fn sealer_does(&self, state: &mut State, who: usize, step: SealerStep) {
        match step {
            SealerStep::Begin(hint) => {
                if let Hint::Committed(position) = hint {
                    state.hints[who] = position;
                }
                let mut machine = Sealing::new(SESSION, SEGMENT_LEN, hint, by(), Epoch::new(2));
                let effect = machine.start();
                self.enter(state, who, machine, effect);
            }
            SealerStep::ListEnds(names) => self.list_ends(state, who, names),
            SealerStep::Answer(which) => self.answered(state, who, which),
            SealerStep::HearsCreate => self.hears_create(state, who),
            SealerStep::ReadsNext => self.reads_next(state, who),
        }
    }

    fn list_ends(&self, state: &mut State, who: usize, names: u16) {
        let Sealer::Listing { machine, .. } = take(state, who) else { unreachable!("it lists") };
        let max = positions().filter(|&at| names & bit(at) != 0).last();
        let filled = |at: Position| self.has(Bug::SealsAtMax) && Some(at) < max;
        let listed = positions().filter(|&at| names & bit(at) != 0 || filled(at)).collect();
        self.step(state, who, machine, SealEvent::Listed(listed));
    }

    fn answered(&self, state: &mut State, who: usize, which: usize) {
        let Sealer::Getting { machine, mut asked, mut answers } = take(state, who) else {
            unreachable!("it gets")
        };
        let ask = asked.remove(which);
        let present = |there| if there { Cell::Batch } else { Cell::Absent };
        let cell = match ask {
            Ask::Position(position) => state.at(position),
            Ask::TrimMark(segment) => present(state.trim_marked(segment)),
            Ask::EndMark => present(state.end_mark),
        };
        answers.push((ask, cell));
        self.get_on(state, who, machine, (asked, answers));
    }

    /// Delivers the answers once the round is complete.
    fn get_on(
        &self,
        state: &mut State,
        who: usize,
        machine: Sealing,
        round: (Vec<Ask>, Vec<(Ask, Cell)>),
    ) {
        let (asked, mut answers) = round;
        // The order of arrival doesn't matter any more.
        answers.sort_unstable_by_key(|&(ask, _)| ask);
        if !asked.is_empty() {
            state.sealers[who] = Sealer::Getting { machine, asked, answers };
            return;
        }
        let (mut positions, mut marks, mut end) = (Vec::new(), Vec::new(), None);
        for (ask, cell) in answers {
            let there = cell != Cell::Absent;
            match ask {
                Ask::Position(at) => positions.push((at, self.seen(state, who, (at, cell)))),
                Ask::TrimMark(segment) => {
                    marks.push((Segment::new(segment), there && !self.has(Bug::NoTrimMarkGet)));
                }
                Ask::EndMark => end = Some(there && !self.has(Bug::NoEndMarkGet)),
            }
        }
        self.step(state, who, machine, SealEvent::Got { positions, marks, end });
    }

    /// The result of a get for a sealer; with some bugs, what the sealer assumes instead.
    fn seen(&self, state: &State, who: usize, (at, cell): (Position, Cell)) -> Seen {
        let batch = state.batches.get(index(at).wrapping_sub(1)).map(|batch| batch.header);
        let hinted = at == state.hints[who];
        let above = positions().any(|higher| higher > at && state.at(higher) == Cell::Batch);
        let unchecked = self.has(Bug::SealsAtMax) && above && cell == Cell::Absent
            || self.has(Bug::ListUnchecked) && above && cell != Cell::Batch
            || self.has(Bug::HintUnchecked) && hinted && cell == Cell::Absent;
        match (batch, cell) {
            (Some(header), _) if unchecked => Seen::Batch(header),
            (Some(header), Cell::Batch) if self.has(Bug::HintVouchesForAll) && hinted => {
                let committed = at.previous().expect("a batch is above the opening");
                Seen::Batch(BatchHeader { committed, ..header })
            }
            (_, cell) => state.seen(at, cell),
        }
    }

    fn hears_create(&self, state: &mut State, who: usize) {
        let Sealer::Creating { machine, position, values } = take(state, who) else {
            unreachable!("it creates")
        };
        let outcome = match state.at(position) {
            Cell::Absent if self.has(Bug::ReliesOnUnknown) => CreateOutcome::Won,
            Cell::Absent => CreateOutcome::Unknown,
            // Which sealer wrote one of two equal seals makes no difference.
            Cell::Seal(found) if found == values => CreateOutcome::Won,
            cell @ (Cell::Batch | Cell::Seal(_)) => CreateOutcome::Lost(state.seen(position, cell)),
        };
        self.step(state, who, machine, SealEvent::Created(outcome));
    }

    fn step(&self, state: &mut State, who: usize, mut machine: Sealing, event: SealEvent) {
        let effect = machine.step(event);
        self.enter(state, who, machine, effect);
    }

    fn enter(&self, state: &mut State, who: usize, machine: Sealing, effect: SealEffect) {
        match effect {
            SealEffect::List => {
                let names = state.names();
                state.sealers[who] =
                    Sealer::Listing { machine, all_along: names, at_some_time: names };
            }
            SealEffect::Get { positions, marks, end } => {
                // Positions beyond the reachable ones are always empty: no choice there.
                let (reached, beyond): (Vec<_>, Vec<_>) =
                    positions.into_iter().partition(|&at| at.get() <= self.batches_max + 1);
                let asked = reached.into_iter().map(Ask::Position);
                let marks = marks.into_iter().map(|mark| Ask::TrimMark(mark.get()));
                let asked = asked.chain(marks).chain(end.then_some(Ask::EndMark)).collect();
                let absent = beyond.into_iter().map(|at| (Ask::Position(at), Cell::Absent));
                self.get_on(state, who, machine, (asked, absent.collect()));
            }
            SealEffect::Create { position, seal } => {
                let (mut low_water, mut checkpoint_at) = (seal.low_water, seal.checkpoint_at);
                let hint = state.hints[who];
                if self.has(Bug::SealSpeaksForHint) && hint > Position::ZERO {
                    let header = state.frozen(hint).header;
                    (low_water, checkpoint_at) = (header.low_water, header.checkpoint_at);
                }
                let values = Values { low_water, checkpoint_at };
                state.seals_sent.push((position, values));
                state.sealers[who] = Sealer::Creating { machine, position, values };
            }
            SealEffect::Done(sealed) => {
                let next = sealed.low_water.next();
                state.sealers[who] = Sealer::Reading { sealed, next, recovered: 0 };
            }
            SealEffect::Detached => state.sealers[who] = Sealer::Detached,
            SealEffect::Broken(_) => state.sealers[who] = Sealer::Broken,
        }
    }

    /// Reads the range of the seal, object by object; the last step takes over.
    fn reads_next(&self, state: &mut State, who: usize) {
        let Sealer::Reading { sealed, next, recovered } = state.sealers[who] else {
            unreachable!("it reads")
        };
        if next >= sealed.position {
            let recovered = recovered | state.held_by(sealed.checkpoint_at);
            state.sealers[who] = Sealer::Adopted { sealed, recovered };
            state.after.adopted_at.get_or_insert(sealed.position);
        } else if state.at(next) == Cell::Batch {
            let recovered = recovered | bit(next);
            state.sealers[who] = Sealer::Reading { sealed, next: next.next(), recovered };
        } else if self.has(Bug::MissingIsEmpty) {
            state.sealers[who] = Sealer::Reading { sealed, next: next.next(), recovered };
        } else if state.after.detached {
            state.sealers[who] = Sealer::Detached;
        } else if state.deleted_outside {
            state.sealers[who] = Sealer::Broken;
        } else {
            state.violation = Some("a seal in an untrimmed segment names a missing object");
        }
    }
}

fn take(state: &mut State, who: usize) -> Sealer {
    core::mem::replace(&mut state.sealers[who], Sealer::Idle)
}
