//! Calls that every kind of vnode answers: does it exist, delete it, what is it about to do.

use bytes::Bytes;
use holocron_protocol::{format::codec, ids::VnodeName};
use serde::de::DeserializeOwned;

use super::{CallError, Client};
use crate::api::{
    call::{Body, Format, Mode},
    deferred::{Amendment, DeferredWork},
};

impl Client {
    /// Whether a vnode exists: a command has run since it was last deleted. Linearizable.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn exists(&self, name: &VnodeName) -> Result<bool, CallError> {
        self.plain(name, Mode::Exists, Bytes::new()).await
    }

    /// Deletes a vnode: its state and its timers. Its next command begins with the default state of its kind. What it has sent
    /// is still delivered. Its name and a few bytes stay, so that no earlier request runs again.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub async fn delete(&self, name: &VnodeName) -> Result<(), CallError> {
        self.plain(name, Mode::Delete, Bytes::new()).await
    }

    /// The timers, messages and effects of a vnode that aren't done, and what was set aside. Linearizable.
    ///
    /// # Errors
    ///
    /// [`CallError`], never [`CallError::Unclear`].
    pub async fn deferred(&self, name: &VnodeName) -> Result<DeferredWork, CallError> {
        self.plain(name, Mode::Deferred, Bytes::new()).await
    }

    /// Retries or drops a message or an effect that was set aside.
    ///
    /// # Errors
    ///
    /// [`CallError::Rejected`] if there is none with that number.
    pub async fn amend(&self, name: &VnodeName, amendment: Amendment) -> Result<(), CallError> {
        let mut body = Vec::new();
        codec::to_bincode(&amendment, &mut body);
        self.plain(name, Mode::Amend, body.into()).await
    }

    pub(super) async fn plain<R: DeserializeOwned>(
        &self,
        name: &VnodeName,
        mode: Mode,
        body: Bytes,
    ) -> Result<R, CallError> {
        let reply = self
            .call(name, mode, Body { format: Format::Bincode, bytes: body }, self.deadline)
            .await?;
        codec::from_bincode(name.kind(), &reply)
            .map_err(|malformed| CallError::Unreadable { why: malformed.why })
    }
}
