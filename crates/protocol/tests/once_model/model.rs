//! The possible steps.

use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber},
    request::{
        attempts::{Answer, Numbering},
        window::{Request, RequestId},
    },
};
use stateright::{Model, Property};

use crate::{
    checks::HAPPENS,
    client::{Attempt, Call, Client, Phase},
    host::{Host, Message, Reply, Rules},
    plant::CLIENTS_END,
};

/// How many more times each kind of event may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) failovers: usize,
    pub(crate) others: usize,
    pub(crate) panics: usize,
    pub(crate) refusals: usize,
    pub(crate) losses: usize,
    pub(crate) trims: usize,
}

/// Which bases a client may begin a request with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learns {
    /// The newest from an answer to it.
    FromAnswers,
    /// That, or the newest committed one, from elsewhere.
    FromAnyone,
    /// The newest committed one; or none, because it forgot the vnode.
    AndForgets,
}

/// One vnode, its owner, the former owner, and clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Once {
    pub(crate) rules: Rules,
    /// For each client, how many attempts each of its requests may have.
    pub(crate) clients: &'static [&'static [usize]],
    pub(crate) in_flight_max: usize,
    pub(crate) learns: Learns,
    pub(crate) left: Left,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) owner: Host,
    pub(crate) zombie: Option<Host>,
    pub(crate) clients: Vec<Client>,
    pub(crate) calls: Vec<Call>,
    pub(crate) left: Left,
    /// The violated rule.
    pub(crate) violation: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Owner,
    Zombie,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A client begins a request with a base.
    Begin(usize, CommitNumber),
    /// A client sends one more attempt, in any state of the others.
    SendAgain(usize),
    /// A client counts an attempt as lost.
    Lose(usize, usize),
    /// A client receives an answer.
    Hear(usize, usize),
    /// A caller gives up.
    GiveUp(usize),
    /// A host takes an attempt.
    Take(At, usize, usize),
    /// The owner takes an attempt whose command panics.
    TakePanics(usize, usize),
    /// A host refuses an attempt: busy, or not the owner.
    Refuse(usize, usize),
    /// The owner runs a command of a client outside the model.
    RunOther,
    /// The owner's window evicts what is beyond so many answers and clients. This covers any policy.
    Trim(usize, usize),
    HandOver,
    Commit,
    /// The owner is sealed after this many envelopes in flight, and continues as a zombie.
    FailOver(usize),
}

impl Once {
    fn host_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, call) in state.calls.iter().enumerate() {
            for (number, attempt) in call.attempts.iter().enumerate() {
                let Attempt::Sent(request) = attempt else { continue };
                actions.push(Action::Take(At::Owner, index, number));
                if state.zombie.is_some() {
                    actions.push(Action::Take(At::Zombie, index, number));
                }
                if state.left.panics > 0 && state.owner.would_run(&self.rules, request) {
                    actions.push(Action::TakePanics(index, number));
                }
                if state.left.refusals > 0 {
                    actions.push(Action::Refuse(index, number));
                }
            }
        }
        let owner = &state.owner;
        if state.left.others > 0 {
            actions.push(Action::RunOther);
        }
        if state.left.trims > 0 {
            let sizes = (0..2).flat_map(|answers| (0..3).map(move |clients| (answers, clients)));
            let shrinks = sizes.filter(|&(answers, clients)| owner.exceeds(answers, clients));
            actions.extend(shrinks.map(|(answers, clients)| Action::Trim(answers, clients)));
        }
        if owner.changed && owner.in_flight.len() < self.in_flight_max {
            actions.push(Action::HandOver);
        }
        if !owner.in_flight.is_empty() {
            actions.push(Action::Commit);
        }
        if state.left.failovers > 0 {
            actions.extend((0..=owner.in_flight.len()).map(Action::FailOver));
        }
    }

    fn take(&self, state: &mut State, at: At, message: Message) {
        state.calls[message.call].attempts[message.attempt] = Attempt::Taken;
        let mut released = Vec::new();
        match at {
            At::Owner => state.owner.take(&self.rules, message, &mut released),
            At::Zombie => {
                let zombie = state.zombie.as_mut().expect("the zombie exists");
                zombie.take(&self.rules, message, &mut released);
            }
        }
        state.deliver(released);
    }

    fn run_other(&self, state: &mut State) {
        state.left.others -= 1;
        let client = ClientId::new(CLIENTS_END - 1 - state.left.others as u128);
        let id = RequestId { client, number: RequestNumber::new(1) };
        state.owner.run_other(&self.rules, |base| Request { id, lowest: id.number, base });
    }
}

