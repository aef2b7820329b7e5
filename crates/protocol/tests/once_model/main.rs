//! Exactly once, searched: one vnode, its owner and the owner before, their clients, attempts under way for ever.
//!
//! The rules are the crate's own: [`Window`](holocron_protocol::request::window::Window) decides and remembers,
//! [`Attempts`](holocron_protocol::request::attempts::Attempts) and [`Numbering`](holocron_protocol::request::attempts::Numbering) say what a
//! client may do, envelopes are encoded and decoded at each step. What stands around them here is a small host (hand
//! over, commit, roll back, fail over) and a client that sends again, waits or gives up at any moment.
//!
//! Each planted bug leaves out one clause of the rules and must be found, within bounds where the rules as they are hold.

#![expect(clippy::print_stdout, reason = "how much was searched is worth knowing")]

mod checks;
mod client;
mod host;
mod model;
mod plant;

use std::collections::BTreeSet;

use checks::{
    ACKNOWLEDGED_AND_LOST, HAPPENS, NOT_RUN_AND_RAN, RUNS_TWICE, SERVES_NOBODY_NEW, WAITS_FOR_EVER,
};
use holocron_protocol::request::window::WindowLimits;
use host::{Rules, size};
use model::{Action, Learns, Left, Once, State};
use plant::Bug;
use stateright::{Checker, HasDiscoveries, Model, UniformChooser};

const NONE: Left = Left { failovers: 0, others: 0, panics: 0, refusals: 0, losses: 0, trims: 0 };

/// A window that keeps one answer, so that everything is forgotten soon.
const ONE_ANSWER: WindowLimits = exactly(1, 1);
/// One that forgets an answer and still knows its client.
const TWO_CLIENTS: WindowLimits = exactly(1, 2);
const TWO_ANSWERS: WindowLimits = exactly(2, 2);

const fn exactly(answers: usize, clients: usize) -> WindowLimits {
    WindowLimits::exactly(size(answers, clients))
}

const ONE_REQUEST: Once = Once {
    rules: Rules { limits: ONE_ANSWER, bug: None },
    clients: &[&[3]],
    in_flight_max: 2,
    learns: Learns::FromAnswers,
    left: Left { failovers: 1, others: 2, ..NONE },
};
const REFUSED_AND_LOST: Once = Once {
    in_flight_max: 1,
    left: Left { failovers: 1, others: 1, refusals: 2, losses: 1, ..NONE },
    ..ONE_REQUEST
};
const KNOWN_CLIENT: Once = Once {
    rules: Rules { limits: TWO_CLIENTS, bug: None },
    in_flight_max: 1,
    learns: Learns::FromAnyone,
    ..ONE_REQUEST
};
const PANIC: Once = Once {
    clients: &[&[2]],
    left: Left { failovers: 1, others: 2, panics: 1, ..NONE },
    ..ONE_REQUEST
};
const PIPELINE: Once = Once {
    clients: &[&[2, 2]],
    in_flight_max: 1,
    left: Left { failovers: 1, ..NONE },
    ..ONE_REQUEST
};
const PIPELINE_PANICS: Once = Once {
    clients: &[&[1, 1]],
    in_flight_max: 2,
    left: Left { failovers: 1, others: 1, panics: 1, ..NONE },
    ..ONE_REQUEST
};
const TWO_AT_ONCE: Once = Once { clients: &[&[2], &[2]], ..PIPELINE };
const TWO_PANIC: Once = Once {
    rules: Rules { limits: TWO_ANSWERS, bug: None },
    clients: &[&[1], &[1]],
    left: Left { failovers: 1, panics: 2, ..NONE },
    ..ONE_REQUEST
};
const FORGETFUL: Once = Once {
    clients: &[&[2, 1]],
    in_flight_max: 1,
    learns: Learns::AndForgets,
    left: Left { others: 2, ..NONE },
    ..ONE_REQUEST
};
const MUCH_FORGOTTEN: Once =
    Once { in_flight_max: 1, left: Left { failovers: 1, others: 3, ..NONE }, ..ONE_REQUEST };
/// A window that keeps more than any of its clients needs, or less: anything may be forgotten at any time, as when some
/// policy decides. And more clients than it keeps.
const TRIMMED: Once = Once {
    rules: Rules { limits: TWO_ANSWERS, bug: None },
    clients: &[&[2]],
    in_flight_max: 1,
    learns: Learns::FromAnyone,
    left: Left { failovers: 1, others: 1, trims: 2, ..NONE },
};

const fn with(once: Once, bug: Bug) -> Once {
    Once { rules: Rules { bug: Some(bug), ..once.rules }, ..once }
}

/// What is violated, and the shortest way there.
fn violation(checker: &impl Checker<Once>) -> Option<(&'static str, Vec<Action>)> {
    let path = checker.discovery("nothing is violated")?;
    let state: &State = path.last_state();
    Some((state.violation.expect("the path ends in a violation"), path.into_actions()))
}

/// Searches all of it; says what of [`HAPPENS`] did.
fn holds(once: Once) -> BTreeSet<&'static str> {
    let checker =
        once.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert_eq!(violation(&checker), None, "{once:?}");
    println!("{} states: {once:?}", checker.unique_state_count());
    checker.discoveries().keys().copied().collect()
}

fn is_found(once: Once, bug: Bug, expected: &str) {
    // One thread, so that the violation found first is always the same.
    let checker =
        with(once, bug).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (found, path) = violation(&checker).unwrap_or_else(|| panic!("{bug:?} is not found"));
    println!("{bug:?}: {} states, {} steps", checker.unique_state_count(), path.len());
    assert_eq!(found, expected, "{bug:?} by {path:?}");
}

