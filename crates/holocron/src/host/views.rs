//! The newest view, and all who follow it.
//!
//! Each follower has a channel of its own and they are told in the order in which they came: one channel for all would
//! wake them in an order that tokio draws by itself, and a run could not be repeated from its seed.

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
    /// Those who have gone are forgotten with the next view.
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

    /// Its epoch; 0 when there is none yet.
    pub(crate) fn epoch(&self) -> Epoch {
        self.followed().newest.as_ref().map_or(Epoch::ZERO, |view| view.record.epoch)
    }

    /// Follows the view from the newest on.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<View>> {
        let mut followed = self.followed();
        let (sender, receiver) = watch::channel(followed.newest.clone());
        followed.followers.push(sender);
        receiver
    }

    /// Tells everybody of a newer view.
    pub(crate) fn replace(&self, view: &View) {
        let mut followed = self.followed();
        followed.newest = Some(view.clone());
        followed.followers.retain(|follower| follower.send(Some(view.clone())).is_ok());
    }
}
