//! Wall-clock times as they are stored and shown: milliseconds since 1970.

use core::time::Duration;
use std::time::UNIX_EPOCH;

use holocron::{Context, Vnode};

/// Sets the timer of this name to a time, or cancels it.
pub(crate) fn set_timer<V: Vnode>(
    context: &mut Context<'_, V>,
    name: &str,
    at_ms: Option<u64>,
    command: V::Command,
) {
    match at_ms {
        Some(at_ms) => context.at(name, UNIX_EPOCH + Duration::from_millis(at_ms), command),
        None => context.cancel(name),
    }
}
