//! Checks answers when a host sends them, against what is committed at that moment. Invariants 3 and 9: every change
//! that an answer shows has landed below the seal, and a command is answered only if the committed envelope has exactly
//! that reply recorded.
//!
//! The content of a query's answer is checked by the histories of the workloads.

use holocron::{Answer, Call, Outcome};
use holocron_protocol::{
    ids::CommitNumber,
    request::{
        envelope::Envelope,
        window::{self, Admission},
    },
};

use super::{
    invariant::{Broken, Invariant},
    truth::{History, Truth},
};

/// Checks an answer to a call.
pub(super) fn check(truth: &Truth, slots: u16, call: &Call, answer: &Answer) -> Option<Broken> {
    let says = match &answer.outcome {
        Outcome::Reply(_) | Outcome::Panicked | Outcome::Rejected(_) => answer.commit,
        Outcome::Rebase(commit) => answer.commit.max(*commit),
        // These don't depend on a state.
        Outcome::NotOwner
        | Outcome::Busy
        | Outcome::Quarantined
        | Outcome::UnknownKind
        | Outcome::Undecodable(_)
        | Outcome::UnknownCommand(_)
        | Outcome::OtherArguments(_)
        | Outcome::Unreadable(_)
        | Outcome::Unclear => return None,
    };
    let hash = call.name.hash();
    let history = truth.vnode(hash.slot(slots), hash);
    let newest = history.map_or(CommitNumber::ZERO, History::newest);
    let what = || format!("{} of {:?} to {:?}", call.name, answer.commit, call.request.id);
    if says > newest {
        let how = format!("{}: only {newest} is committed", what());
        return Some(Invariant::NothingEarly.broken(how));
    }
    if !call.mode.is_command() || matches!(answer.outcome, Outcome::Rebase(_)) {
        return None;
    }
    let Some(envelope) = history.and_then(|history| history.envelope(answer.commit)) else {
        let how = format!("{}: a command is answered without a commit", what());
        return Some(Invariant::NothingEarly.broken(how));
    };
    let mut window = match Envelope::decode("a committed envelope", envelope) {
        Ok(envelope) => envelope.window,
        Err(malformed) => return Some(Invariant::NothingEarly.broken(malformed)),
    };
    match window.admit(&call.request) {
        Admission::Recorded(recorded) if is_same(&recorded.outcome, &answer.outcome) => None,
        Admission::Recorded(recorded) => {
            let how = format!("{}: {:?} is committed: {recorded:?}", what(), answer.outcome);
            Some(Invariant::Linearizable.broken(how))
        }
        Admission::Run => {
            let how = format!("{}: it isn't recorded in what is committed", what());
            Some(Invariant::NothingEarly.broken(how))
        }
        // Evicted since: the reply isn't known any more, but the request never runs again.
        Admission::Rebase | Admission::Stale => None,
        Admission::Full => {
            let how = format!("{}: a message is answered, and its window is full", what());
            Some(Invariant::Linearizable.broken(how))
        }
    }
}

fn is_same(recorded: &window::Outcome, sent: &Outcome) -> bool {
    match (recorded, sent) {
        (window::Outcome::Reply(recorded), Outcome::Reply(sent)) => recorded == sent,
        (window::Outcome::Panicked, Outcome::Panicked) => true,
        (window::Outcome::Rejected(recorded), Outcome::Rejected(sent)) => recorded == sent,
        (
            window::Outcome::Reply(_) | window::Outcome::Panicked | window::Outcome::Rejected(_),
            _,
        ) => false,
    }
}
