//! How far back the bases reach that clients present.
//!
//! It says which records are worth their bytes: one whose eviction would raise the mark above the bases that clients
//! still come with is, one that is older isn't. It is a hint, kept in memory only: whatever it says, what is evicted
//! raises the mark, so it decides how many bytes an envelope takes and how many requests are sent back, and never
//! whether one runs twice.

use crate::ids::{ClientId, CommitNumber};

/// Commits that a reach counts at most. A client that lags further is sent back once, and is near then.
pub(super) const REACH_MAX: u64 = 4_096;

/// The largest lag of the recent past. It is forgotten after one to two periods of [`REACH_MAX`] commits.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// Of which period it is the largest.
    period: u64,
    now: u64,
    before: u64,
    /// The newest attempt that lagged further than all before it.
    alone: Option<Lagging>,
}

#[derive(Clone, Copy, Debug)]
struct Lagging {
    client: ClientId,
    lag: u64,
    at: CommitNumber,
}

impl Reach {
    /// Of a window that was read back: it was worth keeping a moment ago, and clients that lost their host come back
    /// one after another.
    pub(super) fn of_read_back(at: CommitNumber) -> Self {
        Self { period: period(at), now: REACH_MAX, ..Self::default() }
    }

    /// The lowest commit number that is spared when `open` is the number of the open envelope: one in twice the reach,
    /// for clients that are slower next time.
    pub(super) fn spared_from(&self, open: CommitNumber) -> CommitNumber {
        let spared = 2 * self.now.max(self.before);
        CommitNumber::new(open.get().saturating_add(1).saturating_sub(spared))
    }

    /// Takes in the base of an attempt that isn't recorded, when `newest` is the newest commit number recorded.
    pub(super) fn note(&mut self, client: ClientId, base: CommitNumber, newest: CommitNumber) {
        self.turn(newest);
        // A base of 0 says that the client knows of no commit, not that it lags.
        let lag = newest.get().saturating_add(1).saturating_sub(base.get());
        if base == CommitNumber::ZERO || lag > REACH_MAX {
            return;
        }
        if lag <= self.now.max(self.before) {
            self.now = self.now.max(lag);
            return;
        }
        // One client that comes seldom is better sent back than waited for by every commit. Two are many.
        if let Some(other) = self.alone
            && other.client != client
            && newest.get().saturating_sub(other.at.get()) <= lag
        {
            self.now = self.now.max(lag.min(other.lag));
        }
        self.alone = Some(Lagging { client, lag, at: newest });
    }

    fn turn(&mut self, newest: CommitNumber) {
        let period = period(newest);
        if period != self.period {
            self.before = if period == self.period + 1 { self.now } else { 0 };
            (self.period, self.now) = (period, 0);
        }
    }
}

const fn period(at: CommitNumber) -> u64 {
    at.get() / REACH_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(reach: &mut Reach, client: u128, base: u64, newest: u64) {
        reach.note(ClientId::new(client), CommitNumber::new(base), CommitNumber::new(newest));
    }

    fn spared(reach: &Reach, open: u64) -> u64 {
        open + 1 - reach.spared_from(CommitNumber::new(open)).get()
    }

    #[test]
    fn two_clients_that_lag_are_waited_for_and_one_is_not() {
        let mut reach = Reach::default();
        assert_eq!(spared(&reach, 1_000), 0);
        for newest in [1_000, 1_100, 1_200] {
            note(&mut reach, 1, newest - 99, newest);
        }
        assert_eq!(spared(&reach, 1_200), 0);
        note(&mut reach, 2, 1_191, 1_220);
        assert_eq!(spared(&reach, 1_220), 2 * 30);
        note(&mut reach, 3, 1_201, 1_300);
        assert_eq!(spared(&reach, 1_300), 2 * 30, "the one before lagged 30");
        note(&mut reach, 2, 1_201, 1_300);
        assert_eq!(spared(&reach, 1_300), 2 * 100);
    }

    #[test]
    fn who_knows_of_no_commit_or_lags_too_far_says_nothing() {
        let mut reach = Reach::default();
        for client in 0..9 {
            note(&mut reach, client, 0, 100);
            note(&mut reach, client, 1, REACH_MAX + 1);
        }
        assert_eq!(spared(&reach, REACH_MAX + 1), 0);
    }

    #[test]
    fn a_reach_is_forgotten_after_two_periods_unless_it_shows_again() {
        let mut reach = Reach::default();
        note(&mut reach, 1, 91, 100);
        note(&mut reach, 2, 91, 100);
        note(&mut reach, 1, REACH_MAX, REACH_MAX);
        assert_eq!(spared(&reach, REACH_MAX), 2 * 10);
        note(&mut reach, 1, 2 * REACH_MAX, 2 * REACH_MAX);
        assert_eq!(spared(&reach, 2 * REACH_MAX), 2, "the nearest that is still there");
        note(&mut reach, 1, 4 * REACH_MAX, 4 * REACH_MAX);
        assert_eq!(spared(&reach, 4 * REACH_MAX), 0);
    }

    #[test]
    fn what_was_read_back_is_spared_for_a_while() {
        let reach = Reach::of_read_back(CommitNumber::new(5 * REACH_MAX));
        assert_eq!(spared(&reach, 5 * REACH_MAX), 2 * REACH_MAX);
    }
}
