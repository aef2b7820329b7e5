//! Carries out a plan's copies: what to fetch, and which packs to write.
//!
//! Invariants:
//!
//! * Every copy is checked against its place before it is written, so that damage is detected and not copied.
//! * A read fetches no more than [`READ_LEN_MAX`] bytes, unless one record alone is longer.

use alloc::{format, vec::Vec};
use core::ops::Range;

use bytes::Bytes;

use crate::{
    checkpoint::plan::Copy,
    format::codec::Malformed,
    ids::{Nonce, PackNumber, SessionId},
    state::{
        pack::{PackBuilder, PackRef},
        place::{FileId, FileNumber, FileObject, Files, Place},
    },
};

/// Most bytes between two records that are fetched by one get.
pub const READ_GAP_MAX: u32 = 64 << 10;
/// Most bytes of one ranged get.
pub const READ_LEN_MAX: u32 = 8 << 20;

/// A ranged get that fetches records to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The file.
    pub file: FileNumber,
    /// The range of bytes in it.
    pub range: Range<u32>,
}

/// The ranged gets for all `copies`, by file and offset.
#[must_use]
pub fn reads(copies: &[Copy]) -> Vec<Read> {
    let mut wanted: Vec<_> =
        copies.iter().map(|copy| (copy.from.file, copy.from.offset, copy.from.length)).collect();
    wanted.sort_unstable();
    let mut reads: Vec<Read> = Vec::new();
    for (file, offset, length) in wanted {
        let end = offset + length;
        match reads.last_mut() {
            Some(last)
                if last.file == file
                    && offset.saturating_sub(last.range.end) <= READ_GAP_MAX
                    && end - last.range.start <= READ_LEN_MAX =>
            {
                last.range.end = last.range.end.max(end);
            }
            Some(_) | None => reads.push(Read { file, range: offset..end }),
        }
    }
    reads
}

/// The bytes of one copy; `fetched` are the results of `reads`, in the same order.
///
/// # Errors
///
/// [`Malformed`] when a read returned fewer bytes than requested.
///
/// # Panics
///
/// When `reads` don't cover the copy.
pub fn bytes_of(copy: &Copy, reads: &[Read], fetched: &[Bytes]) -> Result<Bytes, Malformed> {
    let Place { file, offset, length, .. } = copy.from;
    let after = reads.partition_point(|read| (read.file, read.range.start) <= (file, offset));
    let at = after.checked_sub(1).expect("each copy is covered by a read");
    let read = &reads[at];
    assert!(
        read.file == file && offset + length <= read.range.end,
        "{copy:?} is not covered by {read:?}"
    );
    let begin = (offset - read.range.start) as usize;
    let end = begin + length as usize;
    if end > fetched[at].len() {
        let why = format!("{} bytes instead of {}", fetched[at].len(), read.range.len());
        return Err(Malformed::new("a ranged get", &why));
    }
    Ok(fetched[at].slice(begin..end))
}

/// Writes a plan's copies into packs.
#[derive(Debug)]
pub struct PackWriter {
    session: SessionId,
    next: PackNumber,
    builder: Option<PackBuilder>,
    packs: Vec<PackRef>,
    places: Vec<Place>,
}

impl PackWriter {
    /// No packs yet. Packs are numbered from `first`, which must never have been used.
    #[must_use]
    pub const fn new(session: SessionId, first: PackNumber) -> Self {
        Self { session, next: first, builder: None, packs: Vec::new(), places: Vec::new() }
    }

    /// Whether the next copy fits into the current pack; if not, [`Self::cut`] it first.
    #[must_use]
    pub fn fits(&self, copy: &Copy) -> bool {
        self.builder.as_ref().is_none_or(|builder| builder.fits(copy.from.length as usize))
    }

    /// Adds the next copy of the plan.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when `bytes` don't match the index: the file is damaged.
    ///
    /// # Panics
    ///
    /// When a copy is out of the plan's order, or doesn't fit.
    pub fn add(&mut self, copy: &Copy, bytes: &[u8], files: &mut Files) -> Result<(), Malformed> {
        let key = files.id(copy.from.file).key();
        copy.from.check(&key, bytes)?;
        let (session, number) = (self.session, self.next);
        let builder = self.builder.get_or_insert_with(|| {
            let id = FileId { session, object: FileObject::Pack(number) };
            PackBuilder::new(session, number, files.number(id))
        });
        let (hash, place) = builder.add(copy.slot, copy.epoch, bytes)?;
        if hash != copy.hash {
            return Err(Malformed::new(
                &key,
                &format!("the record of {hash:?} instead of {:?}", copy.hash),
            ));
        }
        self.places.push(place);
        Ok(())
    }

