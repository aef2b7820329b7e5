//! A connection to a host: its address, and a link to it that is opened when a caller needs it.
//!
//! One task connects for all callers. It backs off after a failure, so a dead host costs a few attempts a second
//! however many callers wait for it. While the link is open, the epoch records that the host pushes go to the
//! client's routes.

use core::{fmt, time::Duration};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::transport::link::{Link, OpenError};

/// A link that was open for less than this counts as a failure to connect.
const OPEN_MIN: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    core: Arc<Core>,
}

struct Core {
    address: String,
    state: Mutex<State>,
    /// A caller wants a link.
    wanted: Notify,
    /// A try to connect has succeeded or failed.
    tried: Notify,
    end: CancellationToken,
}

enum State {
    Open(Arc<Link>),
    /// Not open, and why.
    Closed(String),
}

impl Connection {
    /// A connection to an address; opens a link when a caller first wants one.
    pub(super) fn start(shared: &Arc<Shared>, address: &str) -> Arc<Self> {
        let core = Arc::new(Core {
            address: address.to_owned(),
            state: Mutex::new(State::Closed("not tried yet".into())),
            wanted: Notify::new(),
            tried: Notify::new(),
            end: shared.end.child_token(),
        });
        tokio::spawn(Arc::clone(&core).run(Arc::clone(shared)));
        Arc::new(Self { core })
    }

    pub(super) fn address(&self) -> &str {
        &self.core.address
    }

    /// The link, if it is open now.
    pub(super) fn open(&self) -> Option<Arc<Link>> {
        match &*self.core.state() {
            State::Open(link) => Some(Arc::clone(link)),
            State::Closed(_) => None,
        }
    }

    /// The link, once it is open; or why the next try to open it failed.
    pub(super) async fn link(&self) -> Result<Arc<Link>, String> {
        // Registered before the check, so that a try that ends in between is not missed.
        let tried = self.core.tried.notified();
        if let Some(link) = self.open() {
            return Ok(link);
        }
        self.core.wanted.notify_one();
        tried.await;
        match &*self.core.state() {
            State::Open(link) => Ok(Arc::clone(link)),
            State::Closed(why) => Err(why.clone()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.core.end.cancel();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.core.address).finish()
    }
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let end = self.end.clone();
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            () = self.reconnect(&shared) => {}
        }
        // Closes the link, unless a caller is about to send on it.
        *self.state() = State::Closed("the newest view no longer has this address".into());
        self.tried.notify_waiters();
    }

    async fn reconnect(&self, shared: &Arc<Shared>) {
        let mut failures = 0;
        loop {
            self.wanted.notified().await;
            let (hello, since) = (shared.hello(), Instant::now());
            match Link::open(&*shared.network, &self.address, hello).await {
                Ok(link) => {
                    self.follow(link, shared).await;
                    failures = if since.elapsed() < OPEN_MIN { failures + 1 } else { 0 };
                }
                Err(error) => {
                    match &error {
                        OpenError::Unreachable { .. } | OpenError::NotListening { .. } => {
                            tracing::debug!(%error, "connecting failed; retried when a call needs it");
                        }
                        OpenError::Refused { .. } => {
                            tracing::warn!(%error, "connection refused; retried when a call needs it");
                        }
                    }
                    failures += 1;
                    *self.state() = State::Closed(error.to_string());
                    self.tried.notify_waiters();
                }
            }
            if failures > 0 {
                sleep(shared.back_off(failures)).await;
            }
        }
    }

    /// Passes on the epoch records that the host pushes, until the link is lost.
    async fn follow(&self, link: Link, shared: &Arc<Shared>) {
        let link = Arc::new(link);
        shared.note_cluster(link.welcome().cluster);
        let mut epochs = link.epochs();
        *self.state() = State::Open(Arc::clone(&link));
        self.tried.notify_waiters();
        loop {
            let (epoch, stored) = epochs.borrow_and_update().clone();
            shared.install_pushed(epoch, stored, &self.address);
            tokio::select! {
                biased;
                () = link.lost() => break,
                changed = epochs.changed() => if changed.is_err() {
                    break;
                },
            }
        }
        *self.state() = State::Closed(format!("{}: the connection was lost", self.address));
    }
}
