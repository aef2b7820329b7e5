//! A handle to one vnode, which encodes its calls and decodes their replies.

use core::{fmt, marker::PhantomData, time::Duration};

use bytes::Bytes;
use holocron_protocol::{
    format::codec,
    ids::{InvalidName, VnodeName},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{CallError, Client, DEADLINE_MAX};
use crate::api::{
    call::{Body, Format, Mode},
    deferred::DeferredWork,
    vnode::Vnode,
};

/// A handle to one vnode. For a kind written with [`macro@crate::vnode`] it has a method for each command and query.
///
/// A call in bincode fits only a host with the same types. If the host refuses it because its version of the kind has other
/// arguments or another result, the call is sent once more as JSON, by name: then serde's rules hold (missing fields need a
/// default). So versions of a kind can differ during an upgrade, at the price of a second round trip for calls that differ.
pub struct VnodeRef<V> {
    pub(super) client: Client,
    name: Result<VnodeName, InvalidName>,
    kind: PhantomData<fn() -> V>,
}

impl<V: Vnode> VnodeRef<V> {
    pub(super) fn new(client: Client, key: &str) -> Self {
        Self { client, name: VnodeName::new(V::KIND, key), kind: PhantomData }
    }

    /// Runs a command. Its reply arrives once its changes are durable; it takes effect at most once.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn command(&self, command: V::Command) -> Result<V::Reply, CallError>
    where
        V::Reply: DeserializeOwned,
    {
        self.call(Mode::Command, command).await
    }

    /// Asks a query, linearizable: the answer reflects everything acknowledged before the query was sent.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn query(&self, query: V::Query) -> Result<V::Answer, CallError>
    where
        V::Answer: DeserializeOwned,
    {
        self.call(Mode::Query, query).await
    }

    /// Asks a query of the owner's memory, without a check in the store that it is still the owner: cheaper, and
    /// stale if it was fenced a moment ago.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn local(&self, query: V::Query) -> Result<V::Answer, CallError>
    where
        V::Answer: DeserializeOwned,
    {
        self.call(Mode::Local, query).await
    }

    /// Like [`VnodeRef::command`], for a caller that knows the type of this command's reply: that is what travels.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn command_as<R: DeserializeOwned>(
        &self,
        command: V::Command,
    ) -> Result<R, CallError> {
        self.call(Mode::Command, command).await
    }

    /// Like [`VnodeRef::query`], for a caller that knows the type of this query's answer.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn query_as<R: DeserializeOwned>(&self, query: V::Query) -> Result<R, CallError> {
        self.call(Mode::Query, query).await
    }

    /// Like [`VnodeRef::local`], for a caller that knows the type of this query's answer.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn local_as<R: DeserializeOwned>(&self, query: V::Query) -> Result<R, CallError> {
        self.call(Mode::Local, query).await
    }

    /// The same vnode, with another deadline for its calls; [`DEADLINE_MAX`] at most.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.client.deadline = deadline;
        self
    }

    /// Whether it exists; see [`Client::exists`].
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn exists(&self) -> Result<bool, CallError> {
        self.client.exists(self.valid_name()?).await
    }

    /// Deletes it; see [`Client::delete`].
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn delete(&self) -> Result<(), CallError> {
        self.client.delete(self.valid_name()?).await
    }

    /// Its deferred work; see [`Client::deferred`].
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn deferred(&self) -> Result<DeferredWork, CallError> {
        self.client.deferred(self.valid_name()?).await
    }

    pub(super) fn valid_name(&self) -> Result<&VnodeName, CallError> {
        let invalid = |invalid: &InvalidName| CallError::Rejected { why: invalid.to_string() };
        self.name.as_ref().map_err(invalid)
    }

    async fn call<T, R>(&self, mode: Mode, ask: T) -> Result<R, CallError>
    where
        T: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        let reject = |why: String| CallError::Rejected { why };
        let name = self.valid_name()?;
        let mut body = Vec::new();
        codec::try_to_bincode(&ask, &mut body).map_err(reject)?;
        // Frees its memory now: it may be large, and the call may wait long.
        drop(ask);
        let bytes = Bytes::from(body);
        let deadline = Instant::now() + self.client.deadline.min(DEADLINE_MAX);
        let left = || deadline - Instant::now();
        let body = Body { format: Format::Bincode, bytes: bytes.clone() };
        let refused = match self.client.call(name, mode, body, left()).await {
            Ok(reply) => {
                return codec::from_bincode(V::KIND, &reply)
                    .map_err(|malformed| CallError::Unreadable { why: malformed.why });
            }
            Err(refused @ CallError::OtherArguments { .. }) => refused,
            Err(error) => return Err(error),
        };
        // It has not run, so it may be sent as another request.
        let body = by_name::<T>(V::KIND, &bytes).ok_or(refused)?;
        let reply = self.client.call(name, mode, body, left()).await?;
        serde_json::from_slice(&reply)
            .map_err(|error| CallError::Unreadable { why: error.to_string() })
    }
}

/// A call in bincode as one in JSON; none if JSON can't hold it.
fn by_name<T: Serialize + DeserializeOwned>(kind: &str, bytes: &[u8]) -> Option<Body> {
    let ask: T = codec::from_bincode(kind, bytes).ok()?;
    let bytes = serde_json::to_vec(&ask).ok()?;
    Some(Body { format: Format::Json, bytes: bytes.into() })
}

impl<V> Clone for VnodeRef<V> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), name: self.name.clone(), kind: PhantomData }
    }
}

impl<V> fmt::Debug for VnodeRef<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VnodeRef").field(&self.name).finish()
    }
}
