//! Which hosts can read which slots of a domain. Slots that are alike in that form a class, because thousands of slots have
//! few needs.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use super::{KindVersions, Unread};
use crate::{
    epoch::{
        record::{DomainEntry, EpochRecord},
        shards::{Shards, shards_by_slot},
    },
    ids::{DomainId, HostName, SessionId, Slot},
};

/// What may be in each slot of a domain by a record, and so which hosts can read it.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The kinds with shards, in order.
    sharded: Vec<&'a str>,
    classes: Vec<Class>,
    of_slot: Vec<u16>,
}

/// What slots have in common that the same hosts can read.
#[derive(Clone, Debug)]
struct Class {
    need: KindVersions,
    /// One bit for each kind with shards: whether the slot holds one. There are 64 such kinds at most.
    held: u64,
}

impl<'a> Reading<'a> {
    /// Of the slots of a domain, by a record.
    ///
    /// # Panics
    ///
    /// When the record lacks the domain.
    #[must_use]
    pub fn of(record: &'a EpochRecord, domain: DomainId) -> Self {
        Self::with_shards(record, domain, &record.shards)
    }

    /// The same, with the kinds with shards of a later record.
    pub(in crate::epoch) fn with_shards(
        record: &EpochRecord,
        domain: DomainId,
        shards: &'a Shards,
    ) -> Self {
        let held = held(shards, domain, record.slot_count);
        let entry = &record.domains[&domain];
        // By owner and what is unread, because many owners have the same versions.
        let (mut known, mut numbers) = (BTreeMap::new(), BTreeMap::new());
        let mut classes: Vec<Class> = Vec::new();
        let of_slot = entry.slots.iter().map(|(slot, holding)| {
            let owner = holding.owner.map(|owner| owner.session);
            let (unread, held) = (entry.unread.get(&slot), held[slot.index()]);
            *known.entry((owner, unread, held)).or_insert_with(|| {
                let own = owner.map(|owner| record.versions_of(owner)).unwrap_or_default();
                let need = unread.map_or_else(|| own.clone(), |unread| own.joined(unread));
                *numbers.entry((need.clone(), held)).or_insert_with(|| {
                    classes.push(Class { need, held });
                    u16::try_from(classes.len() - 1).expect("no more classes than slots")
                })
            })
        });
        let of_slot = of_slot.collect();
        Self { sharded: shards.kinds().map(|(name, _)| name).collect(), classes, of_slot }
    }

    /// By slot, the number of its class.
    #[must_use]
    pub fn classes(&self) -> &[u16] {
        &self.of_slot
    }

    /// Of these slots, one of each class.
    pub fn distinct(&self, slots: impl IntoIterator<Item = Slot>) -> impl Iterator<Item = Slot> {
        let mut seen = BTreeSet::new();
        slots.into_iter().filter(move |slot| seen.insert(self.of_slot[slot.index()]))
    }

    /// What a host with these versions can't read of what may be in a slot.
    #[must_use]
    pub fn unread(&self, slot: Slot, own: &KindVersions) -> KindVersions {
        self.unread_of(&self.classes[usize::from(self.of_slot[slot.index()])], own)
    }

    /// Whether a host with these versions can read all that may be in a slot.
    #[must_use]
    pub fn reads(&self, slot: Slot, own: &KindVersions) -> bool {
        self.unread(slot, own).is_empty()
    }

    /// A host that takes slots and can read a slot.
    #[must_use]
    pub fn taker<'r>(&self, record: &'r EpochRecord, slot: Slot) -> Option<&'r HostName> {
        let mut hosts = record.hosts.iter();
        let found = hosts.find(|(_, host)| host.share() > 0 && self.reads(slot, &host.versions));
        found.map(|(name, _)| name)
    }

    /// By class, whether a host with these versions can read its slots.
    pub(in crate::epoch) fn readable(&self, own: &KindVersions) -> Vec<bool> {
        self.classes.iter().map(|class| self.unread_of(class, own).is_empty()).collect()
    }

    fn unread_of(&self, class: &Class, own: &KindVersions) -> KindVersions {
        if own.covers(&class.need) {
            return KindVersions::default();
        }
        let lacks = |&(kind, version): &(&str, u32)| {
            version > own.of(kind) && (own.has(kind) || !self.may_lack(class, kind))
        };
        class.need.iter().filter(lacks).collect()
    }

    /// Whether a host that lacks a kind altogether may have such a slot all the same.
    fn may_lack(&self, class: &Class, kind: &str) -> bool {
        let at = self.sharded.iter().position(|name| *name == kind);
        at.is_some_and(|at| class.held & 1 << at == 0)
    }

    /// By slot, what its next owner can't read, given the versions of the owners.
    pub(in crate::epoch) fn next_unread(
        &self,
        owners: impl Iterator<Item = Option<SessionId>>,
        versions: impl Fn(SessionId) -> KindVersions,
    ) -> Unread {
        let mut known: BTreeMap<(u16, Option<SessionId>), KindVersions> = BTreeMap::new();
        let mut all = Unread::new();
        for ((slot, &class), owner) in (0..).map(Slot).zip(&self.of_slot).zip(owners) {
            let unread = known.entry((class, owner)).or_insert_with(|| {
                let own = owner.map(&versions).unwrap_or_default();
                self.unread_of(&self.classes[usize::from(class)], &own)
            });
            if !unread.is_empty() {
                all.insert(slot, unread.clone());
            }
        }
        all
    }

    /// Checks that a later record of the domain has these needs at least.
    pub(super) fn check_kept(
        &self,
        after: &DomainEntry,
        versions: impl Fn(SessionId) -> KindVersions,
    ) -> Result<(), String> {
        let owners = after.slots.iter();
        let owners = owners.map(|(_, holding)| holding.owner.map(|owner| owner.session));
        let none = KindVersions::default();
        for (slot, unread) in self.next_unread(owners, versions) {
            let recorded = after.unread.get(&slot).unwrap_or(&none);
            if !recorded.covers(&unread) {
                return Err(format!(
                    "{slot}: its owner can't read {unread}, and {recorded} is recorded"
                ));
            }
        }
        Ok(())
    }
}

/// By slot, a bit for each kind with shards of which it holds one. Shards are in the home domain.
fn held(shards: &Shards, domain: DomainId, slots: u16) -> Vec<u64> {
    let mut held = alloc::vec![0; usize::from(slots)];
    if domain != DomainId::HOME {
        return held;
    }
    for (at, (name, kind)) in shards.kinds().enumerate() {
        let by_slot = shards_by_slot(name, kind.count, slots);
        for (bits, _) in held.iter_mut().zip(by_slot).filter(|(_, count)| *count > 0) {
            *bits |= 1_u64 << at;
        }
    }
    held
}
