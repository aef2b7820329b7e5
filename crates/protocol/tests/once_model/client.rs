//! A client: it begins, sends, retries, receives answers and gives up, in any order and at any time.

use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber},
    request::{
        attempts::{Answer, Attempts, GivenUp, Numbering, Verdict},
        window::{Outcome, Request},
    },
};

use crate::{
    host::Host,
    model::{Action, Learns, Once, State},
    plant::Bug,
};

/// The state of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Attempt {
    /// In flight, for any time.
    Sent(Request),
    /// At a host.
    Taken,
    /// Its answer is in flight.
    Answered(Answer),
    /// Its answer was received or dropped.
    Over,
}

/// The state of a request, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    Waiting(Attempts),
    Finished(Outcome),
    NotRun,
    Unclear,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) phase: Phase,
    pub(crate) attempts: Vec<Attempt>,
    /// The attempts that its client counts as lost.
    pub(crate) lost: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) numbering: Numbering,
    /// The newest commit number it knows.
    pub(crate) known: CommitNumber,
}

impl Once {
    pub(crate) fn client_of(&self, call: usize) -> usize {
        let of = |&client: &usize| self.calls_of(client).contains(&call);
        (0..self.clients.len()).find(of).expect("every call has a client")
    }

    fn calls_of(&self, client: usize) -> core::ops::Range<usize> {
        let begin = self.clients[..client].iter().map(|requests| requests.len()).sum();
        begin..begin + self.clients[client].len()
    }

    fn may_send_again(&self, state: &State, call: usize) -> bool {
        let attempts_max = self.clients.iter().copied().flatten().nth(call);
        attempts_max.is_some_and(|&max| state.calls[call].attempts.len() < max)
    }

    pub(crate) fn client_id(&self, client: usize) -> ClientId {
        ClientId::new(if self.rules.bug == Some(Bug::ClientIdReused) {
            1
        } else {
            client as u128 + 1
        })
    }

