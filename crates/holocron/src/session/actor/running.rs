//! Running a call on the state in memory.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
};

use bytes::Bytes;
use holocron_protocol::{
    ids::{CommitNumber, Position},
    request::window::{Acknowledged, Admission, Recorded},
};

use super::{
    Active, Existence, Message, Pending, Phase, Running, Work,
    own::Job,
    process::Rollback,
    recorded::{outcome_of, recorded},
};
use crate::{
    api::{
        asked::Asked,
        call::{Call, Format, Mode, Outcome},
        encoded::Encoded,
        kinds::{AnyContext, AnyResource, AnyVnode},
        reply_shape,
        schema::NotRun,
    },
    planted,
    session::journal::Released,
};

/// Why a handler's changes don't stay.
pub(super) enum Unrun {
    /// It didn't run.
    NotRun(NotRun),
    /// It ran, and must be rolled back: it panicked, or asks for what can't be.
    Fault(Outcome),
}

fn encoded(call: &Call) -> Encoded<'_> {
    Encoded { format: call.format, body: &call.body }
}

const fn no_content() -> Outcome {
    Outcome::Reply(Bytes::new())
}

fn refusal(not_run: NotRun) -> Outcome {
    match not_run {
        NotRun::Unknown(why) => Outcome::UnknownCommand(why),
        NotRun::OtherArguments(why) => Outcome::OtherArguments(why),
        NotRun::Malformed(why) => Outcome::Undecodable(why),
        NotRun::Unwritable(why) => Outcome::Rejected(why),
    }
}

impl Active {
    /// Runs one piece of work on the state in memory.
    pub(super) fn step(&mut self, work: Work) -> Result<(), Box<Rollback>> {
        let mode = match &work.job {
            Job::Own(..) => return self.own(work),
            Job::Call(call) => call.mode,
        };
        match mode {
            Mode::Command => return self.command(work, Self::run_command),
            Mode::Ask => return self.command(work, Self::run_asked),
            Mode::Tell => {
                return self
                    .command(work, |active, call| active.run_command(call).map(|_| no_content()));
            }
            Mode::Delete => {
                return self.command(work, |active, _| {
                    active.delete();
                    Ok(no_content())
                });
            }
            Mode::Amend => return self.command(work, |active, call| active.amend(&call.body)),
            Mode::Create => return self.command(work, |active, call| active.create(&call.body)),
            Mode::Query | Mode::Local => {
                self.query(work, |active, call| active.ask(encoded(call)));
            }
            Mode::Exists => self.query(work, |active, _| active.exists()),
            Mode::Deferred => {
                self.query(work, |active, _| Outcome::Reply(active.describe_deferred()));
            }
            Mode::State => self.query(work, |active, call| match call.format {
                Format::Bincode => active.encoded_state(),
                Format::Json => active.state_as_json(),
            }),
            Mode::Acknowledge => self.acknowledge(work),
            Mode::Watch => self.watch(work),
        }
        Ok(())
    }

    /// Changes the state, at most once per request.
    fn command(
        &mut self,
        work: Work,
        run: impl FnOnce(&mut Self, &Call) -> Result<Outcome, Unrun>,
    ) -> Result<(), Box<Rollback>> {
        let Job::Call(call) = &work.job else { unreachable!("deferred work isn't a call") };
        let Running { window, commit, .. } = self.phase.running();
        let (request, next) = (call.request, commit.next());
        planted::no_window(window);
        match window.admit(&request) {
            Admission::Run => {}
            Admission::Recorded(recorded) => {
                self.session.parts.counts.repeats.fetch_add(1, Ordering::Relaxed);
                let seen = recorded.commit;
                self.answer_when_committed(work, seen, outcome_of(recorded.outcome));
                return Ok(());
            }
            Admission::Rebase => {
                let judged_on = self.judged_on();
                self.answer_when_committed(work, judged_on, Outcome::Rebase(judged_on));
                return Ok(());
            }
            // Its client has said that it no longer waits for this request.
            Admission::Stale => return Ok(()),
            Admission::Full => {
                work.reply.send(self.answer(CommitNumber::ZERO, Outcome::Busy));
                return Ok(());
            }
        }
        let ran = match self.failed.get(&request.id).cloned() {
            Some(outcome) => Ok(outcome),
            None if self.is_quarantined() => {
                work.reply.send(self.answer(CommitNumber::ZERO, Outcome::Quarantined));
                return Ok(());
            }
            None => run(self, call),
        };
        let outcome = match ran {
            Ok(outcome) => outcome,
            Err(Unrun::NotRun(not_run)) => {
                // The state is as it was.
                work.reply.send(self.answer(CommitNumber::ZERO, refusal(not_run)));
                return Ok(());
            }
            Err(Unrun::Fault(outcome)) => {
                let at_fault = Some((request.id, outcome));
                return Err(Box::new(Rollback { at_fault, work: Some(work) }));
            }
        };
        let recorded = Recorded { outcome: recorded(&outcome), commit: next };
        let limits = &self.session.settings.window;
        self.phase.running().window.record(&request, recorded, limits);
        self.ran(work, outcome);
        Ok(())
    }

