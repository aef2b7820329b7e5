//! The words that both kinds of traces use, read and written. A record:
//!
//! ```text
//! e5 by h1a leaves to h2 | h1a/draining h2b h3a/0 | #0-1 h2b@4 from h1a@1 | #2-3 h1a@1 | h2a sealed at p9
//! ```
//!
//! First the leader, and `leaves` or `leaves to` a successor if it is its last record. Then the hosts by their open sessions,
//! with `/` and the weight if it isn't 100, or `/draining`; `none` if there is no host. Then the slots and the sessions
//! that are over, `sealed`, `sealed at p9` or `detached at p9`. Slots that aren't mentioned are placed since e1. A host that has
//! a kind with shards says so, as `h1a+index:4`; one that no host has is a part, `kind index:4`. A host that has declared versions of
//! kinds says so too, as `h1a~cart:2`. What may be in slots and their owners can't read stands behind them: `#0-1 h2b@4 but cart:3`.
//!
//! There may be one more domain, acme, which takes the kind `order`. Its sessions have letters from p on:
//!
//! ```text
//! e5 by h1a | h1a h2a | acme/7 h1p h2p | acme #0-1 h2p@4 from h1p@1 | h3p sealed
//! ```
//!
//! Behind the name stands its store, unless it has none yet, then the sessions that serve it, or `removed`.

use std::collections::BTreeMap;

use holocron_protocol::{
    control::report::JoinRequest,
    epoch::{
        domain::{DomainState, Rule},
        draft::{SlotReport, SourceFact},
        placement,
        record::{
            DomainEntry, EpochRecord, Handover, Holding, HostEntry, HostState, Leader,
            RecordDigest, SessionEntry, SessionState, SlotTable, WEIGHT_DEFAULT,
        },
        shards::{DeclaredShards, Shards},
        versions::{KindVersions, Unread},
    },
    ids::{DomainId, Epoch, HostName, Position, SessionId, Slot, StoreId, Tenure},
};

/// The domain besides the home domain.
pub(crate) const ACME: DomainId = DomainId(1);

/// How many slots there are.
pub(crate) const SLOT_COUNT: u16 = 4;

/// The session ids of a host: as many as there are letters fit.
const SESSIONS_MAX: u128 = 100;

/// `h1a`: the first session of h1.
pub(crate) fn session(word: &str) -> SessionId {
    let (host, letter) = word.split_at(word.len() - 1);
    let letter = letter.chars().next().unwrap();
    assert!(letter.is_ascii_lowercase(), "{word} is no session");
    let number = u128::from(number('h', host)) * SESSIONS_MAX;
    SessionId::new(number + u128::from(u32::from(letter) - u32::from('a')))
}

pub(crate) fn session_word(session: SessionId) -> String {
    let letter = u8::try_from(session.get() % SESSIONS_MAX).unwrap() + b'a';
    format!("{}{}", host_of(session), char::from(letter))
}

/// The session that a host opens after that one.
pub(crate) const fn next_session(session: SessionId) -> SessionId {
    SessionId::new(session.get() + 1)
}

pub(crate) fn host_of(session: SessionId) -> HostName {
    host(&format!("h{}", session.get() / SESSIONS_MAX))
}

pub(crate) fn host(word: &str) -> HostName {
    HostName::new(word).unwrap()
}

pub(crate) fn address(host: &HostName) -> String {
    format!("{host}:7000")
}

pub(crate) fn sessions(words: &[&str]) -> Vec<SessionId> {
    words.iter().map(|word| session(word)).collect()
}

