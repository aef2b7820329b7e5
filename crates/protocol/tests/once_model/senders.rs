//! Messages between two vnodes, searched exhaustively: the sender with its owner and a former owner, the target, attempts
//! in flight for any time.
//!
//! The rules are the crate's own: [`Deferred`] and [`Post`] at the sender, [`Window`] at the target. Around them are small hosts
//! that append, commit and fail over.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use holocron_protocol::{
    deferred::{
        Deferred,
        post::{Action as Due, CommitWanted, Post, Stamp},
    },
    ids::{ClientId, CommitNumber, VnodeName},
    request::window::{
        Acknowledged, Admission, Outcome, Recorded, Request, RequestId, Window, WindowLimits,
        WindowSize,
    },
    time::{Time, WallTime},
};
use stateright::{Model, Property};

/// How many more times each kind of event may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) asks: u8,
    pub(crate) sender_failovers: u8,
    pub(crate) target_failovers: u8,
    pub(crate) losses: u8,
    /// Commands of others at the target, which make commit numbers grow.
    pub(crate) others: u8,
    /// Times that the target forgets all senders without answers.
    pub(crate) trims: u8,
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages(pub(crate) Left);

/// A host of the sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    generation: u8,
    current: Arc<Deferred>,
    post: Post,
    commit: CommitNumber,
    changed: bool,
    /// Envelopes in flight, with the messages that were asked for until then.
    in_flight: Vec<(Arc<Deferred>, u8)>,
    committed: Arc<Deferred>,
    /// The messages that were asked for, numbered from 1.
    asked: u8,
    /// How many envelopes may still be committed; a former owner has only those that landed.
    commits: u8,
}

/// The host of the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sink {
    now: Stored,
    stored: Stored,
    changed: bool,
    pending: Vec<(usize, Answer)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Stored {
    window: Window,
    commit: CommitNumber,
    /// The messages that ran, in order.
    ran: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Done,
    Rebase(CommitNumber),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    from: u8,
    stamp: Stamp,
    /// The message; none for an acknowledgement.
    content: Option<u8>,
    /// Whether its sender has stopped waiting.
    lost: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Sent,
    Taken,
    Answered(Answer),
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    owner: Source,
    zombie: Option<Source>,
    sink: Sink,
    attempts: Vec<Attempt>,
    /// The messages whose asking was committed.
    committed: BTreeSet<u8>,
    left: Left,
    pub(crate) violation: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Owner,
    Zombie,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask,
    HandOver(Who),
    Commit(Who),
    FailOver(usize),
    Take(usize),
    Hear(usize),
    Lose(usize),
    CommitTarget,
    RunOther,
    Trim,
    FailOverTarget,
}

fn target() -> VnodeName {
    VnodeName::new("cell", "target").expect("a valid name")
}

fn sender() -> ClientId {
    ClientId::of_vnode(VnodeName::new("cell", "sender").expect("a valid name").hash())
}

impl Source {
    fn new(generation: u8, committed: Arc<Deferred>, commit: CommitNumber, asked: u8) -> Self {
        Self {
            generation,
            current: Arc::clone(&committed),
            post: Post::new(Arc::clone(&committed)),
            commit,
            changed: false,
            in_flight: Vec::new(),
            committed,
            asked,
            commits: u8::MAX,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Deferred)) {
        change(Arc::make_mut(&mut self.current));
        self.changed = true;
    }

    fn hand_over(&mut self) {
        self.commit = self.commit.next();
        self.changed = false;
        let (CommitWanted::Yes | CommitWanted::No) = self.post.handed(self.commit, &self.current);
        self.in_flight.push((Arc::clone(&self.current), self.asked));
    }

    /// Sends what is due.
    fn act(&mut self, attempts: &mut Vec<Attempt>) {
        // The second look sends acknowledgements that the first lets wait.
        for now in [Time::ZERO, Time::from_millis(10_000)] {
            for due in self.post.due(&self.current, now, WallTime::default()) {
                let (stamp, content) = match due {
                    Due::Send { stamp, command, .. } => (stamp, Some(command[0])),
                    Due::Acknowledge { stamp, .. } => (stamp, None),
                    Due::LookAgain(_) => continue,
                    Due::Run { .. } => unreachable!("no effects here"),
                };
                let (from, phase) = (self.generation, Phase::Sent);
                attempts.push(Attempt { from, stamp, content, lost: false, phase });
            }
        }
    }

