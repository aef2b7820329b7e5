//! Panics in a simulated world: planned ones, and failed assertions.
//!
//! A world runs on one thread, so panics are recorded per thread and concurrent worlds don't mix. A panic that a
//! runtime or an actor catches is recorded too: the hook runs before it is caught.

use core::cell::RefCell;
use std::{
    panic::{self, PanicHookInfo},
    sync::Once,
};

/// The payload of a planned panic of a vnode.
struct Planned;

/// The panics on this thread since [`watch`].
#[derive(Debug, Default)]
pub(crate) struct Panics {
    /// The number of planned panics.
    pub(crate) planned: u64,
    /// The others: each a message with its location.
    pub(crate) unplanned: Vec<String>,
}

thread_local! {
    static WATCHED: RefCell<Option<Panics>> = const { RefCell::new(None) };
}
static HOOK: Once = Once::new();

/// Panics like a vnode's own code.
pub(crate) fn panic_as_planned() -> ! {
    panic::panic_any(Planned)
}

/// Starts recording panics of this thread instead of printing them, until [`taken`].
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

/// The panics since [`watch`]; stops recording.
pub(crate) fn taken() -> Panics {
    WATCHED.with_borrow_mut(Option::take).unwrap_or_default()
}

/// Records a panic; returns whether this thread is recorded.
fn note(info: &PanicHookInfo<'_>) -> bool {
    WATCHED.with(|watched| {
        // Nothing should panic while it is borrowed; if it does, the default hook prints the panic.
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
