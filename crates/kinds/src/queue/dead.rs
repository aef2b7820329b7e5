//! Dead letters: messages whose last delivery wasn't acknowledged.

use super::{
    Queue,
    types::{DeadLetter, Message},
};

impl Queue {
    /// Whether a message has had its last delivery, and that is over.
    pub(super) fn is_exhausted(&self, message: &Message, now: u64) -> bool {
        message.deliveries >= self.max_deliveries() && message.is_visible(now)
    }

    /// Moves the messages that are exhausted to the dead letters.
    pub(super) fn bury(&mut self, now: u64) {
        let exhausted = |message: &Message| self.is_exhausted(message, now);
        let ids: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| exhausted(message))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let message = self.messages.remove(&id).expect("it was listed just now");
            self.dead.insert(id, message);
        }
    }

    /// Puts dead letters back among the messages. Returns how many.
    pub(super) fn revive(&mut self, ids: &[u64], now: u64) -> usize {
        let dead = self.remove_dead(ids);
        let revived = dead.len();
        for (id, message) in dead {
            let message = Message { deliveries: 0, receipt: None, visible_at_ms: now, ..message };
            self.messages.insert(id, message);
        }
        revived
    }

    pub(super) fn remove_dead(&mut self, ids: &[u64]) -> Vec<(u64, Message)> {
        ids.iter().filter_map(|id| self.dead.remove_entry(id)).collect()
    }

    /// All of them, also those that become dead letters with the next command.
    pub(super) fn list_dead(&self, now: u64) -> Vec<DeadLetter> {
        let dying = self.messages.iter().filter(|(_, message)| self.is_exhausted(message, now));
        let mut all: Vec<DeadLetter> = self.dead.iter().chain(dying).map(letter).collect();
        all.sort_by_key(|letter| letter.id);
        all
    }
}

fn letter((id, message): (&u64, &Message)) -> DeadLetter {
    let Message { body, key, deliveries, pushed_at_ms, .. } = message.clone();
    DeadLetter { id: *id, body, key, deliveries, pushed_at_ms }
}
