//! Staging files: bytes written and synced under a name of their own before they get the name that counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::blame;

/// Staging files older than this belong to nobody. A slower writer finds its file gone, fails, and tries again.
const STAGING_AGE_MAX_SECONDS: i64 = 3_600;

/// Names tried for one staging file. A taken name is one left by a dead process with our process id.
const STAGING_NAMES_MAX: usize = 100_000;

/// Where this process puts its staging files.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    next: AtomicU64,
    /// Whether this process has cleared what others left.
    cleared: AtomicBool,
}

/// A staging file, complete and synced.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
}

impl Staging {
    /// Where they will be. Nothing is made before something is written.
    pub(super) fn below(root: &Path) -> Self {
        let directory = root.join(".staging");
        Self { directory, next: AtomicU64::new(0), cleared: AtomicBool::new(false) }
    }

    /// Writes and syncs `body` under a new name. The directory isn't synced: nobody needs this name after a crash.
    pub(super) fn write(&self, body: &[u8]) -> io::Result<Staged> {
        if !self.cleared.swap(true, Ordering::Relaxed)
            && let Err(error) = self.make().and_then(|()| self.clear())
        {
            self.cleared.store(false, Ordering::Relaxed);
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
                // Not made by this process yet, or removed by somebody.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make()?,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free staging name"))
    }

    /// Removes what dead processes left, judged by the file system's own clock.
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
            // A second name says that a published object may not be durable yet. It must be before the sign goes.
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

    /// Whether it has another name besides this one: then a link that was reported failed did happen (NFS).
    pub(super) fn is_linked(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.nlink() > 1)
    }

    /// Removes the staging name. A name that stays is cleared at a later opening.
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
    fn old_leftovers_are_cleared_and_fresh_ones_kept() {
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
        // Linked: as a process leaves it that dies before it could sync the directory.
        fs::hard_link(old.path(), root.path().join("object")).unwrap();

        Staging::below(root.path()).write(b"new").unwrap();
        // The name may be in use again, the file isn't.
        assert_eq!(fs::metadata(root.path().join("object")).unwrap().nlink(), 1);
        assert!(fresh.path().exists());
        assert_eq!(fs::read(root.path().join("object")).unwrap(), b"old");
    }

    #[test]
    fn names_left_by_a_dead_process_with_our_id_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let left = Staging::below(root.path()).write(b"left").unwrap();
        // A second opening counts from zero again, like a new process with the same id.
        let mine = Staging::below(root.path()).write(b"mine").unwrap();
        assert_eq!(fs::read(left.path()).unwrap(), b"left");
        assert_eq!(fs::read(mine.path()).unwrap(), b"mine");
    }
}