pub(crate) fn session_words(sessions: impl IntoIterator<Item = SessionId>) -> String {
    let words: Vec<String> = sessions.into_iter().map(session_word).collect();
    words.join(" ")
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

fn tenure(word: &str) -> Tenure {
    let (name, epoch) = word.split_once('@').unwrap_or_else(|| panic!("{word} is no tenure"));
    Tenure { session: session(name), epoch: Epoch::new(epoch.parse().unwrap()) }
}

fn tenure_word(tenure: Tenure) -> String {
    format!("{}@{}", session_word(tenure.session), tenure.epoch.get())
}

/// `#0 full h2a@3`, or `#0 empty h1a@1`.
pub(crate) fn report(words: &[&str]) -> SlotReport {
    let (number, fact) = match words {
        [number, "full", word] => (number, SourceFact::Full(tenure(word))),
        [number, "empty", word] => (number, SourceFact::Empty(tenure(word))),
        _ => panic!("{words:?} is no fact"),
    };
    let slot = Slot(self::number('#', number).try_into().unwrap());
    let (SourceFact::Full(tenure) | SourceFact::Empty(tenure)) = fact;
    SlotReport { domain: domain_of(tenure.session), slot, fact }
}

pub(crate) fn report_words(report: &SlotReport) -> String {
    match report.fact {
        SourceFact::Full(tenure) => format!("{} full {}", report.slot, tenure_word(tenure)),
        SourceFact::Empty(tenure) => format!("{} empty {}", report.slot, tenure_word(tenure)),
    }
}

/// `h2a`, or `h2a/50` for another weight, or `h2a+index:4` with a kind that has shards: what that session asks to join with.
pub(crate) fn join_request(word: &str) -> JoinRequest {
    let (word, shards) = declared(word);
    let (session, entry) = host_entry(word);
    let HostEntry { address, weight, versions, .. } = entry;
    JoinRequest { name: host_of(session), address, session, weight, zone: None, shards, versions }
}

pub(crate) fn join_word(request: &JoinRequest) -> String {
    let shards: String =
        request.shards.iter().map(|(kind, count)| format!("+{kind}:{count}")).collect();
    session_word(request.session)
        + &weight_suffix(request.weight)
        + &versions_suffix(&request.versions)
        + &shards
}

/// Cuts `+index:4` off.
fn declared(word: &str) -> (&str, DeclaredShards) {
    let mut parts = word.split('+');
    let word = parts.next().unwrap_or_default();
    (word, parts.map(kind).collect())
}

/// `index:4`.
pub(crate) fn kind(word: &str) -> (String, u16) {
    let (kind, count) = word.split_once(':').unwrap_or_else(|| panic!("{word} is no kind"));
    (kind.into(), count.parse().unwrap())
}

/// `cart:2 order:1`.
pub(crate) fn versions<'a>(words: impl IntoIterator<Item = &'a str>) -> KindVersions {
    let version = |word: &str| {
        let (kind, version) =
            word.split_once(':').unwrap_or_else(|| panic!("{word} is no version"));
        (kind.to_owned(), version.parse().unwrap())
    };
    words.into_iter().map(version).collect()
}

fn versions_suffix(versions: &KindVersions) -> String {
    versions.iter().map(|(kind, version)| format!("~{kind}:{version}")).collect()
}

fn weight_suffix(weight: u32) -> String {
    if weight == WEIGHT_DEFAULT { String::new() } else { format!("/{weight}") }
}

fn host_entry(word: &str) -> (SessionId, HostEntry) {
    let mut parts = word.split('~');
    let word = parts.next().unwrap_or_default();
    let versions = versions(parts);
    let (name, suffix) = word.split_once('/').unwrap_or((word, ""));
    let (state, weight) = match suffix {
        "" => (HostState::Active, WEIGHT_DEFAULT),
        "draining" => (HostState::Draining, WEIGHT_DEFAULT),
        weight => (HostState::Active, weight.parse().unwrap()),
    };
    let session = session(name);
    let address = address(&host_of(session));
    let sessions = BTreeMap::from([(DomainId::HOME, session)]);
    (session, HostEntry { address, sessions, state, weight, zone: None, versions })
}

fn host_entry_word(entry: &HostEntry) -> String {
    let suffix = match entry.state {
        HostState::Active => weight_suffix(entry.weight),
        HostState::Draining => "/draining".into(),
    };
    session_word(entry.sessions[&DomainId::HOME]) + &suffix + &versions_suffix(&entry.versions)
}