    fn hear(&mut self, attempt: &Attempt, answer: Answer) {
        let to = target();
        self.post.attempted(&to);
        let Stamp { number, lowest, .. } = attempt.stamp;
        match (answer, attempt.content) {
            (Answer::Done, Some(_)) => {
                self.change(|deferred| drop(deferred.answered(number, Ok(Bytes::new()))));
            }
            (Answer::Done, None) => self.change(|deferred| deferred.acknowledged(&to, lowest)),
            (Answer::Rebase(base), _) => {
                self.post.rebased(&to, base);
                self.change(|deferred| deferred.rebase(&to, base));
            }
        }
    }
}

impl Sink {
    fn take(&mut self, index: usize, attempt: &Attempt) -> Phase {
        let Stamp { number, lowest, base } = attempt.stamp;
        let request = Request { id: RequestId { client: sender(), number }, lowest, base };
        let next = self.now.commit.next();
        let judged_on = if self.changed { next } else { self.now.commit };
        let answer = match attempt.content {
            None => {
                if self.now.window.acknowledged(sender(), lowest) == Acknowledged::Now {
                    self.changed = true;
                }
                Answer::Done
            }
            Some(content) => match self.now.window.admit(&request) {
                Admission::Run => {
                    self.now.ran.push(content);
                    let outcome = Outcome::Reply(Bytes::new());
                    let recorded = Recorded { outcome, commit: next };
                    self.now.window.record(&request, recorded, &WindowLimits::default());
                    self.changed = true;
                    Answer::Done
                }
                Admission::Recorded(_) => Answer::Done,
                Admission::Rebase => Answer::Rebase(judged_on),
                Admission::Stale | Admission::Full => return Phase::Over,
            },
        };
        if !self.changed {
            return Phase::Answered(answer);
        }
        self.pending.push((index, answer));
        Phase::Taken
    }
}

impl State {
    fn source(&mut self, who: Who) -> &mut Source {
        match who {
            Who::Owner => &mut self.owner,
            Who::Zombie => self.zombie.as_mut().expect("there is one"),
        }
    }

    /// The host of the sender that has made an attempt.
    fn sender_of(&mut self, index: usize) -> &mut Source {
        let from = self.attempts[index].from;
        self.source(if from == self.owner.generation { Who::Owner } else { Who::Zombie })
    }

    fn commit(&mut self, who: Who) {
        let source = self.source(who);
        let (deferred, asked) = source.in_flight.remove(0);
        source.commits = source.commits.saturating_sub(1);
        source.committed = deferred;
        source.post.committed(source.commit);
        if let Who::Owner = who {
            self.committed.extend(1..=asked);
        }
    }

    /// So many envelopes in flight have landed.
    fn fail_over(&mut self, landed: usize) {
        let owner = &mut self.owner;
        let (mut committed, mut asked) = (Arc::clone(&owner.committed), 0);
        for (envelope, until) in &owner.in_flight[..landed] {
            (committed, asked) = (Arc::clone(envelope), *until);
        }
        self.committed.extend(1..=asked);
        let asked = self.committed.last().copied().unwrap_or(0);
        owner.commits = u8::try_from(landed).expect("few are in flight");
        let heir = Source::new(1, committed, owner.commit, asked);
        self.zombie = Some(core::mem::replace(&mut self.owner, heir));
    }

    /// The target takes an attempt. One that its sender waits for is not ignored.
    fn take(&mut self, index: usize) -> Phase {
        let attempt = self.attempts[index].clone();
        let phase = self.sink.take(index, &attempt);
        self.attempts[index].phase = phase;
        let is_awaited = !attempt.lost && attempt.from == self.owner.generation;
        if phase == Phase::Over && is_awaited {
            self.violation = Some("a message is dropped that its sender still sends");
        }
        phase
    }

    fn hear(&mut self, index: usize) {
        let attempt = self.attempts[index].clone();
        let Phase::Answered(answer) = attempt.phase else {
            unreachable!("only an answer is heard");
        };
        self.attempts[index].phase = Phase::Over;
        self.sender_of(index).hear(&attempt, answer);
    }

    /// A sender stops waiting.
    fn lose(&mut self, index: usize) {
        self.attempts[index].lost = true;
        self.sender_of(index).post.lost(&target());
    }

    fn commit_target(&mut self) {
        let sink = &mut self.sink;
        sink.now.commit = sink.now.commit.next();
        sink.changed = false;
        sink.stored = sink.now.clone();
        for (index, answer) in sink.pending.drain(..) {
            self.attempts[index].phase = Phase::Answered(answer);
        }
    }

