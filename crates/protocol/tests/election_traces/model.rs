//! Two members of an election that take over from each other, under every order of steps and with drifting clocks: at most
//! one leader in each epoch, tokens that grow, and never two claims to lead at one time.
//!
//! The members are the real [`Candidate`]s. Every request is sent, takes effect at the store, and is answered in three
//! steps, with time passing in between: so creates land late, answers come late, and a member that gets no step is paused.
//! Time is in units; a lease is [`LEASE`] of them and its margin one. One member's clock may run ahead of the other's by less
//! than the margin during the whole search: half a unit. Claims are looked at in every state, also those of a
//! member that is paused.

use std::{num::NonZeroUsize, time::Duration};

use holocron_protocol::{
    control::{
        candidate::{Candidate, CandidateSettings, Effect, Event, Rotation, Standing},
        election::{self, CreateOutcome, MarkOutcome, News, ReadOutcome, Writer},
        lease::Lease,
    },
    epoch::log::MarkState,
    ids::{Epoch, SessionId},
    time::Time,
};
use stateright::{Checker as _, HasDiscoveries, Model, Property};

/// The name of the promise that claims don't overlap.
pub(crate) const OVERLAP: &str = "two claims at one time";

const MEMBERS: usize = 2;
/// A lease, in units.
const LEASE: u64 = 2;
/// The unit in which a search begins: the first leader may claim.
const BEGIN: u64 = LEASE + 1;
/// The unit in which it ends. A second leader's claim can begin a lease and a margin after [`BEGIN`], and lasts.
const END: u64 = BEGIN + LEASE + 2;
/// The last epoch whose create lands.
const EPOCH_MAX: u64 = 3;
/// How far one clock may run ahead, in thousandths of a unit: less than the margin.
const DRIFT: u64 = 500;

/// A request of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    /// Sent, and not at the store yet.
    Sent(Kind),
    /// It took effect; the answer is on its way.
    Done(Kind, Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Read(Epoch),
    Create(Epoch),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    /// The newest epoch, and its writer, at the time of the read.
    Newest(Epoch, usize),
    Created(CreateOutcome),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    candidate: Candidate,
    /// What its clock is ahead of the world's, in thousandths.
    ahead: u64,
    requests: Vec<Request>,
    /// Only for checking: the newest epoch that it led.
    led: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    unit: u64,
    members: Vec<Member>,
    /// The writer of each epoch, from epoch 1 on.
    writers: Vec<usize>,
    wrong: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// A unit passes, for both.
    Pass,
    /// The clock of this member runs ahead.
    Drift(usize),
    /// A member does what is due.
    Tick(usize),
    /// A follower takes the leader for dead, rightly or not.
    Suspect(usize),
    /// A request takes effect.
    Land(usize, usize),
    /// An answer arrives.
    Arrive(usize, usize),
}

struct Claims;

fn session(member: usize) -> SessionId {
    SessionId::new(member as u128 + 1)
}

fn settings() -> CandidateSettings {
    let unit = Duration::from_millis(1_000);
    let length = unit * u32::try_from(LEASE).unwrap();
    CandidateSettings { lease: Lease { length, margin: unit }, rotation: Rotation::Never }
}

impl State {
    fn now(&self, member: usize) -> Time {
        Time::from_millis(self.unit * 1_000 + self.members[member].ahead)
    }

    fn news(&self, member: usize, epoch: Epoch) -> News {
        let writer = self.writers[usize::try_from(epoch.get()).unwrap() - 1];
        let writer = if writer == member { Writer::Us } else { Writer::Other(session(writer)) };
        News { epoch, writer, rank: 0 }
    }

    fn newest(&self) -> Epoch {
        Epoch::new(self.writers.len() as u64)
    }

    fn step(&mut self, member: usize, event: election::Event) {
        let now = self.now(member);
        let it = &mut self.members[member];
        for effect in it.candidate.step(now, 0, Event::Election(event)) {
            match effect {
                Effect::Read(from) => it.requests.push(Request::Sent(Kind::Read(from))),
                Effect::Create(epoch, _) => it.requests.push(Request::Sent(Kind::Create(epoch))),
                Effect::Lead(epoch) => {
                    let is_its_own = self.writers.get(usize::try_from(epoch.get()).unwrap() - 1)
                        == Some(&member);
                    if !is_its_own {
                        self.wrong = Some("a leader by another's record");
                    }
                    if epoch.get() <= it.led {
                        self.wrong = Some("a token that does not grow");
                    }
                    it.led = epoch.get();
                }
                Effect::CheckMark(_) | Effect::GetHint | Effect::PutHint(_) | Effect::Follow(_) => {
                }
            }
        }
    }

