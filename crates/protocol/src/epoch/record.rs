//! The epoch record: the leader's complete view, one immutable object per epoch.
//!
//! It says who leads, which hosts there are, who owns each slot under which tenure, which older tenures are still
//! needed, and which sessions are over. A record is self-contained: no older one is needed to act on it.
//! [`crate::epoch::draft`] makes the next one; `epoch/json.rs` has its stored form.
//!
//! Invariants ([`EpochRecord::check`] for one record, [`EpochRecord::follows`] for two):
//!
//! * A session is open exactly while a host in the record has it. Only an open session owns slots.
//! * A slot has no owner only if no host in the record has a session in its domain.
//! * Sources are older than the owner, newest first, and never detached.
//! * A tenure keeps its epoch while its session keeps the slot; a change of owner puts the old tenure in front of the
//!   sources.
//! * A sealed session never opens again, and a slot never names a detached session again.
//! * What may be in a slot and its owner can't read is recorded ([`crate::epoch::versions`]).

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    epoch::{
        domain::{DomainState, Rule},
        shards::Shards,
        versions::{KindVersions, Unread},
    },
    ids::{DomainId, Epoch, HostName, Position, SessionId, Slot, StoreId, Tenure},
};

mod digest;

pub use self::digest::RecordDigest;

/// Most hosts in one record.
pub const HOSTS_MAX: usize = 4096;
/// Most domains in one record.
pub const DOMAINS_MAX: usize = 64;
/// Longest reason, in bytes; the leader truncates longer ones.
pub const REASON_LEN_MAX: usize = 1024;
/// Longest address of a host, in bytes.
pub const ADDRESS_LEN_MAX: usize = 256;
/// Longest name of a zone or a domain, in bytes.
pub const LABEL_LEN_MAX: usize = 64;
/// Largest weight of a host.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// The default weight of a host.
pub const WEIGHT_DEFAULT: u32 = 100;

/// The content of an epoch. Made by [`crate::epoch::draft::Draft`] or read from the store; shared as
/// `Arc<EpochRecord>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Its number.
    pub epoch: Epoch,
    /// The digest of the previous record; `None` only in epoch 1.
    pub previous: Option<RecordDigest>,
    /// The host that wrote it, and so leads.
    pub leader: Leader,
    /// Whether the leader continues to lead.
    pub handover: Handover,
    /// Why it was written, for people.
    pub reason: String,
    /// When it was written, for people: the larger of the writer's wall clock and the previous record's value, in
    /// milliseconds.
    pub wall_ms: u64,
    /// Slots in each domain; the same in all records of a cluster.
    pub slot_count: u16,
    /// The hosts, by name.
    pub hosts: BTreeMap<HostName, HostEntry>,
    /// Every session that a host, a slot or the garbage collector still needs.
    pub sessions: BTreeMap<SessionId, SessionEntry>,
    /// The domains and their slots.
    pub domains: BTreeMap<DomainId, DomainEntry>,
    /// The kinds with shards, and the hosts that have them.
    pub shards: Shards,
}

/// The writer of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its host.
    pub host: HostName,
    /// Its session in the home domain; identifies one incarnation of the host.
    pub session: SessionId,
    /// Its address for hosts and clients.
    pub address: String,
}

/// Whether the writer of a record continues to lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// It does.
    #[default]
    Stays,
    /// This is its last record: the successor tries the next epoch at once; without one, any host may.
    Leaves {
        /// The host that shall lead next.
        successor: Option<HostName>,
    },
}

/// A host of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// Its address for hosts and clients.
    pub address: String,
    /// Its session in each domain it serves.
    pub sessions: BTreeMap<DomainId, SessionId>,
    /// Whether it takes slots.
    pub state: HostState,
    /// Its share of the slots, relative to other weights; at most [`WEIGHT_MAX`]. With 0 it gets no slots while another
    /// host can take them.
    pub weight: u32,
    /// Its zone, if it has one; hosts of one zone tend to fail together.
    pub zone: Option<String>,
    /// The versions of its kinds; empty if nothing is known of them.
    pub versions: KindVersions,
}

impl HostEntry {
    /// The weight for placement: 0 for a draining host.
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
    /// It is leaving: its slots move away and it gets no new ones.
    Draining,
}

/// A session: its host, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEntry {
    /// The session's host.
    pub host: HostName,
    /// The domain its journal is in.
    pub domain: DomainId,
    /// Its state.
    pub state: SessionState,
}

/// The state of a session. It only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// The session of a host in this record.
    Open,
    /// Over. `None`: to be sealed by any host that needs its end; `Some`: the position of the seal.
    Sealed(Option<Position>),
    /// Sealed at this position, and named by no slot: everything except seal and marks may be deleted.
    Detached(Position),
}

