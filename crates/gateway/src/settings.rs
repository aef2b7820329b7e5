//! What a gateway allows, and what each setting trades.

use core::{num::NonZeroU32, time::Duration};

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Longest body, in bytes. A host refuses calls above its own `call_len_max`, 1 MiB, too.
    pub body_len_max: usize,
    /// Bytes of bodies in memory; further requests are refused as busy. Higher: more memory under overload.
    pub bodies_len_max: u32,
    /// How long a request may take that names no time itself, its body included.
    pub deadline: Duration,
    /// The longest time that a request may name, in `Request-Timeout`.
    pub deadline_max: Duration,
    /// Watches at a time; further ones are refused.
    pub watchers_max: usize,
    /// How long an outcome is kept under its idempotency key, counted from when it was known. Longer: later retries count
    /// once, and larger books. A week at most.
    pub keep_keys: Duration,
    /// How many requests a principal may make; an address, if all callers are one principal. None: any number.
    pub rate: Option<Rate>,
}

/// A rate of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second.
    pub per_second: NonZeroU32,
    /// Requests that may come at once.
    pub burst: NonZeroU32,
}

/// Longest time for which outcomes are kept.
pub(crate) const KEEP_KEYS_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            body_len_max: 1 << 20,
            bodies_len_max: 256 << 20,
            deadline: Duration::from_secs(10),
            deadline_max: Duration::from_secs(60),
            watchers_max: 4_096,
            keep_keys: Duration::from_secs(24 * 60 * 60),
            rate: None,
        }
    }
}
