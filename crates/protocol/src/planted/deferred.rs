//! The wrong variants of the rules of deferred work, and of what targets keep of it.

use alloc::{collections::btree_map::Entry, sync::Arc};

use holocron_planted::{Bug, is_planted};

use crate::{
    deferred::{Deferred, Message},
    ids::{RequestNumber, VnodeName},
};

// deferred.rs

/// [`Bug::KeepFiredTimer`]: whether a timer that has fired stays.
#[inline]
pub(crate) fn keep_fired_timer() -> bool {
    is_planted(Bug::KeepFiredTimer)
}

// deferred/post.rs

/// [`Bug::SendBeforeCommit`]: what a vnode has in memory is carried out.
#[inline]
pub(crate) fn outbox_to_carry_out(committed: Arc<Deferred>, current: &Deferred) -> Arc<Deferred> {
    if is_planted(Bug::SendBeforeCommit) { Arc::new(current.clone()) } else { committed }
}

/// [`Bug::NewestMessageFirst`]: the last message to a target is sent first.
#[inline]
pub(crate) fn head_of_target<'a>(
    head: Entry<'_, &'a VnodeName, (RequestNumber, &'a Message)>,
    message: (RequestNumber, &'a Message),
) {
    if is_planted(Bug::NewestMessageFirst) {
        head.insert_entry(message);
    } else {
        head.or_insert(message);
    }
}

/// [`Bug::RebaseUncommitted`]: the base in memory is sent.
#[inline]
pub(crate) fn base_to_send<'a>(committed: &'a Deferred, current: &'a Deferred) -> &'a Deferred {
    if is_planted(Bug::RebaseUncommitted) { current } else { committed }
}

/// [`Bug::LowestUncommitted`]: the lowest number in memory is sent.
#[inline]
pub(crate) fn lowest_to_send<'a>(committed: &'a Deferred, current: &'a Deferred) -> &'a Deferred {
    if is_planted(Bug::LowestUncommitted) { current } else { committed }
}

// request/window/senders.rs

/// [`Bug::ForgetUnacknowledged`]: whether senders are forgotten though they may ask for answers.
#[inline]
pub(crate) fn forget_unacknowledged() -> bool {
    is_planted(Bug::ForgetUnacknowledged)
}

/// [`Bug::ForgetUnacknowledged`]: how many senders are kept.
#[inline]
pub(crate) fn idle_senders_max(max: usize) -> usize {
    if is_planted(Bug::ForgetUnacknowledged) { 1 } else { max }
}
