//! The window: what a vnode remembers of requests, so that each takes effect at most once.
//!
//! It is committed in the envelope, with the state the requests changed, and holds per client the answers given and the
//! lowest number the client still waits for. Whatever is below that is forgotten freely: it never runs again. The
//! window is bounded, so other answers are forgotten too, and each of those raises the *mark*: from then on a request
//! that isn't recorded runs only if its base, a commit number known before its first attempt, is at or above the mark.
//! It can't be one of the forgotten then: every attempt of it was sent after they were committed.
//!
//! One command goes through as: [`Window::admit`]; on [`Admission::Run`] it runs; then [`Window::record`], before
//! anything else touches the window. A command that panics is rolled back with the window it was admitted to, and is
//! admitted again before its [`Outcome::Panicked`] is recorded.
//!
//! Invariants:
//!
//! * Nothing runs that is recorded, that is below its client's lowest number, or whose base is below the mark.
//! * Every answer dropped, unless its client no longer waits for it, leaves the mark at or above its commit number.
//! * The mark is at or below the number of the envelope it is committed in, so a fresh base always exists.

mod format;

use alloc::{collections::VecDeque, string::String, vec::Vec};

use bytes::Bytes;
use holocron_planted::{Bug, is_planted};
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, CommitNumber, RequestNumber};

/// Answers a window keeps unless told otherwise. As many commands of one vnode as may wait for one commit: with fewer,
/// a busy vnode would forget answers before they are released and ask its clients to rebase.
pub const ENTRIES_LEN_MAX: usize = 256;
/// Clients a window keeps unless told otherwise. A client is a process, so this many may use one vnode in turn.
pub const CLIENTS_LEN_MAX: usize = 32;
/// Bytes a window takes in its envelope unless told otherwise; close to, and rather above, what it takes.
pub const BYTES_LEN_MAX: usize = 32 << 10;

/// What a client's record counts for in bytes: its id and three numbers.
const CLIENT_COST: usize = 24;
/// What an answer counts for in bytes besides its content.
const ENTRY_COST: usize = 8;

/// The name of a request, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// Whose it is.
    pub client: ClientId,
    /// The client's own count.
    pub number: RequestNumber,
}

/// What each attempt of a request carries besides the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// Its name; the same in every attempt.
    pub id: RequestId,
    /// The lowest number the client still waits for; at most its own.
    pub lowest: RequestNumber,
    /// A committed commit number of the vnode, known before the first attempt. 0 always is one.
    pub base: CommitNumber,
}

/// How a request ended at the vnode, as it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran; this is its encoded reply. Keeps the whole buffer alive that it is a slice of.
    Reply(Bytes),
    /// Its code panicked and was rolled back: it has no effect and never will.
    Panicked,
    /// It would have made the state too large and was rolled back: it has no effect and never will. Says why.
    Rejected(String),
}

/// An answer, and the envelope it is part of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recorded {
    /// How the request ended.
    pub outcome: Outcome,
    /// The number of the envelope the answer is committed with. It may leave once that is committed.
    pub commit: CommitNumber,
}

/// What is to be done with an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// Run it, then record its outcome.
    Run,
    /// It was answered before: this is the answer. It may leave once its commit number is committed.
    Recorded(Recorded),
    /// Not run: it may be one of the forgotten. Answer with the commit number of the state it was judged on (the open
    /// envelope's if that has changes, else the newest handed over), once that is committed.
    Rebase,
    /// Not run, never will be: its client has had an answer or has given up. Nobody waits, so answer nothing.
    Stale,
}

/// How much a window remembers. More lets a client retry later; less makes envelopes smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowLimits {
    /// Answers kept at most.
    pub entries_len_max: usize,
    /// Clients kept at most.
    pub clients_len_max: usize,
    /// Bytes at most, about as they are in the envelope.
    pub bytes_len_max: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            entries_len_max: ENTRIES_LEN_MAX,
            clients_len_max: CLIENTS_LEN_MAX,
            bytes_len_max: BYTES_LEN_MAX,
        }
    }
}

/// What is kept of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientRecord {
    id: ClientId,
    /// The highest "lowest number still waited for" it was heard to say.
    lowest: RequestNumber,
    /// The newest commit number that any answer to it had, also of those forgotten since.
    newest: CommitNumber,
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    id: RequestId,
    recorded: Recorded,
}

