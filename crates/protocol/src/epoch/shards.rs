//! Kinds with shards: a fixed set of vnodes of a kind, each of which is active somewhere at all times.
//!
//! A host declares its kinds with shards when it asks to join; the record has them, so that every leader places them alike and
//! every host knows which vnodes are to be active in its slots.
//!
//! Invariants:
//!
//! * The number of shards of a kind never changes, also when no host has the kind any more.
//! * A host is listed with a kind only while it is in the record.
//! * Every shard is in the home domain: no rule of a further domain takes one.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use crate::{
    epoch::record::EpochRecord,
    ids::{DomainId, HostName, KIND_LEN_MAX, Slot, VnodeHash, VnodeName},
};

/// Most kinds with shards in one cluster.
pub const SHARD_KINDS_MAX: usize = 64;
/// Most shards in one cluster, of all kinds together: each is an actor at all times.
pub const SHARDS_MAX: usize = 4_096;

/// The kinds with shards that a host runs, with the number of shards of each.
pub type DeclaredShards = BTreeMap<String, u16>;

/// A kind with shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardedKind {
    /// Its shards are the vnodes with the keys `"0"` up to, not including, this number.
    pub count: u16,
    /// The hosts that have the kind. Shards are given to these only, as long as there are any.
    pub hosts: BTreeSet<HostName>,
}

/// The kinds with shards of a cluster, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shards(BTreeMap<String, ShardedKind>);

impl Shards {
    /// Whether no kind has shards.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every kind, in order of the names.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &ShardedKind)> {
        self.0.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// A kind, if it has shards.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&ShardedKind> {
        self.0.get(name)
    }

    /// Checks that a host may declare these kinds.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, when a number of shards differs from the recorded one, or there would be too many.
    pub fn check_declared(&self, declared: &DeclaredShards) -> Result<(), String> {
        for (name, &count) in declared {
            check_kind(name, count)?;
            if let Some(kind) = self.0.get(name).filter(|kind| kind.count != count) {
                return Err(format!(
                    "kind {name} has {} shards in this cluster, and this host declares {count}: the number can't be \
                     changed; declare {} again, or use another name for the kind",
                    kind.count, kind.count
                ));
            }
        }
        let new = declared.iter().filter(|(name, _)| !self.0.contains_key(*name));
        let counts = self.0.values().map(|kind| kind.count).chain(new.map(|(_, &count)| count));
        check_total(counts)
    }

    /// Notes which kinds a host has.
    ///
    /// # Errors
    ///
    /// As [`Self::check_declared`]; nothing is noted then.
    pub fn declare(&mut self, host: &HostName, declared: &DeclaredShards) -> Result<(), String> {
        self.check_declared(declared)?;
        for (name, &count) in declared {
            let kind = self.0.entry(name.clone()).or_default();
            kind.count = count;
        }
        for (name, kind) in &mut self.0 {
            match declared.contains_key(name) {
                true => drop(kind.hosts.insert(host.clone())),
                false => drop(kind.hosts.remove(host)),
            }
        }
        Ok(())
    }

    /// Forgets the hosts that are no longer in the record. Their kinds stay.
    pub(super) fn keep_hosts(&mut self, stays: impl Fn(&HostName) -> bool) {
        for kind in self.0.values_mut() {
            kind.hosts.retain(&stays);
        }
    }

    /// Checks the rules for one record, given whether a host is in it.
    pub(super) fn check(&self, is_listed: impl Fn(&HostName) -> bool) -> Result<(), String> {
        for (name, kind) in &self.0 {
            check_kind(name, kind.count)?;
            if let Some(host) = kind.hosts.iter().find(|host| !is_listed(host)) {
                return Err(format!("kind {name} is at {host}, which is not a host of the record"));
            }
        }
        check_total(self.0.values().map(|kind| kind.count))
    }

    /// Checks that these may follow `previous`.
    pub(super) fn follows(&self, previous: &Self) -> Result<(), String> {
        for (name, before) in &previous.0 {
            let after = self.0.get(name).map(|kind| kind.count);
            if after != Some(before.count) {
                return Err(format!("kind {name} had {} shards, and now {after:?}", before.count));
            }
        }
        Ok(())
    }
}

fn check_kind(name: &str, count: u16) -> Result<(), String> {
    if name.is_empty() || name.len() > KIND_LEN_MAX {
        return Err(format!(
            "the name of a kind has {} bytes: use 1 to {KIND_LEN_MAX}",
            name.len()
        ));
    }
    if count == 0 { Err(format!("kind {name} has 0 shards: use 1 at least")) } else { Ok(()) }
}

