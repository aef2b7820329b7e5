//! Numbers that only grow.

use serde::{Deserialize, Serialize};

/// Gives numbers, each larger than all before.
///
/// A number is at least the time in milliseconds. So the numbers also grow when the vnode is deleted and used again, as long as
/// the clock isn't behind the last number by then: it would have to go back, or the vnode would have to give more than one number
/// per millisecond all its life. They stay below 2^53, which JSON's readers keep exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sequence(u64);

impl Sequence {
    /// A sequence that has given this number.
    pub(crate) const fn after(number: u64) -> Self {
        Self(number)
    }

    /// The next number.
    pub(crate) fn next(&mut self, now_ms: u64) -> u64 {
        self.0 = (self.0 + 1).max(now_ms);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_whatever_the_clock_does_and_after_a_deletion() {
        let mut sequence = Sequence::default();
        let given: Vec<u64> = [100, 100, 50, 200].map(|now| sequence.next(now)).into();
        assert_eq!(given, [100, 101, 102, 200]);
        assert_eq!(
            Sequence::default().next(201),
            201,
            "a new vnode goes on where the old one ended"
        );
    }
}