/// A vnode's memory of requests. Empty, it takes no heap and no bytes in the envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    mark: CommitNumber,
    /// In order of last use.
    clients: Vec<ClientRecord>,
    /// In order of last use. Each entry's client is among `clients`, its number at or above that client's lowest and
    /// its commit number at or below that client's newest.
    entries: VecDeque<Entry>,
}

impl Window {
    /// The newest commit number of anything forgotten: the lowest base with which an unrecorded request runs.
    #[must_use]
    pub const fn mark(&self) -> CommitNumber {
        self.mark
    }

    /// Whether nothing was ever recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mark == CommitNumber::ZERO && self.clients.is_empty()
    }

    /// What it counts for against [`WindowLimits::bytes_len_max`].
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        let entries: usize = self.entries.iter().map(Entry::cost).sum();
        entries + self.clients.len() * CLIENT_COST
    }

    /// Decides about an attempt.
    pub fn admit(&mut self, request: &Request) -> Admission {
        let id = request.id;
        // A client waits for what it sends; anything else is not its doing, and running it could only do harm.
        if id.number < request.lowest {
            return Admission::Stale;
        }
        if let Some(client) = self.used(id.client) {
            if client.lowest < request.lowest {
                client.lowest = request.lowest;
                self.forget_below(id.client, request.lowest);
            } else if id.number < client.lowest {
                return Admission::Stale;
            }
            if let Some(at) = self.position(id) {
                let entry = self.entries.remove(at).expect("a position just found");
                let recorded = entry.recorded.clone();
                self.entries.push_back(entry);
                return Admission::Recorded(recorded);
            }
        }
        // Whether the client is known makes no difference: what was evicted may have been this client's.
        if request.base < self.mark { Admission::Rebase } else { Admission::Run }
    }

    /// Records how a request ended that was just admitted. `recorded.commit` is the number of the envelope that this
    /// window will be part of.
    ///
    /// # Panics
    ///
    /// When [`Window::admit`] would not answer [`Admission::Run`], or commit numbers go down.
    pub fn record(&mut self, request: &Request, recorded: Recorded, limits: &WindowLimits) {
        let (id, commit) = (request.id, recorded.commit);
        assert!(request.base >= self.mark, "{id:?} ran below the mark {}", self.mark);
        assert!(self.position(id).is_none(), "{id:?} ran though its answer was there");
        match self.used(id.client) {
            Some(client) => {
                assert!(commit >= client.newest, "{commit} after {}", client.newest);
                assert!(id.number >= client.lowest, "{id:?} ran below {}", client.lowest);
                client.lowest = client.lowest.max(request.lowest);
                client.newest = commit;
            }
            None => {
                reserve_one(&mut self.clients);
                let lowest = request.lowest;
                self.clients.push(ClientRecord { id: id.client, lowest, newest: commit });
            }
        }
        let entry = Entry { id, recorded };
        if entry.cost() > limits.bytes_len_max {
            // It can't stay, and should not push all others out before it goes.
            self.raise(commit);
        } else {
            if self.entries.is_empty() {
                self.entries.reserve_exact(1);
            }
            self.entries.push_back(entry);
        }
        self.evict(limits);
        if is_planted(Bug::WindowByAge) {
            self.entries.retain(|entry| commit.get() - entry.recorded.commit.get() < 4);
        }
        assert!(self.mark <= commit, "mark {} above its own envelope {commit}", self.mark);
    }

    /// The client's record, now the last used.
    fn used(&mut self, client: ClientId) -> Option<&mut ClientRecord> {
        let at = self.clients.iter().rposition(|record| record.id == client)?;
        self.clients[at..].rotate_left(1);
        self.clients.last_mut()
    }

    fn position(&self, id: RequestId) -> Option<usize> {
        self.entries.iter().position(|entry| entry.id == id)
    }

    /// Drops what a client no longer waits for. That needs no mark: below its lowest number nothing ever runs.
    fn forget_below(&mut self, client: ClientId, lowest: RequestNumber) {
        let goes = |entry: &Entry| entry.id.client == client && entry.id.number < lowest;
        // Mostly what goes was used longest ago, and then nothing else has to move.
        while self.entries.pop_front_if(|entry| goes(entry)).is_some() {}
        if self.entries.iter().any(goes) {
            self.entries.retain(|entry| !goes(entry));
        }
        // A burst should not leave its room behind in a vnode that goes on quietly.
        if self.entries.capacity() > 16 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    fn evict(&mut self, limits: &WindowLimits) {
        let mut bytes = self.bytes_len();
        while self.clients.len() > limits.clients_len_max {
            bytes -= self.evict_client();
        }
        while self.entries.len() > limits.entries_len_max || bytes > limits.bytes_len_max {
            let Some(entry) = self.entries.pop_front() else { break };
            bytes -= entry.cost();
            if !is_planted(Bug::ForgetAnswerWithoutMark) {
                self.raise(entry.recorded.commit);
            }
        }
        while bytes > limits.bytes_len_max {
            bytes -= self.evict_client();
        }
    }

    /// Drops the client used longest ago, with its answers; says what it counted for.
    fn evict_client(&mut self) -> usize {
        let client = self.clients.remove(0);
        let mut bytes = CLIENT_COST;
        self.entries.retain(|entry| {
            let stays = entry.id.client != client.id;
            bytes += if stays { 0 } else { entry.cost() };
            stays
        });
        // Its lowest number goes with it, so what it dropped freely must be held off by the mark from now on.
        if !is_planted(Bug::ForgetClientWithoutMark) {
            self.raise(client.newest);
        }
        bytes
    }

    fn raise(&mut self, commit: CommitNumber) {
        self.mark = self.mark.max(commit);
    }
}

