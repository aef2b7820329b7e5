//! Deferred work that came back: a timer that is due, the answer to a message, the end of an effect, the result of a spawned
//! task.
//!
//! It runs like a call, in the same order, and is rolled back and run again with the others. Nobody waits for an answer.
//! If its handler panics, it isn't run a second time: a timer is tried again later, a result is lost, and said so.

use bytes::Bytes;
use holocron_protocol::{
    deferred::{
        Encoding, Finished as Over, Fired,
        post::{Earlier, Stamp},
    },
    ids::{ClientId, CommitNumber, RequestNumber, VnodeName},
    request::window::RequestId,
};

use super::{Active, Work, process::Rollback, running::Unrun};
use crate::api::{
    asked,
    call::{Call, Outcome, ReplyTo},
    call_error::CallError,
    deferred::Amendment,
    effect::Finished,
    encoded::Encoded,
    reply_shape,
    schema::NotRun,
};

/// What runs.
pub(super) enum Job {
    /// A call.
    Call(Call),
    /// Deferred work that came back, under an id of its own.
    Own(RequestId, Own),
}

impl Job {
    pub(super) fn id(&self) -> RequestId {
        match self {
            Self::Call(call) => call.request.id,
            Self::Own(id, _) => *id,
        }
    }
}

/// Deferred work that came back.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    /// A timer may be due.
    Fire(Box<str>),
    /// A message was answered, with its outcome.
    Answered { to: VnodeName, number: RequestNumber, outcome: Result<Bytes, Refusal> },
    /// A target wants a newer base.
    Rebased { to: VnodeName, base: CommitNumber },
    /// A message was refused.
    Refused { to: VnodeName, number: RequestNumber, refusal: Refusal },
    /// An acknowledgement was answered.
    Acknowledged { to: VnodeName, lowest: RequestNumber },
    /// A message or an acknowledgement could not be delivered.
    Lost { to: VnodeName },
    /// An effect is over.
    EffectEnded { number: RequestNumber, result: Bytes },
    /// An effect wants to be run again.
    EffectFailed { number: RequestNumber, why: String },
    /// A spawned task has ended; its result is a command.
    Spawned(Bytes),
}

/// What is known of an outcome besides its content.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    /// Why there is no reply, as an error of a call.
    error: Option<&'a CallError>,
    /// The shape of the reply; 0 if it isn't known.
    shape: u32,
}

/// Why a message has no reply.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// In the words of deferred work.
    pub(crate) why: String,
    pub(crate) error: CallError,
}

impl Own {
    /// What an answer to an attempt means.
    pub(super) fn of_answer(to: VnodeName, stamp: Stamp, outcome: Outcome) -> Self {
        let number = stamp.number;
        let why = match &outcome {
            Outcome::Reply(reply) => {
                return Self::Answered { to, number, outcome: Ok(reply.clone()) };
            }
            Outcome::Rebase(base) => return Self::Rebased { to, base: *base },
            Outcome::NotOwner | Outcome::Busy | Outcome::Unclear => return Self::Lost { to },
            Outcome::Panicked => "its command panicked there".to_owned(),
            Outcome::Rejected(why) => format!("rejected there: {why}"),
            Outcome::Quarantined => "the target is quarantined after panics".to_owned(),
            Outcome::UnknownKind => "its host doesn't know the kind".to_owned(),
            Outcome::UnknownCommand(why) | Outcome::OtherArguments(why) => {
                format!("its host runs another version of the kind: {why}")
            }
            Outcome::Undecodable(why) => format!("its host can't decode it: {why}"),
            Outcome::Unreadable(why) => format!("the target can't be read: {why}"),
        };
        let is_recorded = matches!(outcome, Outcome::Panicked | Outcome::Rejected(_));
        let error = CallError::of_outcome(outcome).expect("the others have returned");
        let refusal = Refusal { why, error };
        if is_recorded {
            return Self::Answered { to, number, outcome: Err(refusal) };
        }
        Self::Refused { to, number, refusal }
    }
}

impl Active {
    /// Deferred work came back.
    pub(super) fn on_own(&mut self, mut own: Own) {
        // Looked at once: when the work is run again after a rollback, the attempt is over already.
        if let Own::Refused { to, number, refusal } = &mut own
            && self.deferring().post.earlier(to, *number) == Earlier::MayRun
        {
            refusal.error = CallError::Unclear;
        }
        if let Own::Lost { to } = &own {
            if let Some(deferring) = &mut self.deferring {
                deferring.post.lost(to);
            }
            return self.carry_out();
        }
        self.take_own(own);
        self.carry_out();
    }

    /// Runs it, or queues it behind what waits for the state.
    pub(super) fn take_own(&mut self, own: Own) {
        let number = RequestNumber::new(self.deferring().next_job());
        // No client has this id.
        let id = RequestId { client: ClientId::new(0), number };
        self.queue_one();
        self.take(Work { job: Job::Own(id, own), reply: ReplyTo::nobody() });
    }

