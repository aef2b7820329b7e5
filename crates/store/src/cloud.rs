//! Cloud stores: `object_store`'s clients for S3, GCS and Azure behind the promises of [`Store`].
//!
//! The client's own retries are off: after a hidden retry a store answers "exists already" about our own write, and
//! only [`create_once`](crate::create_once) may decide what to do then.

mod answers;
mod wire;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::error::Error;
use crate::key::{key_is_legal, legal_prefix};
use crate::store::{LIST_LEN_MAX, Listed, Store};
use answers::{classify, not_found};
pub(crate) use wire::Wire;

/// A bucket, or a part of one.
pub(crate) struct Cloud {
    client: Box<dyn ObjectStore>,
    /// The prefix of all keys; empty for a whole bucket.
    prefix: String,
}

impl Cloud {
    pub(crate) fn new(client: Box<dyn ObjectStore>, prefix: String) -> Self {
        Self { client, prefix }
    }

    fn place(&self, key: &str) -> Result<Path, Error> {
        if !key_is_legal(key) {
            return Err(Error::rejected(key, "illegal key"));
        }
        self.below(key)
    }

    fn below(&self, key: &str) -> Result<Path, Error> {
        let full = match (self.prefix.as_str(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        };
        Path::parse(full).map_err(|error| Error::rejected(key, error))
    }

    async fn write(&self, key: &str, body: Bytes, mode: PutMode) -> Result<(), Error> {
        let place = self.place(key)?;
        match self.client.put_opts(&place, body.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(classify(key, error)),
        }
    }

    /// What a failed ranged get means: the object may be too short, or the request failed.
    async fn why_no_range(
        &self,
        key: &str,
        place: &Path,
        end: u64,
        error: object_store::Error,
    ) -> Error {
        match self.client.head(place).await {
            Ok(found) if found.size < end => too_short(key, end, found.size),
            _ => classify(key, error),
        }
    }
}

impl fmt::Debug for Cloud {
    /// The client's own `Debug` output shows credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cloud({}/{})", self.client, self.prefix)
    }
}

#[async_trait]
impl Store for Cloud {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.write(key, body, PutMode::Create).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.write(key, body, PutMode::Overwrite).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let place = self.place(key)?;
        let found = match self.client.get(&place).await {
            Ok(found) => found,
            Err(error) => return not_found(key, error),
        };
        let len = found.meta.size;
        let body = found.bytes().await.map_err(|error| classify(key, error))?;
        complete(key, body, len)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        let place = self.place(key)?;
        if range.is_empty() {
            return Err(Error::rejected(key, "an empty range"));
        }
        let (len, end) = (range.end - range.start, range.end);
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let found = match self.client.get_opts(&place, options).await {
            Ok(found) => found,
            Err(error @ object_store::Error::NotFound { .. }) => return not_found(key, error),
            Err(error) => return Err(self.why_no_range(key, &place, end, error).await),
        };
        if found.meta.size < end {
            return Err(too_short(key, end, found.meta.size));
        }
        let body = found.bytes().await.map_err(|error| classify(key, error))?;
        complete(key, body, len)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let Some(legal) = legal_prefix(prefix) else {
            return Err(Error::rejected(prefix, "illegal prefix"));
        };
        let below = self.below(legal)?;
        let mut pages = self.client.list((!below.as_ref().is_empty()).then_some(&below));
        let mut listed = Vec::new();
        while let Some(found) = pages.try_next().await.map_err(|error| classify(prefix, error))? {
            let place = found.location.as_ref();
            let key = match self.prefix.as_str() {
                "" => Some(place),
                prefix => place.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
            };
            // Other objects are not ours.
            let Some(key) = key.filter(|key| key_is_legal(key)) else { continue };
            if listed.len() == LIST_LEN_MAX {
                return Err(Error::rejected(prefix, format!("more than {LIST_LEN_MAX} objects")));
            }
            listed.push(Listed { key: key.to_owned(), len: found.size });
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let place = self.place(key)?;
        match self.client.delete(&place).await {
            Ok(()) => Ok(()),
            Err(error) => not_found(key, error).map(|_: Option<Bytes>| ()),
        }
    }
}

fn too_short(key: &str, end: u64, len: u64) -> Error {
    Error::rejected(key, format!("bytes up to {end} of an object of {len} bytes"))
}

/// Checks the length, so that a truncated body doesn't pass for an object.
fn complete(key: &str, body: Bytes, len: u64) -> Result<Option<Bytes>, Error> {
    if body.len() as u64 == len {
        Ok(Some(body))
    } else {
        Err(Error::unclear(key, format!("{} bytes arrived of {len}", body.len())))
    }
}
