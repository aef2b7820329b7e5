//! Versions of the wire, and how two ends agree on one.
//!
//! A process speaks a range of versions. The opener's hello names its newest and, in the header, its oldest; the host takes
//! the newest version that both speak, and names it in the header of its welcome. `docs/design/0029-versions-of-the-wire.md`
//! says why this is understood by hosts and clients from before the range.
//!
//! Invariants:
//!
//! * A hello, a welcome and a refusal have one encoding in all versions.
//! * After the handshake both ends speak the same version, and both speak it.

use core::fmt;

/// The version of everything in [`frame`](super). It is raised when the encoding of something that exists changes; a new
/// message, or a new mode of calls, needs no new version, because a host refuses by name what it doesn't know.
pub const NEWEST: u16 = 4;
/// The oldest version that is still spoken: that of the previous release.
pub const OLDEST: u16 = 3;

/// A range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
}

impl Versions {
    /// What this process speaks.
    #[must_use]
    pub fn spoken() -> Self {
        match only() {
            None => Self { oldest: OLDEST, newest: NEWEST },
            Some(version) => Self { oldest: version, newest: version },
        }
    }

    /// The newest version in both ranges.
    #[must_use]
    pub fn shared_with(self, other: Self) -> Option<u16> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }

    /// Whether it is in the range.
    pub(crate) const fn has(self, version: u16) -> bool {
        self.oldest <= version && version <= self.newest
    }

    /// The range of a hello with this version, and this id in its header. Before there were ranges the id was 0.
    pub(super) fn from_hello(newest: u16, id: u64) -> Self {
        match u16::try_from(id) {
            Ok(oldest) if oldest > 0 && oldest <= newest && only().is_none() => {
                Self { oldest, newest }
            }
            Ok(_) | Err(_) => Self { oldest: newest, newest },
        }
    }
}

/// `version 4`, or `versions 3 to 4`.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oldest, newest } = self;
        if oldest == newest {
            write!(f, "version {newest}")
        } else {
            write!(f, "versions {oldest} to {newest}")
        }
    }
}

/// The id in the header of a first frame that says this version.
pub(super) fn in_header(version: u16) -> u64 {
    if only().is_none() { u64::from(version) } else { 0 }
}

/// The only version that this process speaks, in the way of a build from before there were ranges: a switch for tests of
/// clusters with two versions. Not in a release.
#[cfg(debug_assertions)]
static ONLY: core::sync::atomic::AtomicU16 = core::sync::atomic::AtomicU16::new(0);

/// From now on this process speaks this version only, and doesn't know of ranges.
#[cfg(debug_assertions)]
pub fn speak_only(version: u16) {
    ONLY.store(version, core::sync::atomic::Ordering::Relaxed);
}

#[cfg(debug_assertions)]
fn only() -> Option<u16> {
    let version = ONLY.load(core::sync::atomic::Ordering::Relaxed);
    (version > 0).then_some(version)
}

#[cfg(not(debug_assertions))]
const fn only() -> Option<u16> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(oldest: u16, newest: u16) -> Versions {
        Versions { oldest, newest }
    }

    #[test]
    fn two_ranges_share_their_newest_common_version() {
        assert_eq!(range(3, 4).shared_with(range(3, 4)), Some(4));
        assert_eq!(range(3, 4).shared_with(range(4, 7)), Some(4));
        assert_eq!(range(5, 7).shared_with(range(3, 6)), Some(6));
        assert_eq!(range(3, 4).shared_with(range(5, 6)), None);
        assert_eq!(range(5, 6).shared_with(range(3, 4)), None);
    }

    #[test]
    fn a_hello_without_a_usable_oldest_version_speaks_one_version() {
        assert_eq!(Versions::from_hello(5, 4), range(4, 5));
        for id in [0, 6, u64::from(u16::MAX) + 4] {
            assert_eq!(Versions::from_hello(5, id), range(5, 5), "id {id}");
        }
    }
}
