//! What the next checkpoint writes. A checkpoint copies all live records of files that will be deleted: the batches up
//! to its low water, packs that are merged, and, within a budget, records of older tenures of its slots.
//!
//! There is no separate list of dirty vnodes: the index entries that point into a batch at or below the low water *are*
//! that list. A vnode written again above it is left out, because the batches above are always read.
//!
//! The steps: a [`PlanInput`] when exactly its low water is committed; a [`Survey`] of all tenures; a [`Plan`] over the
//! same tenures; the copies' bytes into packs ([`PackWriter`]); the [`Checkpoint`] when its batch is filled; and once
//! that is committed, index entries that did not change since are pointed to the copies ([`SlotLog::copied`]).
//!
//! Invariants:
//!
//! * A slot becomes `full` only while its tenure is open (no Release *submitted*), when none of its live records are in
//!   older tenures. After the Release, `full` or `part` doesn't change.
//! * No index entry points into a pack that the checkpoint drops, except entries that it copies.
//! * Packs with entries of released tenures are neither merged nor dropped: other sessions read them.
//!
//! [`PackWriter`]: crate::checkpoint::pack_writer::PackWriter
//! [`SlotLog::copied`]: crate::slot::log::SlotLog::copied

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

pub use crate::slot::log::Copy;
use crate::{
    format::codec::HEADER_LEN,
    ids::{Epoch, PackNumber, Position, SessionId, Slot},
    planted,
    slot::log::TenureLog,
    state::{
        checkpoint::{Checkpoint, Coverage, SlotEntry},
        pack::PackRef,
        place::{FileId, FileNumber, FileObject, Files},
    },
};

/// Default for the foreign bytes that a checkpoint copies. Higher: former owners' data is released sooner. Lower:
/// checkpoints are faster.
pub const COPY_LEN_DEFAULT: u64 = 16 << 20;
/// The most live bytes of merged packs that a checkpoint copies.
pub const MERGE_LEN_MAX: u64 = 32 << 20;
/// A pack shorter than this is small, in bytes.
pub const PACK_SMALL_LEN: u32 = 16 << 20;
/// More small packs than this are merged: each costs one request in every recovery.
pub const PACKS_SMALL_MAX: usize = 8;
/// Packs may have as many dead bytes as live ones, plus this many, before those with the most dead bytes are merged.
pub const DEAD_LEN_SLACK: u64 = 64 << 20;

/// The input of a checkpoint.
#[derive(Clone, Debug)]
pub struct PlanInput {
    /// The checkpoint's session.
    pub session: SessionId,
    /// The newest committed position: the checkpoint covers everything up to it.
    pub low_water: Position,
    /// Each slot's [`SlotLog::checkpoint_entry`](crate::slot::log::SlotLog::checkpoint_entry), taken when exactly
    /// `low_water` was committed. A slot of which the newest epoch lists no tenure of this session is left out.
    pub slots: BTreeMap<Slot, SlotEntry>,
    /// The packs of the newest committed checkpoint, by number.
    pub packs: Vec<PackRef>,
    /// The most foreign bytes to copy.
    pub copy_len_max: u64,
}

/// Whether a tenure was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenureStatus {
    /// No Release of it was submitted.
    Open,
    /// A Release was submitted. The tenure's records are kept for sessions that may still have to read them.
    Released,
}

impl TenureStatus {
    /// Of a tenure, by the one under which the slot may be written now.
    #[must_use]
    pub fn of(tenure: Epoch, open: Option<Epoch>) -> Self {
        if open == Some(tenure) { Self::Open } else { Self::Released }
    }
}

/// The index entries that point into a file.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    live_len: u64,
    foreign_len: u64,
    released: bool,
}

/// The files that the indexes point into, with the live bytes of each.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    files: BTreeMap<FileNumber, Use>,
}

impl Survey {
    /// Adds a tenure. Required for every tenure of the session's own logs.
    pub fn tenure(&mut self, log: &TenureLog, status: TenureStatus) {
        for (_, packed) in log.entries.packed() {
            let used = self.files.entry(packed.file()).or_default();
            let length = u64::from(packed.length());
            used.live_len += length;
            used.foreign_len += if packed.is_own() { 0 } else { length };
            used.released |= status == TenureStatus::Released;
        }
    }

