//! Versions of kinds: what a host can read, and what may be in a slot.
//!
//! A host declares the versions of its kinds when it asks to join, and reads states of these and of older ones. A slot may hold
//! states of every version that a host which had it could write: that is its *need*. While a host has a slot, the need
//! is the host's own versions and what the record says besides: what the owner can't read (`unread`).
//!
//! A kind that a host lacks counts as version 0. Except for a kind with shards: a host that lacks it may have slots that hold
//! no shard of it, because [`crate::epoch::spread`] places the shards.
//!
//! Invariants:
//!
//! * The need of a slot never gets smaller, unless a program that doesn't know versions wrote the record.
//! * What is recorded of a slot is what its owner can't read of the need, and nothing else.
//! * A slot goes to a host that can't read it only if no host that takes slots can.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
};
use core::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    epoch::{
        domain::DomainState,
        record::{EpochRecord, HostEntry},
    },
    ids::{KIND_LEN_MAX, SessionId, Slot},
};

mod reading;

pub use self::reading::Reading;

/// Most kinds of one host.
pub const KINDS_MAX: usize = 1_024;
/// Most versions in one record: the kinds of every distinct set of versions that hosts have.
pub const VERSIONS_MAX: usize = 16_384;

/// By kind, a version: what a host can read and write, or what may be in a slot. A clone copies a pointer, because hosts
/// mostly have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindVersions(Arc<BTreeMap<String, u32>>);

/// By slot, what its owner can't read of what may be in it.
pub type Unread = BTreeMap<Slot, KindVersions>;

impl KindVersions {
    /// Whether there is no kind in it. Of a host: nothing is known of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The version of a kind; 0 for one that isn't there.
    #[must_use]
    pub fn of(&self, kind: &str) -> u32 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Whether a kind is there.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    /// All kinds and their versions, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(kind, &version)| (kind.as_str(), version))
    }

    /// Whether every kind of `need` is there in that version or a newer one.
    #[must_use]
    pub fn covers(&self, need: &Self) -> bool {
        Arc::ptr_eq(&self.0, &need.0) || need.iter().all(|(kind, version)| version <= self.of(kind))
    }

    /// The newer version of each kind.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        if self.covers(other) {
            return self.clone();
        }
        if other.covers(self) {
            return other.clone();
        }
        let mut all = BTreeMap::clone(&self.0);
        for (kind, version) in other.iter() {
            let known = all.entry(kind.into()).or_default();
            *known = version.max(*known);
        }
        Self(Arc::new(all))
    }

    /// Checks the names and the number of kinds.
    ///
    /// # Errors
    ///
    /// A sentence naming the broken rule.
    pub fn check(&self) -> Result<(), String> {
        if self.len() > KINDS_MAX {
            return Err(format!("{} kinds, more than the limit of {KINDS_MAX}", self.len()));
        }
        match self.0.keys().find(|kind| kind.is_empty() || kind.len() > KIND_LEN_MAX) {
            Some(kind) => {
                Err(format!("the name of a kind has {} bytes: use 1 to {KIND_LEN_MAX}", kind.len()))
            }
            None => Ok(()),
        }
    }
}

impl Ord for KindVersions {
    fn cmp(&self, other: &Self) -> Ordering {
        // Thousands of hosts have the same.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for KindVersions {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Into<String>> FromIterator<(K, u32)> for KindVersions {
    fn from_iter<T: IntoIterator<Item = (K, u32)>>(versions: T) -> Self {
        let versions = versions.into_iter().map(|(kind, version)| (kind.into(), version));
        Self(Arc::new(versions.collect()))
    }
}

/// For example `version 2 of kind cart, version 1 of kind order`.
impl fmt::Display for KindVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (kind, version) in self.iter() {
            write!(f, "{comma}version {version} of kind {kind}")?;
            comma = ", ";
        }
        if comma.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

impl Serialize for KindVersions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KindVersions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(|versions| Self(Arc::new(versions)))
    }
}

/// Checks that the distinct versions of hosts fit into one record.
///
/// # Errors
///
/// A sentence naming the limit.
pub(super) fn check_total<'a>(hosts: impl Iterator<Item = &'a HostEntry>) -> Result<(), String> {
    let distinct: BTreeSet<&KindVersions> = hosts.map(|host| &host.versions).collect();
    let total: usize = distinct.into_iter().map(KindVersions::len).sum();
    if total > VERSIONS_MAX {
        return Err(format!(
            "hosts declare {total} different versions of kinds, more than the limit of {VERSIONS_MAX}"
        ));
    }
    Ok(())
}

