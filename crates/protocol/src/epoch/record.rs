//! The epoch record: the leader's whole view, one immutable object per epoch.
//!
//! Who leads, which hosts there are, who holds each slot under which tenure, whose records are still needed, which
//! sessions are over. A record stands for itself: nobody needs an older one to act on it. [`crate::epoch::draft`] makes
//! the next one; how it looks in the store is in `epoch_format`.
//!
//! Invariants ([`EpochRecord::check`] for one record, [`EpochRecord::follows`] for two):
//!
//! * A session is open exactly while it is a session of a host in the record. Nothing else owns a slot.
//! * A slot has no owner only while no host of the record has a session in its domain.
//! * Sources are older than the owner, newest first, and never detached.
//! * A tenure keeps its epoch while its session keeps the slot; a change of owner puts the old tenure in front.
//! * What is over stays over: sealed never opens again, detached is never named by a slot again.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{DomainId, Epoch, HostName, Position, SessionId, Slot, Tenure};

/// Most hosts in one record.
pub const HOSTS_MAX: usize = 4096;
/// Most domains in one record.
pub const DOMAINS_MAX: usize = 64;
/// Longest reason, in bytes; the leader cuts what is longer.
pub const REASON_LEN_MAX: usize = 1024;
/// Longest address of a host, in bytes.
pub const ADDRESS_LEN_MAX: usize = 256;
/// Longest name of a zone or a domain, in bytes.
pub const LABEL_LEN_MAX: usize = 64;
/// Largest weight of a host.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// The weight of a host that doesn't say.
pub const WEIGHT_DEFAULT: u32 = 100;

/// Everything the leader knew when it wrote this epoch. Made by [`crate::epoch::draft::Draft`] or read from the store;
/// shared as `Arc<EpochRecord>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: Epoch,
    /// The digest of the record before; `None` in epoch 1 only.
    pub previous: Option<RecordDigest>,
    /// Who wrote it, and so leads.
    pub leader: Leader,
    /// Whether it goes on leading.
    pub handover: Handover,
    /// Why it was written, in plain words.
    pub reason: String,
    /// When, for people: the larger of the writer's wall clock and the previous record's, in milliseconds.
    pub wall_ms: u64,
    /// Slots in each domain; the cluster's.
    pub slot_count: u16,
    /// The hosts, by name.
    pub hosts: BTreeMap<HostName, HostEntry>,
    /// Every session that a host, a slot or the garbage collector still cares about.
    pub sessions: BTreeMap<SessionId, SessionEntry>,
    /// The domains and their slots.
    pub domains: BTreeMap<DomainId, DomainEntry>,
}

/// The writer of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its host.
    pub host: HostName,
    /// Its session in the home domain; tells two lives of one name apart.
    pub session: SessionId,
    /// Where hosts and clients reach it.
    pub address: String,
}

/// Whether the writer of a record goes on leading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// It does.
    #[default]
    Stays,
    /// This is its last record: whoever is named tries the next epoch at once; without a name, whoever comes.
    Leaves {
        /// Who.
        successor: Option<HostName>,
    },
}

/// A host of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// Where hosts and clients reach it.
    pub address: String,
    /// Its session in each domain it serves.
    pub sessions: BTreeMap<DomainId, SessionId>,
    /// Whether it takes slots.
    pub state: HostState,
    /// Its share of the slots relative to the others', at most [`WEIGHT_MAX`]; with 0 it gets none while another
    /// host can take them.
    pub weight: u32,
    /// Where it stands, if it says; hosts of one zone tend to fail together.
    pub zone: Option<String>,
}

impl HostEntry {
    /// The weight that counts for placement: nothing for a draining host.
    #[must_use]
    pub const fn share(&self) -> u32 {
        match self.state {
            HostState::Active => self.weight,
            HostState::Draining => 0,
        }
    }
}

/// Whether a host takes slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It does.
    Active,
    /// It is leaving: its slots move away and it gets none.
    Draining,
}

