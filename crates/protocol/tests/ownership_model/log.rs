//! A slot log small enough for the model's state, with conversions from and to the real one.

use std::sync::OnceLock;

use holocron_protocol::{
    ids::{CommitNumber, Epoch, PackNumber, Position, SessionId, VnodeHash},
    slot::log::SlotLog,
    state::{
        checkpoint::{Coverage, SlotEntry, TenureEntry},
        index::SlotIndex,
        place::{FileId, FileNumber, FileObject, Files, Origin, Place, PlaceKind},
    },
};

/// The number of vnodes of the slot; writes go to them in turn.
pub(crate) const VNODES: usize = 2;

/// The writes of a vnode, oldest first: their number, and three bits for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct History(u16);

impl History {
    const LEN_MAX: u16 = 4;

    pub(crate) const fn len(self) -> u16 {
        self.0 & 7
    }

    pub(crate) fn with(self, write: u8) -> Self {
        let length = self.len();
        assert!(length < Self::LEN_MAX && (1..8).contains(&write), "{self:?} and write {write}");
        Self((self.0 + 1) | (u16::from(write) << (3 + 3 * length)))
    }

    /// Whether this is a prefix of `other`.
    pub(crate) const fn begins(self, other: Self) -> bool {
        let bits = 3 * self.len();
        self.len() <= other.len() && (self.0 ^ other.0) >> 3 & ((1 << bits) - 1) == 0
    }
}

/// A vnode's entry in a log; an empty history means no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    pub(crate) history: History,
    pub(crate) origin: Origin,
}

pub(crate) type Entries = [Entry; VNODES];

pub(crate) const NO_ENTRIES: Entries = [Entry { history: History(0), origin: Origin::Own }; VNODES];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AdoptedTenure {
    pub(crate) epoch: u8,
    pub(crate) coverage: Coverage,
    pub(crate) entries: Entries,
}

/// The slot's log in a session's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Log {
    pub(crate) released: u8,
    pub(crate) tenures: Vec<AdoptedTenure>,
}

impl Log {
    pub(crate) fn real(&self) -> SlotLog {
        self.real_released(self.released)
    }

    /// The real log, with another newest Release.
    pub(crate) fn real_released(&self, released: u8) -> SlotLog {
        let tenures = self
            .tenures
            .iter()
            .map(|held| TenureEntry { epoch: epoch(held.epoch), coverage: held.coverage });
        let entry = SlotEntry { released: epoch(released), tenures: tenures.collect() };
        let mut log = SlotLog::of_checkpoint(&entry);
        for held in &self.tenures {
            let tenure = log.tenure_mut(epoch(held.epoch)).expect("it was added above");
            tenure.entries = index(&held.entries);
        }
        log
    }

    pub(crate) fn of(log: &SlotLog) -> Self {
        let tenures = log.tenures().iter().map(|tenure| AdoptedTenure {
            epoch: number(tenure.epoch),
            coverage: tenure.coverage,
            entries: entries(&tenure.entries),
        });
        Self { released: number(log.released()), tenures: tenures.collect() }
    }

    pub(crate) fn open(&self) -> Option<&AdoptedTenure> {
        self.tenures.last().filter(|held| held.epoch >= self.released)
    }
}

pub(crate) fn index(entries: &Entries) -> SlotIndex {
    let written = (0..).zip(entries).filter(|(_, entry)| entry.history.len() > 0);
    SlotIndex::from_sorted(written.map(|(vnode, entry)| (hash(vnode), place(*entry))))
}

pub(crate) fn entries(index: &SlotIndex) -> Entries {
    let mut entries = NO_ENTRIES;
    for (vnode, entry) in (0..).zip(&mut entries) {
        if let Some(place) = index.get(hash(vnode)) {
            let history = u16::try_from(place.checksum).expect("the checksum is a history");
            *entry = Entry { history: History(history), origin: place.origin };
        }
    }
    entries
}

pub(crate) fn hash(vnode: u8) -> VnodeHash {
    VnodeHash::from_bits(vnode.into())
}

/// A place whose commit number counts the writes and whose checksum is the history itself: two records are equal if they
/// have the same writes.
pub(crate) fn place(entry: Entry) -> Place {
    Place {
        file: match entry.origin {
            Origin::Own => model_files().own,
            Origin::Foreign => model_files().foreign,
        },
        offset: u32::from(entry.history.0),
        length: 1,
        checksum: u32::from(entry.history.0),
        commit: CommitNumber::new(entry.history.len().into()),
        wake_at: 0,
        kind: PlaceKind::Live,
        origin: entry.origin,
    }
}

/// The files of the model's places: an own batch below every low water, and another session's pack.
pub(crate) struct ModelFiles {
    pub(crate) files: Files,
    own: FileNumber,
    foreign: FileNumber,
}

/// The session that plans a checkpoint.
pub(crate) const PLANNER: SessionId = SessionId::new(100);

pub(crate) fn model_files() -> &'static ModelFiles {
    static MODEL_FILES: OnceLock<ModelFiles> = OnceLock::new();
    MODEL_FILES.get_or_init(|| {
        let mut files = Files::default();
        let journal = FileObject::Journal(Position::new(1));
        let own = files.number(FileId { session: PLANNER, object: journal });
        let pack = FileObject::Pack(PackNumber::new(1));
        let foreign = files.number(FileId { session: SessionId::new(101), object: pack });
        ModelFiles { files, own, foreign }
    })
}

pub(crate) const fn epoch(number: u8) -> Epoch {
    Epoch::new(number as u64)
}

pub(crate) fn number(epoch: Epoch) -> u8 {
    u8::try_from(epoch.get()).expect("few epochs")
}
