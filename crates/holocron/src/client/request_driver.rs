//! Request driver: one request, until its end, in any number of attempts.
//!
//! Each step finds the owner in the newest routes, sends one attempt there and waits for its answer. An attempt is
//! abandoned when a newer view names another owner; a late answer to it still counts if it says how the request
//! ended. The deadline runs in parallel.
//!
//! Invariants:
//!
//! * At most one attempt is in flight. An abandoned one, or one whose link broke, counts as sent and unanswered.
//! * A caller is told "not run" only when [`holocron_protocol::request::attempts`] says so.

use core::{future::poll_fn, pin::Pin, task::Poll, time::Duration};
use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use holocron_protocol::{
    ids::{CommitNumber, Epoch, RequestNumber, SessionId, VnodeHash, VnodeName},
    request::{
        attempts::{Answer as Attempted, GivenUp, Verdict},
        window::{Outcome as Ended, Recorded, Request, RequestId},
    },
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{
    CallError, Unavailable,
    request_numbers::UnfinishedRequest,
    routes::{Routes, Target},
    shared::Shared,
    watch::HOLD,
};
use crate::api::call::{Answer, Body, Call, Mode, Outcome, ReplyTo};

/// A call that is unanswered for this long looks for a newer view: its host may be partitioned from the others
/// without knowing.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Abandoned attempts whose answer is still awaited.
const ABANDONED_MAX: usize = 8;

/// What to send, and to which vnode.
pub(super) struct Ask<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) name: &'a VnodeName,
    pub(super) mode: Mode,
    pub(super) body: Body,
}

pub(super) struct RequestDriver<'a> {
    ask: Ask<'a>,
    hash: VnodeHash,
    /// The request and its attempts; none for a query, because that may run any number of times.
    request: Option<UnfinishedRequest<'a>>,
    abandoned: AbandonedAttempts,
    /// Failures in a row since the view last changed.
    failures: u32,
    /// The error at the deadline if the request has certainly not run.
    obstacle: CallError,
}

/// A vnode's reply.
pub(super) struct Replied {
    /// Its content, in the format of the call.
    pub(super) content: Bytes,
    /// The commit of a command; of a query, one that its answer reflects.
    pub(super) commit: CommitNumber,
}

/// What to do after an attempt.
enum Next {
    /// Make the next attempt at once.
    Again,
    /// Make the next attempt when there is a newer view, or after a back-off.
    Pause,
    /// Return this.
    End(Result<Replied, CallError>),
}

impl<'a> RequestDriver<'a> {
    pub(super) fn new(ask: Ask<'a>) -> Self {
        let hash = ask.name.hash();
        let request = ask.mode.is_command().then(|| ask.shared.numbers.begin(hash));
        let obstacle = CallError::unavailable(Unavailable::Unreachable, "no answer came in time");
        Self { ask, hash, request, abandoned: AbandonedAttempts::default(), failures: 0, obstacle }
    }

    /// Follows the request to its end.
    pub(super) async fn run(mut self, deadline: Instant) -> Result<Replied, CallError> {
        let held = if self.ask.mode == Mode::Watch { HOLD } else { Duration::ZERO };
        let slow_after = held + SLOW_AFTER;
        let timeout = until_deadline(self.ask.shared, slow_after, deadline);
        tokio::pin!(timeout);
        loop {
            tokio::select! {
                biased;
                next = self.step() => if let Next::End(result) = next {
                    return result;
                },
                () = &mut timeout => return Err(self.give_up()),
            }
        }
    }

    /// One attempt, and the pause after it if it needs one.
    async fn step(&mut self) -> Next {
        let routes = self.ask.shared.routes();
        match self.attempt(&routes).await {
            Next::Pause => self.pause(routes.epoch()).await,
            next @ (Next::Again | Next::End(_)) => next,
        }
    }

