//! The words that several traces use, read and written.

use std::collections::BTreeMap;

use holocron_protocol::{
    epoch::record::{
        DomainEntry, EpochRecord, Handover, Holding, HostEntry, HostState, Leader, RecordDigest,
        SessionEntry, SessionState, SlotTable,
    },
    epoch::{shards::Shards, versions::KindVersions},
    ids::{DomainId, Epoch, HostName, Position, SessionId, Slot, Tenure},
};

/// How many slots there are: one to tell of, and one beside it.
pub(crate) const SLOT_COUNT: u16 = 2;

/// The sessions; each is the only one of its host.
const SESSIONS: [(&str, SessionId); 5] = [
    ("A", SessionId::new(1)),
    ("B", SessionId::new(2)),
    ("C", SessionId::new(3)),
    ("D", SessionId::new(4)),
    ("E", SessionId::new(5)),
];

pub(crate) fn session(word: &str) -> SessionId {
    let found = SESSIONS.iter().find(|(name, _)| *name == word);
    found.unwrap_or_else(|| panic!("{word} is no session")).1
}

pub(crate) fn session_word(session: SessionId) -> &'static str {
    SESSIONS.iter().find(|&&(_, id)| id == session).unwrap().0
}

/// The number behind a letter, as in `e7`.
pub(crate) fn number(letter: char, word: &str) -> u64 {
    let digits = word.strip_prefix(letter);
    digits.unwrap_or_else(|| panic!("{word} doesn't begin with {letter}")).parse().unwrap()
}

pub(crate) fn epoch(word: &str) -> Epoch {
    Epoch::new(number('e', word))
}

pub(crate) fn position(word: &str) -> Position {
    Position::new(number('p', word))
}

pub(crate) fn slot(word: &str) -> Slot {
    Slot(number('#', word).try_into().unwrap())
}

pub(crate) fn tenure(word: &str) -> Tenure {
    let (name, epoch) = word.split_once('@').unwrap_or_else(|| panic!("{word} is no tenure"));
    Tenure { session: session(name), epoch: Epoch::new(epoch.parse().unwrap()) }
}

pub(crate) fn tenure_word(tenure: Tenure) -> String {
    format!("{}@{}", session_word(tenure.session), tenure.epoch.get())
}

/// `B@4 from A@3 C@1`; the owner may be `none`.
pub(crate) fn holding(words: &[&str]) -> Holding {
    let (owner, sources) = match words {
        [owner, "from", sources @ ..] => (owner, sources),
        [owner] => (owner, &[][..]),
        _ => panic!("{words:?} is no holding"),
    };
    let owner = (*owner != "none").then(|| tenure(owner));
    Holding { owner, sources: sources.iter().map(|word| tenure(word)).collect() }
}

/// `e5 | #0 B@5 from A@3 | A sealed at p9`: a record. A slot that isn't mentioned is E's; a session that isn't is open.
///
/// # Panics
///
/// When no leader could have written it.
pub(crate) fn record(words: &[&str]) -> EpochRecord {
    let mut parts = words.split(|word| *word == "|");
    let epoch = match parts.next() {
        Some([word]) => epoch(word),
        other => panic!("{other:?} is no epoch"),
    };
    let mut holdings = vec![holding(&["E@1"]); SLOT_COUNT.into()];
    let mut states: BTreeMap<SessionId, SessionState> =
        SESSIONS.iter().map(|&(_, id)| (id, SessionState::Open)).collect();
    for part in parts {
        match part {
            [name, "sealed"] => drop(states.insert(session(name), SessionState::Sealed(None))),
            [name, "sealed", "at", at] => {
                let sealed = SessionState::Sealed(Some(position(at)));
                states.insert(session(name), sealed);
            }
            [name, "detached", "at", at] => {
                states.insert(session(name), SessionState::Detached(position(at)));
            }
            [number, words @ ..] => holdings[slot(number).index()] = holding(words),
            [] => panic!("{words:?}: an empty part"),
        }
    }
    let record = written(epoch, &holdings, &states);
    record.check().unwrap_or_else(|why| panic!("{words:?}: {why}"));
    record
}

fn written(
    epoch: Epoch,
    holdings: &[Holding],
    states: &BTreeMap<SessionId, SessionState>,
) -> EpochRecord {
    let host = |session| HostName::new(&session_word(session).to_lowercase()).unwrap();
    let open = states.iter().filter(|(_, state)| **state == SessionState::Open);
    let hosts = open.map(|(&session, _)| {
        let entry = HostEntry {
            address: String::new(),
            sessions: BTreeMap::from([(DomainId::HOME, session)]),
            state: HostState::Active,
            weight: 100,
            zone: None,
            versions: KindVersions::default(),
        };
        (host(session), entry)
    });
    let sessions = states.iter().map(|(&session, &state)| {
        (session, SessionEntry { host: host(session), domain: DomainId::HOME, state })
    });
    let leader = session("E");
    let home = DomainEntry::home(SlotTable::new(holdings));
    EpochRecord {
        epoch,
        previous: (epoch > Epoch::new(1)).then(|| RecordDigest::of(b"the record before")),
        leader: Leader { host: host(leader), session: leader, address: String::new() },
        handover: Handover::Stays,
        reason: String::new(),
        wall_ms: 0,
        slot_count: SLOT_COUNT,
        hosts: hosts.collect(),
        sessions: sessions.collect(),
        domains: BTreeMap::from([(DomainId::HOME, home)]),
        shards: Shards::default(),
    }
}
