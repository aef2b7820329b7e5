//! The rules of the window, step by step and at random.

use alloc::{collections::BTreeMap, vec};

use proptest::prelude::*;

use super::*;

const ONE: WindowLimits = limits(1, 8, limits::BYTES_SOFT);

/// Equal soft and hard limits.
const fn limits(answers: usize, clients: usize, bytes: usize) -> WindowLimits {
    WindowLimits::exactly(WindowSize { answers, clients, bytes })
}

const fn commit(number: u64) -> CommitNumber {
    CommitNumber::new(number)
}

/// A request of a client whose lowest pending number is `lowest`.
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

/// Runs a request whose base is the commit number of its envelope, so that it is admitted unless recorded.
fn run(window: &mut Window, limits: &WindowLimits, client: u128, number: u64, at: u64) {
    let request = request(client, 1, number, at);
    assert_eq!(window.admit(&request), Admission::Run);
    window.record(&request, reply("r", at), limits);
}

#[test]
fn a_recorded_request_gets_the_same_answer_again_with_any_base() {
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
    for (number, outcome) in [(1, Outcome::Panicked), (2, Outcome::Rejected("too large".into()))] {
        let recorded = Recorded { outcome, commit: commit(3) };
        let request = request(1, 1, number, 0);
        assert_eq!(window.admit(&request), Admission::Run);
        window.record(&request, recorded.clone(), &WindowLimits::default());
        assert_eq!(window.admit(&request), Admission::Recorded(recorded));
    }
}

#[test]
fn an_evicted_answer_raises_the_mark_and_its_request_does_not_run_again() {
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
fn an_answer_that_is_no_longer_pending_is_dropped_without_a_mark_and_never_runs_again() {
    let mut window = Window::default();
    run(&mut window, &WindowLimits::default(), 1, 1, 5);
    let next = request(1, 2, 2, 0);
    assert_eq!(window.admit(&next), Admission::Run);
    window.record(&next, reply("s", 6), &WindowLimits::default());
    assert_eq!(window.mark(), CommitNumber::ZERO);
    assert_eq!(window.answers.len(), 1);
    assert_eq!(window.admit(&request(1, 1, 1, 9)), Admission::Stale);
}

#[test]
fn a_number_below_its_own_lowest_is_stale_for_an_unknown_client_too() {
    assert_eq!(Window::default().admit(&request(1, 3, 2, 0)), Admission::Stale);
}

#[test]
fn an_evicted_client_raises_the_mark_to_its_newest_answer_ever() {
    let limits = limits(256, 1, limits::BYTES_SOFT);
    let mut window = Window::default();
    run(&mut window, &limits, 1, 1, 5);
    // The client got that answer, and says so in a request that isn't recorded.
    assert_eq!(window.admit(&request(1, 2, 2, 0)), Admission::Run);
    assert!(window.answers.is_empty());
    run(&mut window, &limits, 2, 1, 7);
    assert_eq!(window.mark(), commit(5));
    assert_eq!(window.admit(&request(1, 1, 1, 4)), Admission::Rebase);
}

#[test]
fn a_retried_answer_stays_longest() {
    let limits = limits(2, 2, limits::BYTES_SOFT);
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
fn an_answer_too_large_to_keep_evicts_no_other() {
    let limits = limits(256, 32, 100);
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
fn a_window_with_limits_of_zero_still_runs_each_request_once() {
    let limits = limits(0, 0, 0);
    let mut window = Window::default();
    for at in 1..5 {
        run(&mut window, &limits, 1, at, at);
        assert_eq!((window.bytes_len(), window.mark()), (0, commit(at)));
        assert_eq!(window.admit(&request(1, 1, at, at - 1)), Admission::Rebase);
    }
}

#[test]
fn a_window_of_one_client_is_small_also_after_a_burst() {
    assert!(size_of::<Window>() <= 128 && size_of::<(RequestId, Recorded)>() <= 80);
    let mut window = Window::default();
    run(&mut window, &WindowLimits::default(), 1, 1, 1);
    assert_eq!((window.clients.capacity(), window.answers.capacity()), (1, 1));
    for number in 2..=200 {
        run(&mut window, &WindowLimits::default(), 1, number, 2);
    }
    assert_eq!(window.admit(&request(1, 201, 201, 2)), Admission::Run);
    assert!(window.answers.capacity() <= 16, "{}", window.answers.capacity());
}

#[test]
#[should_panic(expected = "ran below the mark")]
fn a_request_that_should_be_rebased_is_not_recorded() {
    let mut window = Window::default();
    run(&mut window, &ONE, 1, 1, 5);
    run(&mut window, &ONE, 1, 2, 7);
    window.record(&request(2, 1, 1, 4), reply("r", 7), &ONE);
}

#[test]
#[should_panic(expected = "its answer was there")]
fn a_recorded_request_is_not_recorded_again() {
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
fn a_stale_request_is_not_recorded() {
    let mut window = Window::default();
    let second = request(1, 2, 2, 5);
    window.record(&second, reply("r", 5), &WindowLimits::default());
    window.record(&request(1, 1, 1, 5), reply("r", 5), &WindowLimits::default());
}

prop_compose! {
    /// A client, how far its lowest is below its number, its number, how old its base is, the reply's length, and
    /// whether the envelope is appended to the journal after it.
    fn step()(client in 0..5u128, back in 0..4u64, number in 1..30u64, age in 0..6u64, length in 0..40usize, over: bool)
        -> (u128, u64, u64, u64, usize, bool) { (client, back, number, age, length, over) }
}

proptest! {
    #[test]
    fn no_request_runs_twice_and_everything_is_bounded(
        steps in proptest::collection::vec(step(), 1..150),
        (answers, clients, bytes) in (0..6usize, 0..4usize, 0..200usize),
        beyond in 0..4usize,
        trims in 0..40usize,
    ) {
        let soft = WindowSize { answers, clients, bytes };
        let hard = WindowSize { answers: answers + 2 * beyond, clients: clients + beyond, bytes: bytes + 50 * beyond };
        let limits = WindowLimits { soft, hard };
        let mut window = Window::default();
        let mut ran = BTreeMap::new();
        let mut open = 1;
        for (step, (client, back, number, age, length, over)) in steps.into_iter().enumerate() {
            let lowest = number.saturating_sub(back).max(1);
            let request = request(client, lowest, number, (open - 1u64).saturating_sub(age));
            match window.admit(&request) {
                Admission::Run => {
                    // A base is known before the first attempt, so before the commit of the request.
                    let before = ran.insert(request.id, commit(open));
                    prop_assert!(before.is_none_or(|before| before <= request.base), "{request:?} ran twice");
                    let outcome = Outcome::Reply(vec![0; length].into());
                    window.record(&request, Recorded { outcome, commit: commit(open) }, &limits);
                }
                Admission::Recorded(recorded) => {
                    prop_assert_eq!(Some(&recorded.commit), ran.get(&request.id));
                }
                Admission::Rebase => prop_assert!(request.base < window.mark()),
                Admission::Stale | Admission::Full => {}
            }
            prop_assert!(window.mark() <= commit(open));
            prop_assert!(!window.exceeds(&hard));
            let cost: usize = window.answers.iter().map(|(_, recorded)| entry_cost(&recorded.outcome)).sum();
            prop_assert_eq!(window.answers_cost, cost);
            open += u64::from(over);
            if trims > 0 && step % trims == 0 {
                window.trim(&soft);
                prop_assert!(!window.exceeds(&soft));
            }
        }
    }
}