    async fn attempt(&mut self, routes: &Routes) -> Next {
        let shared = self.ask.shared;
        let Some(route) = routes.route(self.ask.name) else {
            self.obstacle = match routes.obstacle(self.ask.name) {
                Some(why) => CallError::unavailable(Unavailable::NotServed, why),
                None => CallError::unavailable(
                    Unavailable::Unreachable,
                    format!("no view of the cluster yet: {}", shared.obstacle()),
                ),
            };
            return Next::Pause;
        };
        let epoch = shared.newest_epoch(routes);
        // The likely branch is first, so that the others are rarely polled.
        let sent = tokio::select! {
            biased;
            sent = send(&self.ask, epoch, &mut self.request, &route.target) => sent,
            answer = self.abandoned.final_answer() => return self.judge(answer),
            () = moved(shared, self.ask.name, route.session) => return Next::Again,
        };
        let mut receiver = match sent {
            Ok(receiver) => receiver,
            Err(why) => {
                self.obstacle = CallError::unavailable(Unavailable::Unreachable, why);
                return Next::Pause;
            }
        };
        tokio::select! {
            biased;
            answered = &mut receiver => match answered {
                Ok(answer) => self.judge(answer),
                Err(_lost) => self.unanswered(Unavailable::Unreachable, "the connection was lost"),
            },
            answer = self.abandoned.final_answer() => self.judge(answer),
            () = moved(shared, self.ask.name, route.session) => {
                self.abandoned.push(receiver);
                match self.unanswered(Unavailable::Moving, "the vnode's slot moved") {
                    Next::Pause => Next::Again,
                    next @ (Next::Again | Next::End(_)) => next,
                }
            }
        }
    }

    /// Decides what to do after an answer.
    fn judge(&mut self, answer: Answer) -> Next {
        self.ask.shared.note_epoch(answer.epoch);
        match &mut self.request {
            Some(request) => request.learn(answer.commit),
            None => self.ask.shared.numbers.learn(self.hash, answer.commit),
        }
        match answer.outcome {
            Outcome::Reply(reply) => self.ended(Ended::Reply(reply), answer.commit),
            Outcome::Panicked => self.ended(Ended::Panicked, answer.commit),
            Outcome::Rejected(why) => self.ended(Ended::Rejected(why), answer.commit),
            Outcome::Rebase(base) => self.settle(Attempted::Rebase(base)),
            Outcome::NotOwner => {
                self.obstacle =
                    CallError::unavailable(Unavailable::Moving, "the vnode's slot is moving");
                self.settle(Attempted::Refused)
            }
            Outcome::Busy => {
                self.obstacle = CallError::Busy;
                self.settle(Attempted::Refused)
            }
            refusal @ (Outcome::Quarantined
            | Outcome::UnknownKind
            | Outcome::Undecodable(_)
            | Outcome::UnknownCommand(_)
            | Outcome::OtherArguments(_)
            | Outcome::Unreadable(_)) => {
                self.refused(CallError::of_outcome(refusal).expect("these are refusals"))
            }
            Outcome::Unclear => self.unanswered(Unavailable::Moving, "the host's session ended"),
        }
    }

    /// The vnode has answered.
    fn ended(&mut self, outcome: Ended, commit: CommitNumber) -> Next {
        if self.request.is_some() {
            return self.settle(Attempted::Done(Recorded { outcome, commit }));
        }
        Next::End(result(Recorded { outcome, commit }))
    }

    /// Not run, and an early retry is of no use.
    fn refused(&mut self, error: CallError) -> Next {
        let next = self.settle(Attempted::Refused);
        let not_run =
            self.request.as_ref().is_none_or(|request| request.given_up() == GivenUp::NotRun);
        if not_run {
            return Next::End(Err(error));
        }
        // An earlier attempt may have run: only the vnode can tell.
        next
    }

    /// The attempt was lost: it may have run.
    fn unanswered(&mut self, reason: Unavailable, why: &str) -> Next {
        self.obstacle = CallError::unavailable(reason, why);
        self.settle(Attempted::Lost)
    }

    fn settle(&mut self, attempted: Attempted) -> Next {
        let Some(request) = &mut self.request else { return Next::Pause };
        match request.answered(attempted) {
            Verdict::Finished(recorded) => Next::End(result(recorded)),
            Verdict::Resend => Next::Again,
            Verdict::Retry => Next::Pause,
            Verdict::Wait => unreachable!("at most one attempt is in flight"),
            Verdict::Unclear => Next::End(Err(CallError::Unclear)),
        }
    }

    /// Waits for a view newer than that of `seen`, or for a back-off that grows with each failure.
    async fn pause(&mut self, seen: Epoch) -> Next {
        let shared = self.ask.shared;
        let changed = shared.changed();
        if shared.routes().epoch() > seen {
            self.failures = 0;
            return Next::Again;
        }
        self.failures += 1;
        // A newer view helps in every case except overload.
        let _need = (self.obstacle != CallError::Busy).then(|| shared.need_view());
        tokio::select! {
            biased;
            answer = self.abandoned.final_answer() => self.judge(answer),
            () = changed => {
                self.failures = 0;
                Next::Again
            }
            () = sleep(shared.back_off(self.failures)) => Next::Again,
        }
    }