/// Room for the first of what mostly stays one, where a vector would take room for four.
fn reserve_one<T>(list: &mut Vec<T>) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
}

impl Entry {
    fn cost(&self) -> usize {
        ENTRY_COST
            + match &self.recorded.outcome {
                Outcome::Reply(reply) => reply.len(),
                Outcome::Panicked => 0,
                Outcome::Rejected(why) => why.len(),
            }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec};

    use proptest::prelude::*;

    use super::*;

    const ONE: WindowLimits =
        WindowLimits { entries_len_max: 1, clients_len_max: 8, bytes_len_max: BYTES_LEN_MAX };

    const fn commit(number: u64) -> CommitNumber {
        CommitNumber::new(number)
    }

    /// The request of a client, which still waits for `lowest`, sent with a base.
    fn request(client: u128, lowest: u64, number: u64, base: u64) -> Request {
        Request {
            id: RequestId { client: ClientId::new(client), number: RequestNumber::new(number) },
            lowest: RequestNumber::new(lowest),
            base: commit(base),
        }
    }

    fn reply(text: &'static str, number: u64) -> Recorded {
        Recorded {
            outcome: Outcome::Reply(Bytes::from_static(text.as_bytes())),
            commit: commit(number),
        }
    }

    /// Runs a request with base = number of its envelope, so that it is admitted unless recorded.
    fn run(window: &mut Window, limits: &WindowLimits, client: u128, number: u64, at: u64) {
        let request = request(client, 1, number, at);
        assert_eq!(window.admit(&request), Admission::Run);
        window.record(&request, reply("r", at), limits);
    }

    #[test]
    fn a_recorded_request_gets_the_same_answer_again_whatever_its_base() {
        let mut window = Window::default();
        run(&mut window, &WindowLimits::default(), 1, 1, 5);
        for base in [0, 5, 9] {
            let again = window.admit(&request(1, 1, 1, base));
            assert_eq!(again, Admission::Recorded(reply("r", 5)));
        }
    }

    #[test]
    fn a_panic_and_a_rejection_are_answers_like_any_other() {
        let mut window = Window::default();
        for (number, outcome) in
            [(1, Outcome::Panicked), (2, Outcome::Rejected("too large".into()))]
        {
            let recorded = Recorded { outcome, commit: commit(3) };
            let request = request(1, 1, number, 0);
            assert_eq!(window.admit(&request), Admission::Run);
            window.record(&request, recorded.clone(), &WindowLimits::default());
            assert_eq!(window.admit(&request), Admission::Recorded(recorded));
        }
    }