/// Reads a record.
///
/// # Panics
///
/// When no leader could have written it.
pub(crate) fn record(words: &[&str]) -> EpochRecord {
    let mut parts = words.split(|word| *word == "|");
    let (epoch, leader, handover) = leader(parts.next().unwrap_or_default());
    let mut shards = Shards::default();
    let hosts: BTreeMap<SessionId, HostEntry> = match parts.next() {
        Some(["none"]) => BTreeMap::new(),
        Some(words) => words
            .iter()
            .map(|word| {
                let (word, declares) = declared(word);
                let (session, entry) = host_entry(word);
                shards.declare(&host_of(session), &declares).unwrap();
                (session, entry)
            })
            .collect(),
        None => panic!("{words:?}: no hosts"),
    };
    let mut states: BTreeMap<SessionId, SessionState> =
        hosts.keys().map(|&session| (session, SessionState::Open)).collect();
    let mut hosts = hosts;
    let mut holdings =
        placed(hosts.values().map(|host| (host.sessions[&DomainId::HOME], host.share())));
    let (mut acme, mut unread) = (None, Unread::new());
    for part in parts {
        match part {
            ["acme", slots, words @ ..] if slots.starts_with('#') => {
                let (slots, entry) = (slot_range(slots), acme.as_mut());
                let (_, holdings): &mut (DomainEntry, Vec<Holding>) = entry.unwrap();
                holdings[slots].fill(holding(words));
            }
            [name, words @ ..] if name.split('/').next() == Some("acme") => {
                acme = Some(domain(name, words, &mut hosts, &mut states));
            }
            [slots, words @ ..] if slots.starts_with('#') => {
                let but = words.iter().position(|word| *word == "but");
                let (words, lacks) = words.split_at(but.unwrap_or(words.len()));
                holdings[slot_range(slots)].fill(holding(words));
                unread.extend(unread_slots(slots, lacks));
            }
            // No host runs it.
            ["kind", word] => {
                let gone = host("gone");
                shards.declare(&gone, &BTreeMap::from([kind(word)])).unwrap();
                shards.declare(&gone, &DeclaredShards::new()).unwrap();
            }
            [name, words @ ..] => drop(states.insert(session(name), state(words))),
            [] => panic!("{words:?}: an empty part"),
        }
    }
    let entry = |(session, state)| {
        (session, SessionEntry { host: host_of(session), domain: domain_of(session), state })
    };
    let home = DomainEntry { unread, ..DomainEntry::home(SlotTable::new(&holdings)) };
    let acme = acme
        .map(|(entry, holdings)| (ACME, DomainEntry { slots: SlotTable::new(&holdings), ..entry }));
    let record = EpochRecord {
        epoch,
        previous: (epoch > Epoch::new(1)).then(|| RecordDigest::of(b"the record before")),
        leader,
        handover,
        reason: String::new(),
        wall_ms: 0,
        slot_count: SLOT_COUNT,
        hosts: hosts.into_iter().map(|(session, entry)| (host_of(session), entry)).collect(),
        sessions: states.into_iter().map(entry).collect(),
        domains: core::iter::once((DomainId::HOME, home)).chain(acme).collect(),
        shards,
    };
    record.check().unwrap_or_else(|why| panic!("{words:?}: {why}"));
    record
}

/// `but cart:3`, or nothing.
fn unread_slots(slots: &str, words: &[&str]) -> Unread {
    let [_, lacks @ ..] = words else { return Unread::new() };
    let lacks = versions(lacks.iter().copied());
    let slots = slot_range(slots).map(|slot| Slot(slot.try_into().unwrap()));
    slots.map(|slot| (slot, lacks.clone())).collect()
}

fn leader(words: &[&str]) -> (Epoch, Leader, Handover) {
    let [number, "by", by, words @ ..] = words else { panic!("{words:?} names no leader") };
    let handover = match words {
        [] => Handover::Stays,
        ["leaves"] => Handover::Leaves { successor: None },
        ["leaves", "to", name] => Handover::Leaves { successor: Some(host(name)) },
        _ => panic!("{words:?} is no handover"),
    };
    (epoch(number), leader_of(session(by)), handover)
}

pub(crate) fn leader_of(session: SessionId) -> Leader {
    let host = host_of(session);
    Leader { address: address(&host), host, session }
}

/// `#0-1` or `#2`.
fn slot_range(word: &str) -> core::ops::RangeInclusive<usize> {
    let (first, last) = word.split_once('-').unwrap_or((word, &word[1..]));
    usize::try_from(number('#', first)).unwrap()..=last.parse().unwrap()
}

/// The domain of a session, by its letter.
pub(crate) fn domain_of(session: SessionId) -> DomainId {
    let is_acme = session.get() % SESSIONS_MAX >= u128::from('p' as u32 - 'a' as u32);
    if is_acme { ACME } else { DomainId::HOME }
}

/// What hosts are configured with for the further domain.
pub(crate) fn acme_rules() -> Vec<Rule> {
    vec![Rule::Kind("order".into())]
}

/// `acme/7 h1p h2p`: the domain, which these sessions serve, and its slots placed in e1.
fn domain(
    name: &str,
    words: &[&str],
    hosts: &mut BTreeMap<SessionId, HostEntry>,
    states: &mut BTreeMap<SessionId, SessionState>,
) -> (DomainEntry, Vec<Holding>) {
    let store = name.split_once('/').map(|(_, store)| StoreId::new(store.parse().unwrap()));
    let is_removed = words == ["removed"];
    let state = if is_removed { DomainState::Removed } else { DomainState::Serving };
    let serving = if is_removed { Vec::new() } else { sessions(words) };
    let mut weights = Vec::new();
    for &session in &serving {
        let host = hosts
            .values_mut()
            .find(|host| host_of(host.sessions[&DomainId::HOME]) == host_of(session));
        let host = host.unwrap();
        host.sessions.insert(ACME, session);
        states.insert(session, SessionState::Open);
        weights.push((session, host.share()));
    }
    let slots = placed(weights.into_iter());
    let entry = DomainEntry {
        name: "acme".into(),
        rules: acme_rules(),
        store,
        state,
        slots: SlotTable::new(&slots),
        unread: Unread::new(),
    };
    (entry, slots)
}

