//! A part of a store: everything below a prefix, as a store of its own.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::key::key_is_legal;
use crate::store::{Listed, Store};

/// The objects of a store below a prefix. Keys are relative to the prefix; the rest of the store can't be named.
#[derive(Debug)]
pub struct Below {
    inner: Arc<dyn Store>,
    /// With a slash at the end.
    prefix: String,
}

impl Below {
    /// The part of `inner` below `prefix`, which is a legal key.
    ///
    /// # Panics
    ///
    /// If the prefix isn't a [legal key](key_is_legal).
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, prefix: &str) -> Self {
        assert!(key_is_legal(prefix), "{prefix:?} can't be a prefix");
        Self { inner, prefix: format!("{prefix}/") }
    }

    fn key(&self, key: &str) -> Result<String, Error> {
        // An illegal part could make a legal whole: "" would name the prefix itself.
        if key_is_legal(key) {
            Ok(format!("{}{key}", self.prefix))
        } else {
            Err(Error::rejected(key, "illegal key"))
        }
    }
}

#[async_trait]
impl Store for Below {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.inner.create(&self.key(key)?, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.inner.put(&self.key(key)?, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.inner.get(&self.key(key)?).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.inner.get_range(&self.key(key)?, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut listed = self.inner.list(&format!("{}{prefix}", self.prefix)).await?;
        for object in &mut listed {
            let relative = object.key.strip_prefix(&self.prefix);
            object.key = relative.expect("a list is of what is below its prefix").to_owned();
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(&self.key(key)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[tokio::test]
    async fn it_keeps_the_promise_of_a_store() {
        let whole: Arc<dyn Store> = Arc::new(Memory::new());
        let part: Arc<dyn Store> = Arc::new(Below::new(whole, "elections/a"));
        crate::contract::check(&part).await;
    }

    #[tokio::test]
    async fn two_parts_and_the_whole_see_each_others_objects_only_under_their_prefix() {
        let whole: Arc<dyn Store> = Arc::new(Memory::new());
        let [a, b] = ["elections/a", "elections/b"].map(|at| Below::new(Arc::clone(&whole), at));
        a.create("epochs/1", Bytes::from_static(b"1")).await.unwrap();
        assert_eq!(b.get("epochs/1").await.unwrap(), None);
        assert_eq!(b.list("").await.unwrap(), []);
        assert_eq!(a.list("epochs/").await.unwrap()[0].key, "epochs/1");
        assert!(whole.get("elections/a/epochs/1").await.unwrap().is_some());
        for escape in ["", "../b/epochs/1", "/epochs/1"] {
            assert!(a.get(escape).await.is_err(), "{escape}");
        }
    }
}
