//! What a `queue` stores and answers.

use serde::{Deserialize, Serialize};

/// A message in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) body: String,
    pub(super) key: Option<String>,
    pub(super) pushed_at_ms: u64,
    /// When it can be pulled: after its delay, or when the visibility timeout of its newest delivery is over.
    pub(super) visible_at_ms: u64,
    pub(super) deliveries: u32,
    /// Of the newest delivery, if that can still be acknowledged.
    pub(super) receipt: Option<u64>,
}

impl Message {
    pub(super) fn len(&self) -> usize {
        self.body.len() + self.key.as_ref().map_or(0, String::len)
    }

    pub(super) const fn is_visible(&self, now: u64) -> bool {
        self.visible_at_ms <= now
    }

    pub(super) const fn is_in_flight(&self, now: u64) -> bool {
        !self.is_visible(now) && self.receipt.is_some()
    }
}

/// A message as a consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id.
    pub id: u64,
    /// The receipt of this delivery, for `ack`, `extend` and `nack`. The next delivery of the message makes it stale.
    pub receipt: u64,
    /// What was pushed.
    pub body: String,
    /// The key it was pushed with.
    pub key: Option<String>,
    /// Which delivery of the message this is: 1 for the first.
    pub delivery: u32,
    /// When it was pushed.
    pub pushed_at_ms: u64,
}

/// A message that was delivered too often without being acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id.
    pub id: u64,
    /// What was pushed.
    pub body: String,
    /// The key it was pushed with.
    pub key: Option<String>,
    /// How often it was delivered.
    pub deliveries: u32,
    /// When it was pushed.
    pub pushed_at_ms: u64,
}

/// How a queue is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Messages that a pull would deliver now, if it asked for enough.
    pub ready: usize,
    /// Messages that are visible but wait for an earlier one of the same key.
    pub behind: usize,
    /// Messages that were delivered, and whose visibility timeout isn't over.
    pub in_flight: usize,
    /// Messages whose delay isn't over.
    pub delayed: usize,
    /// Dead letters.
    pub dead: usize,
    /// Bytes of all bodies and keys, dead letters included.
    pub bytes: usize,
    /// When the oldest message that isn't dead was pushed.
    pub oldest_pushed_at_ms: Option<u64>,
    /// Deliveries after which a message becomes a dead letter.
    pub max_deliveries: u32,
}

/// Why a queue refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum QueueError {
    /// There are too many messages, dead letters included. Pull, requeue or discard some first, or push to another queue.
    #[error(
        "the queue is full: it has {messages} messages of at most {messages_max}, and {bytes} bytes of at most {bytes_max}"
    )]
    Full {
        /// Messages in the queue.
        messages: usize,
        /// How many it may have.
        messages_max: usize,
        /// Bytes in the queue.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// A body or a key is too long.
    #[error("{argument} has at most {max} bytes")]
    TooLong {
        /// Which argument.
        argument: String,
        /// Its bytes, at most.
        max: usize,
    },
    /// A number is too small or too large.
    #[error("{argument} is between {min} and {max}")]
    OutOfRange {
        /// Which argument.
        argument: String,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// No message has this id and receipt: it was acknowledged, delivered again since, given back, or is a dead letter.
    #[error("the receipt is stale")]
    StaleReceipt,
}
