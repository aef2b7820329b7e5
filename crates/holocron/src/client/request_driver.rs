//! A driver: one request, followed to its end over however many attempts.
//!
//! Each step finds the owner in the newest routes, sends one attempt there and waits for its answer. An attempt is given
//! up when a newer view names another owner; its answer is still taken if it comes and says how the request ended. The
//! deadline runs beside all steps.
//!
//! Invariants:
//!
//! * At most one attempt is out. One that was given up, or whose link broke, counts as sent and unanswered.
//! * "Not run" is said only when [`holocron_protocol::request::attempts`] says so.

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
    CallError,
    request_numbers::Begun,
    routes::{Routes, Target},
    shared::Shared,
};
use crate::api::call::{Answer, Call, Mode, Outcome, ReplyTo};

/// A call unanswered for so long looks for a newer view: its host may be cut off from the others without knowing.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Given-up attempts whose answer is still waited for.
const LATE_MAX: usize = 8;

/// What is asked, of whom.
pub(super) struct Ask<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) name: &'a VnodeName,
    pub(super) mode: Mode,
    pub(super) body: Bytes,
}

pub(super) struct RequestDriver<'a> {
    ask: Ask<'a>,
    hash: VnodeHash,
    /// The request's standing; a query has none, because it may run any number of times.
    begun: Option<Begun<'a>>,
    late: Late,
    /// Failures in a row since the view last changed.
    failures: u32,
    /// What the caller hears if time runs out and the request has certainly not run.
    obstacle: CallError,
}

/// What to do after an attempt.
enum Next {
    /// The next attempt at once.
    Again,
    /// The next attempt when there is a newer view, or after a pause.
    Pause,
    /// Nothing more.
    End(Result<Bytes, CallError>),
}

impl<'a> RequestDriver<'a> {
    pub(super) fn new(ask: Ask<'a>) -> Self {
        let hash = ask.name.hash();
        let begun = match ask.mode {
            Mode::Command => Some(ask.shared.numbers.begin(hash)),
            Mode::Query | Mode::Local => None,
        };
        let obstacle = unavailable("no answer came in time");
        Self { ask, hash, begun, late: Late::default(), failures: 0, obstacle }
    }

