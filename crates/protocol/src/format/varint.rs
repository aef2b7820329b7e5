//! Fields in as few bytes as they need: what a format on the hot path is written and read with.
//!
//! A number takes seven bits a byte, lowest first, the top bit saying that another byte follows. Its shortest form is
//! the only one that is read, so that equal values have equal bytes.

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

/// Appends bytes behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads fields one after another; every failure names what they are of.
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

    /// Where the next field begins.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are still to be read.
    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The error that says why these bytes can't be what they should be.
    pub(crate) fn malformed(&self, why: &str) -> Malformed {
        Malformed::new(self.what, &format!("{why}, at byte {}", self.at))
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed("cut short"))?;
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
                    return Err(self.malformed("a number longer than it need be"));
                }
                return Ok(number);
            }
        }
        Err(self.malformed("a number without end"))
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.malformed("cut short"))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// The next bytes, behind their length.
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
        fn whatever_reads_as_a_number_is_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new("n", &bytes);
            if let Ok(number) = reader.number() {
                let mut out = Vec::new();
                put_number(&mut out, number);
                prop_assert_eq!(&out[..], &bytes[..reader.at()]);
            }
        }
    }
}
