//! Deferred work: what a vnode's handlers have asked for and what isn't done yet.
//!
//! A handler only asks: for a *timer* (a command at a time), a *message* (a command for another vnode), an *effect* (work
//! outside). What it asks for is stored in the vnode's envelope, with the change that caused it, and crossed out by a
//! later envelope, with what came of it. It is carried out from committed envelopes only ([`post`]).
//!
//! Messages and effects have numbers, counted permanently. Of the messages to one vnode, the *target*, the next is sent when the one
//! before is answered. What is refused is tried again with growing pauses, and *set aside* after [`TRIES_MAX`] tries:
//! it is kept until an operator retries or drops it, and nothing waits for it.
//!
//! Invariants:
//!
//! * A number is never used again.
//! * A target's lowest number is at or below the number of every message that may still be sent to it.
//! * A target is forgotten only after it has acknowledged that nothing is left to send.
//!
//! Imports [`crate::format`]. `docs/design/0022-deferred-work.md` says why it is safe.

mod format;
pub mod limits;
pub mod post;
#[cfg(test)]
pub(crate) mod tests;
mod tries;

use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeMap, string::String};
use core::time::Duration;

use bytes::Bytes;

pub use self::tries::{PAUSE_MAX, TRIES_MAX, Tries};
use crate::{
    ids::{CommitNumber, RequestNumber, VnodeName},
    planted,
    time::WallTime,
};

/// The name of the timer that deletes its vnode; it has no command.
pub const EXPIRY: &str = "";

/// A command at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timer {
    /// When it is due.
    pub at: WallTime,
    /// The time between two runs of a recurring timer; zero for one that runs once.
    pub every: Duration,
    /// The command.
    pub command: Bytes,
    /// The attempts that panicked.
    pub tries: Tries,
}

/// How the command of a message is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// By the types of the sender's program.
    Bincode,
    /// By name, as JSON: the sender doesn't know the types of the target. A refusal ends such a message, because the sender is
    /// not a program that an operator could mend.
    Json,
}

/// A command for another vnode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The target.
    pub to: VnodeName,
    /// How the command is encoded, and its answer.
    pub encoding: Encoding,
    /// The command.
    pub command: Bytes,
    /// Under which name the answer is handed to the sender, if it wants it.
    pub tag: Option<Box<str>>,
    /// The attempts that were refused.
    pub tries: Tries,
}

/// Work outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Effect {
    /// What to do, as the kind encodes it.
    pub work: Bytes,
    /// Under which name the result is handed to the vnode, if it wants it.
    pub tag: Option<Box<str>>,
    /// The attempts that asked for a retry.
    pub tries: Tries,
}

/// A vnode to which messages were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// A committed commit number of the target: the base of all messages to it. Changed only by "rebase".
    base: CommitNumber,
    /// The largest number of a message to it that is over; 0 for none.
    ended: RequestNumber,
}

/// What came of a message or an effect: a reply or result, or why there will never be one.
pub type Outcome = Result<Bytes, String>;

/// An outcome that the vnode wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The name that the vnode gave it.
    pub tag: Box<str>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a timer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Run this command.
    Command(Bytes),
    /// Delete the vnode.
    Expire,
}

/// What a vnode has asked for and what isn't done yet. One that was never used takes no bytes in the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Deferred {
    /// The number of the next message or effect.
    next: RequestNumber,
    timers: BTreeMap<Box<str>, Timer>,
    messages: BTreeMap<RequestNumber, Message>,
    /// Messages that failed for good and whose senders want no answer, until an operator acts.
    failed: BTreeMap<RequestNumber, Message>,
    targets: BTreeMap<VnodeName, Target>,
    effects: BTreeMap<RequestNumber, Effect>,
}

impl Default for Deferred {
    fn default() -> Self {
        Self {
            next: RequestNumber::ZERO.next(),
            timers: BTreeMap::new(),
            messages: BTreeMap::new(),
            failed: BTreeMap::new(),
            targets: BTreeMap::new(),
            effects: BTreeMap::new(),
        }
    }
}

