//! The vnode at a host: what runs, what is appended to the journal, when answers are sent, and what a panic rolls back.

use bytes::Bytes;
use holocron_protocol::{
    ids::CommitNumber,
    request::{
        attempts::Answer,
        envelope::{self, Envelope, Head},
        window::{Admission, Outcome, Recorded, Request, Window, WindowLimits, WindowSize},
    },
};

use crate::plant::{self, Bug};

/// The settings of a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) limits: WindowLimits,
    pub(crate) bug: Option<Bug>,
}

/// An attempt at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) call: usize,
    pub(crate) attempt: usize,
    pub(crate) request: Request,
}

/// An attempt and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reply {
    pub(crate) message: Message,
    pub(crate) answer: Answer,
}

/// An envelope in flight, and the answers to send when it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Batch {
    envelope: Bytes,
    waiting: Vec<Reply>,
}

/// The vnode: its state is the list of calls that took effect, in order. A call's reply is its index in it.
#[derive(Debug)]
pub(crate) struct Vnode {
    pub(crate) log: Vec<u8>,
    pub(crate) window: Window,
}

impl Vnode {
    pub(crate) fn decode(envelope: &Bytes) -> Self {
        let Envelope { window, state, .. } = Envelope::decode("vnode", envelope).expect("ours");
        Self { log: state.expect("never deleted").to_vec(), window }
    }

    fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        let state = |out: &mut Vec<u8>| {
            out.extend_from_slice(&self.log);
            Ok(())
        };
        let head = Head { schema: 0, window: &self.window, deferred: None };
        envelope::encode(&mut out, head, state, usize::MAX).expect("of any length");
        out.into()
    }

    fn run(&mut self, call: usize) -> Outcome {
        self.log.push(u8::try_from(call).expect("few calls"));
        let place = self.log.len() - 1;
        Outcome::Reply(vec![u8::try_from(place).expect("few calls")].into())
    }
}

/// A host that owns the vnode, or did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// The newest envelope that it knows is committed.
    pub(crate) committed: Bytes,
    pub(crate) committed_at: CommitNumber,
    /// Envelopes appended to the journal since, oldest first.
    pub(crate) in_flight: Vec<Batch>,
    /// The open envelope, and whether it has changes.
    pub(crate) open: Bytes,
    pub(crate) changed: bool,
    /// Answers to send when the open envelope is committed.
    waiting: Vec<Reply>,
}

impl Host {
    /// A host that has just recovered the vnode.
    pub(crate) fn recovered(committed: Bytes, committed_at: CommitNumber, rules: &Rules) -> Self {
        let mut vnode = Vnode::decode(&committed);
        plant::recovered(rules.bug, &mut vnode.window);
        let (in_flight, waiting) = (Vec::new(), Vec::new());
        let open = vnode.encode();
        Self { committed, committed_at, in_flight, open, changed: false, waiting }
    }

    /// A host whose vnode has never been used.
    pub(crate) fn unused(rules: &Rules) -> Self {
        let vnode = Vnode { log: Vec::new(), window: Window::default() };
        Self::recovered(vnode.encode(), CommitNumber::ZERO, rules)
    }

    /// The commit number of the open envelope.
    pub(crate) fn open_at(&self) -> CommitNumber {
        CommitNumber::new(self.committed_at.get() + self.in_flight.len() as u64 + 1)
    }

    /// The commit number of the newest state.
    pub(crate) fn newest_at(&self) -> CommitNumber {
        let open_at = self.open_at();
        if self.changed {
            open_at
        } else {
            open_at.previous().expect("the open one is not the first")
        }
    }

    /// Takes an attempt; answers that may be sent at once go to `released`.
    pub(crate) fn take(&mut self, rules: &Rules, message: Message, released: &mut Vec<Reply>) {
        let mut vnode = Vnode::decode(&self.open);
        let admission = plant::admit(rules.bug, &mut vnode.window, &message.request);
        if admission == Admission::Run {
            let outcome = vnode.run(message.call);
            self.record(
                rules,
                vnode,
                Reply { message, answer: done(outcome, self.open_at()) },
                released,
            );
            return;
        }
        self.open = vnode.encode();
        self.answer_without_running(rules, message, admission, released);
    }

    fn answer_without_running(
        &mut self,
        rules: &Rules,
        message: Message,
        admission: Admission,
        released: &mut Vec<Reply>,
    ) {
        let (commit, answer, too_early) = match admission {
            Admission::Run => unreachable!("it runs"),
            Admission::Stale | Admission::Full => return,
            Admission::Recorded(recorded) => {
                (recorded.commit, Answer::Done(recorded), Bug::RecordedReplyBeforeCommit)
            }
            Admission::Rebase => {
                (self.newest_at(), Answer::Rebase(self.newest_at()), Bug::RebaseBeforeCommit)
            }
        };
        let reply = Reply { message, answer };
        if commit <= self.committed_at || rules.bug == Some(too_early) {
            released.push(reply);
        } else if commit == self.open_at() {
            self.waiting.push(reply);
        } else {
            let ahead = commit.get() - self.committed_at.get() - 1;
            self.in_flight[usize::try_from(ahead).expect("few in flight")].waiting.push(reply);
        }
    }

