//! The wrong variants of the control plane's rules.

use holocron_planted::{Bug, is_planted};

use crate::{
    control::{candidate::Purpose, member::AfterSeal},
    time::Time,
};

// control/admission.rs

/// [`Bug::AdmitWithoutClearance`]: a clearance holds for every later record.
#[inline]
pub(crate) fn clearance(rule: bool) -> bool {
    rule || is_planted(Bug::AdmitWithoutClearance)
}

// control/candidate.rs

/// [`Bug::LeadUnconfirmed`]: a leader counts as confirmed for ever.
#[inline]
pub(crate) fn is_confirmed(rule: bool) -> bool {
    rule || is_planted(Bug::LeadUnconfirmed)
}

/// [`Bug::ResignAsLeader`]: the last record of a leader that resigns is one by which it goes on to lead.
#[inline]
pub(crate) fn purpose_of_last(rule: Purpose) -> Purpose {
    if is_planted(Bug::ResignAsLeader) { Purpose::Rotate } else { rule }
}

// control/domain_member.rs

/// [`Bug::OpenUnboundStore`]: a session is opened in a store that the record doesn't name.
#[inline]
pub(crate) fn is_bound(rule: bool) -> bool {
    rule || is_planted(Bug::OpenUnboundStore)
}

// control/election.rs

/// [`Bug::ClaimFromAnswer`]: a leadership counts as confirmed when the answer arrived.
#[inline]
pub(crate) fn confirmed(asked_at: Time, now: Time) -> Time {
    if is_planted(Bug::ClaimFromAnswer) { now } else { asked_at }
}

// control/leader/collecting.rs

/// [`Bug::ForgetAtOnce`]: one look at a detached session is enough.
#[inline]
pub(crate) fn looked_twice(rule: bool) -> bool {
    rule || is_planted(Bug::ForgetAtOnce)
}

// control/leader/domains.rs

/// [`Bug::BlameHostsForOutage`]: a host counts as at fault for a domain's store that no other host reaches either.
#[inline]
pub(crate) fn another_reaches(rule: bool) -> bool {
    rule || is_planted(Bug::BlameHostsForOutage)
}

// control/leader/hosts.rs

/// [`Bug::BlameHostForStore`]: a slow host is blamed although the store is slow.
#[inline]
pub(crate) fn store_at_fault(rule: bool) -> bool {
    rule && !is_planted(Bug::BlameHostForStore)
}

// control/leader/moves.rs

/// [`Bug::MoveWhileFailing`]: slots are moved although a host is suspected or has just failed.
#[inline]
pub(crate) fn is_troubled(rule: bool) -> bool {
    rule && !is_planted(Bug::MoveWhileFailing)
}

/// [`Bug::BalanceUnheard`]: a leader balances by the loads that it happens to know.
#[inline]
pub(crate) fn have_reported(rule: bool) -> bool {
    rule || is_planted(Bug::BalanceUnheard)
}

/// [`Bug::BalanceNoise`]: load that is uneven at one look moves slots.
#[inline]
pub(crate) fn lasts(rule: bool) -> bool {
    rule || is_planted(Bug::BalanceNoise)
}

/// [`Bug::RemoveUndrained`]: a host that owns slots counts as drained.
#[inline]
pub(crate) fn is_drained(rule: bool) -> bool {
    rule || is_planted(Bug::RemoveUndrained)
}

// control/lease.rs

/// [`Bug::ClaimAtOnce`]: a new leader claims from the moment its create returned.
#[inline]
pub(crate) fn claim_from(from: Time, since: Time) -> Time {
    if is_planted(Bug::ClaimAtOnce) { since } else { from }
}

// control/loss.rs

/// [`Bug::WitnessTooNew`]: the newest committed batch is trusted, although it may stand in the other store as well.
#[inline]
pub(crate) fn batches_in_doubt(in_doubt: u64) -> u64 {
    if is_planted(Bug::WitnessTooNew) { 0 } else { in_doubt }
}

// control/member.rs

/// [`Bug::ReuseSessionId`]: a session id that was used before passes.
#[inline]
pub(crate) fn is_fresh(rule: bool) -> bool {
    rule || is_planted(Bug::ReuseSessionId)
}

/// [`Bug::RejoinWhenReplaced`]: a replaced host rejoins.
#[inline]
pub(crate) fn after_seal(rule: AfterSeal) -> AfterSeal {
    if is_planted(Bug::RejoinWhenReplaced) { AfterSeal::Rejoin } else { rule }
}
