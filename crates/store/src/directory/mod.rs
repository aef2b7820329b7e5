//! A plain directory as a store: one file per object, for one machine or a shared file system with hard links.
//!
//! A create writes a staging file, syncs it, links it to its name, syncs the directory, and only then unlinks the
//! staging name. So:
//!
//! * The link is the condition: of several processes the file system lets only one create a name.
//! * A name never shows half an object, even after a power failure.
//! * *A visible object is durable.* Between link and sync an object is visible but may not survive a crash; a try that
//!   timed out there would find its own bytes and count them as durable. But the object then still has two names, so a
//!   reader that finds a link count above one syncs the directory before it answers.
//! * Directories are never removed, so a durable directory stays durable.
//! * A missing root (unmounted, removed, replaced) is an error, never an empty store.
//!
//! Names starting with a dot are not keys. Staging files are in `.staging` below the root; the first write of a process
//! creates it. A process that writes looks for leftovers at its first write and then every five minutes: staging files that
//! are ten minutes old get another name, and the next look removes them. A process that only reads changes nothing.

mod blame;
mod staging;
mod tree;

use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::key::{key_is_legal, legal_prefix};
use crate::store::{Listed, Store};
use tree::{Publish, Tree};

/// Largest number of concurrent requests to the file system, including those whose callers gave up. A disk that hangs
/// blocks at most this many threads.
const REQUESTS_MAX: usize = 128;

/// A directory as a store. Several processes may open it at the same time.
#[derive(Clone, Debug)]
pub struct Directory {
    tree: Arc<Tree>,
    requests: Arc<Semaphore>,
}

impl Directory {
    /// Opens an existing directory and changes nothing. Blocks for a few system calls.
    ///
    /// # Errors
    ///
    /// Says which part of the path is wrong, and what to do.
    pub fn open(root: &Path) -> io::Result<Self> {
        let tree = Tree::open(root).map_err(|error| blame::opening(root, &error))?;
        Ok(Self { tree: Arc::new(tree), requests: Arc::new(Semaphore::new(REQUESTS_MAX)) })
    }

    /// Like [`Directory::open`], for a new store: creates the directory if it is missing and its parent exists.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open`].
    pub fn make(root: &Path) -> io::Result<Self> {
        let made = tree::make_root(root).map_err(|error| blame::making(root, &error))?;
        if made {
            // A warning: if an existing store was expected, its file system isn't mounted.
            tracing::warn!(path = %root.display(), "created the directory of a new store");
        }
        Self::open(root)
    }

    /// Runs `work` on a blocking thread. Once started it runs to its end, even if the caller gave up.
    async fn run<T, W>(&self, key: &str, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Tree) -> io::Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.requests)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let tree = Arc::clone(&self.tree);
        let done = tokio::task::spawn_blocking(move || {
            let answer = tree.check().and_then(|()| work(&tree));
            drop(permit);
            answer
        });
        match done.await {
            Ok(answer) => answer.map_err(|error| classify(key, error)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(Error::unclear(key, error)),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, Error> {
        if key_is_legal(key) {
            Ok(self.tree.root().join(key))
        } else {
            Err(Error::rejected(key, "illegal key"))
        }
    }
}

#[async_trait]
impl Store for Directory {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        let path = self.path(key)?;
        self.run(key, move |tree| tree.publish(&path, &body, Publish::IfAbsent)).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        let path = self.path(key)?;
        self.run(key, move |tree| tree.publish(&path, &body, Publish::Over)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let path = self.path(key)?;
        self.run(key, move |tree| {
            let Some((file, metadata)) = tree.open_durable(&path)? else { return Ok(None) };
            let mut body = vec![0; in_memory(metadata.size())?];
            file.read_exact_at(&mut body, 0)?;
            Ok(Some(Bytes::from(body)))
        })
        .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        let path = self.path(key)?;
        self.run(key, move |tree| {
            let Some((file, metadata)) = tree.open_durable(&path)? else { return Ok(None) };
            if range.is_empty() || range.end > metadata.size() {
                let message = format!("bytes {range:?} of an object of {} bytes", metadata.size());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            let mut part = vec![0; in_memory(range.end - range.start)?];
            file.read_exact_at(&mut part, range.start)?;
            Ok(Some(Bytes::from(part)))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let Some(legal) = legal_prefix(prefix) else {
            return Err(Error::rejected(prefix, "illegal prefix"));
        };
        let below = legal.to_owned();
        self.run(prefix, move |tree| tree.list(&below)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key)?;
        self.run(key, move |tree| tree.delete(&path)).await
    }
}

fn in_memory(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(io::Error::other)
}

/// What the caller may do about an error of the file system. This module itself uses `InvalidInput` for a request that
/// can never succeed.
fn classify(key: &str, error: io::Error) -> Error {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of io::Error are open-ended")]
    match error.kind() {
        io::ErrorKind::AlreadyExists => Error::conflict(key),
        io::ErrorKind::InvalidInput
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::CrossesDevices
        | io::ErrorKind::Unsupported => Error::rejected(key, error),
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::StaleNetworkFileHandle => Error::denied(key, error),
        // A full disk is treated as an outage.
        _ => Error::unclear(key, error),
    }
}