    /// Records the outcome of a command; its answer is sent when the open envelope is committed.
    fn record(&mut self, rules: &Rules, mut vnode: Vnode, reply: Reply, released: &mut Vec<Reply>) {
        let Answer::Done(recorded) = reply.answer.clone() else { unreachable!("it ended") };
        plant::record(rules, &mut vnode.window, &reply.message.request, recorded);
        self.open = vnode.encode();
        self.changed = true;
        if rules.bug == Some(Bug::ReplyBeforeCommit) {
            released.push(reply);
        } else {
            self.waiting.push(reply);
        }
    }

    /// Whether it would run this attempt now.
    pub(crate) fn would_run(&self, rules: &Rules, request: &Request) -> bool {
        let mut window = Vnode::decode(&self.open).window;
        plant::admit(rules.bug, &mut window, request) == Admission::Run
    }

    /// Takes an attempt that it would run and whose command panics: rolls back to the last envelope appended to the
    /// journal, and runs the other commands since then again.
    pub(crate) fn panic(&mut self, rules: &Rules, message: Message, released: &mut Vec<Reply>) {
        let others = core::mem::take(&mut self.waiting);
        self.roll_back(rules);
        for other in &others {
            self.take(rules, other.message, released);
        }
        if rules.bug == Some(Bug::OldRepliesAfterRerun) {
            self.waiting = others;
        }
        let answer = done(Outcome::Panicked, self.open_at());
        let reply = Reply { message, answer };
        if rules.bug == Some(Bug::PanicNotRecorded) {
            released.push(reply);
            return;
        }
        let mut vnode = Vnode::decode(&self.open);
        match plant::admit(rules.bug, &mut vnode.window, &message.request) {
            Admission::Run => self.record(rules, vnode, reply, released),
            other @ (Admission::Recorded(_)
            | Admission::Rebase
            | Admission::Stale
            | Admission::Full) => {
                self.open = vnode.encode();
                self.answer_without_running(rules, message, other, released);
            }
        }
    }

    fn roll_back(&mut self, rules: &Rules) {
        let handed_over = match self.in_flight.last() {
            Some(batch) if rules.bug != Some(Bug::RollBackPastInFlight) => &batch.envelope,
            Some(_) | None => &self.committed,
        };
        let mut vnode = Vnode::decode(handed_over);
        if rules.bug == Some(Bug::RerunOfHandedOver) {
            for reply in self.in_flight.last().into_iter().flat_map(|batch| &batch.waiting) {
                if matches!(reply.answer, Answer::Done(_)) {
                    drop(vnode.run(reply.message.call));
                }
            }
        }
        self.open = vnode.encode();
        self.changed = false;
    }

    /// Runs a command of another client that is never retried.
    pub(crate) fn run_other(
        &mut self,
        rules: &Rules,
        request: impl FnOnce(CommitNumber) -> Request,
    ) {
        let mut vnode = Vnode::decode(&self.open);
        // There is always a client with a valid base.
        let request = request(vnode.window.mark());
        assert_eq!(
            vnode.window.admit(&request),
            Admission::Run,
            "a new client with a base at the mark"
        );
        let recorded = Recorded { outcome: Outcome::Panicked, commit: self.open_at() };
        plant::record(rules, &mut vnode.window, &request, recorded);
        self.open = vnode.encode();
        self.changed = true;
    }

    /// Whether its window is larger than this.
    pub(crate) fn exceeds(&self, answers: usize, clients: usize) -> bool {
        Vnode::decode(&self.open).window.exceeds(&size(answers, clients))
    }

    /// Evicts what is beyond this size.
    pub(crate) fn trim(&mut self, rules: &Rules, answers: usize, clients: usize) {
        let mut vnode = Vnode::decode(&self.open);
        plant::trim(rules.bug, &mut vnode.window, &size(answers, clients));
        self.open = vnode.encode();
        self.changed = true;
    }

    /// Appends the open envelope to the journal.
    pub(crate) fn hand_over(&mut self) {
        let waiting = core::mem::take(&mut self.waiting);
        self.in_flight.push(Batch { envelope: self.open.clone(), waiting });
        self.changed = false;
    }

    /// The oldest envelope in flight is committed. Returns its answers.
    pub(crate) fn commit(&mut self) -> Vec<Reply> {
        let batch = self.in_flight.remove(0);
        self.committed = batch.envelope;
        self.committed_at = self.committed_at.next();
        batch.waiting
    }

    /// Its journal is sealed after the first `landed` envelopes in flight, which it doesn't know; another host recovers
    /// the vnode.
    pub(crate) fn taken_over(&self, landed: usize, rules: &Rules) -> Self {
        let mut durable = self.clone();
        for _ in 0..landed {
            drop(durable.commit());
        }
        Self::recovered(durable.committed, durable.committed_at, rules)
    }
}

pub(crate) const fn size(answers: usize, clients: usize) -> WindowSize {
    WindowSize { answers, clients, bytes: 1_000 }
}

fn done(outcome: Outcome, commit: CommitNumber) -> Answer {
    Answer::Done(Recorded { outcome, commit })
}
