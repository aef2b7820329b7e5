//! `queue`: messages that are delivered at least once, with a visibility timeout and dead letters.
//!
//! A consumer pulls messages, works, and acknowledges each. What it doesn't acknowledge within its visibility timeout is delivered
//! again; after `max_deliveries` it becomes a dead letter. The whole queue is one state, so a queue is for work in the
//! hundreds of messages; for more, spread it over several queues by a hash.
//!
//! Invariants:
//!
//! * A message stays until its `ack`, or until a dead letter is discarded by hand.
//! * A message that was delivered isn't delivered again before its visibility timeout is over or it was given back.
//! * Of the messages with one key, one is in flight at a time, and the earliest comes first.

mod dead;
pub mod limits;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use holocron::Context;
use serde::{Deserialize, Serialize};

pub use self::types::{DeadLetter, Delivery, QueueError, QueueStats};
use self::{
    limits::{
        BODY_LEN_MAX, BYTES_MAX, DELAY_MAX_MS, DELIVERIES_DEFAULT, DELIVERIES_MAX, KEY_LEN_MAX,
        MESSAGES_MAX, PULL_BYTES_MAX, PULL_MAX, VISIBILITY_MAX_MS,
    },
    types::Message,
};
use crate::{sequence::Sequence, wall::set_timer};

const TIMER: &str = "settle";

/// A queue of messages.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Queue {
    /// Of ids and receipts.
    numbers: Sequence,
    messages: BTreeMap<u64, Message>,
    dead: BTreeMap<u64, Message>,
    max_deliveries: Option<u32>,
}

#[holocron::vnode(kind = "queue")]
impl Queue {
    /// Adds a message, and returns its id. With `delay_ms` it is delivered only after that time. Messages with the same `key`
    /// are delivered one at a time, in order: the next one after the one before was acknowledged or is a dead letter.
    #[command]
    fn push(
        &mut self,
        context: &mut Context<'_, Self>,
        body: String,
        delay_ms: Option<u64>,
        key: Option<String>,
    ) -> Result<u64, QueueError> {
        let (delay_ms, key_len) = (delay_ms.unwrap_or(0), key.as_ref().map_or(0, String::len));
        check_len("body", body.len(), BODY_LEN_MAX)?;
        check_len("key", key_len, KEY_LEN_MAX)?;
        check_range("delay_ms", delay_ms, 0, DELAY_MAX_MS)?;
        let now = self.settle(context);
        self.check_room(body.len() + key_len)?;
        let id = self.numbers.next(now);
        let visible_at_ms = now + delay_ms;
        let message =
            Message { body, key, pushed_at_ms: now, visible_at_ms, deliveries: 0, receipt: None };
        self.messages.insert(id, message);
        self.set_timer(context, now);
        Ok(id)
    }

    /// Delivers up to `max` messages, those with the smallest ids first. Each stays in the queue, and is delivered again unless
    /// it is acknowledged within `visibility_ms`. A pull delivers at most 32 KiB of bodies, so it may return fewer than there are.
    #[command]
    fn pull(
        &mut self,
        context: &mut Context<'_, Self>,
        max: u32,
        visibility_ms: u64,
    ) -> Result<Vec<Delivery>, QueueError> {
        check_range("max", max.into(), 1, PULL_MAX.into())?;
        check_range("visibility_ms", visibility_ms, 1, VISIBILITY_MAX_MS)?;
        let now = self.settle(context);
        let ready: Vec<u64> =
            self.ready(now).take(usize::try_from(max).unwrap_or(usize::MAX)).collect();
        let (mut deliveries, mut bytes) = (Vec::new(), 0);
        for id in ready {
            let message = self.messages.get_mut(&id).expect("a message that is ready is there");
            bytes += message.body.len();
            if bytes > PULL_BYTES_MAX && !deliveries.is_empty() {
                break;
            }
            let receipt = self.numbers.next(now);
            message.deliveries += 1;
            message.receipt = Some(receipt);
            message.visible_at_ms = now + visibility_ms;
            let (body, key) = (message.body.clone(), message.key.clone());
            let (delivery, pushed_at_ms) = (message.deliveries, message.pushed_at_ms);
            deliveries.push(Delivery { id, receipt, body, key, delivery, pushed_at_ms });
        }
        self.set_timer(context, now);
        Ok(deliveries)
    }