    /// The error at the deadline.
    fn give_up(self) -> CallError {
        match self.request.as_ref().map(UnfinishedRequest::given_up) {
            Some(GivenUp::Unclear) => CallError::Unclear,
            Some(GivenUp::NotRun) | None => {
                let lost = self.ask.shared.store_lost();
                lost.map_or(self.obstacle, |why| {
                    CallError::unavailable(Unavailable::StoreLost, why)
                })
            }
        }
    }
}

fn result(Recorded { outcome, commit }: Recorded) -> Result<Replied, CallError> {
    match outcome {
        Ended::Reply(content) => Ok(Replied { content, commit }),
        Ended::Panicked => Err(CallError::Panicked),
        Ended::Rejected(why) => Err(CallError::Rejected { why }),
    }
}

/// Sends one attempt, as soon as the link to the host has room. The error says why it was not sent.
async fn send(
    ask: &Ask<'_>,
    epoch: Epoch,
    request: &mut Option<UnfinishedRequest<'_>>,
    target: &Target,
) -> Result<oneshot::Receiver<Answer>, String> {
    let call = |request: &mut Option<UnfinishedRequest<'_>>| Call {
        name: ask.name.clone(),
        mode: ask.mode,
        request: request.as_mut().map_or_else(|| no_request(ask.shared), UnfinishedRequest::send),
        epoch,
        format: ask.body.format,
        body: ask.body.bytes.clone(),
    };
    match target {
        Target::Local => {
            let local = ask.shared.local.as_ref().expect("only a local host is routed here");
            let (reply, receiver) = ReplyTo::here();
            local.serve.call(call(request), reply);
            Ok(receiver)
        }
        Target::Remote(connection) => {
            let link = connection.link().await?;
            let room = link.room().await.map_err(|error| error.to_string())?;
            room.call(&call(request)).map_err(|error| {
                // It was counted as sent, but was not sent.
                let verdict = request.as_mut().map(|request| request.answered(Attempted::Refused));
                assert!(
                    matches!(verdict, None | Some(Verdict::Retry)),
                    "{verdict:?} before the end"
                );
                error.to_string()
            })
        }
    }
}

/// What a query carries instead of a request.
fn no_request(shared: &Shared) -> Request {
    let number = RequestNumber::ZERO;
    Request {
        id: RequestId { client: shared.id(), number },
        lowest: number,
        base: CommitNumber::ZERO,
    }
}

/// Completes when the newest view no longer names a session as owner.
pub(super) async fn moved(shared: &Shared, vnode: &VnodeName, owner: SessionId) {
    loop {
        // Registered before the check, so that a view that arrives in between is not missed.
        let changed = shared.changed();
        if shared.routes().owner(vnode) != Some(owner) {
            return;
        }
        changed.await;
    }
}

/// Completes at the deadline; looks for a newer view when the call is slow.
async fn until_deadline(shared: &Shared, slow_after: Duration, deadline: Instant) {
    let slow = Instant::now() + slow_after;
    if slow < deadline {
        sleep_until(slow).await;
        let _need = shared.need_view();
        sleep_until(deadline).await;
    } else {
        sleep_until(deadline).await;
    }
}

/// Abandoned attempts that may still be answered.
#[derive(Default)]
struct AbandonedAttempts(VecDeque<oneshot::Receiver<Answer>>);

impl AbandonedAttempts {
    fn push(&mut self, receiver: oneshot::Receiver<Answer>) {
        if self.0.len() == ABANDONED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(receiver);
    }

    /// The first answer that ends the request. Others are dropped: their attempts are counted already.
    async fn final_answer(&mut self) -> Answer {
        poll_fn(|context| {
            let mut at = 0;
            while let Some(receiver) = self.0.get_mut(at) {
                match Pin::new(receiver).poll(context) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(answer)) if is_final(&answer.outcome) => {
                        return Poll::Ready(answer);
                    }
                    Poll::Ready(_) => drop(self.0.remove(at)),
                }
            }
            Poll::Pending
        })
        .await
    }
}

const fn is_final(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Reply(_) | Outcome::Panicked | Outcome::Rejected(_) => true,
        Outcome::Rebase(_)
        | Outcome::NotOwner
        | Outcome::Busy
        | Outcome::Quarantined
        | Outcome::UnknownKind
        | Outcome::Undecodable(_)
        | Outcome::UnknownCommand(_)
        | Outcome::OtherArguments(_)
        | Outcome::Unreadable(_)
        | Outcome::Unclear => false,
    }
}
