//! The server: accepts connections for a host, reads calls and messages, writes answers in any order.
//!
//! Each connection has one task that reads and one that writes. A reader whose calls in flight are at the limit stops
//! reading until answers are written, so a caller that ignores the limit delays only itself. Answers that are ready
//! together are written together.
//!
//! Invariants:
//!
//! * A body that is too large or undecodable costs its sender an error. Only an invalid header, or a first frame that
//!   is no hello, costs the connection; nothing that a peer sends costs more.
//! * Connections, calls and messages in flight are bounded; a call counts until its answer is written.
//! * What needs a role is refused to others before the host sees it.
//! * A stopped server refuses new calls, and waits for the answers of those it accepted, for [`STOP_GRACE`] at most.

mod beginning;
mod connection;
mod writing;

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{Notify, Semaphore, futures::Notified},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    beginning::{BEGINNING_MAX, Beginnings},
    connection::{Connection, NotServed},
};
use crate::transport::{
    net::{Arrival, Listener},
    serve::{Serve, View},
};

/// How long a stopping server waits for the answers of calls that it accepted.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// The pause after a failed accept, for example because the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; further ones are closed at once.
    pub connections_max: usize,
    /// Calls in flight on one connection, with watchers that wait. Clients know this limit and wait.
    pub calls_max: u32,
    /// Other messages in flight on one connection; more are refused.
    pub messages_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 10_000, calls_max: 16_384 + 4_096, messages_max: 64 }
    }
}

/// Accepts connections for a host until `stop`, and returns when the last one is closed.
pub async fn run(
    listener: Box<dyn Listener>,
    serve: Arc<dyn Serve>,
    limits: Limits,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let newest = Arc::new(Newest::default());
    let host = Arc::new(Host { serve, limits, newest, beginnings: Arc::default(), stop });
    connections.spawn(Arc::clone(&host).follow_views());
    loop {
        let accepted = tokio::select! {
            biased;
            () = host.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(arrival) => {
                let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                    tracing::warn!(
                        from = arrival.from,
                        connections = limits.connections_max,
                        "too many connections; closed the new one"
                    );
                    continue;
                };
                let host = Arc::clone(&host);
                connections.spawn(async move {
                    host.connection(arrival).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed; will retry");
                tokio::select! {
                    biased;
                    () = host.stop.cancelled() => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// What all connections of a server share.
#[derive(Debug)]
struct Host {
    serve: Arc<dyn Serve>,
    limits: Limits,
    newest: Arc<Newest>,
    beginnings: Arc<Beginnings>,
    stop: CancellationToken,
}

impl Host {
    async fn connection(self: Arc<Self>, arrival: Arrival) {
        let from = arrival.from.clone();
        let beginning = self.beginnings.begin();
        let begun = tokio::select! {
            biased;
            () = beginning.pushed_out() => Err(NotServed::TurnedAway(format!(
                "more than {BEGINNING_MAX} connections have sent no hello yet, and this is the oldest"
            ))),
            begun = Connection::handshake(&self, arrival) => begun,
        };
        drop(beginning);
        match begun {
            Ok(connection) => connection.run(&self).await,
            Err(NotServed::HungUp) => {
                tracing::debug!(from, "connection closed before the handshake was complete");
            }
            Err(NotServed::TurnedAway(why)) => {
                tracing::info!(from, why, "connection turned away");
            }
        }
    }

    /// Passes each newer view on to all connections.
    async fn follow_views(self: Arc<Self>) {
        let mut views = self.serve.views();
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(view) = view {
                self.newest.set(view);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                changed = views.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

/// The newest view to be pushed. One task follows the host's views and wakes the connections in the order in which
/// they began to wait: the seed does not determine in which order a watch channel wakes its receivers.
#[derive(Debug, Default)]
struct Newest {
    view: Mutex<Option<View>>,
    changed: Notify,
}

impl Newest {
    fn set(&self, view: View) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
        self.changed.notify_waiters();
    }

    fn get(&self) -> Option<View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Completes at the next change after this was called.
    fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
