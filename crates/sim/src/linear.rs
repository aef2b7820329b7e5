//! A linearizability checker: Wing and Gong's search, with Lowe's cache of visited configurations.
//!
//! Each operation takes effect at one point between its invocation and its return, and the order of these points must
//! explain every answer. An operation that never returned may take effect at any time after its invocation, or never.
//! The search takes operations out of the history one at a time: each one invoked before the first remaining return may
//! be next. A configuration (the set of operations taken out, and the state) that was visited before is skipped.
//!
//! An operation that may be next and changes no state is taken at once, without alternatives: in any valid order it can
//! be moved here. Without this, concurrent reads multiply the orders.

use core::hash::Hash;
use std::collections::HashSet;

/// Configurations to remember before the search gives up; about 100 bytes each.
pub(crate) const CONFIGURATIONS_LEN_MAX: usize = 300_000;

/// A sequential model of the operations.
pub(crate) trait Model {
    /// The state.
    type State: Clone + Eq + Hash;
    /// The request and, if it returned, the answer.
    type Call;

    /// The state after a call; `None` if the answer isn't possible in that state.
    fn step(state: &Self::State, call: &Self::Call) -> Option<Self::State>;

    /// Whether a call with its answer changes no state.
    fn is_idle(call: &Self::Call) -> bool;
}

/// One operation of a history. Times are positions in one total order of events, without ties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation<C> {
    /// When it was invoked.
    pub(crate) invoked: u64,
    /// When it returned; `None` if its end is unknown.
    pub(crate) returned: Option<u64>,
    /// The call.
    pub(crate) call: C,
}

/// The result of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An order explains every answer.
    Linearizable,
    /// No order does. This is the operation whose return the best order could not explain.
    Broken(usize),
    /// Undecided after [`CONFIGURATIONS_LEN_MAX`] configurations.
    TooWide,
}

/// Looks for an order.
pub(crate) fn check<M: Model>(initial: M::State, history: &[Operation<M::Call>]) -> Verdict {
    Search::<M>::new(initial, history).run()
}

const HEAD: usize = 0;

/// An invocation or a return, in a linked list of the remaining ones by time.
struct Event {
    operation: usize,
    kind: Kind,
    before: usize,
    after: Option<usize>,
}

enum Kind {
    /// The index of the return, if there is one.
    Invoked {
        returns_at: Option<usize>,
    },
    Returned,
}

