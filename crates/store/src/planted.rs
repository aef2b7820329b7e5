//! The wrong variants of rules, one function per planted bug. In a release build none ever is planted.

use holocron_planted::{Bug, is_planted};

use crate::Error;

/// [`Bug::TrustAlreadyExists`]: "exists already" counts as won, without a look at the object.
pub(crate) fn is_won(rule: bool, answer: &Result<(), Error>) -> bool {
    rule || (is_planted(Bug::TrustAlreadyExists) && matches!(answer, Err(Error::Conflict { .. })))
}
