//! Until when a leader may *claim* to lead, towards systems that don't check the fencing token.
//!
//! A claim is the only thing here that relies on clocks: not on what they show, but on their rates. It ends one lease after
//! the leader began to ask whether there is a newer epoch, if there was none. A new leader claims only when a lease and a
//! margin have passed since its create returned: the create landed after every get that found nothing, so the claim of
//! the leader before is over by then, also if its clock is slower, up to margin / lease.
//!
//! Invariants:
//!
//! * Of two leaders whose clocks' rates differ by less than margin / lease, at most one has a claim at any time.
//! * A claim never begins before the create of the leader's first epoch has returned.

use core::time::Duration;

use crate::{planted, time::Time};

/// The share of a lease that is its margin.
const MARGIN_SHARE: u32 = 10;

/// How long a confirmation of a leadership is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// From the time when the leader asked.
    pub length: Duration,
    /// What a new leader waits beyond it.
    pub margin: Duration,
}

impl Lease {
    /// A lease of this length, with a margin of a tenth.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self { length, margin: length / MARGIN_SHARE }
    }

    /// The claim of a leader whose first epoch was known to be created at `since`, and whose newest read that found nothing
    /// newer began at `asked_at`.
    #[must_use]
    pub fn claim(self, since: Time, asked_at: Time) -> Claim {
        let from = planted::claim_from(since + self.length + self.margin, since);
        assert!(since <= from, "a claim begins after the create returned");
        Claim { from, until: asked_at + self.length }
    }

    /// Until when a leadership counts as confirmed by a read that began at `asked_at`.
    #[must_use]
    pub fn confirms_until(self, asked_at: Time) -> Time {
        asked_at + self.length
    }
}

/// When a leader may claim to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    from: Time,
    until: Time,
}

impl Claim {
    /// Until when the claim holds, if it holds now.
    #[must_use]
    pub fn at(self, now: Time) -> Option<Time> {
        (self.from <= now && now < self.until).then_some(self.until)
    }

    /// When it begins to hold.
    #[must_use]
    pub const fn from(self) -> Time {
        self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_holds_from_a_lease_and_a_margin_after_the_create_to_a_lease_after_the_question() {
        let claim = Lease::new(10 * SECOND).claim(Time::from_millis(500), Time::from_millis(9_000));
        assert_eq!(claim.at(Time::from_millis(11_499)), None);
        assert_eq!(claim.at(Time::from_millis(11_500)), Some(Time::from_millis(19_000)));
        assert_eq!(claim.at(Time::from_millis(18_999)), Some(Time::from_millis(19_000)));
        assert_eq!(claim.at(Time::from_millis(19_000)), None);
    }

    #[test]
    fn a_leader_that_asked_before_its_claim_may_begin_has_none_yet() {
        let claim = Lease::new(10 * SECOND).claim(Time::from_millis(500), Time::from_millis(600));
        assert!((0..40_000).all(|now| claim.at(Time::from_millis(now)).is_none()));
    }
}