/// A domain and the owners of its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEntry {
    /// Its name, by which configurations and operators call it.
    pub name: String,
    /// Which vnodes live in it; never changes. Empty only for a home domain that takes what no other domain takes.
    pub rules: Vec<Rule>,
    /// The store it is bound to, once a host has opened it; never changes. `None` for the home domain.
    pub store: Option<StoreId>,
    /// Whether it is in use.
    pub state: DomainState,
    /// Its slots.
    pub slots: SlotTable,
    /// What may be in slots and can't be read by their owners.
    pub unread: Unread,
}

/// The owner of a slot, and the older tenures that are still needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holding {
    /// The tenure that may serve the slot, after it has seen the end of every source.
    pub owner: Option<Tenure>,
    /// The earlier tenures still needed, newest first.
    pub sources: Vec<Tenure>,
}

impl Holding {
    /// Whether this session owns the slot.
    #[must_use]
    pub fn is_owned_by(&self, session: SessionId) -> bool {
        self.owner.is_some_and(|owner| owner.session == session)
    }

    /// The newest source that is a tenure of this session. If another session owns the slot, this session must write a
    /// Release for it.
    #[must_use]
    pub fn newest_source_of(&self, session: SessionId) -> Option<Tenure> {
        self.sources.iter().copied().find(|source| source.session == session)
    }
}

/// The holding of each slot of a domain. Equal holdings are stored once and a clone copies two pointers, because
/// records are cloned often and few of their thousands of slots differ.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotTable {
    /// The distinct holdings, in order of their first slot.
    holdings: Arc<[Holding]>,
    /// By slot, its index in `holdings`.
    of_slot: Arc<[u16]>,
}

impl SlotTable {
    /// From one holding per slot, in slot order.
    ///
    /// # Panics
    ///
    /// When there are more than 65,535 slots.
    #[must_use]
    pub fn new(by_slot: &[Holding]) -> Self {
        let places: Vec<usize> = (0..by_slot.len()).collect();
        Self::from_groups(by_slot, &places)
    }

    /// From some holdings and, by slot, the index of its holding among them.
    pub(crate) fn from_groups(groups: &[Holding], by_slot: &[usize]) -> Self {
        u16::try_from(by_slot.len()).expect("a slot count is a u16");
        // Equal groups are replaced by the first of them; then the groups in use are numbered in slot order.
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

    /// The number of slots.
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

    /// All slots in order, each with its holding.
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

    /// By slot, the index of its holding in [`Self::distinct`].
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
    /// The holding of a slot; `None` when there is no such domain.
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

    /// Whether it differs from `before` in more than number, reason and time. If it doesn't, it need not be written.
    #[must_use]
    pub fn is_news_after(&self, before: &Self) -> bool {
        self.leader != before.leader
            || self.handover != before.handover
            || self.hosts != before.hosts
            || self.sessions != before.sessions
            || self.domains != before.domains
            || self.shards != before.shards
    }

    /// The host of an open session.
    #[must_use]
    pub fn host_of(&self, session: SessionId) -> Option<(&HostName, &HostEntry)> {
        let entry = self.sessions.get(&session)?;
        match entry.state {
            SessionState::Open => self.hosts.get_key_value(&entry.host),
            SessionState::Sealed(_) | SessionState::Detached(_) => None,
        }
    }

    /// The leader that continues to lead after this record. `None` when it left with this record, or when the record
    /// ends its session: then the leader admitted a later session of its own host name, which takes its slots but
    /// doesn't lead because of that.
    #[must_use]
    pub fn standing_leader(&self) -> Option<&Leader> {
        let stays = self.handover == Handover::Stays && self.is_open(self.leader.session);
        stays.then_some(&self.leader)
    }

    /// Whether a session is open: a host in this record has it.
    #[must_use]
    pub fn is_open(&self, session: SessionId) -> bool {
        self.host_of(session).is_some()
    }

    /// The sessions that are over and whose seal isn't known: the leader seals them.
    pub fn seals_wanted(&self) -> impl Iterator<Item = SessionId> {
        self.sessions
            .iter()
            .filter(|(_, entry)| entry.state == SessionState::Sealed(None))
            .map(|(session, _)| *session)
    }

    /// The detached sessions: garbage, except seal and marks.
    pub fn detached(&self) -> impl Iterator<Item = (SessionId, &SessionEntry)> {
        self.sessions
            .iter()
            .filter(|(_, entry)| matches!(entry.state, SessionState::Detached(_)))
            .map(|(session, entry)| (*session, entry))
    }
}