    /// Runs deferred work that came back.
    pub(super) fn own(&mut self, work: Work) -> Result<(), Box<Rollback>> {
        let Job::Own(id, own) = &work.job else { unreachable!("a call isn't deferred work") };
        let (id, failed) = (*id, self.failed.contains_key(&work.job.id()));
        let ran = match own {
            Own::Fire(name) => self.fire(name, failed),
            Own::Answered { to, number, outcome } => {
                self.deferring().post.attempted(to);
                self.message_over(*number, outcome.clone(), failed)
            }
            Own::Rebased { to, base } => {
                self.deferring().post.rebased(to, *base);
                self.deferred().rebase(to, *base);
                Ok(())
            }
            Own::Refused { to, number, refusal } => self.refused(to, *number, refusal, failed),
            Own::Acknowledged { to, lowest } => {
                self.deferring().post.attempted(to);
                self.deferred().acknowledged(to, *lowest);
                Ok(())
            }
            Own::Lost { .. } => unreachable!("it changes nothing that is stored"),
            Own::EffectEnded { number, result } => {
                self.deferring().post.ran(*number);
                let over = self.deferred().effect_ended(*number, Ok(result.clone()));
                self.finish(over, Known::default(), failed)
            }
            Own::EffectFailed { number, why } => {
                self.deferring().post.ran(*number);
                let now = self.wall();
                self.deferred().effect_failed(*number, now, why);
                Ok(())
            }
            Own::Spawned(command) if failed => {
                tracing::error!(vnode = %self.handle.name, len = command.len(), "the command of a spawned task panicked; its result is lost");
                return Ok(());
            }
            Own::Spawned(command) => self
                .handle(|vnode, context| vnode.command(context, Encoded::bincode(command)))
                .map(drop),
        };
        match ran {
            Ok(()) => self.ran(work, Outcome::Reply(Bytes::new())),
            Err(Unrun::Fault(outcome)) => {
                let at_fault = Some((id, outcome));
                return Err(Box::new(Rollback { at_fault, work: Some(work) }));
            }
            Err(Unrun::NotRun(not_run)) => {
                let why = not_run.why();
                tracing::error!(vnode = %self.handle.name, why, "the result of a spawned task can't be decoded");
            }
        }
        Ok(())
    }

    /// Crosses a timer out and runs its command, if it is due. After a panic, or if this version of the kind doesn't know
    /// the command, it is tried again later.
    fn fire(&mut self, name: &str, failed: bool) -> Result<(), Unrun> {
        let now = self.wall();
        if failed {
            self.deferred().timer_failed(name, now, "its command panicked or was rejected");
            return Ok(());
        }
        let before = self.deferring().current_arc();
        let command = match self.deferred().fire(name, now) {
            None => return Ok(()),
            Some(Fired::Expire) => {
                self.delete();
                return Ok(());
            }
            Some(Fired::Command(command)) => command,
        };
        match self.handle(|vnode, context| vnode.command(context, Encoded::bincode(&command))) {
            Err(Unrun::NotRun(not_run)) => {
                self.deferring().restore(before);
                self.deferred().timer_failed(name, now, not_run.why());
                Ok(())
            }
            ran => ran.map(drop),
        }
    }

    /// A message was refused: it is tried again later, or over.
    fn refused(
        &mut self,
        to: &VnodeName,
        number: RequestNumber,
        refusal: &Refusal,
        failed: bool,
    ) -> Result<(), Unrun> {
        self.deferring().post.attempted(to);
        if !self.deferred().ends_if_refused(number) {
            let now = self.wall();
            self.deferred().refused(number, now, &refusal.why);
            return Ok(());
        }
        self.message_over(number, Err(refusal.clone()), failed)
    }

    /// Crosses a message out, and hands the vnode what came of it.
    fn message_over(
        &mut self,
        number: RequestNumber,
        outcome: Result<Bytes, Refusal>,
        failed: bool,
    ) -> Result<(), Unrun> {
        let (outcome, error, shape) = match outcome {
            Ok(reply) if self.wants_shape(number) => {
                let (shape, reply) = reply_shape::shape_and_reply(reply);
                (Ok(reply), None, shape)
            }
            Ok(reply) => (Ok(reply), None, 0),
            Err(Refusal { why, error }) => (Err(why), Some(error), 0),
        };
        let over = self.deferred().answered(number, outcome);
        self.finish(over, Known { error: error.as_ref(), shape }, failed)
    }

    /// Whether the answer to a message begins with the shape of the reply.
    fn wants_shape(&mut self, number: RequestNumber) -> bool {
        let message = self.deferring().current().message(number);
        message
            .is_some_and(|message| message.tag.is_some() && message.encoding == Encoding::Bincode)
    }

    /// Hands the vnode what came of something, if it wants it.
    fn finish(&mut self, over: Option<Over>, known: Known<'_>, failed: bool) -> Result<(), Unrun> {
        let Some(Over { tag, outcome }) = over else { return Ok(()) };
        let Known { error, shape } = known;
        if failed {
            tracing::error!(vnode = %self.handle.name, %tag, "the vnode panicked over the outcome of a message or an effect; the outcome is lost");
            return Ok(());
        }
        self.handle(|vnode, context| {
            let outcome = outcome.as_deref().map_err(String::as_str);
            vnode.finished(context, Finished { tag: &tag, outcome, error, shape });
            Ok(())
        })
    }

    /// Retries or drops what was set aside.
    pub(super) fn amend(&mut self, body: &[u8]) -> Result<Outcome, Unrun> {
        let amendment = holocron_protocol::format::codec::from_bincode("amendment", body)
            .map_err(|error| Unrun::NotRun(NotRun::Malformed(error.why)))?;
        let amended = match amendment {
            Amendment::Retry(number) => {
                self.deferred().retry(RequestNumber::new(number)).map(|()| None)
            }
            Amendment::Discard(number) => self.deferred().discard(RequestNumber::new(number)),
        };
        let over = amended.map_err(|why| Unrun::NotRun(NotRun::Malformed(why)))?;
        // Whether it ran isn't known: its last attempt may have.
        let unclear = Known { error: Some(&CallError::Unclear), shape: 0 };
        self.finish(over, unclear, false)?;
        Ok(Outcome::Reply(Bytes::new()))
    }

    /// The time by the wall clock.
    pub(super) fn wall(&self) -> holocron_protocol::time::WallTime {
        asked::wall(&*self.session.clock)
    }
}
