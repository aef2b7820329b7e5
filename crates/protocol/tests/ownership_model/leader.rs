//! The leader: the next epoch by the real [`Draft`], cached, because the same few records are needed often.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, OnceLock},
};

use holocron_protocol::{
    epoch::{
        draft::{Draft, SlotReport, SourceFact},
        record::{EpochRecord, Holding, HostEntry, HostState, Leader, RecordDigest, SessionState},
        versions::KindVersions,
    },
    format::cluster::Cluster,
    ids::{ClusterId, DomainId, HostName, Position, SessionId, Slot, Tenure},
};

use crate::log::{epoch, number};

pub(crate) const SLOT: Slot = Slot(0);
const HOME: DomainId = DomainId::HOME;
/// The largest number of sessions; each is the only one of its host.
pub(crate) const SESSIONS_MAX: usize = 4;

/// A tenure: epoch and session.
pub(crate) type TenurePair = (u8, u8);

/// The relevant part of an epoch record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) epoch: u8,
    pub(crate) owner: TenurePair,
    pub(crate) sources: Vec<TenurePair>,
    pub(crate) listed: [Listed; SESSIONS_MAX],
    /// Owner and sources again, in the crate's type.
    pub(crate) holding: Holding,
    pub(crate) real: Real,
}

/// The record itself. The other fields determine it, so all values count as equal.
#[derive(Clone, Debug)]
pub(crate) struct Real(pub(crate) Arc<EpochRecord>);

impl PartialEq for Real {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { epoch, owner, sources, listed, holding: _, real: _ } = self;
        (epoch, owner, sources, listed).hash(state);
    }
}

/// The state of a session in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Listed {
    Open,
    /// Its host was removed; it is to be sealed.
    ToBeSealed,
    Sealed,
    Detached,
    /// Not listed.
    Unknown,
}

impl Record {
    /// The owner and the sources, newest first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = TenurePair> + '_ {
        core::iter::once(self.owner).chain(self.sources.iter().copied())
    }

    pub(crate) fn names(&self, session: u8) -> bool {
        self.chain().any(|(_, it)| it == session)
    }
}

/// A change by the leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Change {
    pub(crate) remove: Option<u8>,
    pub(crate) move_to: Option<u8>,
    pub(crate) known: Known,
}

/// The facts that the leader has learned: sealed sessions by number, full and empty tenures by epoch; as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Known {
    pub(crate) sealed: u8,
    pub(crate) full: u8,
    pub(crate) empty: u8,
}

type Next = BTreeMap<(Arc<Record>, Change), Option<Arc<Record>>>;

#[derive(Default)]
struct Cache {
    next: Next,
}

fn cache() -> &'static Mutex<Cache> {
    static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

/// Epoch 1: this many hosts, and the first one has the slot.
pub(crate) fn first(sessions: usize) -> Arc<Record> {
    let mut draft = Draft::first(&Cluster { slots: 1, ..Cluster::new(ClusterId::new(1)) });
    for session in (0..SESSIONS_MAX).take(sessions) {
        draft.join(&name(session), host(session)).unwrap();
    }
    draft.move_slot(HOME, SLOT, &name(0)).unwrap();
    compact(draft.finish(leader(), "begins", 0))
}

/// The next epoch; `None` if the change isn't possible or changes nothing.
pub(crate) fn next(record: &Arc<Record>, change: Change) -> Option<Arc<Record>> {
    let mut cache = cache().lock().unwrap();
    let key = (Arc::clone(record), change);
    if let Some(next) = cache.next.get(&key) {
        return next.clone();
    }
    let next = draft(record, change);
    cache.next.insert(key, next.clone());
    next
}

fn draft(record: &Arc<Record>, change: Change) -> Option<Arc<Record>> {
    let mut draft = Draft::after(&record.real.0, RecordDigest::of(b"the record before"));
    if let Some(session) = change.remove {
        draft.remove(session_id(session.into()));
    }
    if let Some(session) = change.move_to {
        draft.move_slot(HOME, SLOT, &name(session.into())).ok()?;
    }
    for session in (0..SESSIONS_MAX).filter(|&session| change.known.sealed >> session & 1 == 1) {
        draft.seal_known(session_id(session), Position::new(1));
    }
    for pair in record.chain() {
        let fact = |bits: u8, fact: fn(Tenure) -> SourceFact| {
            (bits >> pair.0 & 1 == 1).then(|| fact(tenure(pair)))
        };
        let facts = [
            fact(change.known.full, SourceFact::Full),
            fact(change.known.empty, SourceFact::Empty),
        ];
        for fact in facts.into_iter().flatten() {
            draft.report(SlotReport { domain: HOME, slot: SLOT, fact });
        }
    }
    let next = draft.finish(leader(), "goes on", 0);
    // A slot without an owner waits for a host, and in this model no host joins later.
    next.holding(HOME, SLOT)?.owner?;
    let next = compact(next);
    let same =
        (next.owner, &next.sources, next.listed) == (record.owner, &record.sources, record.listed);
    (!same).then_some(next)
}

fn compact(record: EpochRecord) -> Arc<Record> {
    let holding = record.holding(HOME, SLOT).unwrap();
    Arc::new(Record {
        epoch: number(record.epoch),
        owner: holding.owner.map_or((0, 0), pair),
        sources: holding.sources.iter().copied().map(pair).collect(),
        holding: holding.clone(),
        listed: core::array::from_fn(|session| {
            match record.sessions.get(&session_id(session)).map(|entry| entry.state) {
                Some(SessionState::Open) => Listed::Open,
                Some(SessionState::Sealed(None)) => Listed::ToBeSealed,
                Some(SessionState::Sealed(Some(_))) => Listed::Sealed,
                Some(SessionState::Detached(_)) => Listed::Detached,
                None => Listed::Unknown,
            }
        }),
        real: Real(Arc::new(record)),
    })
}

fn leader() -> Leader {
    // The leader's host never holds the slot: who leads doesn't matter here.
    Leader {
        host: HostName::new("leader").unwrap(),
        session: SessionId::new(99),
        address: "l:1".into(),
    }
}

fn host(session: usize) -> HostEntry {
    HostEntry {
        address: "h:1".into(),
        sessions: BTreeMap::from([(HOME, session_id(session))]),
        state: HostState::Active,
        weight: 100,
        zone: None,
        versions: KindVersions::default(),
    }
}

fn name(session: usize) -> HostName {
    HostName::new(&format!("h{session}")).unwrap()
}

pub(crate) const fn session_id(session: usize) -> SessionId {
    SessionId::new(session as u128 + 1)
}

pub(crate) fn tenure((given, session): TenurePair) -> Tenure {
    Tenure { epoch: epoch(given), session: session_id(session.into()) }
}

fn pair(tenure: Tenure) -> TenurePair {
    let session = u8::try_from(tenure.session.get() - 1).expect("few sessions");
    (number(tenure.epoch), session)
}
