//! A store in memory: deterministic, without threads or timers; the reference for the other stores.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::key::{key_is_legal, legal_prefix};
use crate::store::{LIST_LEN_MAX, Listed, Store};

/// A store in memory. Hosts share it by sharing its `Arc`; its objects are dropped with the last one.
///
/// Bodies are not copied: a body that is a slice keeps its whole buffer alive.
#[derive(Default)]
pub struct Memory {
    objects: RwLock<BTreeMap<String, Bytes>>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    // A panic while the lock is held can only come from the allocator, and leaves the map intact.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("objects", &self.len()).finish()
    }
}

#[async_trait]
impl Store for Memory {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        check(key)?;
        match self.write().entry(key.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(body);
                Ok(())
            }
            Entry::Occupied(_) => Err(Error::conflict(key)),
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        check(key)?;
        self.write().insert(key.to_owned(), body);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        check(key)?;
        Ok(self.read().get(key).cloned())
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        check(key)?;
        let found = self.read().get(key).cloned();
        found.map(|body| slice(key, &body, range)).transpose()
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let Some(prefix) = legal_prefix(prefix) else {
            return Err(Error::rejected(prefix, "illegal prefix"));
        };
        let start = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let objects = self.read();
        let below = objects
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&start));
        let mut listed = Vec::new();
        for (key, body) in below {
            if listed.len() == LIST_LEN_MAX {
                return Err(Error::rejected(prefix, format!("more than {LIST_LEN_MAX} objects")));
            }
            listed.push(Listed { key: key.clone(), len: body.len() as u64 });
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check(key)?;
        // Dropped after the lock is released, because freeing a large body takes a while.
        let body = self.write().remove(key);
        drop(body);
        Ok(())
    }
}

fn check(key: &str) -> Result<(), Error> {
    if key_is_legal(key) { Ok(()) } else { Err(Error::rejected(key, "illegal key")) }
}

/// Exactly `range` of `body`, without a copy.
fn slice(key: &str, body: &Bytes, range: Range<u64>) -> Result<Bytes, Error> {
    if range.is_empty() || range.end > body.len() as u64 {
        return Err(Error::rejected(
            key,
            format!("bytes {range:?} of an object of {} bytes", body.len()),
        ));
    }
    let place = |offset: u64| {
        usize::try_from(offset).expect("an offset within a body in memory fits usize")
    };
    Ok(body.slice(place(range.start)..place(range.end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_are_shared_not_copied() {
        let memory = Memory::new();
        let body = Bytes::from(vec![7; 100]);
        memory.create("a", body.clone()).await.unwrap();
        let found = memory.get("a").await.unwrap().unwrap();
        let part = memory.get_range("a", 10..20).await.unwrap().unwrap();
        assert_eq!(found.as_ptr(), body.as_ptr());
        assert_eq!(part.as_ptr(), body[10..].as_ptr());
    }
}