    /// The packs to merge: their live records are copied, so that they can be deleted.
    fn merges(&self, packs: &[PackUse]) -> BTreeSet<PackNumber> {
        let mut merged = BTreeSet::new();
        let mut room = MERGE_LEN_MAX;
        let mut merge = |pack: &PackUse| {
            let fits = pack.live_len <= room;
            if fits && merged.insert(pack.number) {
                room -= pack.live_len;
            }
            fits
        };
        let mut free: Vec<&PackUse> = packs.iter().filter(|pack| !pack.released).collect();
        let (whole_len, live_len) = free
            .iter()
            .fold((0, 0), |(whole, live), pack| (whole + pack.whole_len, live + pack.live_len));
        let mut dead_len = (whole_len - live_len).saturating_sub(live_len + DEAD_LEN_SLACK);
        // Those with the most dead bytes first: each byte copied then frees most.
        free.sort_by_key(|pack| (pack.live_len * 1_024 / pack.whole_len.max(1), pack.number));
        for pack in &free {
            if dead_len == 0 || !merge(pack) {
                break;
            }
            dead_len = dead_len.saturating_sub(pack.whole_len - pack.live_len);
        }
        let mut small: Vec<&&PackUse> = free.iter().filter(|pack| pack.is_small).collect();
        if small.len() > PACKS_SMALL_MAX {
            small.sort_by_key(|pack| (pack.live_len, pack.number));
            for pack in small {
                if !merge(pack) {
                    break;
                }
            }
        }
        merged
    }
}

/// A pack of the previous checkpoint.
struct PackUse {
    number: PackNumber,
    /// Bytes of its records, dead ones included.
    whole_len: u64,
    live_len: u64,
    is_small: bool,
    released: bool,
}

/// What the checkpoint does with a file's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileUse {
    /// A pack that is kept. Foreign records in it are copied within the budget.
    Keep,
    /// A batch above the low water: every recovery reads it anyway.
    AboveLowWater,
    /// The file will be deleted: every live record in it is copied.
    CopyAll,
    /// A batch of another session, which may be trimmed soon: copied before foreign records in packs.
    ForeignJournal,
}

/// What the next checkpoint copies and records.
#[derive(Clone, Debug)]
pub struct Plan {
    input: PlanInput,
    file_uses: BTreeMap<FileNumber, FileUse>,
    merged: BTreeSet<PackNumber>,
    kept: Vec<PackRef>,
    copies: Vec<Copy>,
    /// The remaining budgets of foreign bytes, for batches and for packs.
    journal_room: u64,
    pack_room: u64,
    /// The tenures visited, and whether all their records are in this checkpoint or above it.
    seen: BTreeMap<(Slot, Epoch), Completeness>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completeness {
    Whole,
    Lacking,
}

impl Plan {
    /// Decides which packs are dropped.
    #[must_use]
    pub fn new(input: PlanInput, survey: &Survey, files: &Files) -> Self {
        let use_of = |number| {
            let id = FileId { session: input.session, object: FileObject::Pack(number) };
            files.find(&id).and_then(|file| survey.files.get(&file)).copied().unwrap_or_default()
        };
        let uses: Vec<PackUse> = input
            .packs
            .iter()
            .map(|pack| {
                let used = use_of(pack.number);
                let whole_len = u64::from(pack.index_offset) - HEADER_LEN as u64;
                PackUse {
                    number: pack.number,
                    whole_len,
                    // Bytes shared by two tenures are counted twice.
                    live_len: used.live_len.min(whole_len),
                    is_small: pack.length < PACK_SMALL_LEN,
                    released: used.released,
                }
            })
            .collect();
        let merged = survey.merges(&uses);
        let unused = |pack: &PackRef| use_of(pack.number).live_len == 0;
        let kept =
            input.packs.iter().filter(|pack| !merged.contains(&pack.number) && !unused(pack));
        let kept = kept.copied().collect();
        let journals = survey.files.iter().filter(|(file, _)| {
            let id = files.id(**file);
            id.session != input.session && matches!(id.object, FileObject::Journal(_))
        });
        let journal_len: u64 = journals.map(|(_, used)| used.foreign_len).sum();
        let journal_room = journal_len.min(input.copy_len_max);
        let pack_room = input.copy_len_max - journal_room;
        let (file_uses, copies, seen) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { input, file_uses, merged, kept, copies, journal_room, pack_room, seen }
    }

