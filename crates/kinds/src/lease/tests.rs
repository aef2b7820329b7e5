//! The rules of a lease, as stories and against a model.

use core::time::Duration;

use holocron_testing::TestVnode;
use proptest::prelude::*;

use super::*;

const TTL: u64 = 10_000;

struct Lock(TestVnode<Lease>);

impl Lock {
    fn new() -> Self {
        Self(TestVnode::new("l"))
    }

    fn acquire(&mut self, holder: &str, wait_ms: Option<u64>) -> Result<Acquired, LeaseError> {
        let LeaseReply::Acquire(acquired) =
            self.0.command(LeaseCommand::acquire(holder, TTL, wait_ms)).unwrap()
        else {
            panic!("another reply")
        };
        acquired
    }

    fn granted(&mut self, holder: &str) -> Grant {
        match self.acquire(holder, None) {
            Ok(Acquired::Granted(grant)) => grant,
            other => panic!("{holder}: {other:?}"),
        }
    }

    fn waits(&mut self, holder: &str, wait_ms: u64) -> usize {
        match self.acquire(holder, Some(wait_ms)) {
            Ok(Acquired::Waiting { before, .. }) => before,
            other => panic!("{holder}: {other:?}"),
        }
    }

    fn renew(&mut self, holder: &str, token: u64) -> Result<Grant, LeaseError> {
        let LeaseReply::Renew(renewed) =
            self.0.command(LeaseCommand::renew(holder, token, TTL)).unwrap()
        else {
            panic!("another reply")
        };
        renewed
    }

    fn release(&mut self, holder: &str, token: u64) -> Result<(), LeaseError> {
        let LeaseReply::Release(released) =
            self.0.command(LeaseCommand::release(holder, token)).unwrap()
        else {
            panic!("another reply")
        };
        released
    }

    fn state(&mut self) -> LeaseState {
        let LeaseAnswer::State(state) = self.0.query(LeaseQuery::state());
        state
    }

    fn holder(&mut self) -> Option<String> {
        self.state().grant.map(|grant| grant.holder)
    }

    fn pass(&mut self, ms: u64) -> usize {
        self.0.advance(Duration::from_millis(ms))
    }
}

#[test]
fn a_second_holder_waits_and_gets_the_lease_with_a_larger_token() {
    let mut lock = Lock::new();
    let first = lock.granted("a");
    assert!(matches!(lock.acquire("b", None), Ok(Acquired::Held(grant)) if grant == first));
    assert_eq!(lock.state().waiters, []);
    assert_eq!(lock.waits("b", 60_000), 0);
    assert_eq!(lock.waits("c", 60_000), 1);
    assert_eq!(lock.release("a", first.token), Ok(()));
    let second = lock.granted("b");
    assert!(second.token > first.token);
    assert_eq!(lock.state().waiters.len(), 1);
}

#[test]
fn acquiring_again_is_the_same_grant_and_never_shortens_it() {
    let mut lock = Lock::new();
    let first = lock.granted("a");
    lock.pass(4_000);
    let again = lock.granted("a");
    assert_eq!((again.token, again.expires_at_ms), (first.token, first.expires_at_ms + 4_000));
    lock.0.command(LeaseCommand::renew("a", again.token, SPAN_MIN_MS)).unwrap();
    assert_eq!(lock.state().grant, Some(again));
}

#[test]
fn a_lease_that_is_over_goes_to_the_next_by_the_timer() {
    let mut lock = Lock::new();
    let first = lock.granted("a");
    lock.waits("b", 60_000);
    lock.pass(TTL - 1);
    assert_eq!(lock.holder().as_deref(), Some("a"));
    assert_eq!(lock.pass(1), 1);
    assert_eq!(lock.holder().as_deref(), Some("b"));
    assert_eq!(lock.renew("a", first.token), Err(LeaseError::NotHolder));
    assert_eq!(lock.release("a", first.token), Err(LeaseError::NotHolder));
    assert_eq!(lock.holder().as_deref(), Some("b"), "a stale token changes nothing");
}

#[test]
fn a_holder_that_renews_late_has_lost_the_lease_even_if_it_is_free() {
    let mut lock = Lock::new();
    let first = lock.granted("a");
    lock.pass(TTL);
    assert_eq!(lock.renew("a", first.token), Err(LeaseError::NotHolder));
    assert!(lock.granted("a").token > first.token);
    assert_eq!(lock.release("a", first.token), Err(LeaseError::NotHolder), "of its earlier grant");
}