/// A session: whose it is and whether it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEntry {
    /// The host that lives or lived it.
    pub host: HostName,
    /// The domain its journal is in.
    pub domain: DomainId,
    /// How far gone it is.
    pub state: SessionState,
}

/// How far gone a session is. It only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Of a host in this record.
    Open,
    /// Over. `None`: to be sealed by whoever needs its end; `Some`: the seal stands there.
    Sealed(Option<Position>),
    /// Sealed there, and owner or source of nothing: everything but seal and marks may be deleted.
    Detached(Position),
}

/// A domain and who holds its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEntry {
    /// What people call it.
    pub name: String,
    /// Its slots.
    pub slots: SlotTable,
}

/// Who holds a slot, and whose records of it are still needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holding {
    /// The tenure that may serve it, once it has seen the end of every source.
    pub owner: Option<Tenure>,
    /// The earlier tenures still needed, newest first.
    pub sources: Vec<Tenure>,
}

impl Holding {
    /// Whether the slot is this session's.
    #[must_use]
    pub fn is_owned_by(&self, session: SessionId) -> bool {
        self.owner.is_some_and(|owner| owner.session == session)
    }

    /// The newest source that is a tenure of this session: the one a Release is owed for when another owns the slot.
    #[must_use]
    pub fn newest_source_of(&self, session: SessionId) -> Option<Tenure> {
        self.sources.iter().copied().find(|source| source.session == session)
    }
}

/// Who holds each slot of a domain. Equal holdings are kept once and a clone copies two pointers, because records are
/// handed around and few of their thousands of slots differ.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotTable {
    /// The distinct holdings, in order of their first slot.
    holdings: Arc<[Holding]>,
    /// By slot, its place in `holdings`.
    of_slot: Arc<[u16]>,
}

impl SlotTable {
    /// From one holding per slot, in order.
    ///
    /// # Panics
    ///
    /// When there are more than 65,535 of them.
    #[must_use]
    pub fn new(by_slot: &[Holding]) -> Self {
        let places: Vec<usize> = (0..by_slot.len()).collect();
        Self::from_groups(by_slot, &places)
    }

    /// From some holdings and, by slot, the place of its holding among them.
    pub(crate) fn from_groups(groups: &[Holding], by_slot: &[usize]) -> Self {
        u16::try_from(by_slot.len()).expect("a slot count is a u16");
        // Equal groups become the first of them; only then do slots number what they use, in order.
        let mut firsts: BTreeMap<&Holding, usize> = BTreeMap::new();
        let first_of: Vec<usize> = groups
            .iter()
            .enumerate()
            .map(|(at, group)| *firsts.entry(group).or_insert(at))
            .collect();
        let mut numbers: Vec<Option<u16>> = vec![None; groups.len()];
        let mut used: Vec<usize> = Vec::new();
        let of_slot: Arc<[u16]> = by_slot
            .iter()
            .map(|&group| {
                let first = first_of[group];
                *numbers[first].get_or_insert_with(|| {
                    used.push(first);
                    u16::try_from(used.len() - 1).expect("no more holdings than slots")
                })
            })
            .collect();
        let holdings = used.into_iter().map(|group| groups[group].clone()).collect();
        Self { holdings, of_slot }
    }

    /// How many slots there are.
    #[must_use]
    pub fn slot_count(&self) -> u16 {
        u16::try_from(self.of_slot.len()).expect("checked when the table was made")
    }

    /// Who holds a slot.
    ///
    /// # Panics
    ///
    /// When the cluster has no such slot.
    #[must_use]
    pub fn holding(&self, slot: Slot) -> &Holding {
        let Some(&place) = self.of_slot.get(slot.index()) else {
            panic!("{slot} of {} slots", self.of_slot.len());
        };
        &self.holdings[usize::from(place)]
    }