    fn land(&mut self, member: usize, request: usize) {
        let Request::Sent(kind) = self.members[member].requests[request] else { return };
        let answer = match kind {
            Kind::Read(_) => {
                let newest = self.newest();
                Answer::Newest(newest, self.writers[self.writers.len() - 1])
            }
            Kind::Create(epoch) if epoch == self.newest().next() => {
                self.writers.push(member);
                Answer::Created(CreateOutcome::Won)
            }
            Kind::Create(_) => Answer::Created(CreateOutcome::Lost),
        };
        self.members[member].requests[request] = Request::Done(kind, answer);
    }

    fn arrive(&mut self, member: usize, request: usize) {
        let Request::Done(kind, answer) = self.members[member].requests.remove(request) else {
            return;
        };
        match answer {
            Answer::Newest(newest, _) if Kind::Read(newest) == kind => {
                self.step(member, election::Event::Read(ReadOutcome::Nothing));
            }
            Answer::Newest(newest, _) => {
                let news = self.news(member, newest);
                self.step(member, election::Event::Read(ReadOutcome::Newest(news)));
            }
            Answer::Created(outcome) => {
                self.step(member, election::Event::Created(outcome));
                if outcome == CreateOutcome::Won {
                    let mark = MarkOutcome::Seen(MarkState::Absent);
                    self.step(member, election::Event::Marked(mark));
                }
            }
        }
    }

    fn check(&mut self) {
        let claims = |member: usize| {
            let claim = self.members[member].candidate.claim();
            claim.is_some_and(|claim| claim.at(self.now(member)).is_some())
        };
        if (0..MEMBERS).filter(|&member| claims(member)).count() > 1 {
            self.wrong = Some(OVERLAP);
        }
    }
}

impl Model for Claims {
    type State = State;
    type Action = Action;

    /// Member 0 leads epoch 1, and member 1 follows it.
    fn init_states(&self) -> Vec<State> {
        let news = |writer| Some(News { epoch: Epoch::new(1), writer, rank: 0 });
        let member = |writer| Member {
            candidate: Candidate::new(settings(), Time::ZERO, news(writer)),
            ahead: 0,
            requests: Vec::new(),
            led: 0,
        };
        let members = vec![member(Writer::Us), member(Writer::Other(session(0)))];
        vec![State { unit: BEGIN, members, writers: vec![0], wrong: None }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        if state.unit < END {
            actions.push(Action::Pass);
        }
        for (member, it) in state.members.iter().enumerate() {
            if state.members.iter().all(|other| other.ahead == 0) {
                actions.push(Action::Drift(member));
            }
            actions.push(Action::Tick(member));
            let is_follower =
                matches!(it.candidate.standing(state.now(member)), Standing::Following(_));
            if is_follower && it.candidate.newest().get() < EPOCH_MAX {
                actions.push(Action::Suspect(member));
            }
            for (number, request) in it.requests.iter().enumerate() {
                match request {
                    Request::Sent(Kind::Create(epoch)) if epoch.get() > EPOCH_MAX => {}
                    Request::Sent(_) => actions.push(Action::Land(member, number)),
                    Request::Done(..) => actions.push(Action::Arrive(member, number)),
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Pass => next.unit += 1,
            Action::Drift(member) => next.members[member].ahead = DRIFT,
            Action::Tick(member) => next.step(member, election::Event::Tick),
            Action::Suspect(member) => {
                let newest = next.members[member].candidate.newest();
                if let Writer::Other(leader) = next.news(member, newest).writer {
                    next.step(member, election::Event::LeaderSuspected { leader });
                }
            }
            Action::Land(member, request) => next.land(member, request),
            Action::Arrive(member, request) => next.arrive(member, request),
        }
        next.check();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is wrong", |_, state: &State| state.wrong.is_none()),
            Property::sometimes("the second leader claims", |_, state: &State| {
                state.members[1]
                    .candidate
                    .claim()
                    .is_some_and(|claim| claim.at(state.now(1)).is_some())
            }),
            Property::sometimes(
                "the first leader claims after it was replaced",
                |_, state: &State| {
                    let claims = state.members[0].candidate.claim();
                    state.writers.len() > 1
                        && claims.is_some_and(|claim| claim.at(state.now(0)).is_some())
                },
            ),
        ]
    }
}

/// Searches everything; panics if something is wrong, with what.
pub(crate) fn search() {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let checker = Claims.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let found = checker.spawn_bfs().join();
    if let Some(path) = found.discovery("nothing is wrong") {
        let wrong = path.last_state().wrong;
        panic!("{wrong:?}, after {:?}", path.into_actions());
    }
    found.assert_properties();
}

#[test]
fn two_leaders_never_claim_at_one_time_and_tokens_grow() {
    search();
}