#[test]
fn each_request_takes_effect_at_most_once_and_each_answer_is_true() {
    let bounds = [
        ONE_REQUEST,
        REFUSED_AND_LOST,
        KNOWN_CLIENT,
        PANIC,
        PIPELINE,
        PIPELINE_PANICS,
        TWO_AT_ONCE,
        TWO_PANIC,
        FORGETFUL,
        MUCH_FORGOTTEN,
        TRIMMED,
    ];
    let happened: BTreeSet<_> = bounds.into_iter().flat_map(holds).collect();
    for (name, _) in HAPPENS {
        assert!(happened.contains(name), "never: {name}");
    }
}

#[test]
#[ignore = "takes minutes: for changes of the window, the attempts or the host's rules"]
fn wider_bounds_hold_too() {
    let left = Left { failovers: 1, others: 1, panics: 1, refusals: 1, losses: 1, trims: 1 };
    for once in [
        Once { left: Left { failovers: 2, others: 2, ..left }, ..KNOWN_CLIENT },
        Once { left: Left { refusals: 0, losses: 0, ..left }, ..PIPELINE },
        Once { left: Left { panics: 0, losses: 0, ..left }, ..TWO_AT_ONCE },
        Once { clients: &[&[2, 1], &[1]], ..PIPELINE },
        Once { clients: &[&[3, 2]], left: Left { others: 2, ..NONE }, ..FORGETFUL },
    ] {
        drop(holds(once));
    }
}

#[test]
fn long_random_walks_find_nothing_either() {
    let left = Left { failovers: 3, others: 4, panics: 2, refusals: 2, losses: 2, trims: 3 };
    let clients: &[&[usize]] = &[&[3, 3], &[3, 3]];
    for (seed, limits) in [(1, ONE_ANSWER), (2, TWO_CLIENTS), (3, TWO_ANSWERS)] {
        let rules = Rules { limits, bug: None };
        let learns = Learns::AndForgets;
        let once = Once { rules, clients, in_flight_max: 2, learns, left };
        let checker = once.checker().finish_when(HasDiscoveries::AnyFailures);
        let checker =
            checker.target_state_count(100_000).spawn_simulation(seed, UniformChooser).join();
        assert_eq!(violation(&checker), None, "seed {seed}");
        assert!(checker.max_depth() > 20, "walks of {} steps at most", checker.max_depth());
    }
}

#[test]
fn what_is_forgotten_without_raising_the_mark_runs_twice() {
    is_found(ONE_REQUEST, Bug::EvictionLeavesMark, RUNS_TWICE);
    is_found(
        Once { rules: Rules { limits: exactly(4, 4), bug: None }, ..TRIMMED },
        Bug::EvictionLeavesMark,
        RUNS_TWICE,
    );
    is_found(FORGETFUL, Bug::ClientRaisesMarkToWhatIsLeft, RUNS_TWICE);
    is_found(ONE_REQUEST, Bug::MarkNotStored, RUNS_TWICE);
    is_found(ONE_REQUEST, Bug::WindowNotStored, RUNS_TWICE);
    is_found(PIPELINE, Bug::LowestForgotten, RUNS_TWICE);
}

#[test]
fn a_base_that_was_not_committed_before_the_first_attempt_runs_it_twice() {
    is_found(ONE_REQUEST, Bug::BaseTakenAtRetry, RUNS_TWICE);
    is_found(ONE_REQUEST, Bug::BaseNotCommitted, RUNS_TWICE);
    is_found(MUCH_FORGOTTEN, Bug::RebaseBeforeCommit, RUNS_TWICE);
}

#[test]
fn a_base_is_compared_with_the_mark_exactly_and_for_every_client() {
    is_found(ONE_REQUEST, Bug::BaseMustExceedMark, SERVES_NOBODY_NEW);
    is_found(ONE_REQUEST, Bug::BaseMayBeOneBelow, RUNS_TWICE);
    is_found(KNOWN_CLIENT, Bug::BaseOnlyOfUnknownClients, RUNS_TWICE);
}

#[test]
fn an_answer_that_leaves_before_its_commit_is_lost_by_a_failover() {
    is_found(ONE_REQUEST, Bug::ReplyBeforeCommit, ACKNOWLEDGED_AND_LOST);
    is_found(ONE_REQUEST, Bug::RecordedReplyBeforeCommit, ACKNOWLEDGED_AND_LOST);
}

#[test]
fn a_panic_undoes_what_was_not_handed_over_and_only_that() {
    is_found(PIPELINE_PANICS, Bug::RollBackPastInFlight, ACKNOWLEDGED_AND_LOST);
    is_found(PIPELINE_PANICS, Bug::RerunOfHandedOver, RUNS_TWICE);
    is_found(TWO_PANIC, Bug::OldRepliesAfterRerun, NOT_RUN_AND_RAN);
    is_found(PANIC, Bug::PanicNotRecorded, NOT_RUN_AND_RAN);
}

#[test]
fn a_client_that_concludes_too_much_from_one_attempt_is_wrong() {
    is_found(ONE_REQUEST, Bug::RebaseAfterAnotherAttempt, NOT_RUN_AND_RAN);
    is_found(REFUSED_AND_LOST, Bug::RefusalFinalAfterAnotherAttempt, NOT_RUN_AND_RAN);
}

#[test]
fn a_client_numbers_its_requests_once_and_waits_for_all_of_them() {
    is_found(PIPELINE, Bug::LowestTooEarly, WAITS_FOR_EVER);
    is_found(TWO_AT_ONCE, Bug::ClientIdReused, ACKNOWLEDGED_AND_LOST);
}
