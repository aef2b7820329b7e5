//! Measures the peak memory of a decoder.

/// The limit of a decoder's peak memory, with its result: a constant, and an amount per byte of input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Bytes, for any input.
    pub(crate) flat: usize,
    /// Bytes per byte of input.
    pub(crate) per_byte: usize,
}

/// Decodes, and fails if that took more memory than `bound` allows for an input of `len` bytes.
pub(crate) fn within<T>(bound: Bound, len: usize, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let taken = allocation_counter::measure(|| decoded = Some(decode())).bytes_max;
    let most = bound.flat + bound.per_byte * len;
    assert!(
        taken <= most as u64,
        "{len} bytes of input took {taken} bytes of memory, more than the limit of {most}"
    );
    decoded.expect("it was measured")
}
