//! Packs as they landed. Checks invariants 2 and 7, and that a pack has only committed records.

use std::collections::BTreeMap;

use bytes::Bytes;
use holocron_protocol::{
    format::keys,
    ids::{Epoch, PackNumber, SessionId, Slot, VnodeHash},
    state::{
        pack::{PackIndex, PackRef},
        place::FileNumber,
    },
};

use super::{
    Objects,
    invariant::{Broken, Invariant},
    page::Version,
    truth::Truth,
};

/// Every pack that was ever put.
#[derive(Debug, Default)]
pub(super) struct Packs(BTreeMap<(SessionId, PackNumber), Pack>);

/// The content of a pack.
#[derive(Debug)]
pub(super) struct Pack {
    hash: u64,
    reference: PackRef,
    pub(super) groups: BTreeMap<(Slot, Epoch), Vec<(VnodeHash, Version)>>,
}

impl Packs {
    /// A pack was put.
    pub(super) fn landed(
        &mut self,
        at: (&str, SessionId, PackNumber),
        body: &Bytes,
        truth: &Truth,
        broken: &mut Vec<Broken>,
    ) {
        let (key, session, number) = at;
        let hash = xxhash_rust::xxh3::xxh3_64(body);
        if let Some(first) = self.0.get(&(session, number)) {
            // The same put may land twice, but not with other bytes.
            if first.hash != hash {
                broken.push(Invariant::OneWinner.broken("a pack is put with other bytes"));
            }
            return;
        }
        let (reference, index) = match PackIndex::of_object(key, body) {
            Ok((reference, index)) if index.session == session && index.number == number => {
                (reference, index)
            }
            Ok((_, index)) => {
                let how = format!("its content is pack {} of {:?}", index.number, index.session);
                return broken.push(Invariant::OneWinner.broken(how));
            }
            Err(malformed) => return broken.push(Invariant::OneWinner.broken(malformed)),
        };
        let mut groups = BTreeMap::new();
        for group in index.groups() {
            let entries = index.entries(group, FileNumber::default());
            let entries: Vec<_> =
                entries.map(|(hash, place)| (hash, Version::of(&place))).collect();
            for &(hash, version) in &entries {
                let vnode = truth.vnode(group.slot, hash);
                if !vnode.is_some_and(|vnode| vnode.holds(version)) {
                    let how = format!(
                        "a pack has {version:?} of {hash:?} in {}, which was never committed",
                        group.slot
                    );
                    broken.push(Invariant::NothingEarly.broken(how));
                }
            }
            groups.insert((group.slot, group.epoch), entries);
        }
        self.0.insert((session, number), Pack { hash, reference, groups });
    }

    /// A pack that landed.
    pub(super) fn pack(&self, session: SessionId, number: PackNumber) -> Option<&Pack> {
        self.0.get(&(session, number))
    }

    /// A committed checkpoint names these packs.
    pub(super) fn named<'a>(
        &self,
        session: SessionId,
        named: impl Iterator<Item = &'a PackRef>,
        objects: &Objects,
        broken: &mut Vec<Broken>,
    ) {
        for named in named {
            let key = keys::pack(session, named.number);
            let length = objects.get(&key).map(Bytes::len);
            let known = self.pack(session, named.number).map(|pack| pack.reference);
            if length != usize::try_from(named.length).ok() || known != Some(*named) {
                let how = format!("{named:?} of {key}: {length:?} B are there, of {known:?}");
                broken.push(Invariant::PacksExist.broken(how));
            }
        }
    }
}