    #[test]
    fn an_answer_pushed_out_raises_the_mark_to_its_commit_number_and_its_request_does_not_run_again()
     {
        let mut window = Window::default();
        run(&mut window, &ONE, 1, 1, 5);
        run(&mut window, &ONE, 1, 2, 7);
        assert_eq!(window.mark(), commit(5));
        assert_eq!(window.admit(&request(1, 1, 1, 4)), Admission::Rebase);
    }

    #[test]
    fn a_base_at_the_mark_is_enough() {
        let mut window = Window::default();
        run(&mut window, &ONE, 1, 1, 5);
        run(&mut window, &ONE, 1, 2, 7);
        assert_eq!(window.admit(&request(2, 1, 1, 4)), Admission::Rebase);
        assert_eq!(window.admit(&request(2, 1, 1, 5)), Admission::Run);
    }

    #[test]
    fn what_a_client_no_longer_waits_for_goes_without_a_mark_and_never_runs_again() {
        let mut window = Window::default();
        run(&mut window, &WindowLimits::default(), 1, 1, 5);
        let next = request(1, 2, 2, 0);
        assert_eq!(window.admit(&next), Admission::Run);
        window.record(&next, reply("s", 6), &WindowLimits::default());
        assert_eq!(window.mark(), CommitNumber::ZERO);
        assert_eq!(window.entries.len(), 1);
        assert_eq!(window.admit(&request(1, 1, 1, 9)), Admission::Stale);
    }

    #[test]
    fn a_number_that_is_not_waited_for_when_it_is_sent_is_stale_for_an_unknown_client_too() {
        assert_eq!(Window::default().admit(&request(1, 3, 2, 0)), Admission::Stale);
    }

    #[test]
    fn a_client_pushed_out_raises_the_mark_to_the_newest_it_ever_held() {
        let limits = WindowLimits { clients_len_max: 1, ..WindowLimits::default() };
        let mut window = Window::default();
        run(&mut window, &limits, 1, 1, 5);
        // It has had that answer, and says so without another request being recorded.
        assert_eq!(window.admit(&request(1, 2, 2, 0)), Admission::Run);
        assert!(window.entries.is_empty());
        run(&mut window, &limits, 2, 1, 7);
        assert_eq!(window.mark(), commit(5));
        assert_eq!(window.admit(&request(1, 1, 1, 4)), Admission::Rebase);
    }

    #[test]
    fn what_was_asked_for_again_stays_longest() {
        let limits =
            WindowLimits { entries_len_max: 2, clients_len_max: 2, ..WindowLimits::default() };
        let mut window = Window::default();
        run(&mut window, &limits, 1, 1, 5);
        run(&mut window, &limits, 2, 1, 6);
        assert_eq!(window.admit(&request(1, 1, 1, 0)), Admission::Recorded(reply("r", 5)));
        run(&mut window, &limits, 3, 1, 7);
        assert_eq!(window.mark(), commit(6));
        assert_eq!(window.admit(&request(1, 1, 1, 0)), Admission::Recorded(reply("r", 5)));
        assert_eq!(window.admit(&request(2, 1, 1, 0)), Admission::Rebase);
    }

    #[test]
    fn an_answer_too_large_to_keep_pushes_no_other_out() {
        let limits = WindowLimits { bytes_len_max: 100, ..WindowLimits::default() };
        let mut window = Window::default();
        run(&mut window, &limits, 1, 1, 5);
        let large = request(2, 1, 1, 5);
        assert_eq!(window.admit(&large), Admission::Run);
        let outcome = Outcome::Reply(vec![0; 101].into());
        window.record(&large, Recorded { outcome, commit: commit(6) }, &limits);
        assert_eq!(window.mark(), commit(6));
        assert_eq!(window.admit(&large), Admission::Rebase);
        assert_eq!(window.admit(&request(1, 1, 1, 0)), Admission::Recorded(reply("r", 5)));
    }

    #[test]
    fn a_window_that_may_keep_nothing_still_runs_everything_once() {
        let limits = WindowLimits { entries_len_max: 0, clients_len_max: 0, bytes_len_max: 0 };
        let mut window = Window::default();
        for at in 1..5 {
            run(&mut window, &limits, 1, at, at);
            assert_eq!((window.bytes_len(), window.mark()), (0, commit(at)));
            assert_eq!(window.admit(&request(1, 1, at, at - 1)), Admission::Rebase);
        }
    }

