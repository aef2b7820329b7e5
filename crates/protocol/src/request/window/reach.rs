//! How far back the bases of clients reach.
//!
//! It says which records are worth their bytes: those whose eviction would raise the mark above bases that clients
//! still send; older ones aren't. It is a heuristic, kept in memory only: every eviction raises the mark, so it affects
//! the size of envelopes and the number of rebased requests, but never whether a request runs twice.

use crate::ids::{ClientId, CommitNumber};

/// The largest lag that counts, in commits. A client that lags further is rebased once, and then has a recent base.
pub(super) const REACH_MAX: u64 = 4_096;

/// The largest recent lag. It is forgotten after one to two periods of [`REACH_MAX`] commits.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// The current period.
    period: u64,
    now: u64,
    before: u64,
    /// The newest attempt that lagged further than the reach.
    outlier: Option<Lagging>,
}

#[derive(Clone, Copy, Debug)]
struct Lagging {
    client: ClientId,
    lag: u64,
    at: CommitNumber,
}

impl Reach {
    /// For a window that was read back: the former owner kept its records, and clients of that host return one after
    /// another.
    pub(super) fn of_read_back(at: CommitNumber) -> Self {
        Self { period: period(at), now: REACH_MAX, ..Self::default() }
    }

    /// The lowest commit number that is kept, for an open envelope with number `open`: twice the reach back, for
    /// clients that are slower next time.
    pub(super) fn spared_from(&self, open: CommitNumber) -> CommitNumber {
        let spared = 2 * self.now.max(self.before);
        CommitNumber::new(open.get().saturating_add(1).saturating_sub(spared))
    }

    /// Notes the base of an attempt that isn't recorded; `newest` is the newest commit number recorded.
    pub(super) fn note(&mut self, client: ClientId, base: CommitNumber, newest: CommitNumber) {
        self.turn(newest);
        // Base 0 means that the client knows no commit number, not that it lags.
        let lag = newest.get().saturating_add(1).saturating_sub(base.get());
        if base == CommitNumber::ZERO || lag > REACH_MAX {
            return;
        }
        if lag <= self.now.max(self.before) {
            self.now = self.now.max(lag);
            return;
        }
        // A single rare client is rebased rather than making every envelope larger. From two clients on, their lag
        // counts.
        if let Some(other) = self.outlier
            && other.client != client
            && newest.get().saturating_sub(other.at.get()) <= lag
        {
            self.now = self.now.max(lag.min(other.lag));
        }
        self.outlier = Some(Lagging { client, lag, at: newest });
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
    fn two_lagging_clients_extend_the_reach_and_one_does_not() {
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
    fn a_client_without_a_base_or_too_far_behind_does_not_count() {
        let mut reach = Reach::default();
        for client in 0..9 {
            note(&mut reach, client, 0, 100);
            note(&mut reach, client, 1, REACH_MAX + 1);
        }
        assert_eq!(spared(&reach, REACH_MAX + 1), 0);
    }

    #[test]
    fn a_lag_is_forgotten_after_two_periods_unless_it_recurs() {
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
    fn records_of_a_window_that_was_read_back_are_kept_for_a_while() {
        let reach = Reach::of_read_back(CommitNumber::new(5 * REACH_MAX));
        assert_eq!(spared(&reach, 5 * REACH_MAX), 2 * REACH_MAX);
    }
}
