//! Values read from files, and read again when the files change.
//!
//! The contents are compared, not the times of modification: those lie (`cp -p`, a coarse clock, a replaced link), and the files are small.
//!
//! Invariants:
//!
//! * The current value is always one that could be used.
//! * A file that can't be used is reported once, not with every look.

use core::time::Duration;
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::SystemTime,
};

use aws_lc_rs::digest::{self, Digest, SHA256};
use tokio::time::{Instant, sleep};

/// How often the files are read.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Largest file, in bytes.
pub const FILE_LEN_MAX: u64 = 1 << 20;
/// How often the same warning about a value in use is logged.
const WARN_EVERY: Duration = Duration::from_secs(6 * 3600);

/// A file can't be used. The text is for the operator, and shows nothing of a key or a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {why}")]
pub struct Unusable {
    /// Which file.
    pub file: String,
    /// Why.
    pub why: String,
}

impl Unusable {
    pub(crate) fn new(file: &Path, why: impl Into<String>) -> Self {
        Self { file: file.display().to_string(), why: why.into() }
    }
}

/// What can be read from files.
pub(crate) trait FromFiles: Sized + Send + Sync + 'static {
    /// What it is, in the plural, for logs.
    const WHAT: &'static str;

    /// Reads it from the contents of the files, in the order in which they were given.
    fn read(files: &[(PathBuf, Vec<u8>)]) -> Result<Self, Unusable>;

    /// What an operator must be told of the value that is in use, if anything.
    fn warning(&self, now: SystemTime) -> Option<String>;
}

/// A value that follows its files as long as this exists.
#[derive(Debug)]
pub(crate) struct Watched<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    files: Vec<PathBuf>,
    current: RwLock<Arc<T>>,
}

impl<T: FromFiles> Watched<T> {
    /// Reads the files, and starts the task that follows them.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub(crate) fn open(files: Vec<PathBuf>) -> Result<Self, Unusable> {
        let contents = read_all(&files)?;
        let current = T::read(&contents)?;
        let inner = Arc::new(Inner { files, current: RwLock::new(Arc::new(current)) });
        let follow = Follow { seen: digest_of(&contents), warned: None, trouble: None };
        tokio::spawn(follow.run(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// The newest value that could be used.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the task remembers.
struct Follow {
    /// The digest of the contents that were read last. Not the contents: one of them may be a key.
    seen: Digest,
    warned: Option<Instant>,
    /// Why the files can't be read at all, if they can't.
    trouble: Option<Unusable>,
}

impl Follow {
    async fn run<T: FromFiles>(mut self, watched: Weak<Inner<T>>) {
        loop {
            let Some(inner) = watched.upgrade() else { return };
            self.warn(&*Arc::clone(&inner.current.read().unwrap_or_else(PoisonError::into_inner)));
            // In a thread of its own: a file may be on a mount that hangs.
            let looking = tokio::task::spawn_blocking(move || (read_all(&inner.files), inner));
            let Ok((contents, inner)) = looking.await else { return };
            self.take(&inner, contents);
            drop(inner);
            sleep(LOOK_EVERY).await;
        }
    }

    fn take<T: FromFiles>(&mut self, inner: &Inner<T>, contents: Result<Contents, Unusable>) {
        let contents = match contents {
            Ok(contents) => contents,
            Err(error) => {
                if self.trouble.as_ref() != Some(&error) {
                    tracing::warn!(%error, "{} can't be read again; the earlier ones stay in use", T::WHAT);
                }
                self.trouble = Some(error);
                return;
            }
        };
        self.trouble = None;
        let digest = digest_of(&contents);
        if digest.as_ref() == self.seen.as_ref() {
            return;
        }
        self.seen = digest;
        match T::read(&contents) {
            Ok(value) => {
                *inner.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                self.warned = None;
                tracing::info!(files = ?inner.files, "{} have changed; the new ones are in use", T::WHAT);
            }
            Err(error) => {
                tracing::warn!(%error, "changed {} can't be used; the earlier ones stay in use", T::WHAT);
            }
        }
    }

    fn warn<T: FromFiles>(&mut self, value: &T) {
        if self.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        if let Some(why) = value.warning(SystemTime::now()) {
            self.warned = Some(Instant::now());
            tracing::warn!(why, "{} need attention", T::WHAT);
        }
    }
}

type Contents = Vec<(PathBuf, Vec<u8>)>;

fn read_all(files: &[PathBuf]) -> Result<Contents, Unusable> {
    files.iter().map(|path| Ok((path.clone(), read_one(path)?))).collect()
}

fn read_one(path: &Path) -> Result<Vec<u8>, Unusable> {
    let mut contents = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut contents));
    match read {
        Ok(length) if length as u64 > FILE_LEN_MAX => {
            Err(Unusable::new(path, format!("it is larger than {FILE_LEN_MAX} bytes")))
        }
        Ok(_) => Ok(contents),
        Err(error) => Err(Unusable::new(path, error.to_string())),
    }
}

fn digest_of(contents: &Contents) -> Digest {
    let mut context = digest::Context::new(&SHA256);
    for (_, bytes) in contents {
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    }
    context.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a number.
    #[derive(Debug)]
    struct Number(u32);

    impl FromFiles for Number {
        const WHAT: &'static str = "numbers";

        fn read(files: &[(PathBuf, Vec<u8>)]) -> Result<Self, Unusable> {
            let (path, bytes) = &files[0];
            let text = core::str::from_utf8(bytes).unwrap_or_default();
            text.trim().parse().map(Self).map_err(|_error| Unusable::new(path, "no number"))
        }

        fn warning(&self, _: SystemTime) -> Option<String> {
            None
        }
    }

    async fn becomes(watched: &Watched<Number>, number: u32) {
        let looks = async {
            while watched.current().0 != number {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LOOK_EVERY * 10, looks).await.expect("it is read again");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_broken_one_leaves_the_value_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let watched = Watched::<Number>::open(vec![path.clone()]).unwrap();
        assert_eq!(watched.current().0, 1);
        // By rename, as most tools replace files; the time of modification goes back.
        let other = folder.path().join("other");
        std::fs::write(&other, "2").unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        File::options().write(true).open(&other).unwrap().set_modified(old).unwrap();
        std::fs::rename(&other, &path).unwrap();
        becomes(&watched, 2).await;
        std::fs::write(&path, "two").unwrap();
        sleep(LOOK_EVERY + Duration::from_secs(1)).await;
        assert_eq!(watched.current().0, 2);
        std::fs::remove_file(&path).unwrap();
        sleep(LOOK_EVERY + Duration::from_secs(1)).await;
        assert_eq!(watched.current().0, 2);
        std::fs::write(&path, "3").unwrap();
        becomes(&watched, 3).await;
    }

    #[tokio::test]
    async fn a_file_that_is_missing_or_too_large_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        let error = Watched::<Number>::open(vec![path.clone()]).unwrap_err();
        assert!(error.to_string().contains("number: No such file"), "{error}");
        File::create(&path).unwrap().set_len(FILE_LEN_MAX + 1).unwrap();
        let error = Watched::<Number>::open(vec![path]).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }
}
