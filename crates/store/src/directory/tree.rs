//! The tree of files below a root: publishing, durable directories, reading only durable objects, listing.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{blame, staging::Staging};
use crate::key::key_is_legal;
use crate::store::{LIST_LEN_MAX, Listed};

/// Directories remembered as durable. At the limit all are forgotten, which costs syncs, not safety.
const DURABLE_DIRECTORIES_MAX: usize = 10_000;

/// Tries to publish into a directory that keeps being removed from outside.
const PUBLISH_TRIES_MAX: usize = 3;

/// The condition under which a staging file gets its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    /// Only if the name is free.
    IfAbsent,
    /// Always; replaces an existing object.
    Over,
}

/// A root directory and what this process knows of it.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// Device and inode of the root when it was opened.
    identity: (u64, u64),
    staging: Staging,
    /// Gives a file a second name if that name is free.
    link: fn(&Path, &Path) -> io::Result<()>,
    /// Directories whose own names are known to be durable.
    durable: Mutex<BTreeSet<PathBuf>>,
}

impl Tree {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(root)?;
        let metadata = fs::metadata(&root)?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // A directory that can't be listed can't be read either; report that now.
        fs::read_dir(&root)?;
        let (identity, staging) = (identity(&metadata), Staging::below(&root));
        Ok(Self { root, identity, staging, link: link_file, durable: Mutex::default() })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Fails unless the root is still the directory that was opened. An unmounted disk is not an empty store.
    pub(super) fn check(&self) -> io::Result<()> {
        if fs::metadata(&self.root).is_ok_and(|metadata| identity(&metadata) == self.identity) {
            return Ok(());
        }
        let message = format!(
            "{} is no longer the directory that was opened; check that its file system is mounted",
            self.root.display()
        );
        Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, message))
    }

    /// Gives `body` the name `path`, durably.
    pub(super) fn publish(&self, path: &Path, body: &[u8], publish: Publish) -> io::Result<()> {
        let parent = path.parent().expect("a key is below the root");
        // Usually a loser finds the object already there; don't write and sync a body for nothing.
        if publish == Publish::IfAbsent && fs::symlink_metadata(path).is_ok() {
            return Err(taken(path));
        }
        self.make_durable(parent)?;
        let mut staged = self.staging.write(body)?;
        let mut tries_left = PUBLISH_TRIES_MAX;
        loop {
            tries_left -= 1;
            let named = match publish {
                Publish::IfAbsent => (self.link)(staged.path(), path),
                Publish::Over => fs::rename(staged.path(), path),
            };
            match named {
                Ok(()) => break,
                Err(_) if staged.is_at(path) => break,
                // This process was paused for so long that its file counted as a leftover. Write it again.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && tries_left > 0
                        && staged.is_gone() =>
                {
                    staged = self.staging.write(body)?;
                }
                // The directory was removed from outside. Create it again.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries_left > 0 => {
                    self.forget_durable();
                    if let Err(error) = self.make_durable(parent) {
                        staged.discard();
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    staged.discard();
                    return Err(taken(path));
                }
                Err(error) => {
                    staged.discard();
                    return Err(match publish {
                        Publish::IfAbsent => blame::linking(path, error),
                        Publish::Over => blame::at(path, error),
                    });
                }
            }
        }
        // On failure the staging name stays: it shows readers that this object may not be durable.
        sync_directory(parent)?;
        if publish == Publish::IfAbsent {
            staged.discard();
        }
        Ok(())
    }

    /// Opens an object that is durable by the time this returns; `None` if there is none.
    pub(super) fn open_durable(&self, path: &Path) -> io::Result<Option<(File, Metadata)>> {
        let file = match File::open(path) {
            Ok(file) => file,
            // A file instead of a directory: there is no object below it either.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                // The root may have been unmounted since the first check.
                return self.check().map(|()| None);
            }
            Err(error) => return Err(blame::at(path, error)),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        if metadata.nlink() > 1 {
            sync_directory(path.parent().expect("a key is below the root"))?;
        }
        Ok(Some((file, metadata)))
    }

    /// Every object below `prefix`. Each is durable by the time this returns.
    pub(super) fn list(&self, prefix: &str) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let mut prefixes = vec![prefix.to_owned()];
        while let Some(prefix) = prefixes.pop() {
            let directory = self.root.join(&prefix);
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    self.check()?;
                    continue;
                }
                Err(error) => return Err(blame::at(&directory, error)),
            };
            let mut doubtful = false;
            for entry in entries {
                let entry = entry?;
                // Names that are no keys belong to others, or are our staging files.
                let Some(key) = entry.file_name().to_str().map(|name| join(&prefix, name)) else {
                    continue;
                };
                if !key_is_legal(&key) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    prefixes.push(key);
                    continue;
                }
                let metadata = match entry.metadata() {
                    Ok(metadata) => metadata,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                if !metadata.is_file() {
                    continue;
                }
                doubtful |= metadata.nlink() > 1;
                if listed.len() == LIST_LEN_MAX {
                    let message = format!("more than {LIST_LEN_MAX} objects");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                }
                listed.push(Listed { key, len: metadata.size() });
            }
            if doubtful {
                sync_directory(&directory)?;
            }
        }
        Ok(listed)
    }

    pub(super) fn delete(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                self.check()
            }
            // A directory is no object, and deleting a missing object is fine.
            Err(_) if path.is_dir() => Ok(()),
            done => done.map_err(|error| blame::at(path, error)),
        }
    }

    /// Makes sure that `directory` exists, and that its name and those above it survive a crash.
    ///
    /// Existing is not enough: the process that created it may not have synced it.
    fn make_durable(&self, directory: &Path) -> io::Result<()> {
        if directory == self.root
            || self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(directory)
        {
            return Ok(());
        }
        let parent = directory.parent().expect("a directory of a key is below the root");
        self.make_durable(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !directory.is_dir() {
                    return Err(io::Error::new(
                        io::ErrorKind::NotADirectory,
                        "an object exists where a directory is needed",
                    ));
                }
            }
            done => done.map_err(|error| blame::at(directory, error))?,
        }
        sync_directory(parent)?;
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() == DURABLE_DIRECTORIES_MAX {
            durable.clear();
        }
        durable.insert(directory.to_owned());
        Ok(())
    }

    fn forget_durable(&self) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Creates the root if it is missing and its parent exists, and syncs the parent. Returns whether it created one.
