//! Retention: what a session may forget in memory and delete in the store once a checkpoint is committed.
//!
//! Three kinds of things become garbage with a checkpoint: batches at or below its low water, packs that it doesn't name
//! any more, and, in memory, the tail that it covers and the objects of former owners that it copied. Deletions are
//! judged by the newest epoch that was read *after* the commit. A slot may have been released since the checkpoint was
//! planned, and its new owner reads by the checkpoint before. A Release below this checkpoint came of an epoch that was
//! read by now; a new owner that needs one above it reads by this checkpoint.
//!
//! Invariants:
//!
//! * Nothing is deleted before the checkpoint that makes it garbage is committed.
//! * No pack is deleted that the newest committed checkpoint names, that may belong to the next one, or that another
//!   session may be reading.
//! * A pack of a checkpoint that was given up goes only if its record was never appended: one in flight may land.
//! * Objects of former owners stay in memory while a slot is recovering or has states that were not copied: a former
//!   owner that goes on with other slots trims its journal.

use alloc::{collections::BTreeSet, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::trim::next_trim,
    epoch::record::{EpochRecord, SlotTable},
    format::{
        keys::Key,
        segment::{SegmentLen, TrimStep, Trimmed},
    },
    ids::{Epoch, PackNumber, Position, SessionId},
    journal::writer::Writer,
    planted,
    slot::{
        log::SlotLog,
        residency::{Residency, SlotState},
    },
    state::checkpoint::Checkpoint,
};

/// Files known before unused ones are looked for; each takes some 100 bytes of memory.
pub const FILES_MIN: usize = 1_024;

/// Whether states that this session serves still stand only in objects of former owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Copying {
    /// No: every state of an open tenure stands in own batches and packs.
    #[default]
    Complete,
    /// Yes: the next checkpoint copies more.
    Remaining,
}

impl Copying {
    /// By the logs of all slots.
    #[must_use]
    pub fn of<'a>(logs: impl IntoIterator<Item = &'a SlotLog>) -> Self {
        let has_foreign =
            |log: &SlotLog| log.open().is_some_and(|tenure| tenure.entries.foreign() > 0);
        if logs.into_iter().any(has_foreign) { Self::Remaining } else { Self::Complete }
    }
}

/// Whether bytes that were fetched for a recovery may not be in any index yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovering {
    /// No slot is recovering, and every recovered slot is in its log.
    Nothing,
    /// A slot is recovering, or its Adopt isn't in its log yet.
    Slots,
}

impl Recovering {
    /// By the states of all slots. `unlogged` says how many recovered indexes are not in a log yet.
    #[must_use]
    pub fn of(residency: &Residency, unlogged: usize) -> Self {
        let recovers = |(_, state)| matches!(state, SlotState::Recovering { .. });
        if unlogged > 0 || residency.states().any(recovers) { Self::Slots } else { Self::Nothing }
    }
}

/// Whether the newest epoch lists a session as a source of some slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listed {
    /// It does: a new owner may be reading the session's packs.
    AsSource,
    /// It does not.
    Nowhere,
}

/// A session's own packs, and who may need them.
#[derive(Clone, Copy, Debug)]
pub struct OwnPacks<'a> {
    /// Those that were written and not deleted.
    pub written: &'a BTreeSet<PackNumber>,
    /// Those that the newest committed checkpoint names.
    pub named: &'a BTreeSet<PackNumber>,
    /// The first number that was free when that checkpoint was committed: from here on packs may belong to the next one.
    pub free_from: PackNumber,
    /// Whether other sessions may be reading them.
    pub listed: Listed,
}

/// The own packs that no session will ask for again.
pub fn unneeded_packs(packs: OwnPacks<'_>) -> impl Iterator<Item = PackNumber> {
    let unread = planted::unread(packs.listed == Listed::Nowhere);
    let before_next = move |number| planted::is_settled(number < packs.free_from);
    let written = packs.written.iter().copied().take_while(move |&number| before_next(number));
    written.filter(move |number| unread && !packs.named.contains(number))
}

/// What may be forgotten in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// The batches of the tail at or below this position.
    Tail(Position),
    /// Every object of former owners that is kept in memory.
    ForeignObjects,
    /// The numbers of files that no index points into.
    UnusedFiles,
}

/// One deletion in the store. The next follows once it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// A step of trimming the own journal.
    Trim(TrimStep),
    /// Delete this pack.
    Pack(PackNumber),
}

