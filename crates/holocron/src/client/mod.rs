//! The client: calls a vnode by its name, wherever it is, even if it moves during the call.
//!
//! A client keeps the newest view it knows and one link to each host it has called. A call goes to the host that owns
//! the vnode's slot; a host in the same process is called without a network. When an attempt fails (the slot moved,
//! the host died, the network broke), the client gets a newer view, usually because a host pushes it, and sends the
//! request again, until its deadline. The caller sees a slow call, or an error that says what it may do.
//!
//! Invariants:
//!
//! * A command takes effect at most once, by the rules of [`holocron_protocol::request::attempts`]: every attempt is
//!   counted, and an unanswered one counts as sent.
//! * An error other than [`CallError::Unclear`] and [`CallError::Unreadable`] means that the call left no effect.
//! * The epochs of a client's views only grow.
//! * Calls in flight are bounded; further ones wait until their deadline.

mod attempt;
pub(crate) mod connect;
mod connection;
mod everyone;
mod fork;
mod kinds;
mod list;
mod measures;
mod request_driver;
mod request_numbers;
mod routes;
mod shared;
mod upkeep;
mod view_watcher;
mod vnode_ref;
mod watch;

use core::{fmt, time::Duration};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use holocron_protocol::ids::{ClusterId, CommitNumber, Epoch, HostName, VnodeName};
use tokio::time::{Instant, timeout};

pub use self::{
    fork::ForkError,
    kinds::KindsOfHosts,
    list::{InvalidCursor, ListCursor, Listing},
    measures::Measured,
    vnode_ref::VnodeRef,
    watch::{Watch, WatchCommits, WatchJson},
};
use self::{
    request_driver::{Ask, RequestDriver},
    shared::Shared,
};
pub use crate::api::call_error::{CallError, Ran, Unavailable};
use crate::{
    api::{
        call::{Body, Mode},
        random::Random,
        vnode::Vnode,
    },
    transport::{
        frame::PAYLOAD_LEN_MAX,
        net::Network,
        serve::{Serve, View},
    },
};

/// The default deadline of a call.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(10);
/// The longest deadline of a call; a longer one is shortened to it.
pub const DEADLINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The default maximum of calls in flight per client.
pub const IN_FLIGHT_MAX_DEFAULT: usize = 16_384;

/// A source of views other than the hosts: the store.
#[async_trait]
pub trait Views: fmt::Debug + Send + Sync + 'static {
    /// The newest view, if it is newer than `known`.
    ///
    /// # Errors
    ///
    /// [`NoViews`].
    async fn newer(&self, known: Epoch) -> Result<Option<View>, NoViews>;
}

/// Why a source has no view.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoViews {
    /// It can't be read at the moment.
    #[error("{0}")]
    Unreadable(String),
    /// It is no longer the store of this cluster.
    #[error("{0}")]
    StoreLost(String),
}

/// A host in the same process: its vnodes are called without a network.
#[derive(Clone, Debug)]
pub struct LocalHost {
    /// Its name in views.
    pub name: HostName,
    /// The host.
    pub serve: Arc<dyn Serve>,
}

/// What a client is made of.
#[derive(Debug)]
pub struct ClientParts {
    /// The network to the hosts.
    pub network: Arc<dyn Network>,
    /// Addresses of some hosts that can give a first view; may be empty when there is another source.
    pub seeds: Vec<String>,
    /// Another source of views, read when no host helps.
    pub views: Option<Arc<dyn Views>>,
    /// The host in this process.
    pub local: Option<LocalHost>,
    /// The cluster it belongs to. `None`: the cluster of the first host reached.
    pub cluster: Option<ClusterId>,
    /// Randomness for the client's id and for back-off.
    pub random: Random,
    /// Maximum of calls in flight; further ones wait. Higher: more memory when hosts are slow.
    pub in_flight_max: usize,
}

/// Calls vnodes. Cheap to clone; all clones are one client with one set of connections, which close when the last
/// clone is dropped.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _end_on_drop: Arc<EndOnDrop>,
    deadline: Duration,
}

/// Ends the client's tasks when the last clone is dropped.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end.cancel();
    }
}

impl Client {
    /// The network to the hosts: for [`ask`](crate::ask).
    #[must_use]
    pub fn network(&self) -> &Arc<dyn Network> {
        &self.shared.network
    }

    /// A client that begins to look for a view at its first call. Call in a tokio runtime.
    #[must_use]
    pub fn new(parts: ClientParts) -> Self {
        let shared = Shared::start(parts);
        Self {
            _end_on_drop: Arc::new(EndOnDrop(Arc::clone(&shared))),
            shared,
            deadline: DEADLINE_DEFAULT,
        }
    }

    /// The same client, with another deadline for calls; [`DEADLINE_MAX`] at most.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Waits until the client has a view.
    ///
    /// # Errors
    ///
    /// [`CallError::Unavailable`] after the client's deadline.
    pub async fn ready(&self) -> Result<View, CallError> {
        let unavailable =
            || CallError::unavailable(Unavailable::Unreachable, self.shared.obstacle());
        timeout(self.deadline, self.shared.first_view()).await.map_err(|_elapsed| unavailable())
    }

    /// The newest view it knows.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.shared.routes().view().cloned()
    }

    /// A vnode, by its key. Sends nothing: the vnode need not exist, and is created by its first command.
    #[must_use]
    pub fn get<V: Vnode>(&self, key: &str) -> VnodeRef<V> {
        VnodeRef::new(self.clone(), key)
    }

    /// A shard of a kind that declares shards ([`crate::Kind::shards`]), by its number from 0 on.
    #[must_use]
    pub fn shard<V: Vnode>(&self, number: u16) -> VnodeRef<V> {
        self.get(&number.to_string())
    }

    /// Sends a vnode an encoded command or query; returns the reply, in the same format. In JSON, no types are needed:
    /// `{"add": {"sku": "x", "n": 2}}`.
    ///
    /// # Errors
    ///
    /// [`CallError`]. Never [`CallError::Unreadable`]; never [`CallError::Unclear`] for a query.
    pub async fn call(
        &self,
        name: &VnodeName,
        mode: Mode,
        body: Body,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        self.call_with_commit(name, mode, body, deadline).await.map(|(content, _)| content)
    }

    /// The same, and the number of the commit that the reply belongs to: of a query, one that its answer reflects.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn call_with_commit(
        &self,
        name: &VnodeName,
        mode: Mode,
        body: Body,
        deadline: Duration,
    ) -> Result<(Bytes, CommitNumber), CallError> {
        let length = body.bytes.len();
        if length > PAYLOAD_LEN_MAX {
            let why = format!("{length} bytes; at most {PAYLOAD_LEN_MAX} can be sent");
            return Err(CallError::Rejected { why });
        }
        let deadline = Instant::now() + deadline.min(DEADLINE_MAX);
        let _permit = self.shared.admit(deadline).await?;
        let ask = Ask { shared: &self.shared, name, mode, body };
        let replied = RequestDriver::new(ask).run(deadline).await?;
        Ok((replied.content, replied.commit))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("epoch", &self.shared.routes().epoch())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
