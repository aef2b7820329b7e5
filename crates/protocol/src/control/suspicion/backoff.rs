//! Slot back-off: a host that is sealed repeatedly waits longer each time before it gets slots.
//!
//! A host that is slow rather than dead is sealed, rejoins, gets its slots back, and is sealed again; each time its
//! callers wait. Doubling its wait for slots makes that rare. The host may join at once; only its slots are delayed, and
//! not if no other host can take them.
//!
//! Unlike suspicion, a wait belongs to the name: a host that is slow or crashes repeatedly comes back with a new session
//! each time. So a process that replaces one that was sealed on suspicion inherits its wait. Being replaced is no
//! suspicion, and adds no wait.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::{epoch::record::HOSTS_MAX, ids::HostName, time::Time};

/// The wait after the first seal of a name.
pub const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest wait. A name that isn't sealed for this long after its wait starts over.
pub const WAIT_MAX: Duration = Duration::from_secs(300);

/// The waits of the hosts that this leader sealed. A new leader starts with none.
#[derive(Clone, Debug, Default)]
pub struct SlotBackoff {
    by_name: BTreeMap<HostName, Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    span: Duration,
    until: Time,
}

impl SlotBackoff {
    /// Notes that a host was sealed on suspicion. Don't call it for a planned leave.
    pub fn sealed(&mut self, name: &HostName, now: Time) {
        self.by_name.retain(|_, wait| now < wait.until + WAIT_MAX);
        if !self.by_name.contains_key(name) && self.by_name.len() == HOSTS_MAX {
            let soonest = self.by_name.iter().min_by_key(|(_, wait)| wait.until);
            let soonest = soonest.map(|(name, _)| name.clone()).expect("HOSTS_MAX is positive");
            self.by_name.remove(&soonest);
        }
        let span = self.by_name.get(name).map_or(WAIT_MIN, |wait| wait.span * 2).min(WAIT_MAX);
        self.by_name.insert(name.clone(), Wait { span, until: now + span });
        assert!(self.by_name.len() <= HOSTS_MAX, "more back-offs than there may be hosts");
        assert!((WAIT_MIN..=WAIT_MAX).contains(&span), "a back-off of {span:?}");
    }

    /// The time from which a host may get slots: `now` if it needn't wait.
    #[must_use]
    pub fn slots_from(&self, name: &HostName, now: Time) -> Time {
        self.by_name.get(name).map_or(now, |wait| wait.until.max(now))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn name(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    #[test]
    fn each_seal_of_a_name_doubles_its_wait_up_to_five_minutes() {
        let (mut waits, mut now, h) = (SlotBackoff::default(), Time::ZERO, name("h"));
        assert_eq!(waits.slots_from(&h, now), now);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            waits.sealed(&h, now);
            let from = waits.slots_from(&h, now);
            assert_eq!(from.since(now), Duration::from_secs(seconds));
            now = from;
        }
        assert_eq!(waits.slots_from(&name("other"), now), now);
    }

    #[test]
    fn a_name_that_is_not_sealed_for_long_starts_over() {
        let (mut waits, h) = (SlotBackoff::default(), name("h"));
        waits.sealed(&h, Time::ZERO);
        waits.sealed(&h, Time::ZERO);
        let now = Time::ZERO + Duration::from_secs(2) + WAIT_MAX;
        waits.sealed(&h, now);
        assert_eq!(waits.slots_from(&h, now).since(now), WAIT_MIN);
    }

    #[test]
    fn it_remembers_a_bounded_number_of_names() {
        let mut waits = SlotBackoff::default();
        for number in 0..=HOSTS_MAX {
            waits.sealed(&name(&format!("h{number}")), Time::from_micros(number as u64));
        }
        assert_eq!(waits.by_name.len(), HOSTS_MAX);
        assert!(!waits.by_name.contains_key(&name("h0")), "the wait that ends first is dropped");
    }
}
