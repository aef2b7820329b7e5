//! Errors of the file system, extended with the path, what is wrong with it, and what to do.
//!
//! The kind of each error is kept: it decides what the caller may do.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;

/// The error for a directory that can't be opened.
pub(super) fn opening(root: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        match culprit(root) {
            Some(why) if why.ends_with(ABSENT) => format!("{why}{IF_ABSENT}"),
            Some(why) => why,
            None => said(root, error),
        },
    )
}

/// The error for a directory that can't be created.
pub(super) fn making(root: &Path, error: &io::Error) -> io::Error {
    let above = root.parent().unwrap_or(root);
    io::Error::new(
        error.kind(),
        match culprit(above) {
            Some(why) => format!(
                "{why}; only {} itself would be created: create the directory above it, or mount its file system",
                root.display()
            ),
            None => match culprit(root) {
                Some(why) if error.kind() != io::ErrorKind::PermissionDenied => why,
                Some(_) | None => said(root, error),
            },
        },
    )
}

/// What is wrong with a missing path, and what to do about it.
const ABSENT: &str = " doesn't exist";
const IF_ABSENT: &str = "; check the path, and that its file system is mounted. For a new store, make the directory first";

/// The error about a path below the root.
pub(super) fn at(path: &Path, error: io::Error) -> io::Error {
    // One of our own errors, or extended already.
    if error.get_ref().is_some() {
        return error;
    }
    io::Error::new(error.kind(), said(path, &error))
}

/// The error when a hard link failed. A link is the only way to create a name only if it is free.
pub(super) fn linking(path: &Path, error: io::Error) -> io::Error {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let no_links =
        [Errno::PERM, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::MLINK, Errno::XDEV];
    if !errno.is_some_and(|errno| no_links.contains(&errno)) {
        return at(path, error);
    }
    let why = format!(
        "{}: its file system has no hard links ({error}), and creating an object only once needs them; use ext4, XFS, \
         Btrfs, ZFS or NFS, not FAT, exFAT or a bucket mounted as a directory",
        path.display()
    );
    // Always a refusal: only the operator can change it.
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn said(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of io::Error are open-ended")]
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{shown}: not permitted ({error}){}", who_may(path))
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("{shown}: its file system is read-only; mount it for writing")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("{shown}: no space is left ({error}); free some")
        }
        _ => format!("{shown}: {error}"),
    }
}

/// The owner of a path and the user of this process, for chown or chmod.
fn who_may(path: &Path) -> String {
    let Some((place, metadata)) =
        path.ancestors().find_map(|place| Some((place, fs::metadata(place).ok()?)))
    else {
        return String::new();
    };
    format!(
        "; {} belongs to uid {}, gid {} with mode {:o}, this process is uid {}, gid {}: use chown or chmod, or run as \
         another user",
        place.display(),
        metadata.uid(),
        metadata.gid(),
        metadata.mode() & 0o7777,
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

/// The first part of a path that is no readable directory, and why.
fn culprit(path: &Path) -> Option<String> {
    let mut parts: Vec<_> = path.ancestors().collect();
    parts.reverse();
    for part in parts {
        let shown = part.display();
        match fs::metadata(part) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Some(format!("{shown} is a file, not a directory; name a directory")),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Some(said(part, &error));
            }
            Err(error) => {
                return Some(match fs::read_link(part) {
                    Ok(target) => format!(
                        "{shown} is a symbolic link to {}, which can't be followed ({error}); fix or remove the link",
                        target.display()
                    ),
                    Err(_) if error.kind() == io::ErrorKind::NotFound => format!("{shown}{ABSENT}"),
                    Err(_) => said(part, &error),
                });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_first_wrong_part_of_a_path() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        for (name, part, why) in [
            ("missing/deep/er", "missing", "doesn't exist"),
            ("file", "file", "is a file"),
            ("file/below", "file", "is a file"),
            ("dangling", "dangling", "is a symbolic link to nowhere"),
            ("dangling/below", "dangling", "is a symbolic link to nowhere"),
            ("loop", "loop", "is a symbolic link to loop"),
        ] {
            let said = culprit(&at(name)).expect(name);
            assert!(said.starts_with(&format!("{} {why}", at(part).display())), "{said}");
        }
        assert_eq!(culprit(root.path()), None);
    }

    #[test]
    fn a_file_system_without_hard_links_is_reported_for_each_error_number() {
        for errno in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV] {
            let error = linking(Path::new("/mnt/stick/epochs/1"), errno.into());
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            let said = error.to_string();
            assert!(
                said.starts_with("/mnt/stick/epochs/1: its file system has no hard links"),
                "{said}"
            );
        }
        let denied = linking(Path::new("/"), Errno::ACCESS.into()).to_string();
        assert!(denied.starts_with("/: not permitted (Permission denied"), "{denied}");
        assert!(denied.contains("belongs to uid 0"), "{denied}");
    }
}
