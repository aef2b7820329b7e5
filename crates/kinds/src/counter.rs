//! `counter`: a number to which commands add. The smallest useful vnode.

use serde::{Deserialize, Serialize};

/// A number. A new one is 0.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counter {
    value: i64,
}

#[holocron::vnode(kind = "counter")]
impl Counter {
    /// Adds, and returns the new value. It stops at the largest and smallest 64-bit integer: it never wraps.
    #[command]
    fn add(&mut self, amount: i64) -> i64 {
        self.value = self.value.saturating_add(amount);
        self.value
    }

    /// Sets the value, and returns the one before.
    #[command]
    fn set(&mut self, value: i64) -> i64 {
        core::mem::replace(&mut self.value, value)
    }

    /// The value.
    #[query]
    fn value(&self) -> i64 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use holocron_testing::TestVnode;

    use super::*;

    fn added(counter: &mut TestVnode<Counter>, amount: i64) -> i64 {
        match counter.command(CounterCommand::add(amount)).unwrap() {
            CounterReply::Add(value) | CounterReply::Set(value) => value,
        }
    }

    #[test]
    fn a_counter_stops_at_its_ends() {
        let mut counter = TestVnode::<Counter>::new("c");
        assert_eq!(added(&mut counter, 5), 5);
        assert_eq!(added(&mut counter, i64::MAX), i64::MAX);
        assert_eq!(added(&mut counter, -1), i64::MAX - 1);
        let CounterReply::Set(before) = counter.command(CounterCommand::set(i64::MIN)).unwrap()
        else {
            panic!("a reply to set")
        };
        assert_eq!(before, i64::MAX - 1);
        assert_eq!(added(&mut counter, -1), i64::MIN);
        assert_eq!(counter.state().value(), i64::MIN);
    }
}