impl EpochRecord {
    /// The versions of the host that has a session open.
    #[must_use]
    pub fn versions_of(&self, session: SessionId) -> KindVersions {
        self.host_of(session).map(|(_, host)| host.versions.clone()).unwrap_or_default()
    }

    /// Whether every host can read every slot: all have the same versions, and nothing is recorded besides.
    #[must_use]
    pub fn reads_alike(&self) -> bool {
        are_equal(self.hosts.values()) && self.has_no_unread()
    }

    pub(super) fn has_no_unread(&self) -> bool {
        self.domains.values().all(|domain| domain.unread.is_empty())
    }

    /// Checks what is recorded of slots: it is what the owner can't read.
    pub(super) fn check_unread(&self) -> Result<(), String> {
        for (id, domain) in &self.domains {
            if domain.state == DomainState::Removed && !domain.unread.is_empty() {
                return Err(format!("domain {} is removed, and has unread slots", id.0));
            }
            for (slot, unread) in &domain.unread {
                if slot.0 >= self.slot_count {
                    return Err(format!("{slot} is unread, of {} slots", self.slot_count));
                }
                unread.check().map_err(|why| format!("{slot}: {why}"))?;
                let owner = domain.slots.holding(*slot).owner;
                let own = owner.map(|owner| self.versions_of(owner.session)).unwrap_or_default();
                if unread.is_empty() || unread.iter().any(|(kind, version)| version <= own.of(kind))
                {
                    return Err(format!("{slot}: its owner can read what is said to be unread"));
                }
            }
        }
        Ok(())
    }

    /// Checks that no need got smaller since `previous`.
    pub(super) fn needs_follow(&self, previous: &Self) -> Result<(), String> {
        let hosts = self.hosts.values();
        let all_served = self
            .domains
            .values()
            .all(|domain| domain.slots.distinct().iter().all(|holding| holding.owner.is_some()));
        let alike = are_equal(previous.hosts.values().chain(hosts.clone()));
        if alike && all_served && previous.has_no_unread() {
            return Ok(());
        }
        // Written by a program that doesn't know versions.
        let knows_none =
            !self.hosts.is_empty() && hosts.clone().all(|host| host.versions.is_empty());
        if knows_none && self.has_no_unread() {
            return Ok(());
        }
        for (&id, after) in &self.domains {
            if !previous.domains.contains_key(&id) || after.state == DomainState::Removed {
                continue;
            }
            let reading = Reading::with_shards(previous, id, &self.shards);
            reading
                .check_kept(after, |session| self.versions_of(session))
                .map_err(|why| format!("domain {}: {why}", id.0))?;
        }
        Ok(())
    }
}

/// Whether all of these hosts have the same versions.
pub(super) fn are_equal<'a>(mut hosts: impl Iterator<Item = &'a HostEntry>) -> bool {
    let Some(first) = hosts.next() else { return true };
    hosts.all(|host| host.versions == first.versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(all: &[(&str, u32)]) -> KindVersions {
        all.iter().copied().collect()
    }

    #[test]
    fn a_newer_version_covers_an_older_one_and_a_kind_that_is_lacking_is_version_0() {
        let (old, new) = (versions(&[("cart", 1)]), versions(&[("cart", 2), ("order", 1)]));
        assert!(new.covers(&old) && !old.covers(&new));
        assert!(old.covers(&KindVersions::default()) && !KindVersions::default().covers(&old));
        assert_eq!(old.of("order"), 0);
    }

    #[test]
    fn what_is_joined_covers_both() {
        let (one, other) = (versions(&[("cart", 1), ("order", 3)]), versions(&[("cart", 2)]));
        let both = one.joined(&other);
        assert_eq!(both, versions(&[("cart", 2), ("order", 3)]));
        assert_eq!(both, other.joined(&one));
        assert_eq!(both.joined(&one), both);
    }

    #[test]
    fn it_is_printed_as_people_say_it() {
        assert_eq!(
            format!("{}", versions(&[("cart", 2), ("order", 1)])),
            "version 2 of kind cart, version 1 of kind order"
        );
        assert_eq!(format!("{}", KindVersions::default()), "nothing");
    }

    #[test]
    fn there_are_limits() {
        assert!(versions(&[("", 1)]).check().is_err());
        let many: KindVersions = (0..=1_024u32).map(|kind| (format!("kind-{kind}"), 1)).collect();
        assert!(many.check().unwrap_err().contains("1025 kinds"));
    }
}