    /// Finishes the current pack, if there is one: its reference for the checkpoint, and the object to put.
    pub fn cut(&mut self, nonce: Nonce) -> Option<(PackRef, Bytes)> {
        let (object, pack) = self.builder.take()?.finish(nonce);
        self.next = self.next.next();
        self.packs.push(pack);
        Some((pack, object))
    }

    /// The finished packs, and the place of each copy, in the plan's order.
    ///
    /// # Panics
    ///
    /// When the last pack was not cut.
    #[must_use]
    pub fn finish(self) -> (Vec<PackRef>, Vec<Place>) {
        assert!(self.builder.is_none(), "the last pack was not cut");
        (self.packs, self.places)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec};

    use super::*;
    use crate::{
        ids::{Epoch, Position, Slot},
        state::{
            pack::PackIndex,
            place::{Origin, tests::record},
        },
    };

    const ME: SessionId = SessionId::new(1);

    /// Batches with these records, 50 other bytes after each, and copies of all.
    fn copies(files: &mut Files, batches: &[&[Bytes]]) -> (Vec<Copy>, BTreeMap<FileNumber, Bytes>) {
        let (mut copies, mut stored) = (Vec::new(), BTreeMap::new());
        for (position, records) in (1..).zip(batches) {
            let object = FileObject::Journal(Position::new(position));
            let file = files.number(FileId { session: ME, object });
            let mut bytes = vec![0; 32];
            for record in *records {
                let (hash, from) =
                    Place::of_record(file, bytes.len(), record, Origin::Own).unwrap();
                copies.push(Copy { slot: Slot(1), epoch: Epoch::new(2), hash, from });
                bytes.extend_from_slice(record);
                bytes.extend_from_slice(&[0; 50]);
            }
            stored.insert(file, Bytes::from(bytes));
        }
        copies.sort_by_key(|copy| copy.hash);
        (copies, stored)
    }

    #[test]
    fn adjacent_records_are_fetched_together_and_every_copy_is_found() {
        let mut files = Files::default();
        let (a, b, c) = (record("a", 1, b"x"), record("b", 2, b"yy"), record("c", 3, b""));
        let (copies, stored) = copies(&mut files, &[&[a, b], &[c]]);
        let reads = reads(&copies);
        assert_eq!(reads.len(), 2);
        let fetch = |read: &Read| {
            stored[&read.file].slice(read.range.start as usize..read.range.end as usize)
        };
        let fetched: Vec<Bytes> = reads.iter().map(fetch).collect();
        let mut packing = PackWriter::new(ME, PackNumber::new(4));
        for copy in &copies {
            let bytes = bytes_of(copy, &reads, &fetched).unwrap();
            packing.add(copy, &bytes, &mut files).unwrap();
        }
        let (pack, object) = packing.cut(Nonce::new(1)).unwrap();
        let (packs, places) = packing.finish();
        assert_eq!((packs, places.len()), (vec![pack], 3));
        let (read, index) = PackIndex::of_object("k", &object).unwrap();
        assert_eq!((read, index.count()), (pack, 3));
        assert!(bytes_of(&copies[0], &reads, &vec![Bytes::new(); 2]).is_err(), "a short read");
    }

    #[test]
    fn distant_records_are_fetched_separately() {
        let mut files = Files::default();
        let filler = record("f", 1, &vec![0; READ_GAP_MAX as usize]);
        let (mut copies, _) =
            copies(&mut files, &[&[record("a", 1, b""), filler.clone(), record("b", 1, b"")]]);
        assert_eq!(reads(&copies).len(), 1);
        copies.retain(|copy| copy.from.length as usize != filler.len());
        assert_eq!(reads(&copies).len(), 2);
    }

    #[test]
    fn a_damaged_record_is_detected_and_not_copied() {
        let mut files = Files::default();
        let good = record("a", 1, b"x");
        let (copies, _) = copies(&mut files, &[&[good]]);
        let mut packing = PackWriter::new(ME, PackNumber::new(4));
        let error = packing.add(&copies[0], &record("a", 1, b"y"), &mut files).unwrap_err();
        assert!(error.what.starts_with("sessions/"), "{error}");
        assert!(packing.cut(Nonce::new(1)).is_none(), "nothing was packed");
    }
}