/// The packs of a session that is over and whose collector may have come too early for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// No record names them: they go.
    pub unnamed: BTreeSet<PackNumber>,
    /// A checkpoint that was in flight names them. If the session has its end mark, they go. If not, it is collected later,
    /// and they with it.
    pub in_doubt: BTreeSet<PackNumber>,
}

/// What one session retains.
#[derive(Clone, Debug)]
pub struct Retention {
    session: SessionId,
    /// Packs that were written and not deleted.
    written: BTreeSet<PackNumber>,
    /// Those of them that the newest committed checkpoint names.
    named: BTreeSet<PackNumber>,
    /// The first number that was free when that checkpoint was committed. From here on packs may belong to the next one.
    free_from: PackNumber,
    /// The first number that was free when the newest checkpoint was appended to the journal, committed or not.
    appended_from: PackNumber,
    /// Packs of checkpoints that were given up before their record was appended: no record ever names them.
    given_up: BTreeSet<PackNumber>,
    /// The first number that was never used.
    next_pack: PackNumber,
    trimmed: Trimmed,
    /// The low water of the newest checkpoint that was appended to the journal, committed or not.
    appended: Position,
    /// Files known when unused ones were last forgotten.
    files_kept: usize,
    /// The newest epoch that a deletion was judged by.
    judged_by: Epoch,
}

