//! A pack: its length, its index, and every record in it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use bytes::Bytes;

use super::finding::{Damage, Finding};
use crate::{
    format::{
        codec::{self, ObjectKind},
        keys,
    },
    ids::SessionId,
    state::{
        pack::{PackIndex, PackRef},
        place::FileNumber,
    },
};

/// What was found in a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedPack {
    /// Records whose checksum and name were checked.
    pub records: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Checks a pack that a session's checkpoint names; `stored` is the object at its key, `slot_count` the cluster's.
#[must_use]
pub fn check_pack(
    session: SessionId,
    pack: &PackRef,
    slot_count: u16,
    stored: Option<&Bytes>,
) -> CheckedPack {
    let key = keys::pack(session, pack.number);
    let only = |damage, why: String| CheckedPack {
        records: 0,
        findings: Vec::from([Finding::new(key.clone(), damage, why)]),
    };
    let Some(stored) = stored else {
        return only(Damage::PackMissing, "the newest checkpoint names it".into());
    };
    if stored.len() != pack.length as usize || pack.index_offset > pack.length {
        let why = format!("{} bytes, but the checkpoint says {}", stored.len(), pack.length);
        return only(Damage::PackDiffers, why);
    }
    let index = match PackIndex::decode(&key, pack, &stored.slice(pack.index_offset as usize..)) {
        Ok(index) if index.session == session => index,
        Ok(index) => {
            return only(Damage::PackIndexDamaged, format!("it is of session {}", index.session));
        }
        Err(malformed) => return only(Damage::PackIndexDamaged, malformed.why),
    };
    let (mut checked, mut damaged) = (CheckedPack::default(), Vec::new());
    for group in index.groups() {
        for (hash, place) in index.entries(group, FileNumber::default()) {
            checked.records += 1;
            let (begin, end) = (place.offset as usize, (place.offset + place.length) as usize);
            let opened = place.open(&key, hash, &stored.slice(begin..end));
            if hash.slot(slot_count) != group.slot {
                damaged.push(format!("{hash:?} is listed in {}", group.slot));
            } else if let Err(malformed) = opened {
                damaged.push(format!("{hash:?} in {}: {}", group.slot, malformed.why));
            }
        }
    }
    if let Some(first) = damaged.first() {
        let why = format!("{} of {} records, first: {first}", damaged.len(), checked.records);
        checked.findings.push(Finding::new(key, Damage::PackRecordDamaged, why));
    } else if let Err(malformed) = codec::open_as(&key, stored, ObjectKind::Pack) {
        let why = malformed.why.to_string();
        checked.findings.push(Finding::new(key, Damage::PackDiffers, why));
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{Epoch, Nonce, PackNumber},
        journal::batch::state_facts,
        state::{
            pack::PackBuilder,
            place::tests::{file, record},
        },
    };

    const SESSION: SessionId = SessionId::new(7);
    const SLOTS: u16 = 1;

    fn pack() -> (Bytes, PackRef) {
        let mut builder = PackBuilder::new(SESSION, PackNumber::new(3), file(1));
        let mut records: Vec<Bytes> =
            (0..5).map(|key| record(&format!("{key}"), 1, b"a state")).collect();
        records.sort_by_key(|record| state_facts("r", record).unwrap().hash);
        for record in records {
            builder.add(crate::ids::Slot(0), Epoch::new(1), &record).unwrap();
        }
        builder.finish(Nonce::new(1))
    }

    fn damages(pack: &PackRef, stored: Option<&Bytes>) -> Vec<Damage> {
        let checked = check_pack(SESSION, pack, SLOTS, stored);
        checked.findings.into_iter().map(|finding| finding.damage).collect()
    }

    fn flipped(object: &Bytes, at: usize) -> Bytes {
        let mut bytes = object.to_vec();
        bytes[at] ^= 1;
        bytes.into()
    }

    #[test]
    fn a_sound_pack_has_no_findings_and_every_record_was_read() {
        let (object, pack) = pack();
        let checked = check_pack(SESSION, &pack, SLOTS, Some(&object));
        assert_eq!(checked, CheckedPack { records: 5, findings: Vec::new() });
    }

    #[test]
    fn every_flipped_bit_is_found_and_its_place_is_named() {
        let (object, pack) = pack();
        for at in 0..object.len() {
            let expected = match at {
                // The header of the whole pack.
                0..codec::HEADER_LEN => Damage::PackDiffers,
                _ if at < pack.index_offset as usize => Damage::PackRecordDamaged,
                _ => Damage::PackIndexDamaged,
            };
            assert_eq!(damages(&pack, Some(&flipped(&object, at))), [expected], "byte {at}");
        }
    }

    #[test]
    fn a_missing_a_truncated_and_another_sessions_pack_are_found() {
        let (object, pack) = pack();
        assert_eq!(damages(&pack, None), [Damage::PackMissing]);
        let short = object.slice(..object.len() - 1);
        assert_eq!(damages(&pack, Some(&short)), [Damage::PackDiffers]);
        let other = check_pack(SessionId::new(8), &pack, SLOTS, Some(&object));
        assert_eq!(other.findings[0].damage, Damage::PackIndexDamaged);
        let slots = check_pack(SESSION, &pack, 4_096, Some(&object));
        assert_eq!(slots.findings[0].damage, Damage::PackRecordDamaged);
    }
}
