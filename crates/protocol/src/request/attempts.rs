//! The client's side of exactly once: request numbers, bases, and the meaning of an answer to an attempt.
//!
//! A client numbers its requests. Each attempt carries the lowest number that is still pending. An attempt is sent
//! once, by the client itself; a retry is a new attempt with the same number and the same base. An attempt is *settled*
//! when its answer says that it was not run: `Rebase`, or a refusal. While an attempt is in flight, or after its
//! connection broke, it is unknown whether it ran, is running, or will still arrive.
//!
//! Invariants:
//!
//! * The base is known to be committed before the first attempt, and is replaced only while every attempt is settled.
//! * A request is "not run" only if every attempt is settled; otherwise, without an answer, it is unclear.
//! * The lowest number sent is at or below every pending number.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{ClientId, CommitNumber, RequestNumber, VnodeHash},
    request::window::{Recorded, Request, RequestId},
};

/// Default for the number of vnodes whose newest commit number a client remembers: at most 3 MiB. For a forgotten vnode
/// a client sends base 0, which costs a round trip if the vnode has a mark.
pub const BASES_LEN_MAX: usize = 1 << 16;

/// Numbers a client's requests and tracks which are pending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Numbering {
    client: ClientId,
    next: RequestNumber,
    waiting: BTreeSet<RequestNumber>,
    waiting_len_max: usize,
}

impl Numbering {
    /// For a client that starts. Its id must be new, or requests of an earlier incarnation would be taken for these. At
    /// most `waiting_len_max` requests are pending at a time.
    #[must_use]
    pub const fn new(client: ClientId, waiting_len_max: usize) -> Self {
        let next = RequestNumber::ZERO.next();
        Self { client, next, waiting: BTreeSet::new(), waiting_len_max }
    }

    /// The id of the next request; `None` while too many are pending.
    pub fn begin(&mut self) -> Option<RequestId> {
        if self.waiting.len() >= self.waiting_len_max {
            return None;
        }
        let number = self.next;
        self.next = number.next();
        self.waiting.insert(number);
        Some(RequestId { client: self.client, number })
    }

    /// The lowest pending number, for an attempt that is sent now.
    #[must_use]
    pub fn lowest(&self) -> RequestNumber {
        self.waiting.first().copied().unwrap_or(self.next)
    }

    /// The request was answered, or its caller gave up. No attempt of it may be sent from now on.
    ///
    /// # Panics
    ///
    /// When it wasn't pending.
    pub fn finish(&mut self, number: RequestNumber) {
        assert!(self.waiting.remove(&number), "request {number} isn't pending");
    }
}

/// How an attempt was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The request's committed outcome.
    Done(Recorded),
    /// Not run: its base is below the vnode's mark. This commit number is committed and not below the mark.
    Rebase(CommitNumber),
    /// Not run for another reason: `Busy`, `NotOwner`, quarantine.
    Refused,
    /// No answer: the connection broke, or a timeout.
    Lost,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Final: the request's outcome.
    Finished(Recorded),
    /// Send it again at once, with the new base.
    Resend,
    /// It may be retried later, any number of times: it takes effect at most once.
    Retry,
    /// Another attempt is in flight and may still be answered.
    Wait,
    /// Final: it may have run, and this can't be known any more.
    Unclear,
}

/// The state of a request when its caller gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// It did not run and never will.
    NotRun,
    /// It may have run, or may still run.
    Unclear,
}

/// The attempts of one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempts {
    id: RequestId,
    base: CommitNumber,
    sent: u32,
    /// Attempts answered with `Rebase` or a refusal: they did not run and never will.
    settled: u32,
    /// Attempts given up without an answer. The others are in flight.
    lost: u32,
    /// The newest base offered and not used yet.
    offered: Option<CommitNumber>,
}

impl Attempts {
    /// No attempts yet. `base` is a committed commit number of the vnode, 0 if none is known.
    #[must_use]
    pub const fn new(id: RequestId, base: CommitNumber) -> Self {
        Self { id, base, sent: 0, settled: 0, lost: 0, offered: None }
    }

