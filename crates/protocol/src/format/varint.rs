//! Compact fields for formats on the hot path: varint numbers and length-prefixed bytes.
//!
//! A number has seven bits per byte, lowest first; the top bit says that another byte follows. Only the shortest form
//! is accepted, so that equal values have equal bytes.

use alloc::{format, vec::Vec};

use crate::format::codec::Malformed;

/// Appends a number.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Appends the length of `bytes`, then the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads fields in order. Every error names `what`, the thing being read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    what: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte.
    pub(crate) const fn new(what: &'a str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    /// From the byte at an offset, which the caller has checked to be within `bytes`.
    pub(crate) const fn at_offset(what: &'a str, bytes: &'a [u8], at: usize) -> Self {
        assert!(at <= bytes.len(), "begins beyond its end");
        Self { what, bytes, at }
    }

    /// The offset of the next field.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The number of bytes not read yet.
    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// An error at the current offset.
    pub(crate) fn malformed(&self, why: &str) -> Malformed {
        Malformed::new(self.what, &format!("{why}, at byte {}", self.at))
    }

    /// The next bytes, as many as the array has.
    pub(crate) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Malformed> {
        let rest = &self.bytes[self.at..];
        let array = *rest.first_chunk().ok_or_else(|| self.malformed("truncated"))?;
        self.at += LEN;
        Ok(array)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed("truncated"))?;
        self.at += 1;
        Ok(byte)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(self.malformed("a number above 2^64"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.malformed("a number in more bytes than needed"));
                }
                return Ok(number);
            }
        }
        Err(self.malformed("a number of more than 10 bytes"))
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.malformed("truncated"))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// A length, then that many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.number()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_numbers_take_one_byte() {
        for (number, length) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(out.len(), length, "{number}");
        }
    }

    #[test]
    fn a_number_is_read_in_its_shortest_form_only() {
        for bad in [
            &[0x80, 0x00][..],
            &[0x81, 0x80, 0x00],
            &[0x80],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x80; 11],
        ] {
            assert!(Reader::new("n", bad).number().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_before_anything_is_taken() {
        let mut out = Vec::new();
        put_number(&mut out, u64::MAX);
        assert!(Reader::new("b", &out).bytes().is_err());
    }

    proptest! {
        #[test]
        fn a_number_and_bytes_read_back(number: u64, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader::new("both", &out);
            prop_assert_eq!(reader.number().unwrap(), number);
            prop_assert_eq!(reader.bytes().unwrap(), &bytes[..]);
            prop_assert_eq!(reader.left(), 0);
        }

        #[test]
        fn a_number_that_can_be_read_is_written_with_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new("n", &bytes);
            if let Ok(number) = reader.number() {
                let mut out = Vec::new();
                put_number(&mut out, number);
                prop_assert_eq!(&out[..], &bytes[..reader.at()]);
            }
        }
    }
}
