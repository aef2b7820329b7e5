//! The promise every store makes: a flat map from key to immutable bytes, shared by every host.

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;

/// Largest number of objects in a listing. A longer one is [`Error::Rejected`], to bound memory (about 120 MB).
pub const LIST_LEN_MAX: usize = 1_000_000;

/// A flat map from key to immutable bytes, shared by every host.
///
/// Implementations must be linearizable: a `get` or `list` that starts after a `create` returned sees the object, and
/// an object that was seen once stays until it is deleted, across a crash of any machine.
/// [`contract::check`](crate::contract::check) tests this promise; [`probe`](crate::probe()) tests it at every start of
/// a host.
///
/// Every method is *one* request, without retries of its own. Dropping its future may or may not stop it. Keys are
/// [legal](crate::key_is_legal) or the answer is [`Error::Rejected`].
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// One try of a conditional create. `Ok` only if this call created the object.
    ///
    /// # Errors
    ///
    /// Any error, [`Error::Conflict`] included, proves nothing: use [`create_once`](crate::create_once).
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error>;

    /// Writes `body` and overwrites any existing object. For hints, and for names that are never reused.
    ///
    /// # Errors
    ///
    /// After any error the write may have happened, or may happen later.
    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error>;

    /// The whole object; `None` means *definitely not found*.
    ///
    /// # Errors
    ///
    /// Nothing is known about the object.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error>;

    /// A part of an object, of exactly the length asked for; `None` means *definitely not found*. The range is not
    /// empty.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the object is shorter or the range empty; otherwise nothing is known about the object.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error>;

    /// Every object below `prefix`, at any depth, in no order. The prefix consists of whole segments: `a/b` lists
    /// `a/b/c`, but not `a/b` or `a/bc`; the empty prefix lists everything. An object created or deleted meanwhile may
    /// be listed or not.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] beyond [`LIST_LEN_MAX`] objects; otherwise nothing is known.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error>;

    /// Deletes an object. Deleting a missing object is `Ok`. After a crash of a machine a deleted object may be back.
    ///
    /// # Errors
    ///
    /// After any error the object may exist or not.
    async fn delete(&self, key: &str) -> Result<(), Error>;
}

/// One object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The full key, prefix included.
    pub key: String,
    /// The object's length in bytes.
    pub len: u64,
}
