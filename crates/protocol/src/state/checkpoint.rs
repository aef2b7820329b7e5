//! The content of a checkpoint record: the journal up to its low water, as packs and a short entry per slot.
//!
//! It is the commit point of its packs: they count once its batch is committed, and the same seal fences checkpoints
//! too. It describes the journal exactly as of `low_water`; readers continue with the batches above. Exception: `full`
//! is as of the checkpoint's own position, because `full` releases sources and must be visible before a later Release
//! is.
//!
//! Invariants:
//!
//! * A slot that the newest epoch lists is in every checkpoint, with every listed tenure.
//! * Each content has one encoding. Slots are written as runs, so that 4,096 equal entries take a few bytes.

use alloc::{collections::BTreeMap, format, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    format::codec::{self, Malformed},
    ids::{Epoch, Position, Slot},
    state::pack::PackRef,
};

/// A checkpoint is due after this many positions.
pub const TAIL_POSITIONS_MAX: u64 = 256;
/// A checkpoint is due after this many bytes of batches.
pub const TAIL_LEN_MAX: u64 = 8 << 20;
/// Most packs of a checkpoint: a tebibyte.
pub const PACKS_MAX: usize = 16_384;
/// Most tenures of one session that a checkpoint keeps for a slot. The leader doesn't rebalance a slot with 8 sources.
pub const TENURES_MAX: usize = 64;

const WHAT: &str = "a checkpoint's content";

/// Whether a checkpoint's entries of a tenure are all of the slot's vnodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Coverage {
    /// The vnodes that changed under the tenure; the rest is in older tenures.
    Part,
    /// All vnodes of the slot: older tenures are void.
    Full,
}

/// A tenure of the session; its entries are in the packs' groups of (slot, epoch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenureEntry {
    /// The epoch that assigned the slot.
    pub epoch: Epoch,
    /// Whether its entries are all of the slot's vnodes.
    pub coverage: Coverage,
}

/// A slot in the session's journal, up to the low water.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotEntry {
    /// The epoch of the newest Release; 0 when there is none. It ends every older tenure.
    pub released: Epoch,
    /// The adopted tenures, oldest first.
    pub tenures: Vec<TenureEntry>,
}

/// The content of a checkpoint record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything at or below is in this checkpoint and may be trimmed once it is committed.
    pub low_water: Position,
    /// The packs, by number.
    pub packs: Vec<PackRef>,
    /// The slots that this session owns, or owned and others may still recover from it.
    pub slots: BTreeMap<Slot, SlotEntry>,
}

/// A run of consecutive slots with equal entries.
#[derive(Serialize, Deserialize)]
struct Run {
    /// The number of slots without an entry before it.
    gap: u16,
    /// The number of slots minus one.
    more: u16,
    entry: SlotEntry,
}

