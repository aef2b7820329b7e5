//! The rules of exactly once; and the states that a search must reach.

use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber},
    request::{
        attempts::Answer,
        window::{Admission, Outcome, Request, RequestId, Window},
    },
};

use crate::{
    client::{Attempt, Call, Phase},
    host::Vnode,
    model::{Once, State},
    plant::{self, Bug},
};

pub(crate) const RUNS_TWICE: &str = "a request took effect twice";
pub(crate) const ACKNOWLEDGED_AND_LOST: &str =
    "an acknowledged request is lost or has another reply";
pub(crate) const NOT_RUN_AND_RAN: &str = "a request answered as not run took effect";
pub(crate) const NEW_CLIENT_NOT_SERVED: &str = "a new client with the newest base is not served";
pub(crate) const PENDING_PERMANENTLY: &str = "a pending request is refused permanently";

type Happens = fn(&Once, &State) -> bool;

/// States that a search must reach.
pub(crate) const HAPPENS: [(&str, Happens); 7] = [
    ("an answer is evicted", |_, state| {
        Vnode::decode(&state.owner.committed).window.mark() > CommitNumber::ZERO
    }),
    ("two attempts have the same answer", |_, state| {
        let done = |attempt: &&Attempt| matches!(attempt, Attempt::Answered(Answer::Done(_)));
        state.calls.iter().any(|call| call.attempts.iter().filter(done).count() > 1)
    }),
    ("an attempt is rebased", |_, state| {
        state.any_attempt(|attempt| matches!(attempt, Attempt::Answered(Answer::Rebase(_))))
    }),
    ("a later attempt is answered after a failover", |_, state| {
        let late =
            |call: &Call| matches!(call.attempts[..], [_, .., Attempt::Answered(Answer::Done(_))]);
        state.zombie.is_some() && state.calls.iter().any(late)
    }),
    ("a panic is answered", |_, state| {
        let panicked = |call: &Call| call.phase == Phase::Finished(Outcome::Panicked);
        state.calls.iter().any(panicked)
    }),
    ("a request is not run", |_, state| state.calls.iter().any(|call| call.phase == Phase::NotRun)),
    ("a request ends unclear", |_, state| {
        state.calls.iter().any(|call| call.phase == Phase::Unclear)
    }),
];

impl State {
    fn any_attempt(&self, is: impl Fn(&Attempt) -> bool) -> bool {
        self.calls.iter().flat_map(|call| &call.attempts).any(is)
    }

    /// The rule that this state violates.
    pub(crate) fn violation(&self, once: &Once) -> Option<&'static str> {
        let durable = Vnode::decode(&self.owner.committed).log;
        let times = |call| durable.iter().filter(|&&done| usize::from(done) == call).count();
        for (index, call) in self.calls.iter().enumerate() {
            if times(index) > 1 {
                return Some(RUNS_TWICE);
            }
            match &call.phase {
                Phase::Finished(Outcome::Reply(reply)) => {
                    let done = durable.get(usize::from(reply[0]));
                    if done.is_none_or(|&done| usize::from(done) != index) {
                        return Some(ACKNOWLEDGED_AND_LOST);
                    }
                }
                Phase::NotRun | Phase::Finished(Outcome::Panicked | Outcome::Rejected(_)) => {
                    if times(index) > 0 {
                        return Some(NOT_RUN_AND_RAN);
                    }
                }
                Phase::Idle | Phase::Waiting(_) | Phase::Unclear => {}
            }
        }
        let window = Vnode::decode(&self.owner.open).window;
        if !self.serves_a_new_client(once.rules.bug, &window) {
            return Some(NEW_CLIENT_NOT_SERVED);
        }
        (!self.answers_pending_requests(once, &window)).then_some(PENDING_PERMANENTLY)
    }

    /// Whether a new client with the newest base is served.
    fn serves_a_new_client(&self, bug: Option<Bug>, window: &Window) -> bool {
        let id = RequestId { client: ClientId::new(0), number: RequestNumber::new(1) };
        let request = Request { id, lowest: id.number, base: self.owner.newest_at() };
        plant::admit(bug, &mut window.clone(), &request) == Admission::Run
    }

    /// Whether each pending request would be answered if it were sent again.
    fn answers_pending_requests(&self, once: &Once, window: &Window) -> bool {
        self.calls.iter().enumerate().all(|(index, call)| {
            let Phase::Waiting(attempts) = &call.phase else { return true };
            let client = &self.clients[once.client_of(index)];
            let request = attempts.clone().send(client.numbering.lowest());
            window.clone().admit(&request) != Admission::Stale
        })
    }
}
