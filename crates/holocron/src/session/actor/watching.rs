//! Telling watchers of commits.
//!
//! What a watcher gets is the query's answer on the state that is handed over as a commit, and it leaves with that commit's
//! other answers. So a watcher never sees what isn't committed, nor a state between two commits.

use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::{ids::CommitNumber, request::watchers::Arrival};

use super::{Active, Pending, Work, own::Job};
use crate::{
    api::{
        call::{Answer, Format, Mode, Outcome, ReplyTo},
        encoded::Encoded,
        watch::{WatchRequest, news},
    },
    session::{journal::Released, watches::Caller},
};

/// A watcher's query, and its format; none for commit numbers only.
type Query = (Format, Option<Bytes>);

impl Active {
    /// Takes a watcher.
    pub(super) fn watch(&mut self, work: Work) {
        let Job::Call(call) = &work.job else { unreachable!("deferred work isn't a call") };
        let request = match WatchRequest::decode(&call.body) {
            Ok(request) => request,
            Err(why) => {
                let answer = self.answer(CommitNumber::ZERO, Outcome::Undecodable(why));
                return work.reply.send(answer);
            }
        };
        let commit = self.phase.running().commit;
        if self.dirty && request.after <= commit {
            // It gets the state that is about to be handed over, not the one that its neighbours in the mailbox left.
            return self.pending.push(Pending { work, outcome: Outcome::Unclear });
        }
        let (format, Work { job, reply }) = (call.format, work);
        let of = self.handle.watched();
        match self.session.watcher_arrives(of, commit, request, (format, reply)) {
            Arrival::Waits => {}
            Arrival::Refused(caller) => {
                caller.reply.send(self.answer(CommitNumber::ZERO, Outcome::Busy));
            }
            Arrival::Newer(caller) => {
                let outcome = self.seen_at(commit, caller.format, caller.query.as_ref());
                let work = Work { job, reply: caller.reply };
                self.answer_when_committed(work, commit, outcome);
            }
        }
    }

    /// What watchers get with the commit that is handed over next: those that wait, and those whose calls are pending.
    pub(super) fn tell_watchers(&mut self) -> Vec<(ReplyTo, Outcome)> {
        let next = self.phase.running().commit.next();
        let mut outcomes: BTreeMap<Query, Outcome> = BTreeMap::new();
        for at in 0..self.pending.len() {
            let Job::Call(call) = &self.pending[at].work.job else { continue };
            if call.mode == Mode::Watch {
                let request = WatchRequest::decode(&call.body).expect("it was decoded before");
                let query = (call.format, request.query);
                self.pending[at].outcome = self.seen_once(&mut outcomes, next, query);
            }
        }
        let callers = self.session.watchers_of(self.handle.watched(), next);
        let told = callers.into_iter();
        told.map(|Caller { reply, query, format }| {
            (reply, self.seen_once(&mut outcomes, next, (format, query)))
        })
        .collect()
    }

    /// Asks each query once, however many watchers have it.
    fn seen_once(
        &mut self,
        outcomes: &mut BTreeMap<Query, Outcome>,
        commit: CommitNumber,
        query: Query,
    ) -> Outcome {
        if let Some(outcome) = outcomes.get(&query) {
            return outcome.clone();
        }
        let outcome = self.seen_at(commit, query.0, query.1.as_ref());
        outcomes.insert(query, outcome.clone());
        outcome
    }

    /// What a watcher sees of the state in memory, which is that of a commit.
    fn seen_at(&mut self, commit: CommitNumber, format: Format, query: Option<&Bytes>) -> Outcome {
        match query.map(|body| self.ask(Encoded { format, body })) {
            None => Outcome::Reply(news(commit, &[])),
            Some(Outcome::Reply(answer)) => Outcome::Reply(news(commit, &answer)),
            Some(refused) => refused,
        }
    }
}

/// An answer to a watcher that leaves with a commit.
pub(super) fn told(answer: &Answer, (reply, outcome): (ReplyTo, Outcome)) -> Released {
    Released { reply, answer: Answer { outcome, ..answer.clone() } }
}