struct Search<'a, M: Model> {
    history: &'a [Operation<M::Call>],
    /// The first entry is the head of the list, not an event.
    events: Vec<Event>,
    state: M::State,
    taken: Box<[u64]>,
    /// Invocations taken out, each with the state before it.
    path: Vec<(usize, M::State)>,
    seen: HashSet<(Box<[u64]>, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(initial: M::State, history: &'a [Operation<M::Call>]) -> Self {
        let mut times: Vec<(u64, usize, bool)> = Vec::with_capacity(history.len() * 2);
        for (at, operation) in history.iter().enumerate() {
            times.push((operation.invoked, at, false));
            times.extend(operation.returned.map(|returned| (returned, at, true)));
        }
        times.sort_unstable();
        let mut places = vec![None; history.len()];
        for (place, (_, at, returned)) in (1..).zip(&times) {
            if *returned {
                places[*at] = Some(place);
            }
        }
        let head = Event { operation: usize::MAX, kind: Kind::Returned, before: HEAD, after: None };
        let mut events = vec![head];
        for (_, operation, returned) in times {
            let kind = if returned {
                Kind::Returned
            } else {
                Kind::Invoked { returns_at: places[operation] }
            };
            let place = events.len();
            events[place - 1].after = Some(place);
            events.push(Event { operation, kind, before: place - 1, after: None });
        }
        Self {
            history,
            events,
            state: initial,
            taken: vec![0; history.len().div_ceil(64)].into(),
            path: Vec::new(),
            seen: HashSet::new(),
        }
    }

    fn run(mut self) -> Verdict {
        let (mut at, mut deepest) = (self.next(), (0, 0));
        loop {
            // The remaining operations never returned, so they need no explanation.
            let Some(place) = at else { return Verdict::Linearizable };
            let onwards = match self.events[place].kind {
                Kind::Invoked { returns_at } => {
                    if self.takes(place) {
                        if self.seen.len() > CONFIGURATIONS_LEN_MAX {
                            return Verdict::TooWide;
                        }
                        self.unlink(place);
                        returns_at.into_iter().for_each(|place| self.unlink(place));
                        Some(self.next())
                    } else {
                        // An idle operation needs no alternative.
                        (!self.is_idle(place)).then(|| self.events[place].after)
                    }
                }
                Kind::Returned => {
                    deepest = deepest.max((self.path.len(), self.events[place].operation));
                    None
                }
            };
            at = match onwards {
                Some(next) => next,
                None => match self.back() {
                    Some(place) => self.events[place].after,
                    None => return Verdict::Broken(deepest.1),
                },
            };
        }
    }

    /// Where to start looking for the next operation: at an idle one, if there is one.
    fn next(&self) -> Option<usize> {
        let first = self.events[HEAD].after;
        let left = core::iter::successors(first, |&place| self.events[place].after);
        let mut invoked =
            left.take_while(|&place| matches!(self.events[place].kind, Kind::Invoked { .. }));
        invoked.find(|&place| self.is_idle(place)).or(first)
    }

    /// Whether a remaining invocation is idle and may be next.
    fn is_idle(&self, place: usize) -> bool {
        let call = self.call(place);
        M::is_idle(call) && M::step(&self.state, call).is_some()
    }

    fn call(&self, place: usize) -> &'a M::Call {
        &self.history[self.events[place].operation].call
    }

    /// Puts back the newest operation that isn't idle, and all after it; returns its index.
    fn back(&mut self) -> Option<usize> {
        loop {
            let (place, state) = self.path.pop()?;
            self.put_back(place, state);
            if !M::is_idle(self.call(place)) {
                return Some(place);
            }
        }
    }

    /// Whether an operation can be next and leads to a new configuration.
    fn takes(&mut self, place: usize) -> bool {
        let operation = self.events[place].operation;
        let Some(state) = M::step(&self.state, &self.history[operation].call) else {
            return false;
        };
        self.taken[operation / 64] |= 1 << (operation % 64);
        if !self.seen.insert((self.taken.clone(), state.clone())) {
            self.taken[operation / 64] &= !(1 << (operation % 64));
            return false;
        }
        self.path.push((place, core::mem::replace(&mut self.state, state)));
        true
    }

    fn put_back(&mut self, place: usize, state: M::State) {
        self.state = state;
        let operation = self.events[place].operation;
        self.taken[operation / 64] &= !(1 << (operation % 64));
        if let Kind::Invoked { returns_at: Some(returns_at) } = self.events[place].kind {
            self.link(returns_at);
        }
        self.link(place);
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.events[place].before, self.events[place].after);
        self.events[before].after = after;
        if let Some(after) = after {
            self.events[after].before = before;
        }
    }

    /// Undoes the newest remaining unlink.
    fn link(&mut self, place: usize) {
        let (before, after) = (self.events[place].before, self.events[place].after);
        self.events[before].after = Some(place);
        if let Some(after) = after {
            self.events[after].before = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A register with writes and reads.
    enum Register {}

    #[derive(Clone, Copy, Debug)]
    enum Call {
        Write(u64),
        Read(u64),
    }

    impl Model for Register {
        type State = u64;
        type Call = Call;

        fn step(state: &u64, call: &Call) -> Option<u64> {
            match call {
                Write(value) => Some(*value),
                Read(value) => (value == state).then_some(*state),
            }
        }

        fn is_idle(call: &Call) -> bool {
            matches!(call, Read(_))
        }
    }

    fn verdict(history: &[(u64, Option<u64>, Call)]) -> Verdict {
        let history: Vec<_> = history
            .iter()
            .map(|&(invoked, returned, call)| Operation { invoked, returned, call })
            .collect();
        check::<Register>(0, &history)
    }

    use Call::{Read, Write};

    #[test]
    fn sequential_calls_are_linearizable_if_each_reads_the_last_write() {
        assert_eq!(verdict(&[]), Verdict::Linearizable);
        let good = [(1, Some(2), Write(1)), (3, Some(4), Read(1)), (5, Some(6), Write(2))];
        assert_eq!(verdict(&good), Verdict::Linearizable);
        let stale = [(1, Some(2), Write(1)), (3, Some(4), Write(2)), (5, Some(6), Read(1))];
        assert_eq!(verdict(&stale), Verdict::Broken(2));
    }

    #[test]
    fn concurrent_calls_take_any_order() {
        for seen in [1, 2] {
            let history =
                [(1, Some(4), Write(1)), (2, Some(5), Write(2)), (6, Some(7), Read(seen))];
            assert_eq!(verdict(&history), Verdict::Linearizable, "{seen}");
        }
        let neither = [(1, Some(4), Write(1)), (2, Some(5), Write(2)), (6, Some(7), Read(0))];
        assert_eq!(verdict(&neither), Verdict::Broken(2));
    }

    #[test]
    fn concurrent_readers_agree_on_the_order_of_writes() {
        let history = |first: [u64; 2], second: [u64; 2]| {
            [
                (1, Some(20), Write(1)),
                (2, Some(21), Write(2)),
                (3, Some(4), Read(first[0])),
                (5, Some(6), Read(first[1])),
                (7, Some(8), Read(second[0])),
                (9, Some(10), Read(second[1])),
            ]
        };
        assert_eq!(verdict(&history([1, 2], [2, 2])), Verdict::Linearizable);
        assert_eq!(verdict(&history([1, 2], [2, 1])), Verdict::Broken(5));
        assert_eq!(verdict(&history([0, 1], [2, 2])), Verdict::Linearizable);
        assert_eq!(verdict(&history([1, 1], [0, 2])), Verdict::Broken(4));
    }

    #[test]
    fn a_call_that_never_returned_takes_effect_late_or_never_but_never_early() {
        let write = (3, None, Write(7));
        assert_eq!(verdict(&[write, (4, Some(5), Read(0))]), Verdict::Linearizable);
        assert_eq!(
            verdict(&[write, (4, Some(5), Read(0)), (90, Some(91), Read(7))]),
            Verdict::Linearizable
        );
        assert_eq!(
            verdict(&[write, (4, Some(5), Read(7)), (6, Some(7), Read(0))]),
            Verdict::Broken(2)
        );
        assert_eq!(verdict(&[write, (1, Some(2), Read(7))]), Verdict::Broken(1));
    }

    #[test]
    fn a_call_takes_effect_only_once() {
        let history = [
            (1, None, Write(1)),
            (2, Some(3), Read(1)),
            (4, Some(5), Write(2)),
            (6, Some(7), Read(2)),
            (8, Some(9), Read(1)),
        ];
        assert_eq!(verdict(&history), Verdict::Broken(4));
    }

    #[test]
    fn the_search_is_bounded() {
        // Every subset of these is a different configuration, and none explains the read.
        let mut history: Vec<_> = (0..64).map(|at| (at, None, Write(at + 1))).collect();
        history.push((100, Some(101), Read(0)));
        history.push((102, Some(103), Read(1_000)));
        assert_eq!(verdict(&history), Verdict::TooWide);
    }

    /// Whether any order of the operations explains every answer; those that never returned may be omitted.
    fn by_brute_force(state: u64, left: &[(u64, Option<u64>, Call)]) -> bool {
        if left.iter().all(|(_, returned, _)| returned.is_none()) {
            return true;
        }
        let first_return = left.iter().filter_map(|(_, returned, _)| *returned).min();
        let may_be_next = |&at: &usize| first_return.is_none_or(|returned| left[at].0 < returned);
        (0..left.len()).filter(may_be_next).any(|at| {
            let rest: Vec<_> = [&left[..at], &left[at + 1..]].concat();
            Register::step(&state, &left[at].2).is_some_and(|state| by_brute_force(state, &rest))
        })
    }

    proptest! {
        /// Few values, so that answers have several explanations.
        #[test]
        fn the_search_agrees_with_trying_every_order(
            calls in vec((any::<bool>(), 0_u64..3, 0_u64..9, 0_u64..9, any::<bool>()), 1..7)
        ) {
            let history: Vec<_> = (0..)
                .zip(calls)
                .map(|(at, (reads, value, invoked, takes, returns))| {
                    let invoked = invoked * 100 + at;
                    let call = if reads { Read(value) } else { Write(value) };
                    (invoked, (returns || reads).then_some(invoked + takes * 100 + 50), call)
                })
                .collect();
            let expected = by_brute_force(0, &history);
            prop_assert_eq!(verdict(&history) == Verdict::Linearizable, expected);
        }
    }
}
