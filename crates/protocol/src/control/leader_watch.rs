//! A follower without a connection to its leader: when the leader is gone, and when its hint is worth a read. Refused
//! reconnects detect a dead leader sooner and more surely than missed heartbeats.
//!
//! Invariants:
//!
//! * An address where nobody listens counts as a leader that is gone only after [`REFUSALS_MAX`] attempts in a row.
//! * A broken network alone never says that the leader is gone: only its hint may then show whether it lives.

use core::time::Duration;

use crate::{control::suspicion::REFUSALS_MAX, time::Time};

/// How long an unreachable leader may be a process that is exiting: it resets connections until its listener is closed.
/// After that, the network to it is broken.
const EXIT_MAX: Duration = Duration::from_millis(200);

/// Why an attempt to connect to the leader failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens at its address.
    NotListening,
    /// Another process listens at its address.
    AnotherProcess,
    /// The network to its address is broken.
    Unreachable,
}

/// What follows from a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    TryAgain,
    /// The process that led is gone.
    Gone,
    /// Nothing that a connection can show; its hint may still reach us.
    ReadHint,
}

/// The attempts since the connection was lost.
#[derive(Clone, Debug)]
pub struct LeaderWatch {
    lost_at: Time,
    refusals: u32,
}

impl LeaderWatch {
    /// The connection is lost, or was never open.
    #[must_use]
    pub const fn lost(now: Time) -> Self {
        Self { lost_at: now, refusals: 0 }
    }

    /// An attempt to connect failed.
    #[must_use]
    pub fn on_failure(&mut self, now: Time, failure: Failure) -> Verdict {
        assert!(self.lost_at <= now, "it was lost before an attempt failed");
        match failure {
            Failure::NotListening => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals >= REFUSALS_MAX { Verdict::Gone } else { Verdict::TryAgain }
            }
            Failure::AnotherProcess => Verdict::Gone,
            Failure::Unreachable if now.since(self.lost_at) >= EXIT_MAX => Verdict::ReadHint,
            Failure::Unreachable => Verdict::TryAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_refuses_twice_is_gone() {
        let mut watch = LeaderWatch::lost(Time::ZERO);
        assert_eq!(watch.on_failure(Time::ZERO, Failure::NotListening), Verdict::TryAgain);
        assert_eq!(watch.on_failure(Time::ZERO, Failure::NotListening), Verdict::Gone);
        assert_eq!(watch.on_failure(Time::ZERO, Failure::NotListening), Verdict::Gone);
    }

    #[test]
    fn a_leader_whose_address_is_taken_is_gone() {
        let mut watch = LeaderWatch::lost(Time::ZERO);
        assert_eq!(watch.on_failure(Time::ZERO, Failure::AnotherProcess), Verdict::Gone);
    }

    #[test]
    fn a_broken_network_shows_nothing_but_sends_one_to_the_hint() {
        let mut watch = LeaderWatch::lost(Time::ZERO);
        let exiting = Time::ZERO + EXIT_MAX / 2;
        assert_eq!(watch.on_failure(exiting, Failure::Unreachable), Verdict::TryAgain);
        let late = Time::ZERO + EXIT_MAX;
        for _ in 0..5 {
            assert_eq!(watch.on_failure(late, Failure::Unreachable), Verdict::ReadHint);
        }
    }
}
