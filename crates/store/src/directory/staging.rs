//! Staging files: bytes written and synced under a temporary name before they get their final name.
//!
//! A second name of a staging file is a mark: the published object may not be durable yet, and its readers sync. So:
//!
//! * *A name is never used again*, by no process and in no container, so that a writer that was paused for as long as
//!   it likes can't publish another's bytes.
//! * *A leftover gets a new name before it is looked at.* Its writer, if it goes on, can't link it any more. It is removed
//!   a while later, because a link may have been under way, and after a sync if it has a second name.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::blame;

/// Staging files older than this are leftovers. A slower writer finds its file missing, and writes it again.
const STAGING_AGE_MAX_SECONDS: i64 = 600;

/// How long a leftover keeps its new name before it is removed. No system call takes that long on a disk that works.
const LINK_MAX_SECONDS: i64 = 60;

/// How often a process that writes removes leftovers: it reads one small directory.
const CLEAR_EVERY: Duration = Duration::from_secs(300);

/// Most leftovers that are removed at a time.
const LEFTOVERS_MAX: usize = 10_000;

/// Tries to create a staging file in a directory that keeps being removed from outside.
const CREATE_TRIES_MAX: usize = 3;

/// Names of leftovers begin with this.
const LEFTOVER: &str = "old-";

/// The staging files of this process.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    /// Random: process ids repeat, in each container from 1.
    own: u64,
    next: AtomicU64,
    /// When this process removed leftovers of others.
    cleared: Mutex<Option<Instant>>,
}

/// A staging file, complete and synced.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
    /// Open, so that its inode stays its own.
    file: File,
}

impl Staging {
    /// Staging below this root. Creates nothing before the first write.
    pub(super) fn below(root: &Path) -> Self {
        let own = RandomState::new().hash_one(std::process::id());
        let (directory, next) = (root.join(".staging"), AtomicU64::new(0));
        Self { directory, own, next, cleared: Mutex::new(None) }
    }

    /// Writes and syncs `body` under a new name. The directory isn't synced: the name isn't needed after a crash.
    pub(super) fn write(&self, body: &[u8]) -> io::Result<Staged> {
        if self.is_due()
            && let Err(error) = self.make().and_then(|()| self.clear())
        {
            *self.cleared() = None;
            return Err(blame::at(&self.directory, error));
        }
        let mut staged = self.create().map_err(|error| blame::at(&self.directory, error))?;
        match staged.file.write_all(body).and_then(|()| staged.file.sync_all()) {
            Ok(()) => Ok(staged),
            Err(error) => {
                staged.discard();
                Err(error)
            }
        }
    }

    fn cleared(&self) -> MutexGuard<'_, Option<Instant>> {
        self.cleared.lock().expect("nothing panics under this lock")
    }

    /// Whether leftovers are to be removed now. If so, it is up to this caller.
    fn is_due(&self) -> bool {
        let mut cleared = self.cleared();
        let due = cleared.is_none_or(|cleared| cleared.elapsed() >= CLEAR_EVERY);
        if due {
            *cleared = Some(Instant::now());
        }
        due
    }

    fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.directory) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && self.directory.is_dir() =>
            {
                Ok(())
            }
            done => done,
        }
    }

    /// A name that no other file has or had.
    fn name(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{:016x}-{number}", std::process::id(), self.own)
    }

    fn create(&self) -> io::Result<Staged> {
        for _ in 0..CREATE_TRIES_MAX {
            let path = self.directory.join(self.name());
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Staged { path, file }),
                // Not created yet, or removed from outside.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make()?,
                // Our own request, sent twice (NFS). It says nothing about the object.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no staging file can be created"))
    }

    /// Removes the leftovers of dead processes; their age is measured with the file system's own clock.
    fn clear(&self) -> io::Result<()> {
        let staged = self.create()?;
        let now = staged.file.metadata()?.mtime();
        staged.discard();
        self.clear_as_of(now)
    }

    /// Gives old files a new name, and removes those that got theirs long enough ago.
    pub(super) fn clear_as_of(&self, now: i64) -> io::Result<()> {
        let (mut leftovers, mut linked) = (Vec::new(), false);
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            if entry.file_name().to_string_lossy().starts_with(LEFTOVER) {
                // The rename set this time.
                if now - metadata.ctime() >= LINK_MAX_SECONDS && leftovers.len() < LEFTOVERS_MAX {
                    linked |= metadata.nlink() > 1;
                    leftovers.push(entry.path());
                }
            } else if now - metadata.mtime() >= STAGING_AGE_MAX_SECONDS {
                self.set_aside(&entry.path());
            }
        }
        // A second name means that a published object may not be durable yet. Sync before this mark is removed.
        if linked {
            rustix::fs::sync();
        }
        for leftover in leftovers {
            remove(&leftover);
        }
        Ok(())
    }

    /// Takes a leftover's name away, so that its writer can't link it.
    fn set_aside(&self, path: &Path) {
        let aside = self.directory.join(format!("{LEFTOVER}{}", self.name()));
        if let Err(error) = fs::rename(path, aside) {
            // Its writer or another process was first.
            tracing::debug!(path = %path.display(), %error, "leftover staging file not renamed");
        }
    }
}

