//! Reads a pack's index: one ranged get, checked completely, decoded group by group.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{GROUP_LEN, Group, PackRef, TRAILER_LEN, TRAILER_MAGIC, narrow};
use crate::{
    format::{
        codec::{self, HEADER_LEN, Malformed, OBJECT_LEN_MAX, ObjectKind},
        varint::Reader,
    },
    ids::{CommitNumber, Epoch, PackNumber, SessionId, Slot, VnodeHash},
    state::place::{FileNumber, Origin, Place, PlaceKind, WAKE_AT_MAX},
};

/// A pack's index, checked completely and decoded group by group.
#[derive(Clone, Debug)]
pub struct PackIndex {
    /// The pack's session.
    pub session: SessionId,
    /// The pack's number.
    pub number: PackNumber,
    groups: Vec<Group>,
    body: Bytes,
}

impl PackIndex {
    /// Reads the index from the bytes of [`PackRef::index_range`].
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key: damaged, out of order, out of bounds, or the index of another pack.
    pub fn decode(key: &str, pack: &PackRef, tail: &Bytes) -> Result<Self, Malformed> {
        let fail = |why: &str| Malformed::new(key, why);
        let expected = pack.length.checked_sub(pack.index_offset);
        if pack.length as usize > OBJECT_LEN_MAX {
            return Err(fail("its claimed length is larger than any object"));
        }
        if expected != u32::try_from(tail.len()).ok() || tail.len() < TRAILER_LEN {
            return Err(fail("its index is truncated or has extra bytes"));
        }
        let (index, trailer) =
            (tail.slice(..tail.len() - TRAILER_LEN), &tail[tail.len() - TRAILER_LEN..]);
        if trailer[..4] != pack.index_offset.to_le_bytes() || trailer[4..] != TRAILER_MAGIC {
            return Err(fail("its index begins at another offset"));
        }
        let body = codec::open_as(key, &index, ObjectKind::PackIndex)?.body;
        let mut reader = Reader::new(key, &body);
        let session = SessionId::new(u128::from_le_bytes(reader.array()?));
        let number = PackNumber::new(u64::from_le_bytes(reader.array()?));
        let records_end = u32::from_le_bytes(reader.array()?);
        if number != pack.number || records_end != pack.index_offset {
            return Err(fail("it has the index of another pack"));
        }
        let groups = read_groups(key, &body, reader, records_end)?;
        Ok(Self { session, number, groups, body })
    }

    /// Reads the index, and the reference, from a whole pack.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key.
    pub fn of_object(key: &str, object: &Bytes) -> Result<(PackRef, Self), Malformed> {
        let fail = |why: &str| Malformed::new(key, why);
        drop(codec::open_as(key, object, ObjectKind::Pack)?);
        let length = u32::try_from(object.len()).expect("an opened object is far below 4 GiB");
        let trailer = object.len().checked_sub(TRAILER_LEN).filter(|&at| at >= HEADER_LEN);
        let trailer = trailer.ok_or_else(|| fail("truncated"))?;
        let index_offset =
            u32::from_le_bytes(object[trailer..trailer + 4].try_into().expect("four bytes"));
        if index_offset as usize > trailer {
            return Err(fail("its index begins beyond its end"));
        }
        let tail = object.slice(index_offset as usize..);
        // Its number is in the index; [`Self::decode`] compares it with the reference.
        let number_at = HEADER_LEN + 16;
        let number = tail.get(number_at..number_at + 8).ok_or_else(|| fail("truncated"))?;
        let number = PackNumber::new(u64::from_le_bytes(number.try_into().expect("eight bytes")));
        let pack = PackRef { number, length, index_offset };
        Ok((pack, Self::decode(key, &pack, &tail)?))
    }

    /// Its groups, by slot and tenure.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The number of entries of all groups.
    #[must_use]
    pub fn count(&self) -> usize {
        self.groups.iter().map(|group| group.count as usize).sum()
    }

