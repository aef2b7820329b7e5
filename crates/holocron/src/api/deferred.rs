//! The deferred work of a vnode as operators see it, and what they may do with it.

use holocron_protocol::{
    deferred::{Deferred, Tries},
    time::WallTime,
};
use serde::{Deserialize, Serialize};

/// What an operator does with deferred work that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amendment {
    /// Try it again.
    Retry(u64),
    /// Drop it.
    Discard(u64),
}

/// The deferred work of a vnode, for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeferredWork {
    /// All of it: timers, then messages, then effects.
    pub items: Vec<DeferredItem>,
}

/// One piece of deferred work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeferredItem {
    /// What it is.
    pub what: DeferredKind,
    /// When it is due, or tried again, in milliseconds since 1970; 0 as soon as possible.
    pub due_ms: u64,
    /// How many attempts have failed.
    pub tries: u32,
    /// Whether it isn't tried again until an operator retries or drops it.
    pub set_aside: bool,
    /// Why the last attempt failed.
    pub why: Option<String>,
}

/// What kind of deferred work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeferredKind {
    /// A timer; an empty name is the vnode's expiry.
    Timer {
        /// Its name.
        name: String,
        /// Its period in milliseconds; 0 if it runs once.
        every_ms: u64,
    },
    /// A message.
    Message {
        /// Its number.
        number: u64,
        /// The target's kind and key.
        to: String,
    },
    /// An effect.
    Effect {
        /// Its number.
        number: u64,
    },
}

impl DeferredWork {
    pub(crate) fn of(deferred: &Deferred) -> Self {
        let item = |what, at: WallTime, tries: &Tries| DeferredItem {
            what,
            due_ms: tries.not_before(at).as_millis(),
            tries: tries.count(),
            set_aside: tries.is_set_aside(),
            why: tries.why().map(Into::into),
        };
        let soon = WallTime::default();
        let timers = deferred.timers().map(|(name, timer)| {
            let every_ms = u64::try_from(timer.every.as_millis()).unwrap_or(u64::MAX);
            let what = DeferredKind::Timer { name: name.to_owned(), every_ms };
            item(what, timer.at, &timer.tries)
        });
        let messages = deferred.messages().chain(deferred.failed()).map(|(number, message)| {
            let (number, to) = (number.get(), message.to.to_string());
            item(DeferredKind::Message { number, to }, soon, &message.tries)
        });
        let effects = deferred.effects().map(|(number, effect)| {
            item(DeferredKind::Effect { number: number.get() }, soon, &effect.tries)
        });
        Self { items: timers.chain(messages).chain(effects).collect() }
    }
}
