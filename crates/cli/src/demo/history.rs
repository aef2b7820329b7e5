//! What one vnode's callers were told, and what that leaves possible. Whatever is outside is a lost or a doubled
//! command.
//!
//! Each vnode has one command in flight at a time, so with every call answered there is exactly one legal reply. A
//! command that ended unclear may have taken effect, once, or may yet; it widens what is legal and nothing else does.
//!
//! Invariants:
//!
//! * A history that was kept is never accused: for every run in which commands take effect at most once, in which the
//!   acknowledged ones did and stay, and in which reads see them, all faults are zero.
//! * After an accusation it goes on from what was seen, so one mistake is counted once.

/// What was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Acknowledged commands that are missing.
    pub(crate) lost: u64,
    /// Commands that took effect more than once, or after they were said not to have run.
    pub(crate) doubled: u64,
    /// Reads that missed what was acknowledged before they were asked. What they missed came back later, or it is lost.
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
    /// Said not to have run.
    NotRun,
    /// It may have run, or may yet.
    Unclear,
}

/// When the vnode was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// While the load runs: what is missing may be a stale read.
    Meanwhile,
    /// At the end: what is missing is lost.
    AtLast,
}

/// The history of a counter to which its callers add 1, and which answers its new value.
#[derive(Clone, Debug, Default)]
pub(crate) struct CounterHistory {
    /// The smallest value it can have: the largest seen, as nobody subtracts.
    least: i64,
    /// The largest: as if everything unclear had taken effect.
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

    /// A value between the bounds is the new lower bound; one outside them is a fault and shifts the bounds.
    fn see(&mut self, value: i64, look: Look) {
        let (below, above) = (self.least - value, value - self.most);
        if below > 0 {
            match look {
                Look::AtLast => {
                    self.faults.lost += below.unsigned_abs();
                    self.most -= below;
                    self.least = value;
                }
                // Nothing is learnt from a stale read.
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

/// The history of a field that its callers set to a number each time, never twice the same, and which answers what it
/// was before. Tells which command is missing, where a sum could not.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldHistory {
    /// The newest number acknowledged; 0 if none.
    acknowledged: u64,
    /// Numbers of commands that ended unclear, and weren't seen to have taken effect.
    unclear: Vec<u64>,
    faults: Faults,
}

impl FieldHistory {
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    /// A `put` of a number ended; the reply is what was there before, 0 if nothing.
    pub(crate) fn put(&mut self, number: u64, ended: Ended<u64>) {
        match ended {
            Ended::Acknowledged(before) => {
                if before == number {
                    // It was there already: this is its second effect.
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
            // It took effect after all; from now on it counts as acknowledged.
            self.unclear.swap_remove(at);
            self.acknowledged = number;
            return;
        }
        match look {
            // A larger number was never acknowledged, and its command said not to have run.
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
    fn replies_that_count_up_are_fine() {
        let mut history = counted(&[1, 2, 3]);
        history.read(3, Look::AtLast);
        assert_eq!(history.faults(), FINE);
    }

    #[test]
    fn a_reply_that_comes_again_is_a_lost_command_and_a_gap_a_doubled_one() {
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
    fn a_command_said_not_to_have_run_must_not_show() {
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
        // It lands late: nobody had given up hope.
        never.read(2, Look::Meanwhile);
        assert_eq!(never.faults(), FINE);
        history.put(3, Ended::Acknowledged(2));
        assert_eq!(history.faults(), FINE);
        history.read(2, Look::AtLast);
        assert_eq!(history.faults(), Faults { lost: 1, ..FINE });
    }
}
