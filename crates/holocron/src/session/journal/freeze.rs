//! Taking part in a cut of the cluster: nothing is submitted while it is taken.

use core::time::Duration;

use holocron_protocol::{
    ids::{CutId, Position},
    journal::freeze::Thawed,
};
use tokio::time::Instant;

use super::{Closed, Journal};
use crate::transport::peer::Progress;

/// How long a session submits nothing for a cut: its callers wait for so long if whoever takes the cut fails in the middle.
/// Shorter than the time after which a journal without progress counts as hung.
const FROZEN_MAX: Duration = Duration::from_secs(2);

/// Why a session isn't frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFrozen {
    /// Another cut is being taken.
    #[error("another cut is being taken")]
    Busy,
    /// It has waited for too long: the store didn't answer, or others were late.
    #[error("it went on, because the cut took too long")]
    WentOn,
    /// The session is over.
    #[error("the session is over")]
    Over,
}

impl Journal {
    /// Submits nothing from now on, and returns how far the journal has come once nothing is in flight.
    pub(crate) async fn freeze(&self, cut: CutId) -> Result<Progress, NotFrozen> {
        let (submitted, until) = self.begin_to_freeze(cut)?;
        let settled = tokio::time::timeout_at(until, self.until_committed(submitted)).await;
        match settled {
            Ok(Ok(())) => {}
            Ok(Err(Closed)) => return Err(NotFrozen::Over),
            Err(_elapsed) => {
                self.thaw(cut);
                return Err(NotFrozen::WentOn);
            }
        }
        // Under one lock: a moment later it may go on.
        let state = self.state();
        let position = state.freeze.fixed(cut, &state.writer).ok_or(NotFrozen::WentOn)?;
        let progress = state.progress();
        drop(state);
        assert_eq!(progress.committed.next(), position, "a frozen journal doesn't grow");
        Ok(progress)
    }

    fn begin_to_freeze(&self, cut: CutId) -> Result<(Position, Instant), NotFrozen> {
        let mut state = self.state();
        if self.ended.is_cancelled() {
            return Err(NotFrozen::Over);
        }
        let now = Instant::now();
        if now >= state.frozen_until {
            // Nothing has come since that would have made it go on.
            state.freeze.give_up();
        }
        state.freeze.begin(cut).map_err(|_busy| NotFrozen::Busy)?;
        state.frozen_until = now + FROZEN_MAX;
        Ok((state.writer.submitted(), state.frozen_until))
    }

    /// Goes on. Whether nothing was submitted since it was frozen for this cut.
    pub(crate) fn thaw(&self, cut: CutId) -> Thawed {
        let thawed = self.state().freeze.thaw(cut);
        self.work.notify_one();
        thawed
    }

    /// The cut takes too long: the callers must not wait any longer.
    pub(super) fn lose_patience(&self) {
        let mut state = self.state();
        if Instant::now() >= state.frozen_until && !state.freeze.may_submit() {
            state.freeze.give_up();
            tracing::warn!(session = %self.session, "a cut took too long; the session goes on without it");
        }
    }
}
