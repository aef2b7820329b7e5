//! How much memory a decoder may take at once, measured.

/// What decoding may hold at its peak, its result included: so much, and so much per byte of its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Bytes, whatever the input.
    pub(crate) flat: usize,
    /// Bytes for each byte of the input.
    pub(crate) per_byte: usize,
}

/// Decodes, and fails when that took more memory than `bound` allows for an input of `len` bytes.
pub(crate) fn within<T>(bound: Bound, len: usize, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let taken = allocation_counter::measure(|| decoded = Some(decode())).bytes_max;
    let most = bound.flat + bound.per_byte * len;
    assert!(taken <= most as u64, "{len} bytes made it hold {taken}; at most {most} are allowed");
    decoded.expect("it was measured")
}
