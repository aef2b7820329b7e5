//! The limits of a `lease`.

/// Bytes of a holder's name.
pub const HOLDER_LEN_MAX: usize = 256;
/// Waiters in line.
pub const WAITERS_MAX: usize = 256;
/// The shortest time to live and waiting time: below, callers would mostly find it over.
pub const SPAN_MIN_MS: u64 = 100;
/// The longest time to live and waiting time: a day.
pub const SPAN_MAX_MS: u64 = 24 * 60 * 60 * 1_000;
