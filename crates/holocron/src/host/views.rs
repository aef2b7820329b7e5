//! The newest view and its followers.
//!
//! Each follower has its own channel, and they are notified in the order in which they subscribed. With one channel for
//! all, tokio would choose a random order, and a run could not be repeated from its seed.

use std::sync::{Mutex, MutexGuard};

use holocron_protocol::ids::Epoch;
use tokio::sync::watch;

use crate::transport::serve::View;

/// The newest view.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<Followed>);

#[derive(Debug, Default)]
struct Followed {
    newest: Option<View>,
    /// Closed ones are removed with the next view.
    followers: Vec<watch::Sender<Option<View>>>,
}

impl Views {
    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.0.lock().expect("nothing panics under the views' lock")
    }

    /// The newest view.
    pub(crate) fn newest(&self) -> Option<View> {
        self.followed().newest.clone()
    }

    /// Its epoch; 0 if there is none yet.
    pub(crate) fn epoch(&self) -> Epoch {
        self.followed().newest.as_ref().map_or(Epoch::ZERO, |view| view.record.epoch)
    }

    /// Subscribes to the newest view and all newer ones.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<View>> {
        let mut followed = self.followed();
        let (sender, receiver) = watch::channel(followed.newest.clone());
        followed.followers.push(sender);
        receiver
    }

    /// Sends a newer view to all followers.
    pub(crate) fn replace(&self, view: &View) {
        let mut followed = self.followed();
        followed.newest = Some(view.clone());
        followed.followers.retain(|follower| follower.send(Some(view.clone())).is_ok());
    }
}