/// Every slot placed in e1, according to the weights.
fn placed(hosts: impl Iterator<Item = (SessionId, u32)>) -> Vec<Holding> {
    let (sessions, weights): (Vec<SessionId>, Vec<u32>) = hosts.unzip();
    let mut owners = vec![None; SLOT_COUNT.into()];
    let hosts = placement::Hosts { weights: &weights, zones: &[], readers: None };
    placement::settle(hosts, &mut owners, None);
    let holding = |owner: Option<usize>| {
        let owner = owner.map(|at| Tenure { session: sessions[at], epoch: Epoch::new(1) });
        Holding { owner, sources: Vec::new() }
    };
    owners.into_iter().map(holding).collect()
}

/// `h2a@4 from h1a@3 h2a@1`; the owner may be `none`.
fn holding(words: &[&str]) -> Holding {
    let (owner, sources) = match words {
        [owner, "from", sources @ ..] => (owner, sources),
        [owner] => (owner, &[][..]),
        _ => panic!("{words:?} is no holding"),
    };
    let owner = (*owner != "none").then(|| tenure(owner));
    Holding { owner, sources: sources.iter().map(|word| tenure(word)).collect() }
}

fn state(words: &[&str]) -> SessionState {
    match words {
        ["sealed"] => SessionState::Sealed(None),
        ["sealed", "at", at] => SessionState::Sealed(Some(position(at))),
        ["detached", "at", at] => SessionState::Detached(position(at)),
        _ => panic!("{words:?} is no state of a session"),
    }
}

/// Writes a record, so that it could be read again.
pub(crate) fn record_words(record: &EpochRecord) -> String {
    let leaves = match &record.handover {
        Handover::Stays => String::new(),
        Handover::Leaves { successor: None } => " leaves".into(),
        Handover::Leaves { successor: Some(name) } => format!(" leaves to {name}"),
    };
    let has = |name: &HostName| -> String {
        let kinds = record.shards.kinds().filter(|(_, kind)| kind.hosts.contains(name));
        kinds.map(|(kind, shards)| format!("+{kind}:{}", shards.count)).collect()
    };
    let hosts = record.hosts.iter().map(|(name, entry)| host_entry_word(entry) + &has(name));
    let hosts: Vec<String> = hosts.collect();
    let hosts = if hosts.is_empty() { "none".into() } else { hosts.join(" ") };
    let mut parts =
        vec![format!("{} by {}{leaves}", record.epoch, session_word(record.leader.session)), hosts];
    let nowhere = record.shards.kinds().filter(|(_, kind)| kind.hosts.is_empty());
    parts.extend(nowhere.map(|(kind, shards)| format!("kind {kind}:{}", shards.count)));
    parts.extend(slot_words(record.home()));
    if let Some(acme) = record.domains.get(&ACME) {
        let store = acme.store.map(|store| format!("/{}", store.get())).unwrap_or_default();
        let served = record.hosts.values().filter_map(|host| host.sessions.get(&ACME).copied());
        let said = match acme.state {
            DomainState::Serving => session_words(served),
            DomainState::Removed => "removed".into(),
        };
        parts.push(format!("acme{store} {said}").trim_end().into());
        parts.extend(slot_words(acme).iter().map(|words| format!("acme {words}")));
    }
    for (&session, entry) in &record.sessions {
        let state = match entry.state {
            SessionState::Open => continue,
            SessionState::Sealed(None) => "sealed".into(),
            SessionState::Sealed(Some(at)) => format!("sealed at {at}"),
            SessionState::Detached(at) => format!("detached at {at}"),
        };
        parts.push(format!("{} {state}", session_word(session)));
    }
    parts.join(" | ")
}

fn slot_words(domain: &DomainEntry) -> Vec<String> {
    let unread = |slot| domain.unread.get(&slot);
    let holdings: Vec<(&Holding, Option<&KindVersions>)> =
        domain.slots.iter().map(|(slot, holding)| (holding, unread(slot))).collect();
    let (mut words, mut first) = (Vec::new(), 0);
    for run in holdings.chunk_by(|one, other| one == other) {
        let last = first + run.len() - 1;
        let slots = if first == last { format!("#{first}") } else { format!("#{first}-{last}") };
        let lacks: String = run[0]
            .1
            .iter()
            .flat_map(|lacks| lacks.iter())
            .map(|(kind, version)| format!(" {kind}:{version}"))
            .collect();
        let but = if lacks.is_empty() { "" } else { " but" };
        words.push(format!("{slots} {}{but}{lacks}", holding_words(run[0].0)));
        first = last + 1;
    }
    words
}

fn holding_words(holding: &Holding) -> String {
    let owner = holding.owner.map_or("none".into(), tenure_word);
    let sources: Vec<String> = holding.sources.iter().copied().map(tenure_word).collect();
    if sources.is_empty() { owner } else { format!("{owner} from {}", sources.join(" ")) }
}
