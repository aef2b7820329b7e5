//! Forking a vnode.

use bytes::Bytes;
use holocron_protocol::{
    ids::VnodeName,
    request::fork::{Created, Fork},
};

use super::{CallError, Client, VnodeRef};
use crate::api::{
    call::{Body, Format, Mode},
    vnode::Vnode,
};

/// Why there is no fork.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// The source doesn't exist: nothing was done.
    #[error("there is no vnode {0} to fork")]
    NoSource(VnodeName),
    /// A vnode with the new key exists, and was left alone. Choose another key, or delete it.
    #[error("{0} exists already; it was left as it is")]
    Exists(VnodeName),
    /// A call failed. [`CallError::Unclear`]: the fork may have been made, or may still be.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Client {
    /// Makes a new vnode of the same kind that begins with the state of another: the state at a moment between the call and
    /// its answer, with everything that was acknowledged before the call. The source goes on unchanged. Timers, messages and
    /// effects that wait are the source's, and so is what it remembers of requests.
    ///
    /// Takes effect at most once: a fork that the client sends again doesn't overwrite what has run at the new vnode.
    ///
    /// # Errors
    ///
    /// [`ForkError`].
    pub async fn fork(&self, source: &VnodeName, key: &str) -> Result<(), ForkError> {
        let name = VnodeName::new(source.kind(), key);
        let name = name.map_err(|invalid| CallError::Rejected { why: invalid.to_string() })?;
        let nothing = Body { format: Format::Bincode, bytes: Bytes::new() };
        let state = self.call(source, Mode::State, nothing, self.deadline).await?;
        let fork = Fork::decode(&state).map_err(|why| CallError::Unreadable { why })?;
        if fork.is_none() {
            return Err(ForkError::NoSource(source.clone()));
        }
        match self.plain(&name, Mode::Create, state).await? {
            Created::Now => Ok(()),
            Created::Before => Err(ForkError::Exists(name)),
        }
    }
}

impl Client {
    /// The state of a vnode as JSON, for people: `null` if it doesn't exist. Linearizable, and it loads the vnode.
    ///
    /// # Errors
    ///
    /// [`CallError::Rejected`] if the state has what JSON can't say, such as a map whose keys are structs.
    pub async fn state_json(&self, name: &VnodeName) -> Result<Bytes, CallError> {
        let nothing = Body { format: Format::Json, bytes: Bytes::new() };
        self.call(name, Mode::State, nothing, self.deadline).await
    }
}

impl<V: Vnode> VnodeRef<V> {
    /// Makes a new vnode that begins with this one's state; see [`Client::fork`].
    ///
    /// # Errors
    ///
    /// [`ForkError`].
    pub async fn fork(&self, key: &str) -> Result<Self, ForkError> {
        self.client.fork(self.valid_name()?, key).await?;
        Ok(self.client.get::<V>(key))
    }
}