    /// Follows the request to its end.
    pub(super) async fn run(mut self, deadline: Instant) -> Result<Bytes, CallError> {
        let patience = patience(self.ask.shared, deadline);
        tokio::pin!(patience);
        loop {
            tokio::select! {
                biased;
                next = self.step() => if let Next::End(result) = next {
                    return result;
                },
                () = &mut patience => return Err(self.give_up()),
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
        let Some(route) = routes.route(self.hash) else {
            self.obstacle = unavailable(&match routes.view() {
                Some(_) => "no host serves the vnode's slot".into(),
                None => format!("no view of the cluster yet: {}", shared.obstacle()),
            });
            return Next::Pause;
        };
        let epoch = shared.newest_epoch(routes);
        // The likely end of each wait stands first, so that mostly nothing else is polled.
        let sent = tokio::select! {
            biased;
            sent = send(&self.ask, epoch, &mut self.begun, &route.target) => sent,
            answer = self.late.ended() => return self.judge(answer),
            () = moved(shared, self.hash, route.session) => return Next::Again,
        };
        let mut receiver = match sent {
            Ok(receiver) => receiver,
            Err(why) => {
                self.obstacle = unavailable(&why);
                return Next::Pause;
            }
        };
        tokio::select! {
            biased;
            answered = &mut receiver => match answered {
                Ok(answer) => self.judge(answer),
                Err(_lost) => self.unanswered("the connection was lost"),
            },
            answer = self.late.ended() => self.judge(answer),
            () = moved(shared, self.hash, route.session) => {
                self.late.push(receiver);
                match self.unanswered("the vnode's slot moved") {
                    Next::Pause => Next::Again,
                    next @ (Next::Again | Next::End(_)) => next,
                }
            }
        }
    }

    /// What an answer means.
    fn judge(&mut self, answer: Answer) -> Next {
        self.ask.shared.heard(answer.epoch);
        match &mut self.begun {
            Some(begun) => begun.learn(answer.commit),
            None => self.ask.shared.numbers.learn(self.hash, answer.commit),
        }
        match answer.outcome {
            Outcome::Reply(reply) => self.ended(Ended::Reply(reply), answer.commit),
            Outcome::Panicked => self.ended(Ended::Panicked, answer.commit),
            Outcome::Rejected(why) => self.ended(Ended::Rejected(why), answer.commit),
            Outcome::Rebase(base) => self.settle(Attempted::Rebase(base)),
            Outcome::NotOwner => {
                self.obstacle = unavailable("the vnode's slot is moving");
                self.settle(Attempted::Refused)
            }
            Outcome::Busy => {
                self.obstacle = CallError::Busy;
                self.settle(Attempted::Refused)
            }
            Outcome::Quarantined => {
                self.refused(unavailable("the vnode is resting after repeated panics"))
            }
            Outcome::UnknownKind => self.refused(CallError::UnknownKind),
            Outcome::Undecodable(why) => self.refused(CallError::Rejected { why }),
            Outcome::Unreadable(why) => self.refused(unavailable(&why)),
            Outcome::Unclear => self.unanswered("the host's session ended"),
        }
    }

    /// The vnode has answered.
    fn ended(&mut self, outcome: Ended, commit: CommitNumber) -> Next {
        if self.begun.is_some() {
            return self.settle(Attempted::Done(Recorded { outcome, commit }));
        }
        Next::End(result(outcome))
    }

    /// Not run, and trying again soon is no use.
    fn refused(&mut self, error: CallError) -> Next {
        let next = self.settle(Attempted::Refused);
        let not_run = self.begun.as_ref().is_none_or(|begun| begun.given_up() == GivenUp::NotRun);
        if not_run {
            return Next::End(Err(error));
        }
        // An earlier attempt may have run, and only the vnode knows.
        next
    }

    /// Nobody says whether the attempt ran.
    fn unanswered(&mut self, why: &str) -> Next {
        self.obstacle = unavailable(why);
        self.settle(Attempted::Lost)
    }

    fn settle(&mut self, attempted: Attempted) -> Next {
        let Some(begun) = &mut self.begun else { return Next::Pause };
        match begun.answered(attempted) {
            Verdict::Finished(recorded) => Next::End(result(recorded.outcome)),
            Verdict::Resend => Next::Again,
            Verdict::Retry => Next::Pause,
            Verdict::Wait => unreachable!("at most one attempt is out"),
            Verdict::Unclear => Next::End(Err(CallError::Unclear)),
        }
    }

    /// Waits for a view newer than that of `seen`, or for a while that grows with each failure.
    async fn pause(&mut self, seen: Epoch) -> Next {
        let shared = self.ask.shared;
        let changed = shared.changed();
        if shared.routes().epoch() > seen {
            self.failures = 0;
            return Next::Again;
        }
        self.failures += 1;
        // A newer view helps against everything but too much work.
        let _stuck = (self.obstacle != CallError::Busy).then(|| shared.stuck());
        tokio::select! {
            biased;
            answer = self.late.ended() => self.judge(answer),
            () = changed => {
                self.failures = 0;
                Next::Again
            }
            () = sleep(shared.back_off(self.failures)) => Next::Again,
        }
    }

    /// What the caller hears when time has run out.
    fn give_up(self) -> CallError {
        match self.begun.as_ref().map(Begun::given_up) {
            Some(GivenUp::Unclear) => CallError::Unclear,
            Some(GivenUp::NotRun) | None => {
                self.ask.shared.store_lost().map_or(self.obstacle, |why| unavailable(&why))
            }
        }
    }
}

fn unavailable(why: &str) -> CallError {
    CallError::Unavailable { why: why.into() }
}

fn result(outcome: Ended) -> Result<Bytes, CallError> {
    match outcome {
        Ended::Reply(reply) => Ok(reply),
        Ended::Panicked => Err(CallError::Panicked),
        Ended::Rejected(why) => Err(CallError::Rejected { why }),
    }
}

/// Sends one attempt, as soon as there is a link with room. An error says why it wasn't sent.
async fn send(
    ask: &Ask<'_>,
    epoch: Epoch,
    begun: &mut Option<Begun<'_>>,
    target: &Target,
) -> Result<oneshot::Receiver<Answer>, String> {
    let call = |begun: &mut Option<Begun<'_>>| Call {
        name: ask.name.clone(),
        mode: ask.mode,
        request: begun.as_mut().map_or_else(|| no_request(ask.shared), Begun::send),
        epoch,
        body: ask.body.clone(),
    };
    match target {
        Target::Here => {
            let local = ask.shared.local.as_ref().expect("routes lead here only if a host is here");
            let (reply, receiver) = ReplyTo::here();
            local.serve.call(call(begun), reply);
            Ok(receiver)
        }
        Target::There(kept) => {
            let link = kept.link().await?;
            let room = link.room().await.map_err(|error| error.to_string())?;
            room.call(&call(begun)).map_err(|error| {
                // It was counted, and never left.
                let verdict = begun.as_mut().map(|begun| begun.answered(Attempted::Refused));
                assert!(
                    matches!(verdict, None | Some(Verdict::Retry)),
                    "{verdict:?} before the end"
                );
                error.to_string()
            })
        }
    }
}

/// What a query carries where a command carries its request.
fn no_request(shared: &Shared) -> Request {
    let number = RequestNumber::ZERO;
    Request {
        id: RequestId { client: shared.id(), number },
        lowest: number,
        base: CommitNumber::ZERO,
    }
}

/// Completes when the newest view no longer names a session as owner.
async fn moved(shared: &Shared, vnode: VnodeHash, owner: SessionId) {
    loop {
        // Before looking, so that a view that comes in between isn't missed.
        let changed = shared.changed();
        if shared.routes().owner(vnode) != Some(owner) {
            return;
        }
        changed.await;
    }
}

/// Completes at the deadline; looks for a newer view when a call is slow.
async fn patience(shared: &Shared, deadline: Instant) {
    let slow = Instant::now() + SLOW_AFTER;
    if slow < deadline {
        sleep_until(slow).await;
        let _stuck = shared.stuck();
        sleep_until(deadline).await;
    } else {
        sleep_until(deadline).await;
    }
}

/// Attempts that were given up and may yet be answered.
#[derive(Default)]
struct Late(VecDeque<oneshot::Receiver<Answer>>);

impl Late {
    fn push(&mut self, receiver: oneshot::Receiver<Answer>) {
        if self.0.len() == LATE_MAX {
            self.0.pop_front();
        }
        self.0.push_back(receiver);
    }

    /// The first answer that says how the request ended; any other says nothing that isn't counted already.
    async fn ended(&mut self) -> Answer {
        poll_fn(|context| {
            let mut at = 0;
            while let Some(receiver) = self.0.get_mut(at) {
                match Pin::new(receiver).poll(context) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(answer)) if is_end(&answer.outcome) => {
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

const fn is_end(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Reply(_) | Outcome::Panicked | Outcome::Rejected(_) => true,
        Outcome::Rebase(_)
        | Outcome::NotOwner
        | Outcome::Busy
        | Outcome::Quarantined
        | Outcome::UnknownKind
        | Outcome::Undecodable(_)
        | Outcome::Unreadable(_)
        | Outcome::Unclear => false,
    }
}
