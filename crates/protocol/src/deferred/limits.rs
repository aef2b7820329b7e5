//! How much deferred work a vnode may have.

use alloc::{format, string::String};

use super::Deferred;

/// Bytes counted for a timer, a message or an effect, without its content.
const ENTRY_COST: usize = 32;

/// How much deferred work a vnode may have, what was set aside included. All of it is part of every commit of the vnode. A
/// command that asks for more is rejected and rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Timers.
    pub timers: usize,
    /// Messages that aren't answered.
    pub messages: usize,
    /// Effects that aren't done.
    pub effects: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timers: 256, messages: 1_024, effects: 256, bytes: 256 << 10 }
    }
}

impl Deferred {
    /// Bytes counted against [`Limits::bytes`].
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        let tag = |tag: &Option<_>| tag.as_deref().map_or(0, str::len);
        let timers = self.timers.iter().map(|(name, timer)| name.len() + timer.command.len());
        let messages = self.messages.values().chain(self.failed.values());
        let messages = messages.map(|message| {
            let name = message.to.kind().len() + message.to.key().len();
            name + message.command.len() + tag(&message.tag)
        });
        let effects = self.effects.values().map(|effect| effect.work.len() + tag(&effect.tag));
        timers.chain(messages).chain(effects).map(|content| content + ENTRY_COST).sum()
    }

    /// Which limit it is beyond, as a sentence.
    #[must_use]
    pub fn beyond(&self, limits: &Limits) -> Option<String> {
        let messages = self.messages.len() + self.failed.len();
        let (timers, effects) = (self.timers.len(), self.effects.len());
        let bytes = self.bytes_len();
        [
            (timers, limits.timers, "timers"),
            (messages, limits.messages, "unanswered messages"),
            (effects, limits.effects, "effects"),
            (bytes, limits.bytes, "bytes of timers, messages and effects"),
        ]
        .into_iter()
        .find(|(count, max, _)| count > max)
        .map(|(count, max, what)| {
            format!("it would leave {count} {what}; at most {max} are allowed")
        })
    }
}
