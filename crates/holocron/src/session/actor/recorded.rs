//! Conversion of outcomes to those that the request window stores, and back.

use holocron_protocol::request::window;

use crate::api::call::Outcome;

/// What the window stores of an outcome.
pub(super) fn recorded(outcome: &Outcome) -> window::Outcome {
    match outcome {
        Outcome::Reply(reply) => window::Outcome::Reply(reply.clone()),
        Outcome::Panicked => window::Outcome::Panicked,
        Outcome::Rejected(why) => window::Outcome::Rejected(why.clone()),
        Outcome::Rebase(_)
        | Outcome::NotOwner
        | Outcome::Busy
        | Outcome::Quarantined
        | Outcome::UnknownKind
        | Outcome::Undecodable(_)
        | Outcome::UnknownCommand(_)
        | Outcome::OtherArguments(_)
        | Outcome::Unreadable(_)
        | Outcome::Unclear => unreachable!("refusals aren't recorded"),
    }
}

/// What was recorded, as an answer.
pub(super) fn outcome_of(recorded: window::Outcome) -> Outcome {
    match recorded {
        window::Outcome::Reply(reply) => Outcome::Reply(reply),
        window::Outcome::Panicked => Outcome::Panicked,
        window::Outcome::Rejected(why) => Outcome::Rejected(why),
    }
}
