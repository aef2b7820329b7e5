//! A machine driven by random actions.

use std::{cell::RefCell, collections::BTreeSet, fmt::Debug};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};

/// Drives a machine through so many random series of actions. `drive` takes a machine through one series and returns what
/// came up in it. Returns whatever came up in any of them: a search in which little comes up shows little.
///
/// # Panics
///
/// When `drive` panics, with the shortest series found for which it does.
pub(crate) fn search<A: Debug>(
    cases: u32,
    actions: &impl Strategy<Value = Vec<A>>,
    drive: impl Fn(&[A]) -> BTreeSet<&'static str>,
) -> BTreeSet<&'static str> {
    let seen = RefCell::new(BTreeSet::new());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(actions, |actions| {
        seen.borrow_mut().append(&mut drive(&actions));
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
    seen.into_inner()
}