#[test]
fn a_waiter_that_is_not_heard_from_is_passed_over() {
    let mut lock = Lock::new();
    lock.granted("a");
    lock.waits("b", 3_000);
    lock.waits("c", 60_000);
    lock.pass(2_000);
    assert_eq!(lock.waits("b", 3_000), 0, "it keeps its place");
    lock.pass(3_000);
    assert_eq!(lock.state().waiters.len(), 1, "b is late");
    lock.pass(TTL);
    assert_eq!(lock.holder().as_deref(), Some("c"));
    assert_eq!(lock.waits("b", 3_000), 0);
    let LeaseReply::StopWaiting(was) = lock.0.command(LeaseCommand::stop_waiting("b")).unwrap()
    else {
        panic!("a reply to stop-waiting")
    };
    assert!(was && lock.state().waiters.is_empty());
}

#[test]
fn after_a_long_outage_the_lease_goes_on_once() {
    let mut lock = Lock::new();
    lock.granted("a");
    lock.waits("b", TTL + 1);
    lock.waits("c", SPAN_MAX_MS);
    // The test's clock fires timers on time, so `b` gets it first, then `c`, each for its whole time.
    assert_eq!(lock.pass(TTL * 3), 3);
    assert_eq!((lock.holder(), lock.state().waiters.len()), (None, 0));
    assert_eq!(lock.0.timers(), [], "a free lease needs no timer");
}

#[test]
fn arguments_have_limits() {
    let mut lock = Lock::new();
    let max = HOLDER_LEN_MAX;
    assert_eq!(lock.acquire("", None), Err(LeaseError::HolderLength { max }));
    assert_eq!(lock.acquire(&"x".repeat(max + 1), None), Err(LeaseError::HolderLength { max }));
    let refused = lock.acquire("a", Some(SPAN_MAX_MS + 1)).unwrap_err();
    assert_eq!(refused.to_string(), "wait_ms is between 100 and 86400000");
    lock.granted("a");
    for number in 0..WAITERS_MAX {
        lock.waits(&format!("w{number}"), 1_000);
    }
    let full = lock.acquire("late", Some(1_000));
    assert_eq!(full, Err(LeaseError::TooManyWaiters { max: WAITERS_MAX }));
    assert_eq!(lock.waits("w7", 1_000), 7, "one that is in line stays");
    let text = serde_json::to_string(&full.unwrap_err()).unwrap();
    assert_eq!(text, r#"{"too-many-waiters":{"max":256}}"#);
}

#[derive(Clone, Debug)]
enum Step {
    Acquire { who: usize, wait_ms: Option<u64> },
    Renew { who: usize },
    Release { who: usize },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![Just(None), (100_u64..30_000).prop_map(Some)];
    prop_oneof![
        4 => (0_usize..4, wait).prop_map(|(who, wait_ms)| Step::Acquire { who, wait_ms }),
        2 => (0_usize..4).prop_map(|who| Step::Renew { who }),
        2 => (0_usize..4).prop_map(|who| Step::Release { who }),
        3 => (1_u64..12_000).prop_map(Step::Pass),
    ]
}

/// What a holder believes: its newest grant, unless it gave that back.
type Beliefs = [Option<Grant>; 4];

/// Checks what a holder is told now against what the others were told.
fn check(beliefs: &Beliefs, who: usize, told: &Grant) {
    let now = told.expires_at_ms - TTL;
    for (other, belief) in beliefs.iter().enumerate().filter(|(other, _)| *other != who) {
        let Some(belief) = belief else { continue };
        assert!(belief.token < told.token, "{other} has the token of {who}, or a larger one");
        assert!(belief.expires_at_ms <= now, "{other} was told that it still has the lease");
    }
}

proptest! {
    #[test]
    fn there_are_never_two_holders(steps in proptest::collection::vec(step(), 1..120)) {
        let mut lock = Lock::new();
        let mut beliefs: Beliefs = [const { None }; 4];
        let mut newest = 0;
        for step in steps {
            match step {
                Step::Acquire { who, wait_ms } => {
                    let told = lock.acquire(&who.to_string(), wait_ms).unwrap();
                    if let Acquired::Granted(grant) = told {
                        check(&beliefs, who, &grant);
                        prop_assert!(grant.token >= newest, "tokens grow");
                        newest = grant.token;
                        beliefs[who] = Some(grant);
                    }
                }
                Step::Renew { who } => {
                    let Some(belief) = beliefs[who].clone() else { continue };
                    if let Ok(grant) = lock.renew(&who.to_string(), belief.token) {
                        prop_assert_eq!(grant.token, belief.token);
                        check(&beliefs, who, &grant);
                        beliefs[who] = Some(grant);
                    }
                }
                Step::Release { who } => {
                    let Some(belief) = beliefs[who].take() else { continue };
                    let is_holder = lock.state().grant.is_some_and(|grant| grant.token == belief.token);
                    prop_assert_eq!(lock.release(&who.to_string(), belief.token).is_ok(), is_holder);
                }
                Step::Pass(ms) => drop(lock.pass(ms)),
            }
            let waiters = lock.state().waiters;
            prop_assert!(waiters.is_empty() || lock.holder().is_some(), "a free lease has no line");
        }
    }
}
