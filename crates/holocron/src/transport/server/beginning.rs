//! Connections before their first frame: bounded, because any process can open one.
//!
//! One above the limit closes the oldest. A rightful peer says hello within milliseconds, so idle connections don't keep it out, however
//! many there are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// Connections that may be before their first frame.
pub(super) const BEGINNING_MAX: usize = 1_024;

/// The connections before their first frame.
#[derive(Debug, Default)]
pub(super) struct Beginnings(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    open: BTreeMap<u64, CancellationToken>,
}

impl Beginnings {
    /// One more. It leaves when the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Beginning {
        let pushed_out = CancellationToken::new();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        let number = waiting.last;
        waiting.open.insert(number, pushed_out.clone());
        if waiting.open.len() > BEGINNING_MAX
            && let Some((_, oldest)) = waiting.open.pop_first()
        {
            oldest.cancel();
        }
        Beginning { all: Arc::clone(self), number, pushed_out }
    }
}

/// A connection before its first frame.
#[derive(Debug)]
pub(super) struct Beginning {
    all: Arc<Beginnings>,
    number: u64,
    pushed_out: CancellationToken,
}

impl Beginning {
    /// Waits until it has to make room.
    pub(super) async fn pushed_out(&self) {
        self.pushed_out.cancelled().await;
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let all = Arc::new(Beginnings::default());
        let mut begun: Vec<_> = (0..BEGINNING_MAX).map(|_| all.begin()).collect();
        // One that has said hello makes room by itself.
        begun.remove(3);
        begun.push(all.begin());
        assert!(begun.iter().all(|one| !one.pushed_out.is_cancelled()));
        begun.extend([all.begin(), all.begin()]);
        let out: Vec<usize> =
            (0..begun.len()).filter(|at| begun[*at].pushed_out.is_cancelled()).collect();
        assert_eq!(out, [0, 1]);
        drop(begun);
        assert!(all.0.lock().unwrap().open.is_empty());
    }
}
