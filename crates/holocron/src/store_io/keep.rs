//! Keeping what a backup is being made of: for a while, nothing is deleted that a cut may need.

use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// How long a host deletes nothing after it was asked to. Whoever copies asks again in time.
pub(crate) const KEEP_FOR: Duration = Duration::from_secs(30);

/// Until when nothing is deleted.
#[derive(Debug, Default)]
pub(crate) struct Keep(Mutex<Option<Instant>>);

impl Keep {
    /// Deletes nothing for the next while.
    pub(crate) fn extend(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + KEEP_FOR);
    }

    /// Until when nothing may be deleted; `None` if it may be now.
    pub(crate) fn until(&self) -> Option<Instant> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|&until| until > Instant::now())
    }

    /// Waits until objects may be deleted.
    pub(crate) async fn is_over(&self) {
        while let Some(until) = self.until() {
            tokio::time::sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_lasts_for_a_while_and_can_be_extended() {
        let (keep, began) = (Keep::default(), Instant::now());
        assert_eq!(keep.until(), None);
        keep.is_over().await;
        keep.extend();
        tokio::time::sleep(KEEP_FOR / 2).await;
        keep.extend();
        assert!(keep.until().is_some());
        keep.is_over().await;
        assert_eq!(began.elapsed(), KEEP_FOR * 3 / 2);
        assert_eq!(keep.until(), None);
    }
}
