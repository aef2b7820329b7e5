//! What a handler asks for: deferred work, deletion, work tied to the activation.
//!
//! A handler only notes it here. It is carried out, or stored, by the vnode's actor after the handler has returned; if the
//! handler panics or its command is rolled back, it is dropped with the rest of what the handler did.

use core::{fmt, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use holocron_protocol::{deferred::Deferred, ids::VnodeName, time::WallTime};

use crate::api::clock::Clock;

/// Longest name of a timer, and longest tag, in bytes.
pub(crate) const LABEL_LEN_MAX: usize = 64;

/// One thing that a handler asks for.
pub(crate) enum Ask {
    Timer { name: String, at: WallTime, every: Duration, command: Bytes },
    Cancel(String),
    Send { to: VnodeName, command: Bytes, tag: Option<String> },
    SendJson { to: VnodeName, command: Bytes, tag: String },
    Effect { work: Bytes, tag: Option<String> },
}

impl Ask {
    /// Adds it to the vnode's deferred work.
    pub(crate) fn note(self, deferred: &mut Deferred) {
        match self {
            Self::Timer { name, at, every, command } => {
                deferred.set_timer(&name, at, every, command);
            }
            Self::Cancel(name) => drop(deferred.cancel_timer(&name)),
            Self::Send { to, command, tag } => {
                deferred.send(to, command, tag.as_deref());
            }
            Self::SendJson { to, command, tag } => {
                deferred.ask_by_name(to, command, &tag);
            }
            Self::Effect { work, tag } => {
                deferred.effect(work, tag.as_deref());
            }
        }
    }
}

/// What a handler has asked for, in order.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) list: Vec<Ask>,
    /// Work tied to the activation; its result is a command.
    pub(crate) spawned: Vec<BoxFuture<'static, Bytes>>,
    pub(crate) delete: bool,
    /// Why something that was asked for can't be done: the command is rejected.
    pub(crate) refused: Option<String>,
}

impl Asked {
    /// Notes something, or why it can't be.
    pub(crate) fn note(&mut self, ask: Result<Ask, String>) {
        match ask {
            Ok(ask) => self.list.push(ask),
            Err(why) => self.refuse(why),
        }
    }

    pub(crate) fn refuse(&mut self, why: String) {
        self.refused.get_or_insert(why);
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("count", &self.list.len()).finish_non_exhaustive()
    }
}

/// The name of a timer or a tag, if it is valid.
pub(crate) fn label(what: &str, label: &str) -> Result<String, String> {
    if label.is_empty() || label.len() > LABEL_LEN_MAX {
        let length = label.len();
        return Err(format!("{what}: use 1 to {LABEL_LEN_MAX} bytes, not {length}"));
    }
    Ok(label.to_owned())
}

/// The wall clock's time.
pub(crate) fn wall(clock: &dyn Clock) -> WallTime {
    WallTime::from_millis(clock.wall_ms())
}