    #[test]
    fn a_window_of_one_client_is_small_and_a_burst_leaves_no_room_behind() {
        assert!(size_of::<Window>() <= 64 && size_of::<Entry>() <= 80);
        let mut window = Window::default();
        run(&mut window, &WindowLimits::default(), 1, 1, 1);
        assert_eq!((window.clients.capacity(), window.entries.capacity()), (1, 1));
        for number in 2..=200 {
            run(&mut window, &WindowLimits::default(), 1, number, 2);
        }
        assert_eq!(window.admit(&request(1, 201, 201, 2)), Admission::Run);
        assert!(window.entries.capacity() <= 16, "{}", window.entries.capacity());
    }

    #[test]
    #[should_panic(expected = "ran below the mark")]
    fn what_should_have_been_rebased_is_not_recorded() {
        let mut window = Window::default();
        run(&mut window, &ONE, 1, 1, 5);
        run(&mut window, &ONE, 1, 2, 7);
        window.record(&request(2, 1, 1, 4), reply("r", 7), &ONE);
    }

    #[test]
    #[should_panic(expected = "its answer was there")]
    fn what_is_recorded_is_not_recorded_again() {
        let mut window = Window::default();
        run(&mut window, &ONE, 1, 1, 5);
        window.record(&request(1, 1, 1, 5), reply("r", 6), &ONE);
    }

    #[test]
    #[should_panic(expected = "c4 after c5")]
    fn commit_numbers_do_not_go_down() {
        let mut window = Window::default();
        run(&mut window, &ONE, 1, 1, 5);
        run(&mut window, &ONE, 1, 2, 4);
    }

    #[test]
    #[should_panic(expected = "ran below r2")]
    fn what_is_stale_is_not_recorded() {
        let mut window = Window::default();
        let second = request(1, 2, 2, 5);
        window.record(&second, reply("r", 5), &WindowLimits::default());
        window.record(&request(1, 1, 1, 5), reply("r", 5), &WindowLimits::default());
    }

    prop_compose! {
        /// A client, how far its lowest is below its number, its number, how old its base is, the reply's length and
        /// whether the envelope is handed over after it.
        fn step()(client in 0..5u128, back in 0..4u64, number in 1..30u64, age in 0..6u64, length in 0..40usize, over: bool)
            -> (u128, u64, u64, u64, usize, bool) { (client, back, number, age, length, over) }
    }

    proptest! {
        #[test]
        fn what_ran_never_runs_again_and_everything_is_bounded(
            steps in proptest::collection::vec(step(), 1..150),
            entries_len_max in 0..6usize,
            clients_len_max in 0..4usize,
            bytes_len_max in 0..200usize,
        ) {
            let limits = WindowLimits { entries_len_max, clients_len_max, bytes_len_max };
            let mut window = Window::default();
            let mut ran = BTreeMap::new();
            let mut open = 1;
            for (client, back, number, age, length, over) in steps {
                let lowest = number.saturating_sub(back).max(1);
                let request = request(client, lowest, number, (open - 1u64).saturating_sub(age));
                match window.admit(&request) {
                    Admission::Run => {
                        // A base is known before the first attempt, so before the commit it led to.
                        let before = ran.insert(request.id, commit(open));
                        prop_assert!(before.is_none_or(|before| before <= request.base), "{request:?} ran twice");
                        let outcome = Outcome::Reply(vec![0; length].into());
                        window.record(&request, Recorded { outcome, commit: commit(open) }, &limits);
                    }
                    Admission::Recorded(recorded) => {
                        prop_assert_eq!(Some(&recorded.commit), ran.get(&request.id));
                    }
                    Admission::Rebase => prop_assert!(request.base < window.mark()),
                    Admission::Stale => {}
                }
                prop_assert!(window.mark() <= commit(open));
                prop_assert!(window.entries.len() <= entries_len_max);
                prop_assert!(window.clients.len() <= clients_len_max);
                prop_assert!(window.bytes_len() <= bytes_len_max);
                open += u64::from(over);
            }
        }
    }
}
