//! The wrong variants of the planted bugs, away from the rules that they break.
//!
//! A rule stands unbroken at its place and passes its result through one function of this module, named after the bug. The
//! function returns the result unchanged unless the bug is planted, which a release build can't do.

use holocron_planted::{Bug, is_planted};

use crate::{
    control::suspicion::AfterSeal,
    format::segment::{TrimStep, Trimmed},
    ids::{Epoch, Segment},
    slot::tenure::Submitted,
    time::Time,
};

/// [`Bug::AppendAfterRelease`].
pub(crate) fn may_append(rule: bool, submitted: Submitted, tenure: Epoch) -> bool {
    rule || (is_planted(Bug::AppendAfterRelease) && submitted.adopted == tenure)
}

/// [`Bug::UnseenEnd`], and [`Bug::LooseRelease`] where any Release was seen.
pub(crate) fn ended(rule: bool, released: Epoch) -> bool {
    rule || is_planted(Bug::UnseenEnd) || (is_planted(Bug::LooseRelease) && released > Epoch::ZERO)
}

/// [`Bug::ReleaseAhead`].
pub(crate) fn release_counts(rule: bool) -> bool {
    rule || is_planted(Bug::ReleaseAhead)
}

/// [`Bug::KeepCache`].
pub(crate) fn keep_cache(rule: bool) -> bool {
    rule || is_planted(Bug::KeepCache)
}

/// [`Bug::NeverLookAgain`].
pub(crate) fn look_at(rule: Option<Time>) -> Option<Time> {
    rule.filter(|_| !is_planted(Bug::NeverLookAgain))
}

/// [`Bug::TrimBeforeCommit`]: `due` is what the appended checkpoint covers, committed or not.
pub(crate) fn next_trim(
    rule: impl FnOnce() -> Option<TrimStep>,
    trimmed: Trimmed,
    due: Segment,
) -> Option<TrimStep> {
    if is_planted(Bug::TrimBeforeCommit) { trimmed.next_step(due) } else { rule() }
}

/// [`Bug::DeletePacksToCome`].
pub(crate) fn is_settled(rule: bool) -> bool {
    rule || is_planted(Bug::DeletePacksToCome)
}

/// [`Bug::DeletePacksInUse`].
pub(crate) fn unread(rule: bool) -> bool {
    rule || is_planted(Bug::DeletePacksInUse)
}

/// [`Bug::DeleteSeal`].
pub(crate) fn is_garbage(rule: bool) -> bool {
    rule || is_planted(Bug::DeleteSeal)
}

/// [`Bug::AdmitWithoutClearance`].
pub(crate) fn clearance(rule: bool) -> bool {
    rule || is_planted(Bug::AdmitWithoutClearance)
}

/// [`Bug::ReuseSessionId`].
pub(crate) fn is_fresh(rule: bool) -> bool {
    rule || is_planted(Bug::ReuseSessionId)
}

/// [`Bug::RejoinWhenReplaced`].
pub(crate) fn after_seal(rule: AfterSeal) -> AfterSeal {
    if is_planted(Bug::RejoinWhenReplaced) { AfterSeal::Rejoin } else { rule }
}

/// [`Bug::RemoveUndrained`].
pub(crate) fn is_drained(rule: bool) -> bool {
    rule || is_planted(Bug::RemoveUndrained)
}

/// [`Bug::BlameHostForStore`].
pub(crate) fn store_at_fault(rule: bool) -> bool {
    rule && !is_planted(Bug::BlameHostForStore)
}
