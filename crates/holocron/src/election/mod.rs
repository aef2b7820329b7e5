//! Leader election alone: for programs that need one leader, and no vnodes.
//!
//! Members share only the store; they need no network between them. Each epoch of an election has one leader, and the epoch
//! is its **fencing token**: an outside resource that remembers the largest token that it has seen, and refuses smaller
//! ones, can't be changed by a member that was replaced and doesn't know it yet. That needs no clock.
//!
//! For resources that can't check a token there is [`Election::leader_until`]: the one promise of this library that assumes
//! that clocks run at nearly the same *rate* (within a tenth). It never compares what two clocks show.
//!
//! ```
//! use holocron::election::{Election, Role};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut election = Election::join("s3://bucket/prefix", "nightly-report").await?;
//! loop {
//!     match election.changed().await {
//!         Role::Leading { token, .. } => println!("leads; send token {} with each write", token.get()),
//!         Role::Following { leader, .. } => println!("{} leads", leader.name),
//!         Role::NoLeader | Role::Unconfirmed { .. } | Role::Resigning => println!("stop acting"),
//!         Role::Over(why) => break println!("{why}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Imports `store_io` and `api`.

mod builder;
mod find;
mod look;
mod member;
mod role;

use core::time::Duration;
use std::sync::Arc;

use futures::{Stream, stream};
pub use holocron_protocol::{
    control::candidate::Rotation,
    epoch::log::Retention,
    ids::{Epoch, HostName},
};
use holocron_store::{Counting, Counts};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::builder::{
    ElectionBuilder, JoinError, LEASE_DEFAULT, LEASE_MAX, LEASE_MIN, ROTATIONS_KEPT_MAX,
};
pub use self::role::{Leader, LeaderUntil, Over, Role};
use self::{member::Input, role::Snapshot};
use crate::api::clock::Clock;

/// A member of an election. Dropping it is like a crash: the others wait for one lease of silence. [`Election::resign`]
/// tells them at once.
#[derive(Debug)]
pub struct Election {
    state: watch::Receiver<Snapshot>,
    inputs: mpsc::Sender<Input>,
    clock: Arc<dyn Clock>,
    requests: Arc<Counting>,
    lease: Duration,
    stop: CancellationToken,
    /// Ends the member's task when the last handle is dropped.
    _running: DropGuard,
}

impl Election {
    /// Joins the election `name` on a store: `file:///path`, `s3://bucket/prefix`, `gs://…`, `az://…`. The first member creates
    /// it. Any number of elections can share a store, also with a cluster.
    ///
    /// # Errors
    ///
    /// [`JoinError`]; its text is for the operator.
    pub async fn join(url: &str, name: &str) -> Result<Self, JoinError> {
        Self::builder(url, name).join().await
    }

    /// Sets up a member with options.
    pub fn builder(url: &str, name: &str) -> ElectionBuilder {
        ElectionBuilder::new(url, name)
    }

    /// The current role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.state.borrow().role.clone()
    }

    /// Waits until the role is another than this method returned last; the first call returns at once.
    pub async fn changed(&mut self) -> Role {
        // When the member has ended, its last role stays.
        drop(self.state.changed().await);
        self.state.borrow_and_update().role.clone()
    }

    /// The role, and each change of it; ends after [`Role::Over`]. A role that was over before it was read may be skipped;
    /// two leaderships are never merged, because their tokens differ.
    pub fn roles(&self) -> impl Stream<Item = Role> + Send + use<> {
        let mut state = self.state.clone();
        state.mark_changed();
        stream::unfold(Some(state), async |state| {
            let mut state = state?;
            state.changed().await.ok()?;
            let role = state.borrow_and_update().role.clone();
            let rest = (!matches!(role, Role::Over(_))).then_some(state);
            Some((role, rest))
        })
    }

    /// The fencing token, while this member leads. It is at least 1, and larger than that of every earlier leader.
    ///
    /// The member may have been replaced a moment ago: so pass the token on with each action, and let the resource refuse
    /// smaller ones than it has seen.
    #[must_use]
    pub fn token(&self) -> Option<Epoch> {
        match self.state.borrow().role {
            Role::Leading { token, .. } => Some(token),
            Role::NoLeader
            | Role::Following { .. }
            | Role::Unconfirmed { .. }
            | Role::Resigning
            | Role::Over(_) => None,
        }
    }

    /// Until when this member may claim to lead, if it may now: for resources that can't check a token. No two members claim at
    /// one time, **if** the rates of their clocks differ by less than a tenth. Prefer the token, which needs no clock.
    ///
    /// A new leader claims only when a lease and a tenth have passed since its epoch was created. The claim is extended
    /// about five times per lease; ask again before each action, and leave time for the action to end.
    #[must_use]
    pub fn leader_until(&self) -> Option<LeaderUntil> {
        let until = self.state.borrow().claim?.at(self.clock.now())?;
        Some(LeaderUntil::new(until, Arc::clone(&self.clock)))
    }

    /// Stops leading, tells the other members, and ends. Stop acting as the leader *before*: the next one may lead before this
    /// returns. A member that doesn't lead just ends.
    ///
    /// Returns [`Over::Resigned`]; or [`Over::Stopped`] if the store didn't answer within a lease, or left open for so long
    /// whether a record of this member may still be created. Then the others wait for a lease of silence.
    pub async fn resign(mut self) -> Over {
        // A member that has ended already says why below.
        drop(self.inputs.send(Input::Resign).await);
        let over = async {
            let ended = self.state.wait_for(|state| matches!(state.role, Role::Over(_))).await;
            match ended.map(|state| state.role.clone()) {
                Ok(Role::Over(over)) => over,
                _ => Over::Stopped,
            }
        };
        tokio::time::timeout(self.lease, over).await.unwrap_or(Over::Stopped)
    }

    /// Ends at once, as a crash would.
    pub fn stop(self) {
        self.stop.cancel();
    }

    /// The store requests that it has made, by verb and purpose.
    #[must_use]
    pub fn requests(&self) -> Counts {
        self.requests.counts()
    }
}

#[cfg(test)]
mod tests;