pub(super) fn make_root(root: &Path) -> io::Result<bool> {
    match fs::create_dir(root) {
        // Something exists there: opening it reports what is wrong with it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        // The directory exists but can't be created: the file system is read-only, or we may not write to the parent.
        Err(_) if root.is_dir() => return Ok(false),
        done => done?,
    }
    let Some(parent) = root.parent() else { return Ok(true) };
    match sync_directory(parent) {
        // A parent that we may not read existed before.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
        done => done.map(|()| true),
    }
}

fn link_file(file: &Path, name: &Path) -> io::Result<()> {
    fs::hard_link(file, name)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| blame::at(directory, error))
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") }
}

/// The error for a create at a `path` that exists.
fn taken(path: &Path) -> io::Error {
    if path.is_dir() {
        io::Error::new(io::ErrorKind::IsADirectory, "it is the prefix of other objects")
    } else {
        io::Error::from(io::ErrorKind::AlreadyExists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree that links like this.
    fn tree(root: &Path, link: fn(&Path, &Path) -> io::Result<()>) -> Tree {
        Tree { link, ..Tree::open(root).unwrap() }
    }

    /// Runs `work` at the first link of an object of this root: a writer that is paused before it.
    fn paused_once(object: &Path, work: impl FnOnce(&Path)) {
        let root = object.parent().unwrap();
        if fs::create_dir(root.join(".paused")).is_ok() {
            work(root);
        }
    }

    #[test]
    fn a_link_that_was_reported_as_failed_but_happened_counts() {
        let root = tempfile::tempdir().unwrap();
        let tree = tree(root.path(), |file, name| {
            fs::hard_link(file, name)?;
            Err(io::ErrorKind::AlreadyExists.into())
        });
        tree.publish(&root.path().join("a"), b"mine", Publish::IfAbsent).unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"mine");
    }

    #[test]
    fn a_writer_whose_file_counted_as_a_leftover_writes_it_again() {
        let root = tempfile::tempdir().unwrap();
        let tree = tree(root.path(), |file, name| {
            paused_once(name, |root| Staging::below(root).clear_as_of(i64::MAX).unwrap());
            fs::hard_link(file, name)
        });
        tree.publish(&root.path().join("a"), b"mine", Publish::IfAbsent).unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"mine");
        assert!(root.path().join(".paused").exists());
    }

    #[test]
    fn a_paused_writer_never_publishes_the_bytes_of_another_process_with_its_id() {
        let root = tempfile::tempdir().unwrap();
        let tree = tree(root.path(), |file, name| {
            paused_once(name, |root| {
                fs::remove_file(file).unwrap();
                // It counts from zero, as this process did.
                Staging::below(root).write(b"another's").unwrap();
            });
            fs::hard_link(file, name)
        });
        tree.publish(&root.path().join("a"), b"mine", Publish::IfAbsent).unwrap();
        assert_eq!(fs::read(root.path().join("a")).unwrap(), b"mine");
    }

    #[test]
    fn the_object_of_another_process_is_no_success() {
        let root = tempfile::tempdir().unwrap();
        let tree = tree(root.path(), |file, name| {
            fs::write(name, b"another's").unwrap();
            fs::hard_link(file, name.with_extension("other")).unwrap();
            fs::hard_link(file, name)
        });
        let lost = tree.publish(&root.path().join("a"), b"mine", Publish::IfAbsent).unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::AlreadyExists);
    }
}