impl Retention {
    /// A session that has committed no checkpoint.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            written: BTreeSet::new(),
            named: BTreeSet::new(),
            free_from: PackNumber::ZERO.next(),
            appended_from: PackNumber::ZERO.next(),
            given_up: BTreeSet::new(),
            next_pack: PackNumber::ZERO.next(),
            trimmed: Trimmed::default(),
            appended: Position::ZERO,
            files_kept: 0,
            judged_by: Epoch::ZERO,
        }
    }

    /// The number of the next pack to write.
    #[must_use]
    pub const fn next_pack(&self) -> PackNumber {
        self.next_pack
    }

    /// A pack is about to be written. It counts as written whatever becomes of the request.
    ///
    /// # Panics
    ///
    /// When its number was used before.
    pub fn pack_written(&mut self, number: PackNumber) {
        assert!(number >= self.next_pack, "the number of a pack is never used again: {number}");
        assert!(self.written.insert(number), "{number} is written twice");
        self.next_pack = number.next();
    }

    /// A checkpoint with that low water was appended to the journal.
    pub fn checkpoint_appended(&mut self, low_water: Position) {
        assert!(self.appended <= low_water, "low waters don't go down");
        self.appended = low_water;
        self.appended_from = self.next_pack;
    }

    /// The checkpoint that was being built is given up: it will not be appended. Its packs go, whoever reads this session:
    /// readers find packs by records.
    pub fn given_up(&mut self) {
        let from = planted::given_up_from(self.appended_from, self.free_from);
        self.given_up.extend(self.written.range(from..));
    }

    /// The session is over. Says which of its packs its host must see to: the session may have been collected and forgotten
    /// while this process was paused in the middle of a put.
    #[must_use]
    pub fn left_behind(mut self) -> LeftBehind {
        self.given_up();
        let in_flight = self.written.range(self.free_from..self.appended_from.max(self.free_from));
        let in_doubt = in_flight.copied().collect();
        let unnamed = self.given_up;
        assert!(unnamed.is_disjoint(&in_doubt), "a pack in doubt was given up");
        LeftBehind { unnamed, in_doubt }
    }

    /// What of the objects listed below this session is there although it was deleted, or was given up: requests that
    /// landed late. `listed` is what exists; ask when no deletion is under way.
    pub fn landed_late<'a>(
        &'a self,
        segments: SegmentLen,
        listed: impl IntoIterator<Item = Key> + 'a,
    ) -> impl Iterator<Item = Key> + 'a {
        let late = move |key: &Key| match *key {
            Key::Journal(session, position) => {
                session == self.session && segments.segment(position) < self.trimmed.deleted
            }
            Key::Pack(session, number) => {
                session == self.session
                    && number < self.next_pack
                    && !self.written.contains(&number)
            }
            Key::Cluster
            | Key::Domain
            | Key::Epoch(_)
            | Key::EpochMark(_)
            | Key::LeaderHint
            | Key::HostHint(_)
            | Key::TrimMark(..)
            | Key::Kind(..)
            | Key::EndMark(_) => false,
        };
        listed.into_iter().filter(late)
    }

    /// A checkpoint is committed. Says what may be forgotten in memory; `files_known` is how many files have a number.
    ///
    /// # Panics
    ///
    /// When it names a pack that was not written.
    #[must_use]
    pub fn committed(
        &mut self,
        content: &Checkpoint,
        copying: Copying,
        recovering: Recovering,
        files_known: usize,
    ) -> Vec<Forget> {
        assert_eq!(content.low_water, self.appended, "the checkpoint that was appended last");
        self.named = content.packs.iter().map(|pack| pack.number).collect();
        assert!(self.named.is_subset(&self.written), "a checkpoint names packs that don't exist");
        assert!(
            self.named.is_disjoint(&self.given_up),
            "a checkpoint names packs that were given up"
        );
        self.free_from = self.next_pack;
        let mut forget = Vec::from([Forget::Tail(content.low_water)]);
        if copying == Copying::Complete && recovering == Recovering::Nothing {
            forget.push(Forget::ForeignObjects);
        }
        // While slots are recovering, no index points into the files that were read for them.
        if recovering == Recovering::Nothing && files_known >= self.files_kept * 2 + FILES_MIN {
            forget.push(Forget::UnusedFiles);
        }
        forget
    }

    /// Unused files were forgotten; so many are left.
    pub const fn files_left(&mut self, count: usize) {
        self.files_kept = count;
    }

    /// The next thing to delete, by the writer of the own journal and the newest epoch read *now*; `None` when nothing is
    /// due. Ask again after each [`Self::deleted`].
    ///
    /// # Panics
    ///
    /// When epochs go down.
    #[must_use]
    pub fn next_deletion(
        &mut self,
        writer: &Writer,
        segments: SegmentLen,
        newest: &EpochRecord,
    ) -> Option<Deletion> {
        assert!(self.judged_by <= newest.epoch, "{} after {}", newest.epoch, self.judged_by);
        self.judged_by = newest.epoch;
        let rule = || next_trim(writer, self.trimmed, segments);
        let trim = planted::next_trim(rule, self.trimmed, segments.whole_up_to(self.appended));
        let given_up = || self.given_up.first().copied();
        let pack = || given_up().or_else(|| self.unneeded_pack(newest));
        trim.map(Deletion::Trim).or_else(|| pack().map(Deletion::Pack))
    }

    fn unneeded_pack(&self, newest: &EpochRecord) -> Option<PackNumber> {
        let slots = newest.slots_around(self.session);
        let mut holdings = slots.into_iter().flat_map(SlotTable::distinct);
        let listed = holdings.any(|holding| holding.newest_source_of(self.session).is_some());
        let packs = OwnPacks {
            written: &self.written,
            named: &self.named,
            free_from: self.free_from,
            listed: if listed { Listed::AsSource } else { Listed::Nowhere },
        };
        unneeded_packs(packs).next()
    }

    /// A deletion was carried out.
    ///
    /// # Panics
    ///
    /// When it wasn't the next one.
    pub fn deleted(&mut self, deletion: Deletion) {
        match deletion {
            Deletion::Trim(step) => self.trimmed.done(step),
            Deletion::Pack(number) => {
                assert!(!self.named.contains(&number), "{number} is deleted though it is named");
                assert!(self.written.remove(&number), "{number} is deleted twice");
                self.given_up.remove(&number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<const N: usize>(numbers: [u64; N]) -> BTreeSet<PackNumber> {
        numbers.into_iter().map(PackNumber::new).collect()
    }

    #[test]
    fn a_pack_goes_when_the_committed_checkpoint_omits_it_and_no_session_reads_it() {
        let (written, named) = (numbers([1, 2, 3, 4]), numbers([2]));
        let packs = OwnPacks {
            written: &written,
            named: &named,
            free_from: PackNumber::new(4),
            listed: Listed::Nowhere,
        };
        // Pack 4 may be for the checkpoint that is being built.
        let gone: Vec<_> = unneeded_packs(packs).collect();
        assert_eq!(gone, [1, 3].map(PackNumber::new));
        let read_by_others = OwnPacks { listed: Listed::AsSource, ..packs };
        assert_eq!(unneeded_packs(read_by_others).count(), 0);
    }
}