fn check_total(counts: impl Iterator<Item = u16>) -> Result<(), String> {
    let (kinds, shards) =
        counts.fold((0, 0), |(kinds, shards), count| (kinds + 1, shards + usize::from(count)));
    if kinds > SHARD_KINDS_MAX {
        return Err(format!("{kinds} kinds with shards: at most {SHARD_KINDS_MAX} in a cluster"));
    }
    if shards > SHARDS_MAX {
        return Err(format!("{shards} shards: at most {SHARDS_MAX} in a cluster, of all kinds"));
    }
    Ok(())
}

/// The name of a shard.
///
/// # Panics
///
/// When the kind's name is empty or too long: that of a record is neither.
#[must_use]
pub fn shard_name(kind: &str, number: u16) -> VnodeName {
    VnodeName::new(kind, &number.to_string()).expect("the kind's name was checked")
}

/// By slot, how many of a kind's shards are in it.
#[must_use]
pub fn shards_by_slot(kind: &str, count: u16, slots: u16) -> Vec<u16> {
    let mut by_slot = vec![0; usize::from(slots)];
    for number in 0..count {
        let Slot(slot) = VnodeHash::of(kind, &number.to_string()).slot(slots);
        by_slot[usize::from(slot)] += 1;
    }
    by_slot
}

impl EpochRecord {
    /// Whether a host that declares these kinds with shards can be a member.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: the numbers of shards differ, or a rule of a domain takes a shard.
    pub fn check_shards(&self, declared: &DeclaredShards) -> Result<(), String> {
        self.shards.check_declared(declared)?;
        for (kind, &count) in declared {
            for shard in (0..count).map(|number| shard_name(kind, number)) {
                let domain = self.domain_of(&shard);
                if domain != Some(DomainId::HOME) {
                    let domain = domain.map_or("none", |id| &self.domains[&id].name);
                    return Err(not_at_home(&shard, domain));
                }
            }
        }
        Ok(())
    }
}

/// Why a rule may not take a shard.
pub(super) fn not_at_home(shard: &VnodeName, domain: &str) -> String {
    format!("shard {shard} would be in domain {domain}: kinds with shards are in the home domain")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn declared(kinds: &[(&str, u16)]) -> DeclaredShards {
        kinds.iter().map(|(name, count)| ((*name).into(), *count)).collect()
    }

    #[test]
    fn a_kind_keeps_its_number_also_when_no_host_has_it() {
        let mut shards = Shards::default();
        shards.declare(&host("a"), &declared(&[("index", 64)])).unwrap();
        shards.keep_hosts(|_| false);
        let why = shards.declare(&host("b"), &declared(&[("index", 32)])).unwrap_err();
        assert!(why.contains("has 64 shards in this cluster, and this host declares 32"), "{why}");
        assert_eq!(shards.kind("index").unwrap().hosts.len(), 0, "nothing was noted");
        assert_eq!(shards.declare(&host("b"), &declared(&[("index", 64)])), Ok(()));
    }

    #[test]
    fn a_host_that_comes_back_without_a_kind_is_not_listed_with_it() {
        let mut shards = Shards::default();
        shards.declare(&host("a"), &declared(&[("index", 4), ("queue", 2)])).unwrap();
        shards.declare(&host("a"), &declared(&[("queue", 2)])).unwrap();
        assert!(shards.kind("index").unwrap().hosts.is_empty());
        assert!(shards.kind("queue").unwrap().hosts.contains(&host("a")));
    }

    #[test]
    fn there_is_a_limit_over_all_kinds() {
        let mut shards = Shards::default();
        shards.declare(&host("a"), &declared(&[("index", 4_000)])).unwrap();
        let why = shards.check_declared(&declared(&[("queue", 97)])).unwrap_err();
        assert!(why.starts_with("4097 shards: at most 4096"), "{why}");
        assert_eq!(shards.check_declared(&declared(&[("queue", 96)])), Ok(()));
        assert!(shards.check_declared(&declared(&[("", 1)])).is_err());
        assert!(shards.check_declared(&declared(&[("queue", 0)])).is_err());
    }

    #[test]
    fn every_shard_is_in_the_slot_of_its_name() {
        let by_slot = shards_by_slot("index", 64, 4_096);
        assert_eq!(by_slot.iter().map(|&count| usize::from(count)).sum::<usize>(), 64);
        let slot = shard_name("index", 17).hash().slot(4_096);
        assert!(by_slot[slot.index()] > 0);
    }
}
