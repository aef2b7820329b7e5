//! The replies to one vnode's callers, and which values they allow. A value outside is a lost or a doubled command.
//!
//! Each vnode has one command in flight at a time, so after a clear reply exactly one value is legal. A command that
//! ended unclear may have taken effect once, or may do so later; only such commands widen the range of legal values.
//!
//! Invariants:
//!
//! * No false alarms: if commands take effect at most once, acknowledged commands took effect and stay, and reads see
//!   them, all fault counts are zero.
//! * After a fault it continues from the value seen, so one fault is counted once.

/// The faults found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Acknowledged commands that are missing.
    pub(crate) lost: u64,
    /// Commands that took effect more than once, or after an error that says they did not run.
    pub(crate) doubled: u64,
    /// Reads that missed a command acknowledged before they were sent. (If it never shows up, it also counts as lost.)
    pub(crate) stale: u64,
}

impl core::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.stale += other.stale;
    }
}

/// How a command ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended<T> {
    /// Acknowledged, with this reply.
    Acknowledged(T),
    /// It did not run, as its error says.
    NotRun,
    /// It may have run, or may run later.
    Unclear,
}

/// When the vnode was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// While the load runs: a missing command may be a stale read.
    Meanwhile,
    /// At the end: a missing command is lost.
    AtLast,
}

/// The history of a counter: callers add 1 and get the new value.
#[derive(Clone, Debug, Default)]
pub(crate) struct CounterHistory {
    /// The smallest legal value: the largest value seen, because no caller subtracts.
    least: i64,
    /// The largest legal value: if every unclear command took effect.
    most: i64,
    faults: Faults,
}

impl CounterHistory {
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    /// An `add 1` ended.
    pub(crate) fn added(&mut self, ended: Ended<i64>) {
        match ended {
            Ended::Acknowledged(value) => {
                self.least += 1;
                self.most += 1;
                self.see(value, Look::AtLast);
            }
            Ended::NotRun => {}
            Ended::Unclear => self.most += 1,
        }
    }

    /// The value was read, with no command in flight.
    pub(crate) fn read(&mut self, value: i64, look: Look) {
        self.see(value, look);
    }

    /// A value within the bounds becomes the lower bound. A value outside is a fault and shifts the bounds.
    fn see(&mut self, value: i64, look: Look) {
        let (below, above) = (self.least - value, value - self.most);
        if below > 0 {
            match look {
                Look::AtLast => {
                    self.faults.lost += below.unsigned_abs();
                    self.most -= below;
                    self.least = value;
                }
                // A stale read says nothing about the current value.
                Look::Meanwhile => self.faults.stale += 1,
            }
            return;
        }
        if above > 0 {
            self.faults.doubled += above.unsigned_abs();
            self.most = value;
        }
        self.least = value;
    }
}

/// The history of a field: callers set it to a different number each time and get the previous value. Unlike a sum, it
/// shows which command is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldHistory {
    /// The newest number acknowledged; 0 if none.
    acknowledged: u64,
    /// Numbers of commands that ended unclear and have not been seen to take effect.
    unclear: Vec<u64>,
    faults: Faults,
}

impl FieldHistory {
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    /// A `put` of a number ended; the reply is the previous value, 0 if there was none.
    pub(crate) fn put(&mut self, number: u64, ended: Ended<u64>) {
        match ended {
            Ended::Acknowledged(before) => {
                if before == number {
                    // The number was there already, so the command took effect twice.
                    self.faults.doubled += 1;
                } else {
                    self.see(before, Look::AtLast);
                }
                self.acknowledged = number;
            }
            Ended::NotRun => {}
            Ended::Unclear => self.unclear.push(number),
        }
    }

    /// The field was read, with no command in flight; 0 if it was absent.
    pub(crate) fn read(&mut self, number: u64, look: Look) {
        self.see(number, look);
    }