    pub(crate) fn client_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for client in 0..self.clients.len() {
            if self.may_begin(state, client) {
                let next =
                    self.calls_of(client).find(|&call| state.calls[call].phase == Phase::Idle);
                let bases = self.bases(state, client);
                actions.extend(
                    next.into_iter()
                        .flat_map(|call| bases.iter().map(move |&base| Action::Begin(call, base))),
                );
            }
        }
        for (index, call) in state.calls.iter().enumerate() {
            if !matches!(call.phase, Phase::Waiting(_)) {
                continue;
            }
            actions.push(Action::GiveUp(index));
            if self.may_send_again(state, index) {
                actions.push(Action::SendAgain(index));
            }
            for (number, attempt) in call.attempts.iter().enumerate() {
                match attempt {
                    Attempt::Answered(_) => actions.push(Action::Hear(index, number)),
                    Attempt::Over => continue,
                    Attempt::Sent(_) | Attempt::Taken => {}
                }
                if state.left.losses > 0 && !call.lost.contains(&number) {
                    actions.push(Action::Lose(index, number));
                }
            }
        }
    }

    fn may_begin(&self, state: &State, client: usize) -> bool {
        let Some(before) = client.checked_sub(1) else { return true };
        let first_before = &state.calls[self.calls_of(before).start].phase;
        if self.rules.bug == Some(Bug::ClientIdReused) {
            // The same client after a restart.
            return !matches!(first_before, Phase::Idle | Phase::Waiting(_));
        }
        // Clients are interchangeable, so only one order of their first requests is searched.
        self.clients[client] != self.clients[before] || *first_before != Phase::Idle
    }

    fn bases(&self, state: &State, client: usize) -> Vec<CommitNumber> {
        let known = state.clients[client].known;
        let mut bases = match self.learns {
            Learns::FromAnswers => vec![known],
            Learns::FromAnyone => vec![known, state.owner.committed_at.max(known)],
            Learns::AndForgets => vec![CommitNumber::ZERO, state.owner.committed_at.max(known)],
        };
        if self.rules.bug == Some(Bug::BaseNotCommitted) {
            bases.extend([&state.owner].into_iter().chain(&state.zombie).map(Host::newest_at));
        }
        bases.sort_unstable();
        bases.dedup();
        bases
    }

    /// Sends one more attempt of a pending call.
    pub(crate) fn send(&self, state: &mut State, call: usize) {
        let client = self.client_of(call);
        let committed = state.owner.committed_at;
        let begun =
            self.calls_of(client).filter(|&call| state.calls[call].phase != Phase::Idle).count();
        let numbering = &state.clients[client].numbering;
        let Phase::Waiting(attempts) = &mut state.calls[call].phase else { return };
        let mut request = attempts.send(numbering.lowest());
        match self.rules.bug {
            Some(Bug::BaseTakenAtRetry) => request.base = request.base.max(committed),
            Some(Bug::LowestTooEarly) => request.lowest = RequestNumber::new(begun as u64),
            _ => {}
        }
        state.calls[call].attempts.push(Attempt::Sent(request));
    }

    pub(crate) fn begin(&self, state: &mut State, call: usize, base: CommitNumber) {
        let client = &mut state.clients[self.client_of(call)];
        client.known = base;
        let Some(id) = client.numbering.begin() else { return };
        state.calls[call].phase = Phase::Waiting(Attempts::new(id, base));
        self.send(state, call);
    }

    fn end(&self, state: &mut State, call: usize, phase: Phase) {
        let client = &mut state.clients[self.client_of(call)];
        let call = &mut state.calls[call];
        let Phase::Waiting(attempts) = &call.phase else { unreachable!("ended twice") };
        client.numbering.finish(attempts.id().number);
        call.phase = phase;
        call.lost.clear();
        for attempt in &mut call.attempts {
            if matches!(attempt, Attempt::Answered(_)) {
                *attempt = Attempt::Over;
            }
        }
    }

    pub(crate) fn hear(&self, state: &mut State, call: usize, attempt: usize) {
        let heard = core::mem::replace(&mut state.calls[call].attempts[attempt], Attempt::Over);
        let Attempt::Answered(answer) = heard else { unreachable!("only answers are heard") };
        let known = match &answer {
            Answer::Done(recorded) => recorded.commit,
            Answer::Rebase(commit) => *commit,
            Answer::Refused | Answer::Lost => CommitNumber::ZERO,
        };
        let client = &mut state.clients[self.client_of(call)];
        client.known = client.known.max(known);
        let call_state = &mut state.calls[call];
        let Phase::Waiting(attempts) = &mut call_state.phase else {
            unreachable!("the caller gave up")
        };
        match (self.rules.bug, &answer) {
            (Some(Bug::RebaseAfterAnotherAttempt), Answer::Rebase(base)) => {
                *attempts = Attempts::new(attempts.id(), *base);
                return self.resend(state, call);
            }
            (Some(Bug::RefusalFinalAfterAnotherAttempt), Answer::Refused) => {
                return self.end(state, call, Phase::NotRun);
            }
            _ => {}
        }
        if call_state.lost.contains(&attempt) && !matches!(answer, Answer::Done(_)) {
            return;
        }
        let verdict = attempts.answered(answer);
        self.follow(state, call, verdict);
    }

    pub(crate) fn follow(&self, state: &mut State, call: usize, verdict: Verdict) {
        match verdict {
            Verdict::Finished(recorded) => self.end(state, call, Phase::Finished(recorded.outcome)),
            Verdict::Resend => self.resend(state, call),
            Verdict::Retry | Verdict::Wait => {}
            Verdict::Unclear => self.end(state, call, Phase::Unclear),
        }
    }

    fn resend(&self, state: &mut State, call: usize) {
        if self.may_send_again(state, call) {
            self.send(state, call);
        } else {
            self.give_up(state, call);
        }
    }

    pub(crate) fn give_up(&self, state: &mut State, call: usize) {
        let Phase::Waiting(attempts) = &state.calls[call].phase else { return };
        let phase = match attempts.given_up() {
            GivenUp::NotRun => Phase::NotRun,
            GivenUp::Unclear => Phase::Unclear,
        };
        self.end(state, call, phase);
    }
}