    /// The entries of one of its groups, by hash, as places in `file`.
    pub fn entries(
        &self,
        group: &Group,
        file: FileNumber,
    ) -> impl Iterator<Item = (VnodeHash, Place)> + '_ {
        let body = &self.body[..group.entries.end];
        let mut reader = Reader::at_offset("a pack's index", body, group.entries.start);
        let mut offset = group.offset;
        core::iter::from_fn(move || {
            if reader.left() == 0 {
                return None;
            }
            let (hash, place) =
                read_entry(&mut reader, file, offset).expect("checked when it was decoded");
            offset += place.length;
            Some((hash, place))
        })
    }
}

/// An entry, as a place in `file` whose record begins at `offset`.
fn read_entry(
    reader: &mut Reader<'_>,
    file: FileNumber,
    offset: u32,
) -> Result<(VnodeHash, Place), Malformed> {
    let hash = VnodeHash::from_bits(u128::from_le_bytes(reader.array()?));
    let checksum = u32::from_le_bytes(reader.array()?);
    let (length, commit, wake_at) = (reader.number()?, reader.number()?, reader.number()?);
    if length >> 1 >= 1 << 28 || length >> 1 == 0 || commit >= 1 << 48 || wake_at > WAKE_AT_MAX {
        return Err(reader.malformed("an entry with numbers out of range"));
    }
    let place = Place {
        file,
        offset,
        length: u32::try_from(length >> 1).expect("compared above"),
        checksum,
        commit: CommitNumber::new(commit),
        wake_at,
        kind: if length & 1 == 1 { PlaceKind::Tombstone } else { PlaceKind::Live },
        origin: Origin::Own,
    };
    Ok((hash, place))
}

/// All groups, with their entries checked: after this, reading them can't fail.
fn read_groups(
    key: &str,
    body: &[u8],
    mut reader: Reader<'_>,
    records_end: u32,
) -> Result<Vec<Group>, Malformed> {
    let count = u32::from_le_bytes(reader.array()?) as usize;
    if count > reader.left() / GROUP_LEN {
        return Err(reader.malformed("more groups than it can hold"));
    }
    let mut groups: Vec<Group> = Vec::with_capacity(count);
    let mut entries_at = reader.at() + count * GROUP_LEN;
    for _ in 0..count {
        let slot = Slot(u16::from_le_bytes(reader.array()?));
        let epoch = Epoch::new(u64::from_le_bytes(reader.array()?));
        let count = u32::from_le_bytes(reader.array()?);
        let length = u32::from_le_bytes(reader.array()?) as usize;
        let entries = entries_at..entries_at.saturating_add(length);
        let last = groups.last().map(|group| (group.slot, group.epoch));
        if count == 0 || last >= Some((slot, epoch)) || entries.end > body.len() {
            return Err(reader.malformed("a group out of order or out of bounds"));
        }
        entries_at = entries.end;
        groups.push(Group { slot, epoch, count, offset: 0, entries });
    }
    if entries_at != body.len() {
        return Err(reader.malformed("extra bytes after its last group"));
    }
    let mut offset = narrow(HEADER_LEN);
    for group in &mut groups {
        group.offset = offset;
        let entries = Reader::at_offset(key, &body[..group.entries.end], group.entries.start);
        offset = check_entries(entries, group, records_end)?;
    }
    if offset != records_end {
        return Err(Malformed::new(key, "its index does not cover the records"));
    }
    Ok(groups)
}

/// Checks a group's entries; returns the offset of the next group's records.
fn check_entries(
    mut entries: Reader<'_>,
    group: &Group,
    records_end: u32,
) -> Result<u32, Malformed> {
    let (mut offset, mut last) = (group.offset, None);
    for _ in 0..group.count {
        let (hash, place) = read_entry(&mut entries, FileNumber::default(), offset)?;
        offset += place.length;
        if last >= Some(hash) || offset > records_end {
            return Err(entries.malformed("an entry out of order or out of bounds"));
        }
        last = Some(hash);
    }
    if entries.left() > 0 {
        return Err(entries.malformed("more entries in a group than its head says"));
    }
    Ok(offset)
}