    fn see(&mut self, number: u64, look: Look) {
        if number == self.acknowledged {
            return;
        }
        if let Some(at) = self.unclear.iter().position(|&unclear| unclear == number) {
            // It took effect; from now on it counts as acknowledged.
            self.unclear.swap_remove(at);
            self.acknowledged = number;
            return;
        }
        match look {
            // A larger number was never acknowledged; its command ended as "did not run".
            _ if number > self.acknowledged => self.faults.doubled += 1,
            Look::AtLast => self.faults.lost += 1,
            Look::Meanwhile => {
                self.faults.stale += 1;
                return;
            }
        }
        self.acknowledged = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Faults = Faults { lost: 0, doubled: 0, stale: 0 };

    fn counted(replies: &[i64]) -> CounterHistory {
        let mut history = CounterHistory::default();
        for &reply in replies {
            history.added(Ended::Acknowledged(reply));
        }
        history
    }

    #[test]
    fn replies_that_count_up_are_legal() {
        let mut history = counted(&[1, 2, 3]);
        history.read(3, Look::AtLast);
        assert_eq!(history.faults(), FINE);
    }

    #[test]
    fn a_repeated_reply_is_a_lost_command_and_a_gap_a_doubled_one() {
        assert_eq!(counted(&[1, 2, 2]).faults(), Faults { lost: 1, ..FINE });
        assert_eq!(counted(&[1, 3]).faults(), Faults { doubled: 1, ..FINE });
        // Both in one vnode don't cancel out, as they would in its sum.
        assert_eq!(counted(&[1, 1, 3]).faults(), Faults { lost: 1, doubled: 1, stale: 0 });
    }

    #[test]
    fn an_unclear_add_may_have_happened_now_later_or_never_but_not_twice() {
        let mut history = counted(&[1]);
        history.added(Ended::Unclear);
        let (mut never, mut later, mut now, mut twice) =
            (history.clone(), history.clone(), history.clone(), history);
        never.added(Ended::Acknowledged(2));
        never.read(2, Look::AtLast);
        later.added(Ended::Acknowledged(2));
        later.added(Ended::Acknowledged(4));
        now.read(2, Look::Meanwhile);
        now.added(Ended::Acknowledged(3));
        for mut history in [never, later, now] {
            assert_eq!(history.faults(), FINE);
            history.added(Ended::NotRun);
            assert_eq!(history.faults(), FINE);
        }
        twice.added(Ended::Acknowledged(4));
        assert_eq!(twice.faults(), Faults { doubled: 1, ..FINE });
    }

    #[test]
    fn a_read_below_what_was_acknowledged_is_stale_meanwhile_and_lost_at_last() {
        let mut history = counted(&[1, 2]);
        history.read(1, Look::Meanwhile);
        history.added(Ended::Acknowledged(3));
        assert_eq!(history.faults(), Faults { stale: 1, ..FINE });
        history.read(1, Look::AtLast);
        assert_eq!(history.faults(), Faults { lost: 2, stale: 1, doubled: 0 });
    }

    #[test]
    fn a_command_that_ended_as_not_run_must_not_take_effect() {
        let mut history = counted(&[1]);
        history.added(Ended::NotRun);
        history.read(2, Look::AtLast);
        assert_eq!(history.faults(), Faults { doubled: 1, ..FINE });
        let mut field = FieldHistory::default();
        field.put(1, Ended::Acknowledged(0));
        field.put(2, Ended::NotRun);
        field.read(2, Look::AtLast);
        assert_eq!(field.faults(), Faults { doubled: 1, ..FINE });
    }

    #[test]
    fn a_put_that_finds_itself_ran_twice() {
        let mut history = FieldHistory::default();
        history.put(1, Ended::Acknowledged(0));
        history.put(2, Ended::Acknowledged(2));
        assert_eq!(history.faults(), Faults { doubled: 1, ..FINE });
    }

    #[test]
    fn a_put_that_finds_an_older_one_misses_the_newest() {
        let mut history = FieldHistory::default();
        history.put(1, Ended::Acknowledged(0));
        history.put(2, Ended::Acknowledged(1));
        history.put(3, Ended::Acknowledged(1));
        history.read(3, Look::AtLast);
        assert_eq!(history.faults(), Faults { lost: 1, ..FINE });
    }

    #[test]
    fn an_unclear_put_may_be_found_once() {
        let mut history = FieldHistory::default();
        history.put(1, Ended::Acknowledged(0));
        history.put(2, Ended::Unclear);
        let mut never = history.clone();
        never.put(3, Ended::Acknowledged(1));
        // It lands late, which is legal.
        never.read(2, Look::Meanwhile);
        assert_eq!(never.faults(), FINE);
        history.put(3, Ended::Acknowledged(2));
        assert_eq!(history.faults(), FINE);
        history.read(2, Look::AtLast);
        assert_eq!(history.faults(), Faults { lost: 1, ..FINE });
    }
}
