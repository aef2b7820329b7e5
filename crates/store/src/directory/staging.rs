//! Staging files: bytes written and synced under a temporary name before they get their final name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::blame;

/// Staging files older than this are leftovers. A slower writer finds its file missing, fails, and tries again.
const STAGING_AGE_MAX_SECONDS: i64 = 600;

/// How often a process that writes removes leftovers: it reads one small directory.
const CLEAR_EVERY: Duration = Duration::from_secs(300);

/// Names tried for one staging file. A name is taken if a dead process with our process id left it.
const STAGING_NAMES_MAX: usize = 100_000;

/// The staging files of this process.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    next: AtomicU64,
    /// When this process removed leftovers of others.
    cleared: Mutex<Option<Instant>>,
}

/// A staging file, complete and synced.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
}

impl Staging {
    /// Staging below this root. Creates nothing before the first write.
    pub(super) fn below(root: &Path) -> Self {
        let directory = root.join(".staging");
        Self { directory, next: AtomicU64::new(0), cleared: Mutex::new(None) }
    }

    /// Writes and syncs `body` under a new name. The directory isn't synced: the name isn't needed after a crash.
    pub(super) fn write(&self, body: &[u8]) -> io::Result<Staged> {
        if self.is_due()
            && let Err(error) = self.make().and_then(|()| self.clear())
        {
            *self.cleared() = None;
            return Err(blame::at(&self.directory, error));
        }
        let (mut file, path) = self.create().map_err(|error| blame::at(&self.directory, error))?;
        let staged = Staged { path };
        match file.write_all(body).and_then(|()| file.sync_all()) {
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

    fn create(&self) -> io::Result<(File, PathBuf)> {
        for _ in 0..STAGING_NAMES_MAX {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.directory.join(format!("{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, path)),
                // Left by an earlier process with our id, or in use by one in another container.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Not created yet, or removed from outside.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make()?,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free staging name"))
    }

    /// Removes the leftovers of dead processes; their age is measured with the file system's own clock.
    fn clear(&self) -> io::Result<()> {
        let (file, path) = self.create()?;
        let now = file.metadata()?.mtime();
        Staged { path }.discard();
        let mut synced = false;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            if now - metadata.mtime() < STAGING_AGE_MAX_SECONDS {
                continue;
            }
            // A second name means that a published object may not be durable yet. Sync before this mark is removed.
            if metadata.nlink() > 1 && !synced {
                rustix::fs::sync();
                synced = true;
            }
            Staged { path: entry.path() }.discard();
        }
        Ok(())
    }
}

impl Staged {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has a second name: then a link that was reported as failed did happen (NFS).
    pub(super) fn is_linked(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.nlink() > 1)
    }

    /// Removes the staging name. If that fails, a later process removes it.
    pub(super) fn discard(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "staging file not removed; a later start removes it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_leftovers_are_removed_and_new_ones_kept() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::below(root.path());
        let old = staging.write(b"old").unwrap();
        let fresh = staging.write(b"fresh").unwrap();
        let two_hours_ago = rustix::fs::Timespec {
            tv_sec: fs::metadata(old.path()).unwrap().mtime() - 7_200,
            tv_nsec: 0,
        };
        let times =
            rustix::fs::Timestamps { last_access: two_hours_ago, last_modification: two_hours_ago };
        rustix::fs::utimensat(rustix::fs::CWD, old.path(), &times, rustix::fs::AtFlags::empty())
            .unwrap();
        // Linked, as if a process died before it synced the directory.
        fs::hard_link(old.path(), root.path().join("object")).unwrap();

        Staging::below(root.path()).write(b"new").unwrap();
        // The name may be in use again, but the old file must be unlinked.
        assert_eq!(fs::metadata(root.path().join("object")).unwrap().nlink(), 1);
        assert!(fresh.path().exists());
        assert_eq!(fs::read(root.path().join("object")).unwrap(), b"old");
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
    fn names_left_by_a_dead_process_with_our_id_are_skipped() {
        let root = tempfile::tempdir().unwrap();
        let left = Staging::below(root.path()).write(b"left").unwrap();
        // A second opening counts from zero again, like a new process with the same id.
        let mine = Staging::below(root.path()).write(b"mine").unwrap();
        assert_eq!(fs::read(left.path()).unwrap(), b"left");
        assert_eq!(fs::read(mine.path()).unwrap(), b"mine");
    }
}