    /// What isn't committed is lost, and so are the answers that depend on it.
    fn fail_target_over(&mut self) {
        for (index, _) in core::mem::take(&mut self.sink.pending) {
            self.attempts[index].phase = Phase::Over;
            if !self.attempts[index].lost {
                self.lose(index);
            }
        }
        self.sink.now = self.sink.stored.clone();
        self.sink.changed = false;
    }

    fn act(&mut self) {
        self.owner.act(&mut self.attempts);
        if let Some(zombie) = &mut self.zombie {
            zombie.act(&mut self.attempts);
        }
    }

    fn check(&self) -> Option<&'static str> {
        let ran = &self.sink.now.ran;
        let once: BTreeSet<_> = ran.iter().collect();
        if once.len() < ran.len() {
            return Some("a message runs twice");
        }
        if !ran.is_sorted() {
            return Some("messages run in another order");
        }
        if !ran.iter().all(|message| self.committed.contains(message)) {
            return Some("a message runs that nobody has sent");
        }
        None
    }

    /// Whether nothing is left to do, and everything was done.
    fn is_done(&self) -> bool {
        let asked = usize::from(self.owner.asked);
        asked > 1 && self.owner.committed.wake_at() == 0 && self.sink.stored.ran.len() == asked
    }
}

impl Model for Messages {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let stored = Stored { commit: CommitNumber::new(1), ..Stored::default() };
        vec![State {
            owner: Source::new(0, Arc::default(), CommitNumber::ZERO, 0),
            zombie: None,
            sink: Sink { now: stored.clone(), stored, changed: false, pending: Vec::new() },
            attempts: Vec::new(),
            committed: BTreeSet::new(),
            left: self.0,
            violation: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        let may = |more: u8, action: Action| (more > 0).then_some(action);
        actions.extend(may(left.asks, Action::Ask));
        actions.extend(may(left.others, Action::RunOther));
        actions.extend(may(left.trims, Action::Trim));
        actions.extend(may(left.target_failovers, Action::FailOverTarget));
        if left.sender_failovers > 0 && state.zombie.is_none() {
            actions.extend((0..=state.owner.in_flight.len()).map(Action::FailOver));
        }
        let hosts = [(Who::Owner, Some(&state.owner)), (Who::Zombie, state.zombie.as_ref())];
        for (who, source) in hosts {
            let Some(source) = source else { continue };
            if source.changed && source.in_flight.is_empty() {
                actions.push(Action::HandOver(who));
            }
            if !source.in_flight.is_empty() && source.commits > 0 {
                actions.push(Action::Commit(who));
            }
        }
        for (index, attempt) in state.attempts.iter().enumerate() {
            match attempt.phase {
                Phase::Sent => actions.push(Action::Take(index)),
                Phase::Answered(_) if !attempt.lost => actions.push(Action::Hear(index)),
                Phase::Answered(_) | Phase::Taken | Phase::Over => {}
            }
            if left.losses > 0 && !attempt.lost && attempt.phase != Phase::Over {
                actions.push(Action::Lose(index));
            }
        }
        if state.sink.changed {
            actions.push(Action::CommitTarget);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Ask => {
                state.left.asks -= 1;
                state.owner.asked += 1;
                let content = Bytes::copy_from_slice(&[state.owner.asked]);
                state.owner.change(|deferred| {
                    deferred.send(target(), content, None);
                });
            }
            Action::HandOver(who) => state.source(who).hand_over(),
            Action::Commit(who) => state.commit(who),
            Action::FailOver(landed) => {
                state.left.sender_failovers -= 1;
                state.fail_over(landed);
            }
            Action::Take(index) => {
                if state.take(index) == Phase::Over {
                    return Some(state);
                }
            }
            Action::Hear(index) => state.hear(index),
            Action::Lose(index) => {
                state.left.losses -= 1;
                state.lose(index);
            }
            Action::CommitTarget => state.commit_target(),
            Action::RunOther => {
                state.left.others -= 1;
                state.sink.changed = true;
            }
            Action::Trim => {
                state.left.trims -= 1;
                let nothing = WindowSize { answers: 0, clients: 0, bytes: usize::MAX };
                state.sink.now.window.trim(&nothing);
                state.sink.changed = true;
            }
            Action::FailOverTarget => {
                state.left.target_failovers -= 1;
                state.fail_target_over();
            }
        }
        state.act();
        state.violation = state.check();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no rule is violated", |_, state: &State| state.violation.is_none()),
            Property::sometimes("everything is done and forgotten", |_, state: &State| {
                state.is_done()
            }),
        ]
    }
}