    /// Acknowledges a delivery: the message leaves the queue for good. A late one counts too, as long as the message wasn't delivered
    /// again and isn't a dead letter.
    #[command]
    fn ack(
        &mut self,
        context: &mut Context<'_, Self>,
        id: u64,
        receipt: u64,
    ) -> Result<(), QueueError> {
        let now = self.settle(context);
        let acknowledged = self.delivered(id, receipt).map(drop);
        if acknowledged.is_ok() {
            self.messages.remove(&id);
        }
        self.set_timer(context, now);
        acknowledged
    }

    /// Keeps a delivered message invisible for `visibility_ms` from now.
    #[command]
    fn extend(
        &mut self,
        context: &mut Context<'_, Self>,
        id: u64,
        receipt: u64,
        visibility_ms: u64,
    ) -> Result<(), QueueError> {
        check_range("visibility_ms", visibility_ms, 1, VISIBILITY_MAX_MS)?;
        let now = self.settle(context);
        let extended = self.delivered(id, receipt).map(|message| {
            message.visible_at_ms = now + visibility_ms;
        });
        self.set_timer(context, now);
        extended
    }

    /// Gives a delivered message back, to be delivered again at once or after `delay_ms`. If it was its last delivery, it becomes a dead
    /// letter.
    #[command]
    fn nack(
        &mut self,
        context: &mut Context<'_, Self>,
        id: u64,
        receipt: u64,
        delay_ms: Option<u64>,
    ) -> Result<(), QueueError> {
        let delay_ms = delay_ms.unwrap_or(0);
        check_range("delay_ms", delay_ms, 0, DELAY_MAX_MS)?;
        let now = self.settle(context);
        let max_deliveries = self.max_deliveries();
        let given_back = self.delivered(id, receipt).map(|message| {
            message.receipt = None;
            // The delay is for the next delivery: a message that has none becomes a dead letter now.
            let is_last = message.deliveries >= max_deliveries;
            message.visible_at_ms = if is_last { now } else { now + delay_ms };
        });
        self.bury(now);
        self.set_timer(context, now);
        given_back
    }

    /// Puts dead letters back under their ids, to be delivered as if for the first time. Returns how many of the ids were dead letters.
    #[command]
    fn requeue(&mut self, context: &mut Context<'_, Self>, ids: &[u64]) -> usize {
        let now = self.settle(context);
        let requeued = self.revive(ids, now);
        self.set_timer(context, now);
        requeued
    }

    /// Discards dead letters. Returns how many of the ids were dead letters.
    #[command]
    fn discard(&mut self, context: &mut Context<'_, Self>, ids: &[u64]) -> usize {
        let now = self.settle(context);
        let discarded = self.remove_dead(ids).len();
        self.set_timer(context, now);
        discarded
    }

    /// Sets after how many deliveries a message becomes a dead letter: 1 to 1,000. A new queue has 5.
    #[command]
    fn configure(
        &mut self,
        context: &mut Context<'_, Self>,
        max_deliveries: u32,
    ) -> Result<(), QueueError> {
        check_range("max_deliveries", max_deliveries.into(), 1, DELIVERIES_MAX.into())?;
        self.max_deliveries = Some(max_deliveries);
        let now = self.settle(context);
        self.set_timer(context, now);
        Ok(())
    }

    /// Carries out what is due. The queue's own timer calls it, so that those who watch `stats` hear of it; calling it does no harm.
    #[command(name = "settle")]
    fn settle_due(&mut self, context: &mut Context<'_, Self>) {
        let now = self.settle(context);
        self.set_timer(context, now);
    }