    /// All slots in order, each with who holds it.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Holding)> {
        let holdings = &self.holdings;
        (0..).map(Slot).zip(self.of_slot.iter().map(move |&place| &holdings[usize::from(place)]))
    }

    /// The slots a session owns, in order.
    pub fn owned_by(&self, session: SessionId) -> impl Iterator<Item = (Slot, &Holding)> {
        self.iter().filter(move |(_, holding)| holding.is_owned_by(session))
    }

    /// The distinct holdings, each once, in order of their first slot.
    #[must_use]
    pub fn distinct(&self) -> &[Holding] {
        &self.holdings
    }

    /// By slot, the place of its holding in [`Self::distinct`].
    pub(crate) fn places(&self) -> &[u16] {
        &self.of_slot
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl EpochRecord {
    /// Who holds a slot; `None` when there is no such domain.
    ///
    /// # Panics
    ///
    /// When the cluster has no such slot.
    #[must_use]
    pub fn holding(&self, domain: DomainId, slot: Slot) -> Option<&Holding> {
        self.domains.get(&domain).map(|domain| domain.slots.holding(slot))
    }

    /// The home domain.
    ///
    /// # Panics
    ///
    /// When the record lacks it, which [`Self::check`] of a decoded record excludes.
    #[must_use]
    pub fn home(&self) -> &DomainEntry {
        self.domains.get(&DomainId::HOME).expect("every record has the home domain")
    }

    /// Whether it lists a session as open.
    #[must_use]
    pub fn lists_open(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|entry| entry.state == SessionState::Open)
    }

    /// Whether it says anything that another doesn't, but for its number, reason and time. If it doesn't, it need not be
    /// written after that one.
    #[must_use]
    pub fn is_news_after(&self, before: &Self) -> bool {
        self.leader != before.leader
            || self.handover != before.handover
            || self.hosts != before.hosts
            || self.sessions != before.sessions
            || self.domains != before.domains
    }

    /// The host that a session of this record belongs to, while it is open.
    #[must_use]
    pub fn host_of(&self, session: SessionId) -> Option<(&HostName, &HostEntry)> {
        let entry = self.sessions.get(&session)?;
        match entry.state {
            SessionState::Open => self.hosts.get_key_value(&entry.host),
            SessionState::Sealed(_) | SessionState::Detached(_) => None,
        }
    }

    /// The leader that goes on after this record. `None` when it left with it, and when the record ends its session:
    /// then it has taken in a later session of its own name, which has its slots and doesn't lead by that alone.
    #[must_use]
    pub fn standing_leader(&self) -> Option<&Leader> {
        let stays = self.handover == Handover::Stays && self.is_open(self.leader.session);
        stays.then_some(&self.leader)
    }

    /// Whether a session may go on: a host in this record lives it.
    #[must_use]
    pub fn is_open(&self, session: SessionId) -> bool {
        self.host_of(session).is_some()
    }

    /// The sessions this record wants sealed without knowing where: the leader seals them all.
    pub fn seals_wanted(&self) -> impl Iterator<Item = SessionId> {
        self.sessions
            .iter()
            .filter(|(_, entry)| entry.state == SessionState::Sealed(None))
            .map(|(session, _)| *session)
    }

    /// The detached sessions: garbage but for seal and marks.
    pub fn detached(&self) -> impl Iterator<Item = (SessionId, &SessionEntry)> {
        self.sessions
            .iter()
            .filter(|(_, entry)| matches!(entry.state, SessionState::Detached(_)))
            .map(|(session, entry)| (*session, entry))
    }
}

/// A hash of a record's stored bytes (xxh3, 128 bits), independent of the checksum inside them. Each record holds the
/// one before's, so `scrub` sees that the log is a chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordDigest(u128);

impl RecordDigest {
    /// Of a record as it is stored.
    #[must_use]
    pub fn of(object: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(object))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        SessionId::parse(text).map(|hex| Self(hex.get()))
    }
}

impl fmt::Display for RecordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RecordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