    /// The id of the request.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// The next attempt; it counts as sent. `lowest` is the current [`Numbering::lowest`].
    ///
    /// # Panics
    ///
    /// When the request is below `lowest`: it has ended.
    pub fn send(&mut self, lowest: RequestNumber) -> Request {
        assert!(lowest <= self.id.number, "{:?} is sent after it ended", self.id);
        self.sent = self.sent.checked_add(1).expect("2^32 attempts outlast every deadline");
        Request { id: self.id, lowest, base: self.base }
    }

    /// Takes the answer to one attempt. Each attempt has one answer. After [`Answer::Lost`], only a late
    /// [`Answer::Done`] may be passed in for that attempt; drop all others.
    ///
    /// # Panics
    ///
    /// When there are more answers than attempts.
    pub fn answered(&mut self, answer: Answer) -> Verdict {
        match answer {
            Answer::Done(recorded) => return Verdict::Finished(recorded),
            Answer::Rebase(commit) => {
                self.settled += 1;
                self.offered = self.offered.max(Some(commit));
            }
            Answer::Refused => self.settled += 1,
            Answer::Lost => self.lost += 1,
        }
        let answers = u64::from(self.settled) + u64::from(self.lost);
        assert!(answers <= u64::from(self.sent), "{self:?} has more answers than attempts");
        if answers < u64::from(self.sent) {
            return Verdict::Wait;
        }
        match self.offered {
            None => Verdict::Retry,
            Some(base) if self.lost == 0 => {
                // No attempt ran or can run: as if none had been sent.
                self.offered = None;
                self.base = base;
                Verdict::Resend
            }
            // The lost attempt may have run and been forgotten, so a newer base could run it twice; and the old base
            // will never be accepted again.
            Some(_) => Verdict::Unclear,
        }
    }

    /// The state of the request if its caller gives up now.
    #[must_use]
    pub const fn given_up(&self) -> GivenUp {
        if self.settled == self.sent { GivenUp::NotRun } else { GivenUp::Unclear }
    }
}

/// The newest known committed commit numbers of recently used vnodes: the bases of new requests.
///
/// Bounded by two halves: when the younger is full, it replaces the older, which is forgotten. A used entry moves to
/// the younger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bases {
    younger: BTreeMap<VnodeHash, CommitNumber>,
    older: BTreeMap<VnodeHash, CommitNumber>,
    half_len_max: usize,
}

impl Bases {
    /// Empty; for at most `len_max` vnodes.
    ///
    /// # Panics
    ///
    /// When `len_max` is below 2.
    #[must_use]
    pub const fn new(len_max: usize) -> Self {
        assert!(len_max >= 2, "each half has room for at least one");
        Self { younger: BTreeMap::new(), older: BTreeMap::new(), half_len_max: len_max / 2 }
    }

    /// Records that a commit number of a vnode is committed.
    pub fn learn(&mut self, vnode: VnodeHash, commit: CommitNumber) {
        let newest = self.newest(vnode).max(commit);
        match self.younger.get_mut(&vnode) {
            Some(known) => *known = newest,
            None => self.remember(vnode, newest),
        }
    }

    /// The newest known commit number; 0 if none is.
    pub fn newest(&mut self, vnode: VnodeHash) -> CommitNumber {
        if let Some(&commit) = self.younger.get(&vnode) {
            return commit;
        }
        let Some(commit) = self.older.remove(&vnode) else { return CommitNumber::ZERO };
        self.remember(vnode, commit);
        commit
    }

    fn remember(&mut self, vnode: VnodeHash, commit: CommitNumber) {
        if self.younger.len() >= self.half_len_max {
            self.older = core::mem::take(&mut self.younger);
        }
        self.younger.insert(vnode, commit);
    }
}