impl Checkpoint {
    /// The content for `BatchBuilder::checkpoint`.
    ///
    /// # Panics
    ///
    /// When it exceeds its limits or is out of order, which is a bug.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if let Err(error) = self.check() {
            panic!("{error}");
        }
        let mut content = Vec::new();
        codec::to_bincode(&(self.low_water, &self.packs, self.runs()), &mut content);
        content
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`], also when the encoding isn't canonical.
    pub fn decode(content: &[u8]) -> Result<Self, Malformed> {
        let (low_water, packs, runs): (_, _, Vec<Run>) = codec::from_bincode(WHAT, content)?;
        let mut slots = BTreeMap::new();
        let mut next = Some(0u16);
        for run in runs {
            // Checked before it is cloned for each slot of the run: a few bytes of input may name all slots.
            run.entry.check().map_err(|why| Malformed::new(WHAT, why))?;
            let first = next.and_then(|next| next.checked_add(run.gap));
            let last = first.and_then(|first| first.checked_add(run.more));
            let (Some(first), Some(last)) = (first, last) else {
                return Err(Malformed::new(WHAT, "a run of slots beyond the last slot"));
            };
            slots.extend((first..=last).map(|slot| (Slot(slot), run.entry.clone())));
            next = last.checked_add(1);
        }
        let checkpoint = Self { low_water, packs, slots };
        checkpoint.check()?;
        if checkpoint.encode() != content {
            return Err(Malformed::new(WHAT, "not its canonical encoding"));
        }
        Ok(checkpoint)
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut next = 0u32;
        for (slot, entry) in &self.slots {
            let gap = u16::try_from(u32::from(slot.0) - next).expect("slots are sorted");
            next = u32::from(slot.0) + 1;
            match runs.last_mut() {
                Some(run) if gap == 0 && run.entry == *entry => run.more += 1,
                Some(_) | None => runs.push(Run { gap, more: 0, entry: entry.clone() }),
            }
        }
        runs
    }

    fn check(&self) -> Result<(), Malformed> {
        let fail = |why: &str| Err(Malformed::new(WHAT, why));
        if self.packs.len() > PACKS_MAX || !self.packs.is_sorted_by(|a, b| a.number < b.number) {
            return fail("too many packs, or packs out of order");
        }
        for (slot, entry) in &self.slots {
            if let Err(why) = entry.check() {
                return fail(&format!("slot {slot}: {why}"));
            }
        }
        Ok(())
    }
}

impl SlotEntry {
    fn check(&self) -> Result<(), &'static str> {
        if self.tenures.len() > TENURES_MAX || !self.tenures.is_sorted_by(|a, b| a.epoch < b.epoch)
        {
            return Err("too many tenures, or tenures out of order");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::PackNumber;

    fn entry(epoch: u64, coverage: Coverage) -> SlotEntry {
        let epoch = Epoch::new(epoch);
        SlotEntry { released: Epoch::ZERO, tenures: vec![TenureEntry { epoch, coverage }] }
    }

    #[test]
    fn a_checkpoint_of_4096_equal_slots_is_tiny() {
        let slots = (0..4_096).map(|slot| (Slot(slot), entry(3, Coverage::Full))).collect();
        let checkpoint = Checkpoint { low_water: Position::new(9), packs: Vec::new(), slots };
        let content = checkpoint.encode();
        assert!(content.len() < 20, "{} bytes", content.len());
        assert_eq!(Checkpoint::decode(&content).unwrap(), checkpoint);
    }

    #[test]
    fn the_last_slot_and_a_gap_read_back() {
        let slots = [(0, 1), (1, 2), (65_535, 2)];
        let slots = slots.map(|(slot, epoch)| (Slot(slot), entry(epoch, Coverage::Part))).into();
        let checkpoint = Checkpoint { low_water: Position::ZERO, packs: Vec::new(), slots };
        assert_eq!(Checkpoint::decode(&checkpoint.encode()).unwrap(), checkpoint);
    }

    #[test]
    fn a_run_that_could_be_shorter_or_a_slot_beyond_the_last_is_refused() {
        let run = |gap, more| Run { gap, more, entry: entry(1, Coverage::Part) };
        let decode = |runs: Vec<Run>| {
            let mut content = Vec::new();
            codec::to_bincode(&(Position::ZERO, Vec::<PackRef>::new(), runs), &mut content);
            Checkpoint::decode(&content)
        };
        assert!(decode(vec![run(0, 1)]).is_ok());
        assert!(decode(vec![run(0, 0), run(0, 0)]).is_err());
        assert!(decode(vec![run(65_535, 1)]).is_err());
        assert!(decode(vec![run(65_535, 0), run(0, 0)]).is_err());
    }

    #[test]
    fn many_tenures_for_every_slot_are_refused_before_they_fill_the_memory() {
        let tenure = |epoch| TenureEntry { epoch: Epoch::new(epoch), coverage: Coverage::Part };
        let tenures = (1..=4_000).map(tenure).collect();
        let run =
            Run { gap: 0, more: u16::MAX, entry: SlotEntry { released: Epoch::ZERO, tenures } };
        let mut content = Vec::new();
        codec::to_bincode(&(Position::ZERO, Vec::<PackRef>::new(), vec![run]), &mut content);
        let taken = allocation_counter::measure(|| {
            assert!(Checkpoint::decode(&content).is_err());
        });
        assert!(taken.bytes_max < 4 << 20, "{taken:?}");
    }

    fn any_slots() -> impl Strategy<Value = BTreeMap<Slot, SlotEntry>> {
        let coverage = prop_oneof![Just(Coverage::Part), Just(Coverage::Full)];
        let tenures = proptest::collection::btree_map(1..5u64, coverage, 0..3);
        let entry = (0..3u64, tenures).prop_map(|(released, tenures)| SlotEntry {
            released: Epoch::new(released),
            tenures: tenures
                .into_iter()
                .map(|(epoch, coverage)| TenureEntry { epoch: Epoch::new(epoch), coverage })
                .collect(),
        });
        proptest::collection::btree_map((0..12u16).prop_map(Slot), entry, 0..12)
    }

    proptest! {
        #[test]
        fn every_checkpoint_reads_back(low_water: u64, slots in any_slots(), numbers in proptest::collection::btree_set(any::<u64>(), 0..5)) {
            let packs = numbers.into_iter().map(|number| PackRef { number: PackNumber::new(number), length: 9, index_offset: 3 }).collect();
            let checkpoint = Checkpoint { low_water: Position::new(low_water), packs, slots };
            prop_assert_eq!(Checkpoint::decode(&checkpoint.encode()).unwrap(), checkpoint);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_have_one_meaning(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(checkpoint) = Checkpoint::decode(&bytes) {
                prop_assert_eq!(checkpoint.encode(), bytes);
            }
        }
    }
}
