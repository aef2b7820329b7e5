//! Panics in a simulated world: the planned ones told apart from assertions that failed.
//!
//! Everything of a world runs on one thread, so what panics is noted per thread and worlds side by side don't mix. A panic
//! that a runtime or an actor catches is noted all the same: the hook runs before anybody can catch it.

use core::cell::RefCell;
use std::{
    panic::{self, PanicHookInfo},
    sync::Once,
};

/// What a vnode panics with when a workload told it to.
struct Planned;

/// What panicked on this thread since somebody began to watch.
#[derive(Debug, Default)]
pub(crate) struct Panics {
    /// How often a vnode panicked because it was told to.
    pub(crate) planned: u64,
    /// The others: each a sentence with its place.
    pub(crate) unplanned: Vec<String>,
}

thread_local! {
    static WATCHED: RefCell<Option<Panics>> = const { RefCell::new(None) };
}
static HOOK: Once = Once::new();

/// Panics as a vnode's own code would.
pub(crate) fn panic_as_planned() -> ! {
    panic::panic_any(Planned)
}

/// Watches this thread until [`taken`]; panics are noted instead of printed.
pub(crate) fn watch() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !note(info) {
                before(info);
            }
        }));
    });
    WATCHED.with_borrow_mut(|watched| *watched = Some(Panics::default()));
}

/// What panicked since [`watch`]; nobody watches any more.
pub(crate) fn taken() -> Panics {
    WATCHED.with_borrow_mut(Option::take).unwrap_or_default()
}

/// Whether somebody watches this thread.
fn note(info: &PanicHookInfo<'_>) -> bool {
    WATCHED.with(|watched| {
        // Nothing can panic while it is borrowed; should it, the usual hook prints it.
        let Ok(mut watched) = watched.try_borrow_mut() else { return false };
        let Some(panics) = watched.as_mut() else { return false };
        if info.payload().is::<Planned>() {
            panics.planned += 1;
        } else {
            panics.unplanned.push(info.to_string());
        }
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_panics_are_told_apart_from_the_others() {
        watch();
        assert!(panic::catch_unwind(|| panic_as_planned()).is_err());
        assert!(panic::catch_unwind(|| panic!("a promise")).is_err());
        let panics = taken();
        assert_eq!(panics.planned, 1);
        assert_eq!(panics.unplanned.len(), 1);
        assert!(panics.unplanned[0].contains("a promise"), "{:?}", panics.unplanned);
    }
}