    /// How many messages there are, and in which condition. A consumer may watch it to learn of new messages.
    #[query]
    fn stats(&self, context: &Context<'_, Self>) -> QueueStats {
        let now = context.now_ms();
        let is_dying = |message: &&Message| self.is_exhausted(message, now);
        let (dying, ready) =
            (self.messages.values().filter(is_dying).count(), self.ready(now).count());
        let visible = self.messages.values().filter(|message| message.is_visible(now)).count();
        let invisible = || self.messages.values().filter(|message| !message.is_visible(now));
        let in_flight = invisible().filter(|message| message.is_in_flight(now)).count();
        let living = self.messages.values().filter(|message| !is_dying(message));
        QueueStats {
            ready,
            behind: visible - ready - dying,
            in_flight,
            delayed: invisible().count() - in_flight,
            dead: self.dead.len() + dying,
            bytes: self.bytes(),
            oldest_pushed_at_ms: living.map(|message| message.pushed_at_ms).min(),
            max_deliveries: self.max_deliveries(),
        }
    }

    /// The dead letters, those with the smallest ids first.
    #[query(name = "dead-letters")]
    fn dead_letters(&self, context: &Context<'_, Self>) -> Vec<DeadLetter> {
        self.list_dead(context.now_ms())
    }

    /// Carries out what is due. Every command does, so that no rule depends on when the timer fires.
    fn settle(&mut self, context: &Context<'_, Self>) -> u64 {
        let now = context.now_ms();
        self.bury(now);
        now
    }

    /// The messages that can be delivered, in order.
    fn ready(&self, now: u64) -> impl Iterator<Item = u64> {
        // One that is in flight may also be later than one that was requeued.
        let in_flight = self.messages.values().filter(|message| message.is_in_flight(now));
        let mut busy: BTreeSet<&str> =
            in_flight.filter_map(|message| message.key.as_deref()).collect();
        let ready = self.messages.iter().filter(move |(_, message)| {
            if self.is_exhausted(message, now) {
                return false;
            }
            let is_first = message.key.as_deref().is_none_or(|key| busy.insert(key));
            is_first && message.is_visible(now)
        });
        ready.map(|(id, _)| *id)
    }

    /// The message that was delivered with this receipt, if it wasn't delivered again since.
    fn delivered(&mut self, id: u64, receipt: u64) -> Result<&mut Message, QueueError> {
        let message = self.messages.get_mut(&id).filter(|message| message.receipt == Some(receipt));
        message.ok_or(QueueError::StaleReceipt)
    }

    fn max_deliveries(&self) -> u32 {
        self.max_deliveries.unwrap_or(DELIVERIES_DEFAULT)
    }

    fn bytes(&self) -> usize {
        self.messages.values().chain(self.dead.values()).map(Message::len).sum()
    }

    /// Dead letters count, so that a queue whose messages all fail is noticed by those who push.
    fn check_room(&self, len: usize) -> Result<(), QueueError> {
        let (messages, bytes) = (self.messages.len() + self.dead.len(), self.bytes());
        if messages < MESSAGES_MAX && bytes + len <= BYTES_MAX {
            return Ok(());
        }
        let (messages_max, bytes_max) = (MESSAGES_MAX, BYTES_MAX);
        Err(QueueError::Full { messages, messages_max, bytes, bytes_max })
    }

    /// Sets the timer to when the next message becomes visible.
    fn set_timer(&self, context: &mut Context<'_, Self>, now: u64) {
        let later =
            self.messages.values().map(|message| message.visible_at_ms).filter(|at| *at > now);
        set_timer(context, TIMER, later.min(), QueueCommand::settle_due());
    }
}

fn check_len(argument: &str, len: usize, max: usize) -> Result<(), QueueError> {
    if len <= max {
        return Ok(());
    }
    Err(QueueError::TooLong { argument: argument.to_owned(), max })
}

fn check_range(argument: &str, value: u64, min: u64, max: u64) -> Result<(), QueueError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(QueueError::OutOfRange { argument: argument.to_owned(), min, max })
}
