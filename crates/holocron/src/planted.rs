//! The wrong variants of rules, one function per planted bug, in alphabetical order.
//!
//! Each function changes nothing unless its bug is planted in this process; in a release build none ever is. The rule
//! itself is where the function is called.

use holocron_planted::{Bug, is_planted};
use holocron_protocol::{
    ids::{HostName, Position, SessionId},
    request::window::Window,
};

use crate::{session::journal::Journal, store_io::fetch::NotFetched};

/// [`Bug::EffectOverAtStart`]: whether an effect is crossed out when it starts.
pub(crate) fn effect_is_over_at_start() -> bool {
    is_planted(Bug::EffectOverAtStart)
}

/// [`Bug::ForgetWakes`]: whether a new owner looks which vnodes want to be woken.
pub(crate) fn looks_for_wakes() -> bool {
    !is_planted(Bug::ForgetWakes)
}

/// [`Bug::IgnoreFingerprint`]: whether a call was encoded for other types.
pub(crate) fn differs(rule: bool) -> bool {
    rule && !is_planted(Bug::IgnoreFingerprint)
}

/// [`Bug::MissingIsEmpty`]: whether to leave out an object of a journal because it is missing.
pub(crate) fn missing_is_empty<T>(object: &Result<T, NotFetched>) -> bool {
    is_planted(Bug::MissingIsEmpty) && matches!(object, Err(NotFetched::Moved(_)))
}

/// [`Bug::NoWindow`]: forgets all requests of a vnode.
pub(crate) fn no_window(window: &mut Window) {
    if is_planted(Bug::NoWindow) {
        *window = Window::default();
    }
}

/// [`Bug::ReuseSessionId`]: whether a host opens each session under the same id.
pub(crate) fn reuses_session_ids() -> bool {
    is_planted(Bug::ReuseSessionId)
}

/// [`Bug::ReuseSessionId`]: the id of a host's session follows from its name.
pub(crate) fn session_id(drawn: SessionId, host: &HostName) -> SessionId {
    if !reuses_session_ids() {
        return drawn;
    }
    let bits = host.as_str().bytes();
    SessionId::new(bits.fold(0, |bits, byte| bits * 257 + u128::from(byte)))
}

/// [`Bug::RollBackInFlight`]: whether to roll back past the envelope at `position` because it is still in flight.
pub(crate) fn roll_back_in_flight(position: Position, journal: &Journal) -> bool {
    is_planted(Bug::RollBackInFlight) && position > journal.committed()
}

/// [`Bug::ShardsByCall`]: whether shards are active without a call.
pub(crate) fn activates_shards() -> bool {
    !is_planted(Bug::ShardsByCall)
}

/// [`Bug::SkipWitness`]: whether to send answers without a look at the store.
pub(crate) fn skip_witness() -> bool {
    is_planted(Bug::SkipWitness)
}

/// [`Bug::TrimBeforeCommit`]: whether to delete garbage before the checkpoint is committed.
pub(crate) fn trim_before_commit() -> bool {
    is_planted(Bug::TrimBeforeCommit)
}