    /// Visits a tenure. Tenures come in order of slot and epoch; those adopted above the low water are skipped.
    ///
    /// # Panics
    ///
    /// When they come out of order, or an entry points into a pack of this session that was dropped.
    pub fn tenure(&mut self, slot: Slot, log: &TenureLog, status: TenureStatus, files: &Files) {
        let listed = self.input.slots.get(&slot);
        if !listed.is_some_and(|entry| entry.tenures.iter().any(|it| it.epoch == log.epoch)) {
            return;
        }
        let last = self.seen.last_key_value().map(|(&key, _)| key);
        assert!(last < Some((slot, log.epoch)), "{slot} {} comes after {last:?}", log.epoch);
        let mut completeness = Completeness::Whole;
        for (hash, packed) in log.entries.packed() {
            let file_use = self.file_use(packed.file(), files);
            let length = u64::from(packed.length());
            let copied = match (file_use, packed.is_own()) {
                (FileUse::CopyAll, _) => true,
                (FileUse::AboveLowWater | FileUse::Keep | FileUse::ForeignJournal, true) => {
                    continue;
                }
                (_, false) if status == TenureStatus::Released => false,
                (FileUse::AboveLowWater, false) => false,
                (FileUse::ForeignJournal, false) => take(&mut self.journal_room, length),
                (FileUse::Keep, false) => take(&mut self.pack_room, length),
            };
            if copied {
                self.copies.push(Copy { slot, epoch: log.epoch, hash, from: packed.unpack() });
            } else {
                completeness = Completeness::Lacking;
            }
        }
        self.seen.insert((slot, log.epoch), completeness);
    }

    fn file_use(&mut self, file: FileNumber, files: &Files) -> FileUse {
        if let Some(&file_use) = self.file_uses.get(&file) {
            return file_use;
        }
        let id = files.id(file);
        let file_use = match id.object {
            FileObject::Journal(_) if id.session != self.input.session => FileUse::ForeignJournal,
            FileObject::Pack(_) if id.session != self.input.session => FileUse::Keep,
            FileObject::Journal(position) if position <= self.input.low_water => FileUse::CopyAll,
            FileObject::Journal(_) => FileUse::AboveLowWater,
            FileObject::Pack(number) if self.merged.contains(&number) => FileUse::CopyAll,
            FileObject::Pack(number) => {
                let kept = self.kept.iter().any(|pack| pack.number == number);
                assert!(kept, "an entry points into pack {number}, which the checkpoint drops");
                FileUse::Keep
            }
        };
        self.file_uses.insert(file, file_use);
        file_use
    }

    /// The records to copy into packs, in a pack's order.
    #[must_use]
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// The packs of the previous checkpoint that are kept.
    #[cfg(test)]
    fn kept_packs(&self) -> &[PackRef] {
        &self.kept
    }

    /// The checkpoint. Call it when its batch is filled and all `written` packs are stored. `holds` returns the open
    /// tenure of a slot *by what was submitted until then*: a slot never becomes `full` after its Release.
    ///
    /// # Panics
    ///
    /// When a written pack's number isn't new.
    #[must_use]
    pub fn content(
        &self,
        written: &[PackRef],
        holds: impl Fn(Slot) -> Option<Epoch>,
    ) -> Checkpoint {
        let packs: Vec<PackRef> = self.kept.iter().chain(written).copied().collect();
        assert!(
            packs.is_sorted_by(|a, b| a.number < b.number),
            "the number of a pack is never used again"
        );
        assert_eq!(
            self.copies.is_empty(),
            written.is_empty(),
            "packs are written exactly if records are copied"
        );
        let mut slots = self.input.slots.clone();
        for (&slot, entry) in &mut slots {
            entry.tenures.retain(|tenure| self.seen.contains_key(&(slot, tenure.epoch)));
            for tenure in &mut entry.tenures {
                let is_whole = self.seen[&(slot, tenure.epoch)] == Completeness::Whole;
                if planted::is_whole(is_whole) && holds(slot) == Some(tenure.epoch) {
                    tenure.coverage = Coverage::Full;
                }
            }
        }
        Checkpoint { low_water: self.input.low_water, packs, slots }
    }

