//! The limits of a `queue`. The whole queue is one state that each commit writes, so it is small.

/// Messages in a queue, dead letters included.
pub const MESSAGES_MAX: usize = 1_024;
/// Bytes of all bodies and keys, dead letters included.
pub const BYTES_MAX: usize = 256 << 10;
/// Bytes of a message's body.
pub const BODY_LEN_MAX: usize = 32 << 10;
/// Bytes of a message's key.
pub const KEY_LEN_MAX: usize = 256;
/// Messages of one pull.
pub const PULL_MAX: u32 = 100;
/// Bytes of the bodies of one pull; one message is always delivered.
pub const PULL_BYTES_MAX: usize = 32 << 10;
/// The longest visibility timeout: 12 hours.
pub const VISIBILITY_MAX_MS: u64 = 12 * 60 * 60 * 1_000;
/// The longest delay: 7 days.
pub const DELAY_MAX_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Deliveries after which a message becomes a dead letter, unless the queue is configured otherwise.
pub const DELIVERIES_DEFAULT: u32 = 5;
/// The most that can be configured.
pub const DELIVERIES_MAX: u32 = 1_000;