impl Staged {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the object at this path is this very file: then a link or rename that was reported as failed did happen
    /// (NFS).
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let (Ok(own), Ok(there)) = (self.file.metadata(), fs::symlink_metadata(path)) else {
            return false;
        };
        (own.dev(), own.ino()) == (there.dev(), there.ino())
    }

    /// Whether its staging name is gone: another process took it for a leftover.
    pub(super) fn is_gone(&self) -> bool {
        fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Removes the staging name. If that fails, a later process removes it.
    pub(super) fn discard(self) {
        let Self { path, file } = self;
        // NFS keeps the name of an open file.
        drop(file);
        remove(&path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "staging file not removed; a later start removes it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(staging: &Staging) -> usize {
        fs::read_dir(&staging.directory).unwrap().count()
    }

    #[test]
    fn old_leftovers_are_removed_and_new_ones_kept() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::below(root.path());
        let old = staging.write(b"old").unwrap();
        // Linked, as if a process died before it synced the directory.
        let object = root.path().join("object");
        fs::hard_link(old.path(), &object).unwrap();
        let links = || fs::metadata(&object).unwrap().nlink();
        let now = old.file.metadata().unwrap().ctime();

        staging.clear_as_of(now + STAGING_AGE_MAX_SECONDS - 1).unwrap();
        assert!(!old.is_gone(), "its writer may live");
        staging.clear_as_of(now + STAGING_AGE_MAX_SECONDS).unwrap();
        assert!(old.is_gone());
        assert_eq!(links(), 2, "the mark stays until a link under way has ended");
        let renamed_at = fs::metadata(&object).unwrap().ctime();
        staging.clear_as_of(renamed_at + LINK_MAX_SECONDS - 1).unwrap();
        assert_eq!(links(), 2);
        let fresh = staging.write(b"fresh").unwrap();
        staging.clear_as_of(renamed_at + LINK_MAX_SECONDS).unwrap();
        assert_eq!(links(), 1);
        assert!(!fresh.is_gone());
        assert_eq!(fs::read(&object).unwrap(), b"old");
        assert_eq!(count(&staging), 1, "only the fresh file");
    }

    #[test]
    fn a_writer_that_goes_on_can_not_link_what_is_about_to_be_removed() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::below(root.path());
        let paused = staging.write(b"paused").unwrap();
        let now = paused.file.metadata().unwrap().ctime();
        staging.clear_as_of(now + STAGING_AGE_MAX_SECONDS).unwrap();
        assert_eq!(count(&staging), 1, "it is still there, with another name");
        let error = fs::hard_link(paused.path(), root.path().join("object")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_goes_on_looks_for_leftovers_again() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::below(root.path());
        assert!(staging.is_due(), "at the first write");
        assert!(!staging.is_due());
        tokio::time::advance(CLEAR_EVERY).await;
        assert!(staging.is_due());
        assert!(!staging.is_due());
    }

    #[test]
    fn a_name_is_never_used_again_by_another_process_with_our_id() {
        let root = tempfile::tempdir().unwrap();
        let first = Staging::below(root.path()).write(b"first").unwrap();
        fs::remove_file(first.path()).unwrap();
        // A second opening counts from zero again, like a process in another container.
        let second = Staging::below(root.path()).write(b"second").unwrap();
        assert_ne!(first.path(), second.path());
        assert!(first.is_gone());
        // Nor does a file count as ours because of its name.
        fs::hard_link(second.path(), root.path().join("object")).unwrap();
        assert!(!first.is_at(&root.path().join("object")));
        assert!(second.is_at(&root.path().join("object")));
    }
}