impl State {
    fn message(&self, call: usize, attempt: usize) -> Option<Message> {
        match self.calls[call].attempts[attempt] {
            Attempt::Sent(request) => Some(Message { call, attempt, request }),
            Attempt::Taken | Attempt::Answered(_) | Attempt::Over => None,
        }
    }

    fn deliver(&mut self, replies: Vec<Reply>) {
        for Reply { message, answer } in replies {
            let call = &mut self.calls[message.call];
            let waits = matches!(call.phase, Phase::Waiting(_));
            call.attempts[message.attempt] =
                if waits { Attempt::Answered(answer) } else { Attempt::Over };
        }
    }
}

impl Model for Once {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let client = |client| Client {
            numbering: Numbering::new(self.client_id(client), 2),
            known: CommitNumber::ZERO,
        };
        let call = Call { phase: Phase::Idle, attempts: Vec::new(), lost: Vec::new() };
        vec![State {
            owner: Host::unused(&self.rules),
            zombie: None,
            clients: (0..self.clients.len()).map(client).collect(),
            calls: vec![call; self.clients.iter().copied().flatten().count()],
            left: self.left,
            violation: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.client_actions(state, actions);
        self.host_actions(state, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Begin(call, base) => self.begin(&mut state, call, base),
            Action::SendAgain(call) => self.send(&mut state, call),
            Action::Lose(call, attempt) => {
                state.left.losses -= 1;
                state.calls[call].lost.push(attempt);
                let Phase::Waiting(attempts) = &mut state.calls[call].phase else { return None };
                let verdict = attempts.answered(Answer::Lost);
                self.follow(&mut state, call, verdict);
            }
            Action::Hear(call, attempt) => self.hear(&mut state, call, attempt),
            Action::GiveUp(call) => self.give_up(&mut state, call),
            Action::Take(at, call, attempt) => {
                let message = state.message(call, attempt)?;
                self.take(&mut state, at, message);
            }
            Action::TakePanics(call, attempt) => {
                let message = state.message(call, attempt)?;
                let mut released = Vec::new();
                state.owner.panic(&self.rules, message, &mut released);
                state.left.panics -= 1;
                state.calls[call].attempts[attempt] = Attempt::Taken;
                state.deliver(released);
            }
            Action::Refuse(call, attempt) => {
                state.left.refusals -= 1;
                let message = state.message(call, attempt)?;
                state.deliver(vec![Reply { message, answer: Answer::Refused }]);
            }
            Action::RunOther => self.run_other(&mut state),
            Action::Trim(answers, clients) => {
                state.left.trims -= 1;
                state.owner.trim(&self.rules, answers, clients);
            }
            Action::HandOver => state.owner.hand_over(),
            Action::Commit => {
                let replies = state.owner.commit();
                state.deliver(replies);
            }
            Action::FailOver(landed) => {
                state.left.failovers -= 1;
                let heir = state.owner.taken_over(landed, &self.rules);
                state.zombie = Some(core::mem::replace(&mut state.owner, heir));
            }
        }
        state.violation = state.violation(self);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always("no rule is violated", |_, state: &State| {
            state.violation.is_none()
        })];
        properties.extend(HAPPENS.map(|(name, happens)| Property::sometimes(name, happens)));
        properties
    }
}