impl Deferred {
    /// Whether it was never used, or only timers were, which are over.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.next == RequestNumber::ZERO.next() && self.timers.is_empty()
    }

    /// The timers by name.
    pub fn timers(&self) -> impl Iterator<Item = (&str, &Timer)> {
        self.timers.iter().map(|(name, timer)| (&**name, timer))
    }

    /// The messages that aren't answered, by number.
    pub fn messages(&self) -> impl Iterator<Item = (RequestNumber, &Message)> {
        self.messages.iter().map(|(number, message)| (*number, message))
    }

    /// A message that isn't over.
    #[must_use]
    pub fn message(&self, number: RequestNumber) -> Option<&Message> {
        self.messages.get(&number)
    }

    /// The messages that failed for good.
    pub fn failed(&self) -> impl Iterator<Item = (RequestNumber, &Message)> {
        self.failed.iter().map(|(number, message)| (*number, message))
    }

    /// The effects that aren't done.
    pub fn effects(&self) -> impl Iterator<Item = (RequestNumber, &Effect)> {
        self.effects.iter().map(|(number, effect)| (*number, effect))
    }

    /// Sets a timer; one of the same name is replaced.
    pub fn set_timer(&mut self, name: &str, at: WallTime, every: Duration, command: Bytes) {
        let timer = Timer { at, every, command, tries: Tries::default() };
        self.timers.insert(name.into(), timer);
    }

    /// Removes a timer. Returns it if there was one.
    pub fn cancel_timer(&mut self, name: &str) -> Option<Timer> {
        self.timers.remove(name)
    }

    /// Removes all timers: the vnode was deleted.
    pub fn cancel_timers(&mut self) {
        self.timers.clear();
    }

    /// Asks for a message; with a tag, its answer is wanted.
    pub fn send(&mut self, to: VnodeName, command: Bytes, tag: Option<&str>) -> RequestNumber {
        let tag = tag.map(Into::into);
        self.post(Message {
            to,
            encoding: Encoding::Bincode,
            command,
            tag,
            tries: Tries::default(),
        })
    }

    /// Asks for a message in JSON, whose answer is wanted.
    pub fn ask_by_name(&mut self, to: VnodeName, command: Bytes, tag: &str) -> RequestNumber {
        let tag = Some(tag.into());
        self.post(Message { to, encoding: Encoding::Json, command, tag, tries: Tries::default() })
    }

    fn post(&mut self, message: Message) -> RequestNumber {
        let number = self.number();
        self.targets
            .entry(message.to.clone())
            .or_insert(Target { base: CommitNumber::ZERO, ended: RequestNumber::ZERO });
        self.messages.insert(number, message);
        number
    }

    /// Asks for an effect; with a tag, its result is wanted.
    pub fn effect(&mut self, work: Bytes, tag: Option<&str>) -> RequestNumber {
        let number = self.number();
        let effect = Effect { work, tag: tag.map(Into::into), tries: Tries::default() };
        self.effects.insert(number, effect);
        number
    }

    fn number(&mut self) -> RequestNumber {
        let number = self.next;
        self.next = number.next();
        number
    }

    /// The timer that is due and has been so for the longest time.
    #[must_use]
    pub fn due_timer(&self, now: WallTime) -> Option<&str> {
        let due = self.timers.iter().filter(|(_, timer)| {
            !timer.tries.is_set_aside() && timer.tries.not_before(timer.at) <= now
        });
        due.min_by_key(|(_, timer)| timer.at).map(|(name, _)| &**name)
    }

    /// Crosses a due timer out, before what it does: a timer that runs once is gone, a recurring one is set to its next time
    /// after now. `None` if it isn't due, for example because a command has replaced it.
    pub fn fire(&mut self, name: &str, now: WallTime) -> Option<Fired> {
        let timer = self.timers.get_mut(name)?;
        if timer.tries.is_set_aside() || timer.tries.not_before(timer.at) > now {
            return None;
        }
        let command = timer.command.clone();
        let (at, every) = (timer.at.as_millis(), u64::try_from(timer.every.as_millis()));
        let every = every.unwrap_or(u64::MAX);
        match now.as_millis().saturating_sub(at).checked_div(every) {
            None if planted::keep_fired_timer() => {}
            None => drop(self.timers.remove(name)),
            Some(missed) => {
                let next = at.saturating_add(every.saturating_mul(missed + 1));
                timer.at = WallTime::from_millis(next);
                timer.tries = Tries::default();
            }
        }
        Some(if name == EXPIRY { Fired::Expire } else { Fired::Command(command) })
    }

    /// The command of a timer panicked: it is tried again later.
    pub fn timer_failed(&mut self, name: &str, now: WallTime, why: &str) {
        if let Some(timer) = self.timers.get_mut(name) {
            timer.tries.failed(now, why);
        }
    }

    /// A message is over: the target has committed its answer. Returns what the vnode wants to be told. `None` also if the
    /// message was over before.
    pub fn answered(&mut self, number: RequestNumber, outcome: Outcome) -> Option<Finished> {
        let mut message = self.messages.remove(&number)?;
        let target = self.targets.get_mut(&message.to).expect("a message's target is kept");
        target.ended = target.ended.max(number);
        match (message.tag.take(), outcome) {
            (Some(tag), outcome) => Some(Finished { tag, outcome }),
            (None, Ok(_)) => None,
            (None, Err(why)) => {
                message.tries = Tries::given_up(&why);
                self.failed.insert(number, message);
                None
            }
        }
    }

    /// A target asks for a newer base, which may be used once this is committed.
    pub fn rebase(&mut self, to: &VnodeName, base: CommitNumber) {
        if let Some(target) = self.targets.get_mut(to) {
            target.base = target.base.max(base);
        }
    }

    /// Whether a refusal ends this message.
    #[must_use]
    pub fn ends_if_refused(&self, number: RequestNumber) -> bool {
        self.messages.get(&number).is_some_and(|message| message.encoding == Encoding::Json)
    }

    /// A message was refused: it wasn't run.
    pub fn refused(&mut self, number: RequestNumber, now: WallTime, why: &str) {
        if let Some(message) = self.messages.get_mut(&number) {
            message.tries.failed(now, why);
        }
    }

    /// A target has committed that nothing below `lowest` will be sent. It is forgotten, unless there is more to send.
    pub fn acknowledged(&mut self, to: &VnodeName, lowest: RequestNumber) {
        let over = self.targets.get(to).is_some_and(|target| target.ended.next() <= lowest);
        if over && self.messages.values().all(|message| message.to != *to) {
            self.targets.remove(to);
        }
    }

    /// An effect is over. Returns what the vnode wants to be told.
    pub fn effect_ended(&mut self, number: RequestNumber, outcome: Outcome) -> Option<Finished> {
        let effect = self.effects.remove(&number)?;
        effect.tag.map(|tag| Finished { tag, outcome })
    }

    /// An effect asks for a retry, panicked or took too long.
    pub fn effect_failed(&mut self, number: RequestNumber, now: WallTime, why: &str) {
        if let Some(effect) = self.effects.get_mut(&number) {
            effect.tries.failed(now, why);
        }
    }

    /// Retries what was set aside. A message that failed for good gets a new number, because its target would only repeat
    /// the answer.
    ///
    /// # Errors
    ///
    /// A sentence, if nothing with that number was set aside.
    pub fn retry(&mut self, number: RequestNumber) -> Result<(), String> {
        if let Some(message) = self.failed.remove(&number) {
            self.send(message.to, message.command, message.tag.as_deref());
            return Ok(());
        }
        let message = self.messages.get_mut(&number).map(|message| &mut message.tries);
        let tries =
            message.or_else(|| self.effects.get_mut(&number).map(|effect| &mut effect.tries));
        match tries.filter(|tries| tries.is_set_aside()) {
            Some(tries) => *tries = Tries::default(),
            None => return Err(nothing_set_aside(number)),
        }
        Ok(())
    }

    /// Drops what was set aside: it isn't tried again. (A message of which an attempt is lost in the network may still be
    /// run by it, once; an effect may have run.) Returns what the vnode is to be told, if it wants to be.
    ///
    /// # Errors
    ///
    /// A sentence, if nothing with that number was set aside.
    pub fn discard(&mut self, number: RequestNumber) -> Result<Option<Finished>, String> {
        let dropped = |tag: Option<Box<str>>| {
            tag.map(|tag| Finished { tag, outcome: Err("dropped by an operator".to_owned()) })
        };
        let set_aside = |tries: &Tries| tries.is_set_aside();
        if self.failed.remove(&number).is_some() {
            return Ok(None);
        }
        if self.effects.get(&number).is_some_and(|effect| set_aside(&effect.tries)) {
            return Ok(self.effects.remove(&number).and_then(|effect| dropped(effect.tag)));
        }
        if let Some(message) = self.messages.get(&number)
            && set_aside(&message.tries)
        {
            let target = self.targets.get_mut(&message.to).expect("a message's target is kept");
            target.ended = target.ended.max(number);
            return Ok(self.messages.remove(&number).and_then(|message| dropped(message.tag)));
        }
        Err(nothing_set_aside(number))
    }

    /// When the vnode must be in memory for it: 0 never, 1 as soon as possible, else a wall time in milliseconds.
    #[must_use]
    pub fn wake_at(&self) -> u64 {
        let timers = self.timers.values().map(|timer| (&timer.tries, timer.at));
        let now = WallTime::from_millis(0);
        let messages = self.messages.values().map(|message| (&message.tries, now));
        let effects = self.effects.values().map(|effect| (&effect.tries, now));
        let times = timers.chain(messages).chain(effects);
        let due = times
            .filter(|(tries, _)| !tries.is_set_aside())
            .map(|(tries, at)| tries.not_before(at).as_millis().max(1));
        let firsts = self.first_numbers();
        let owed = self.targets.keys().any(|to| !firsts.contains_key(to)).then_some(1);
        due.chain(owed).min().unwrap_or(0)
    }

    /// The next time after now at which something is due that isn't now.
    #[must_use]
    pub fn next_time(&self, now: WallTime) -> Option<WallTime> {
        let soon = WallTime::default();
        let timers = self.timers.values().map(|timer| (&timer.tries, timer.at));
        let messages = self.messages.values().map(|message| (&message.tries, soon));
        let effects = self.effects.values().map(|effect| (&effect.tries, soon));
        let all = timers.chain(messages).chain(effects);
        let times = all.filter(|(tries, _)| !tries.is_set_aside());
        times.map(|(tries, at)| tries.not_before(at)).filter(|at| *at > now).min()
    }

    /// By target, the number of the first message that isn't over. A target without one has to be told that.
    fn first_numbers(&self) -> BTreeMap<&VnodeName, RequestNumber> {
        let mut firsts = BTreeMap::new();
        for (number, message) in &self.messages {
            firsts.entry(&message.to).or_insert(*number);
        }
        firsts
    }

    /// The lowest number that may still be sent to each target.
    fn lowest_numbers(&self) -> BTreeMap<&VnodeName, RequestNumber> {
        let ended = self.targets.iter().map(|(to, target)| (to, target.ended.next()));
        let mut lowest: BTreeMap<_, _> = ended.collect();
        lowest.extend(self.first_numbers());
        lowest
    }
}

fn nothing_set_aside(number: RequestNumber) -> String {
    alloc::format!("nothing with the number {} was set aside", number.get()).to_owned()
}