impl Default for Bases {
    fn default() -> Self {
        Self::new(BASES_LEN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::request::window::Outcome;

    const CLIENT: ClientId = ClientId::new(7);

    const fn commit(number: u64) -> CommitNumber {
        CommitNumber::new(number)
    }

    const fn number(number: u64) -> RequestNumber {
        RequestNumber::new(number)
    }

    fn attempts(sent: u32, base: u64) -> Attempts {
        let id = RequestId { client: CLIENT, number: number(1) };
        let mut attempts = Attempts::new(id, commit(base));
        for _ in 0..sent {
            assert_eq!(attempts.send(number(1)).base, commit(base));
        }
        attempts
    }

    fn done() -> Answer {
        Answer::Done(Recorded { outcome: Outcome::Reply(Bytes::new()), commit: commit(9) })
    }

    #[test]
    fn the_lowest_number_is_that_of_the_oldest_pending_request() {
        let mut numbering = Numbering::new(CLIENT, 8);
        assert_eq!(numbering.lowest(), number(1));
        let ids: Vec<_> = (0..3).map(|_| numbering.begin().unwrap().number).collect();
        assert_eq!(ids, [number(1), number(2), number(3)]);
        numbering.finish(ids[1]);
        assert_eq!(numbering.lowest(), number(1));
        numbering.finish(ids[0]);
        assert_eq!(numbering.lowest(), number(3));
        numbering.finish(ids[2]);
        assert_eq!(numbering.lowest(), number(4));
    }

    #[test]
    fn a_number_is_not_reused_after_the_limit_was_reached() {
        let mut numbering = Numbering::new(CLIENT, 1);
        let first = numbering.begin().unwrap();
        assert_eq!(numbering.begin(), None);
        numbering.finish(first.number);
        assert_eq!(numbering.begin().unwrap().number, number(2));
    }

    #[test]
    #[should_panic(expected = "isn't pending")]
    fn a_request_does_not_end_twice() {
        let mut numbering = Numbering::new(CLIENT, 1);
        let first = numbering.begin().unwrap();
        numbering.finish(first.number);
        numbering.finish(first.number);
    }

    #[test]
    #[should_panic(expected = "sent after it ended")]
    fn a_request_that_ended_is_not_sent_again() {
        attempts(1, 0).send(number(2));
    }

    #[test]
    fn a_rebase_of_the_only_attempt_moves_the_base() {
        let mut attempts = attempts(1, 3);
        assert_eq!(attempts.answered(Answer::Rebase(commit(8))), Verdict::Resend);
        assert_eq!(attempts.send(number(1)).base, commit(8));
    }

    #[test]
    fn a_rebase_after_a_lost_attempt_leaves_the_request_unclear() {
        let mut attempts = attempts(1, 3);
        assert_eq!(attempts.answered(Answer::Lost), Verdict::Retry);
        assert_eq!(attempts.send(number(1)).base, commit(3));
        assert_eq!(attempts.answered(Answer::Rebase(commit(8))), Verdict::Unclear);
        assert_eq!(attempts.given_up(), GivenUp::Unclear);
    }

    #[test]
    fn a_rebase_waits_for_the_attempt_in_flight() {
        let mut both = attempts(2, 3);
        assert_eq!(both.answered(Answer::Rebase(commit(8))), Verdict::Wait);
        let mut one_lost = both.clone();
        assert_eq!(one_lost.answered(Answer::Lost), Verdict::Unclear);
        assert_eq!(both.answered(Answer::Rebase(commit(5))), Verdict::Resend);
        assert_eq!(both.send(number(1)).base, commit(8), "the newest base offered");
    }

    #[test]
    fn a_refused_attempt_does_not_prevent_a_rebase() {
        let mut attempts = attempts(1, 0);
        assert_eq!(attempts.answered(Answer::Refused), Verdict::Retry);
        assert_eq!(attempts.send(number(1)).base, commit(0));
        assert_eq!(attempts.answered(Answer::Rebase(commit(8))), Verdict::Resend);
        assert_eq!(attempts.given_up(), GivenUp::NotRun);
    }

    #[test]
    fn a_refusal_does_not_settle_a_lost_attempt() {
        let mut attempts = attempts(1, 0);
        assert_eq!(attempts.answered(Answer::Lost), Verdict::Retry);
        assert_eq!(attempts.send(number(1)).id.number, number(1));
        assert_eq!(attempts.answered(Answer::Refused), Verdict::Retry);
        assert_eq!(attempts.given_up(), GivenUp::Unclear);
    }

    #[test]
    fn a_request_is_unclear_while_an_attempt_is_in_flight_and_not_run_before_the_first() {
        assert_eq!(attempts(0, 0).given_up(), GivenUp::NotRun);
        let mut attempts = attempts(1, 0);
        assert_eq!(attempts.given_up(), GivenUp::Unclear);
        assert_eq!(attempts.answered(Answer::Refused), Verdict::Retry);
        assert_eq!(attempts.given_up(), GivenUp::NotRun);
    }

    #[test]
    fn a_late_answer_of_a_lost_attempt_still_finishes_the_request() {
        let mut attempts = attempts(1, 0);
        assert_eq!(attempts.answered(Answer::Lost), Verdict::Retry);
        assert!(matches!(attempts.answered(done()), Verdict::Finished(_)));
    }

    #[test]
    #[should_panic(expected = "more answers than attempts")]
    fn an_attempt_is_not_answered_twice() {
        let mut attempts = attempts(1, 0);
        assert_eq!(attempts.answered(Answer::Lost), Verdict::Retry);
        drop(attempts.answered(Answer::Refused));
    }

    #[test]
    fn a_base_never_goes_down() {
        let mut bases = Bases::new(4);
        let vnode = VnodeHash::from_bits(1);
        assert_eq!(bases.newest(vnode), CommitNumber::ZERO);
        bases.learn(vnode, commit(5));
        bases.learn(vnode, commit(3));
        assert_eq!(bases.newest(vnode), commit(5));
    }

    #[test]
    fn a_vnode_in_use_is_remembered_while_others_come_and_go() {
        let mut bases = Bases::new(4);
        let hot = VnodeHash::from_bits(0);
        bases.learn(hot, commit(5));
        for other in 1..100 {
            bases.learn(VnodeHash::from_bits(other), commit(1));
            assert_eq!(bases.newest(hot), commit(5), "after {other}");
        }
    }

    proptest! {
        #[test]
        fn remembered_bases_are_committed_and_bounded(
            learned in proptest::collection::vec((0..20u128, 1..100u64), 0..200),
            len_max in 2..9usize,
        ) {
            let mut bases = Bases::new(len_max);
            let mut truth = BTreeMap::new();
            for (vnode, number) in learned {
                let vnode = VnodeHash::from_bits(vnode);
                bases.learn(vnode, commit(number));
                let newest: &mut CommitNumber = truth.entry(vnode).or_default();
                *newest = commit(number).max(*newest);
                prop_assert!(bases.younger.len() + bases.older.len() <= len_max);
                // An older value may have been forgotten, but the result is never more than was learned.
                prop_assert!(bases.newest(vnode) >= commit(number));
                prop_assert!(bases.newest(vnode) <= *newest);
            }
        }

        #[test]
        fn a_base_moves_only_while_every_attempt_is_settled(
            answers in proptest::collection::vec((0..3u8, 0..50u64), 1..12),
        ) {
            let mut attempts = attempts(0, 0);
            let mut all_settled = true;
            for (kind, number) in answers {
                let base = attempts.send(RequestNumber::new(1)).base;
                let answer = match kind {
                    0 => Answer::Rebase(commit(number)),
                    1 => Answer::Refused,
                    _ => Answer::Lost,
                };
                all_settled &= !matches!(answer, Answer::Lost);
                let verdict = attempts.answered(answer);
                prop_assert_eq!(attempts.given_up() == GivenUp::NotRun, all_settled);
                prop_assert!(all_settled || attempts.base == base);
                if verdict == Verdict::Unclear {
                    prop_assert!(!all_settled);
                    break;
                }
            }
        }
    }
}
