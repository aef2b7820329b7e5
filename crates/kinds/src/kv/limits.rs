//! The limits of a `kv`. The whole map is one state that each commit writes.

/// Fields of a map.
pub const FIELDS_MAX: usize = 4_096;
/// Bytes of all names and values. With what is stored beside them, it stays below a host's default `state_len_max`, 1 MiB.
pub const BYTES_MAX: usize = 512 << 10;
/// Bytes of a field's name.
pub const NAME_LEN_MAX: usize = 512;
/// The longest time to live: 365 days.
pub const TTL_MAX_MS: u64 = 365 * 24 * 60 * 60 * 1_000;
/// Fields of a page, unless the caller asks for fewer or more.
pub const SCAN_DEFAULT: u32 = 100;
/// Fields of a page, at most.
pub const SCAN_MAX: u32 = 1_000;