    /// Runs the kind's handler of a command.
    fn run_command(&mut self, call: &Call) -> Result<Outcome, Unrun> {
        let reply = self.handle(|vnode, context| vnode.command(context, encoded(call)))?;
        Ok(Outcome::Reply(reply.into()))
    }

    /// Runs a command whose reply another vnode wants: with the shape of the reply before it, because whoever reads it later may be
    /// of another version.
    fn run_asked(&mut self, call: &Call) -> Result<Outcome, Unrun> {
        let outcome = self.run_command(call)?;
        let Outcome::Reply(reply) = &outcome else { return Ok(outcome) };
        Ok(match call.format {
            Format::Bincode => {
                let shape = self.phase.running().vnode.reply_shape(encoded(call));
                Outcome::Reply(reply_shape::with_shape(shape, reply))
            }
            Format::Json => outcome,
        })
    }

    /// The vnode, and what a handler of it sees.
    fn in_context<'a>(
        &'a mut self,
        nothing: &'a mut (),
        asked: &'a mut Asked,
    ) -> (&'a mut Running, AnyContext<'a>) {
        // What the hooks opened, or nothing for a kind without hooks.
        let resource: &mut AnyResource = match &mut self.hooks {
            Some(hooks) => hooks.resource(),
            None => nothing,
        };
        let context = AnyContext {
            name: &self.handle.name,
            epoch: self.tenure,
            env: self.kind.env(),
            resource,
            clock: &*self.session.clock,
            asked,
        };
        (self.phase.running(), context)
    }

    /// Runs a handler that may change the state, and takes what it asks for.
    pub(super) fn handle<T>(
        &mut self,
        run: impl FnOnce(&mut dyn AnyVnode, AnyContext<'_>) -> Result<T, NotRun>,
    ) -> Result<T, Unrun> {
        let (mut nothing, mut asked) = ((), Asked::default());
        let began = self.session.clock.now();
        let (running, context) = self.in_context(&mut nothing, &mut asked);
        let ran = catch_unwind(AssertUnwindSafe(|| run(&mut *running.vnode, context)));
        let took = self.session.clock.now().since(began);
        let limit = self.session.settings.handler_warn_after;
        if took > limit {
            self.session.parts.counts.slow_handlers.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(vnode = %self.handle.name, ?took, ?limit, "a handler blocks its thread; use an effect or spawn for what takes long");
        }
        match ran {
            Ok(Ok(value)) => {
                self.accept(asked)?;
                Ok(value)
            }
            Ok(Err(NotRun::Unwritable(why))) => Err(Unrun::Fault(Outcome::Rejected(why))),
            Ok(Err(not_run)) => Err(Unrun::NotRun(not_run)),
            Err(_) => {
                tracing::warn!(vnode = %self.handle.name, "command panicked; the vnode is rolled back");
                self.note_panic();
                Err(Unrun::Fault(Outcome::Panicked))
            }
        }
    }

    /// Takes what a handler has asked for.
    fn accept(&mut self, asked: Asked) -> Result<(), Unrun> {
        let Asked { list, spawned, delete, refused } = asked;
        if let Some(why) = refused {
            return Err(Unrun::Fault(Outcome::Rejected(why)));
        }
        self.phase.running().existence = Existence::Exists;
        if delete {
            self.delete();
        }
        if !list.is_empty() {
            let limits = self.session.settings.deferred;
            let deferred = self.deferred();
            list.into_iter().for_each(|ask| ask.note(deferred));
            if let Some(why) = deferred.beyond(&limits) {
                return Err(Unrun::Fault(Outcome::Rejected(why)));
            }
        }
        self.spawn_later(spawned);
        Ok(())
    }

    /// Deletes the state and the timers. What was sent before is delivered.
    pub(super) fn delete(&mut self) {
        let vnode = self.kind.fresh();
        let running = self.phase.running();
        running.vnode = vnode;
        running.existence = Existence::Absent;
        if self.deferring.is_some() {
            self.deferred().cancel_timers();
        }
    }

    /// Some work has run: its answer waits for the hand-over.
    pub(super) fn ran(&mut self, work: Work, outcome: Outcome) {
        self.dirty = true;
        self.pending.push(Pending { work, outcome });
        if !self.encode_queued {
            self.encode_queued = true;
            // It comes after everything that is in the mailbox now, so a hot vnode encodes once per drain.
            drop(self.myself.cast(Message::Encode));
        }
    }

    /// Reads the state.
    fn query(&mut self, work: Work, look: impl FnOnce(&mut Self, &Call) -> Outcome) {
        let Job::Call(call) = &work.job else { unreachable!("deferred work isn't a call") };
        let outcome = look(self, call);
        let seen = self.judged_on();
        self.answer_when_committed(work, seen, outcome);
    }

    fn exists(&mut self) -> Outcome {
        let exists = self.phase.running().existence == Existence::Exists;
        Outcome::Reply(Bytes::from_static(if exists { &[1] } else { &[0] }))
    }

    /// Runs the kind's handler of a query.
    pub(super) fn ask(&mut self, query: Encoded<'_>) -> Outcome {
        let (mut nothing, mut asked) = ((), Asked::default());
        let (Running { vnode, .. }, context) = self.in_context(&mut nothing, &mut asked);
        match catch_unwind(AssertUnwindSafe(|| vnode.query(context, query))) {
            Ok(Ok(answer)) => Outcome::Reply(answer.into()),
            Ok(Err(not_run)) => refusal(not_run),
            Err(_) => {
                tracing::warn!(vnode = %self.handle.name, "query panicked");
                self.note_panic();
                Outcome::Panicked
            }
        }
    }

    /// Another vnode will send nothing below a number.
    fn acknowledge(&mut self, work: Work) {
        let Job::Call(call) = &work.job else { unreachable!("deferred work isn't a call") };
        let request = call.request;
        let window = &mut self.phase.running().window;
        match window.acknowledged(request.id.client, request.lowest) {
            Acknowledged::Now => self.ran(work, no_content()),
            Acknowledged::Before => {
                let judged_on = self.judged_on();
                self.answer_when_committed(work, judged_on, no_content());
            }
        }
    }

    /// The commit of the state in memory: the next one if it has changes.
    fn judged_on(&mut self) -> CommitNumber {
        let commit = self.phase.running().commit;
        if self.dirty { commit.next() } else { commit }
    }

    /// Whether callers are refused because of panics.
    pub(super) fn is_quarantined(&mut self) -> bool {
        match self.quarantine.until {
            Some(until) if self.session.clock.now() < until => true,
            Some(_) => {
                self.quarantine.until = None;
                false
            }
            None => false,
        }
    }

    /// Sends an answer that depends on the state of commit `seen`: with the pending ones if that state is not handed
    /// over yet, else by the journal's rules.
    pub(super) fn answer_when_committed(
        &mut self,
        work: Work,
        seen: CommitNumber,
        outcome: Outcome,
    ) {
        let commit = self.phase.running().commit;
        if seen > commit {
            assert!(self.dirty, "{}: an answer depends on a missing commit", self.handle.name);
            self.pending.push(Pending { work, outcome });
            return;
        }
        let sees = self.handed.as_ref().map_or(Position::ZERO, |handed| handed.position);
        let answer = self.answer(commit, outcome);
        let served = (self.handle.slot, self.tenure);
        let mode = match &work.job {
            Job::Call(call) => call.mode,
            Job::Own(..) => unreachable!("nobody waits for deferred work"),
        };
        let released = Released { reply: work.reply, answer };
        self.session.journal.answer(mode, served, sees, released);
    }
}

impl Phase {
    /// The vnode in memory. Work runs only then.
    pub(super) fn running(&mut self) -> &mut Running {
        let Self::Running(running) = self else {
            unreachable!("work runs only on a state in memory");
        };
        running
    }
}