    /// The tenures that became `full` in this plan's checkpoint. Once it is committed, the session's logs record it and
    /// the leader is told, so that the older sources are released.
    pub fn settled<'a>(
        &'a self,
        content: &'a Checkpoint,
    ) -> impl Iterator<Item = (Slot, Epoch)> + 'a {
        content.slots.iter().flat_map(|(slot, entry)| {
            let before = self.input.slots.get(slot);
            entry.tenures.iter().filter_map(move |now| {
                let was = before.and_then(|it| it.tenures.iter().find(|it| it.epoch == now.epoch));
                let was = was.map_or(Coverage::Part, |tenure| tenure.coverage);
                (was < now.coverage).then_some((*slot, now.epoch))
            })
        })
    }
}

/// Takes bytes out of a budget. Any remaining budget admits one record, so that a large one can't starve.
fn take(room: &mut u64, length: u64) -> bool {
    let fits = *room > 0;
    *room = room.saturating_sub(length);
    fits
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::{
        ids::{CommitNumber, VnodeHash},
        slot::log::SlotLog,
        state::{
            checkpoint::TAIL_LEN_MAX,
            index::SlotIndex,
            pack::PACK_LEN_MAX,
            place::{Origin, Place, PlaceKind},
        },
    };

    const ME: SessionId = SessionId::new(1);
    const OTHER: SessionId = SessionId::new(2);
    const SLOT: Slot = Slot(3);
    const EPOCH: Epoch = Epoch::new(5);
    const RECORD_LEN: u32 = 100;

    /// A session with one slot, without real files.
    struct Bench {
        files: Files,
        log: SlotLog,
        packs: Vec<PackRef>,
        next_pack: u64,
        next_offset: u32,
        low_water: u64,
        copy_len_max: u64,
        record_len: u32,
    }

    fn hash(number: u64) -> VnodeHash {
        VnodeHash::from_bits(u128::from(number))
    }

    fn pack(number: u64, length: u32) -> PackRef {
        let index_offset = 32 + length;
        PackRef { number: PackNumber::new(number), length: index_offset, index_offset }
    }

    impl Bench {
        fn new() -> Self {
            let (files, packs) = (Files::default(), Vec::new());
            let log = SlotLog::default();
            let copy_len_max = COPY_LEN_DEFAULT;
            let (next_pack, next_offset, record_len) = (1, 32, RECORD_LEN);
            Self {
                files,
                log,
                packs,
                next_pack,
                next_offset,
                low_water: 9,
                copy_len_max,
                record_len,
            }
        }

        fn place(&mut self, session: SessionId, object: FileObject, origin: Origin) -> Place {
            self.next_offset = (self.next_offset + self.record_len) % (1 << 28);
            let file = self.files.number(FileId { session, object });
            let (offset, length, checksum) = (self.next_offset, self.record_len, 0);
            let (commit, kind) = (CommitNumber::new(1), PlaceKind::Live);
            Place { file, offset, length, checksum, commit, wake_at: 0, kind, origin }
        }

        fn found(&mut self, session: SessionId, objects: &[FileObject]) -> SlotIndex {
            let places: Vec<_> = (1..)
                .zip(objects)
                .map(|(number, &object)| {
                    (hash(number), self.place(session, object, Origin::Foreign))
                })
                .collect();
            SlotIndex::from_sorted(places)
        }

        fn write(&mut self, number: u64, position: u64) {
            let object = FileObject::Journal(Position::new(position));
            let place = self.place(ME, object, Origin::Own);
            let open = self.log.open().unwrap().epoch;
            self.log.tenure_mut(open).unwrap().entries.put(hash(number), &place);
        }

        fn status(&self, epoch: Epoch) -> TenureStatus {
            match self.log.open() {
                Some(open) if open.epoch == epoch => TenureStatus::Open,
                Some(_) | None => TenureStatus::Released,
            }
        }

        fn input(&self) -> PlanInput {
            PlanInput {
                session: ME,
                low_water: Position::new(self.low_water),
                slots: [(SLOT, self.log.checkpoint_entry())].into(),
                packs: self.packs.clone(),
                copy_len_max: self.copy_len_max,
            }
        }

        fn plan(&self) -> Plan {
            let mut survey = Survey::default();
            for tenure in self.log.tenures() {
                survey.tenure(tenure, self.status(tenure.epoch));
            }
            let mut plan = Plan::new(self.input(), &survey, &self.files);
            for tenure in self.log.tenures() {
                plan.tenure(SLOT, tenure, self.status(tenure.epoch), &self.files);
            }
            plan
        }

        /// Commits a plan without writing packs.
        fn commit(&mut self, plan: &Plan) -> Checkpoint {
            let mut written = Vec::new();
            let each = PACK_LEN_MAX / self.record_len as usize;
            for copies in plan.copies().chunks(each) {
                let number = self.next_pack;
                self.next_pack += 1;
                let count = u32::try_from(copies.len()).unwrap();
                written.push(pack(number, self.record_len * count));
                for copy in copies {
                    let place = self.place(ME, in_pack(number), Origin::Own);
                    self.log.copied(copy, &place);
                }
            }
            let open = self.log.open().map(|open| open.epoch);
            let content = plan.content(&written, |_| open);
            for (_, epoch) in plan.settled(&content) {
                self.log.settled(epoch);
            }
            self.packs.clone_from(&content.packs);
            content
        }
    }

    fn journal(position: u64) -> FileObject {
        FileObject::Journal(Position::new(position))
    }

    fn in_pack(number: u64) -> FileObject {
        FileObject::Pack(PackNumber::new(number))
    }

    fn coverage(content: &Checkpoint, epoch: Epoch) -> Option<Coverage> {
        let tenures = &content.slots[&SLOT].tenures;
        tenures.iter().find(|tenure| tenure.epoch == epoch).map(|tenure| tenure.coverage)
    }

    #[test]
    fn a_slot_without_sources_is_full_at_once() {
        let mut bench = Bench::new();
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        bench.write(1, 4);
        let plan = bench.plan();
        assert_eq!(plan.copies().len(), 1);
        assert_eq!(coverage(&bench.commit(&plan), EPOCH), Some(Coverage::Full));
    }

    #[test]
    fn only_records_at_or_below_the_low_water_are_copied_from_the_own_journal() {
        let mut bench = Bench::new();
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        bench.write(1, 9);
        bench.write(2, 10);
        bench.write(3, 8);
        bench.write(3, 11);
        let copied: Vec<_> = bench.plan().copies().iter().map(|copy| copy.hash).collect();
        assert_eq!(copied, [hash(1)], "the newest record of vnode 3 is always read");
    }

    #[test]
    fn a_slot_is_part_until_all_of_it_is_copied_within_the_budget() {
        let mut bench = Bench::new();
        let found = bench.found(OTHER, &[in_pack(1), journal(7), in_pack(1)]);
        bench.log.adopt(EPOCH, found).unwrap();
        bench.copy_len_max = u64::from(RECORD_LEN);
        let mut copied = Vec::new();
        for expected in [Coverage::Part, Coverage::Part, Coverage::Full] {
            let plan = bench.plan();
            copied.extend(plan.copies().iter().map(|copy| copy.hash));
            assert_eq!(coverage(&bench.commit(&plan), EPOCH), Some(expected));
        }
        assert_eq!(copied, [hash(2), hash(1), hash(3)], "batches are trimmed sooner than packs");
        assert!(bench.plan().copies().is_empty());
    }

    #[test]
    fn a_slot_never_becomes_full_after_its_release() {
        let mut bench = Bench::new();
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        let plan = bench.plan();
        let content = plan.content(&[], |_| None);
        assert_eq!(coverage(&content, EPOCH), Some(Coverage::Part));
        assert_eq!(plan.settled(&content).count(), 0);
    }

    #[test]
    fn a_slot_full_at_its_release_stays_full_and_includes_the_last_batches() {
        let mut bench = Bench::new();
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        let plan = bench.plan();
        bench.commit(&plan);
        bench.write(1, 10);
        bench.log.release(Epoch::new(6)).unwrap();
        bench.low_water = 11;
        let plan = bench.plan();
        let content = bench.commit(&plan);
        assert_eq!(plan.copies().len(), 1);
        assert_eq!(coverage(&content, EPOCH), Some(Coverage::Full));
        assert_eq!(content.slots[&SLOT].released, Epoch::new(6));
    }

    #[test]
    fn a_tenure_adopted_above_the_low_water_is_skipped() {
        let mut bench = Bench::new();
        let input = bench.input();
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        bench.write(1, 10);
        let mut plan = Plan::new(input, &Survey::default(), &bench.files);
        plan.tenure(SLOT, bench.log.tenure(EPOCH).unwrap(), TenureStatus::Open, &bench.files);
        let content = plan.content(&[], |_| Some(EPOCH));
        assert_eq!((plan.copies().len(), coverage(&content, EPOCH)), (0, None));
    }

    #[test]
    fn a_pack_without_live_entries_is_dropped_and_one_of_a_released_tenure_is_kept() {
        let mut bench = Bench::new();
        bench.packs = vec![pack(1, 900), pack(2, 900)];
        let mut log = SlotLog::default();
        log.adopt(Epoch::new(1), SlotIndex::default()).unwrap();
        let place = bench.place(ME, in_pack(2), Origin::Own);
        log.write(hash(1), &place).unwrap();
        log.release(Epoch::new(2)).unwrap();
        bench.log = log;
        let plan = bench.plan();
        assert_eq!(plan.kept_packs(), [pack(2, 900)]);
        assert!(plan.copies().is_empty());
    }

    #[test]
    fn too_many_small_packs_are_merged() {
        let mut bench = Bench::new();
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        for number in 1..=20 {
            bench.write(number, bench.low_water);
            let plan = bench.plan();
            bench.commit(&plan);
            bench.low_water += 1;
            assert!(bench.packs.len() <= PACKS_SMALL_MAX + 1);
        }
        assert_eq!(bench.log.open().unwrap().entries.count(), 20);
    }

    #[test]
    #[should_panic(expected = "which the checkpoint drops")]
    fn an_entry_in_a_pack_that_is_gone_is_a_bug() {
        let mut bench = Bench::new();
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        let place = bench.place(ME, in_pack(1), Origin::Own);
        bench.log.write(hash(1), &place).unwrap();
        drop(bench.plan());
    }

    /// How many times a written record is written to packs on average, over many checkpoints of 8 MiB, with states of
    /// `record_len` bytes.
    fn amplification(vnodes: u64, record_len: u32, pick: impl Fn(u64) -> u64) -> f64 {
        let mut bench = Bench { record_len, ..Bench::new() };
        bench.log.adopt(EPOCH, SlotIndex::default()).unwrap();
        for number in 0..vnodes {
            bench.write(number, bench.low_water);
        }
        let plan = bench.plan();
        bench.commit(&plan);
        let each = TAIL_LEN_MAX / u64::from(record_len);
        let checkpoints = 8 * vnodes / each + 100;
        let (mut packed, mut random) = (0, 7u64);
        for _ in 0..checkpoints {
            bench.low_water += 1;
            for _ in 0..each {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bench.write(pick(random >> 33), bench.low_water);
            }
            let plan = bench.plan();
            packed += plan.copies().len();
            bench.commit(&plan);
            let stored: u64 = bench.packs.iter().map(|pack| u64::from(pack.length)).sum();
            let live = vnodes * u64::from(record_len);
            assert!(stored < 2 * live + DEAD_LEN_SLACK + (96 << 20), "{stored} bytes for {live}");
            let large = bench.packs.iter().filter(|pack| pack.length >= PACK_SMALL_LEN).count();
            assert!(
                bench.packs.len() - large <= PACKS_SMALL_MAX + 3,
                "{} packs",
                bench.packs.len()
            );
        }
        packed as f64 / (each * checkpoints) as f64
    }

    #[test]
    fn steady_load_is_written_to_packs_a_bounded_number_of_times() {
        // Without the journal's own copy. The total budget is 3.5 for uniform load and 2.5 with a hot tenth.
        let loads =
            [(500, 32 << 10, 1.5, 1.0), (1_000, 256 << 10, 2.2, 1.5), (2_000, 512 << 10, 2.2, 1.8)];
        for (vnodes, record_len, uniform_max, hot_max) in loads {
            let uniform = amplification(vnodes, record_len, |random| random % vnodes);
            let hot = amplification(vnodes, record_len, |random| {
                let all = random.is_multiple_of(10);
                random / 10 % if all { vnodes } else { vnodes / 10 }
            });
            assert!(uniform < uniform_max && hot < hot_max, "{vnodes}: {uniform} and {hot}");
        }
    }
}
