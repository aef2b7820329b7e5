//! The stored form of an epoch record: JSON for `cat` and `jq`.
//!
//! Sessions are listed once and referred to by their index in that list; a tenure is written `2@7`: the session at
//! index 2, since epoch 7. Slots are grouped by holding, as runs: `0-1365 1400`. So are the versions of hosts: what most hosts
//! have is first in the list, and only the others name an index. A record of 4,096 slots and three hosts fits a screen.
//!
//! Invariants:
//!
//! * A record has one form: decoding and encoding a record that we wrote gives the same bytes.
//! * A decoded record satisfies [`EpochRecord::check`] and was read under its own key.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::cmp::Reverse;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    epoch::shards::Shards,
    epoch::{
        domain::{DomainState, Rule},
        record::{
            DOMAINS_MAX, DomainEntry, EpochRecord, Handover, Holding, HostEntry, HostState, Leader,
            RecordDigest, SessionEntry, SessionState, SlotTable,
        },
        versions::KindVersions,
    },
    format::{
        codec::{self, Malformed},
        keys,
    },
    ids::{DomainId, Epoch, HostName, Nonce, Position, SessionId, StoreId, Tenure},
};

mod runs;

use self::runs::{UnreadForm, add_run, number, slot_range, unread, unread_form};

const NOUN: &str = "epoch";

#[derive(Serialize, Deserialize)]
struct RecordForm {
    epoch: Epoch,
    reason: String,
    wall_ms: u64,
    previous: Option<String>,
    leader: Leader,
    handover: Handover,
    slot_count: u16,
    /// The distinct versions of hosts; none if nothing is known of any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    versions: Vec<KindVersions>,
    hosts: BTreeMap<HostName, HostForm>,
    sessions: Vec<SessionForm>,
    domains: BTreeMap<DomainId, DomainForm>,
    #[serde(default, skip_serializing_if = "Shards::is_empty")]
    shards: Shards,
}

#[derive(Serialize, Deserialize)]
struct HostForm {
    address: String,
    state: HostState,
    weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// An index into the list of versions.
    #[serde(default, skip_serializing_if = "is_first")]
    versions: usize,
    /// By domain, indexes into the list of sessions.
    sessions: BTreeMap<DomainId, usize>,
}

#[derive(Serialize, Deserialize)]
struct SessionForm {
    id: SessionId,
    host: HostName,
    domain: DomainId,
    state: StateForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateForm {
    Open,
    Sealed,
    Detached,
}

#[derive(Serialize, Deserialize)]
struct DomainForm {
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<StoreId>,
    #[serde(default, skip_serializing_if = "is_serving")]
    state: DomainState,
    slots: Vec<GroupForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unread: Vec<UnreadForm>,
}

/// The slots of one holding.
#[derive(Serialize, Deserialize)]
struct GroupForm {
    slots: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    sources: String,
}

impl EpochRecord {
    /// The object to create at [`keys::epoch`].
    ///
    /// # Panics
    ///
    /// When the record breaks a rule of [`Self::check`]: it could not be read back.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        self.check().unwrap_or_else(|why| panic!("{}: {why}", self.epoch));
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        let versions = distinct_versions(&self.hosts);
        let form = RecordForm {
            epoch: self.epoch,
            reason: self.reason.clone(),
            wall_ms: self.wall_ms,
            previous: self.previous.map(|digest| digest.to_string()),
            leader: self.leader.clone(),
            handover: self.handover.clone(),
            slot_count: self.slot_count,
            hosts: self
                .hosts
                .iter()
                .map(|(name, host)| (name.clone(), host_form(host, &sessions, &versions)))
                .collect(),
            versions,
            sessions: self.sessions.iter().map(|(id, entry)| session_form(*id, entry)).collect(),
            domains: self
                .domains
                .iter()
                .map(|(id, domain)| (*id, domain_form(domain, &sessions)))
                .collect(),
            shards: self.shards.clone(),
        };
        codec::to_json(NOUN, nonce, &form)
    }

    /// Decodes the record at `key`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key, when it is damaged, breaks a rule of [`Self::check`], or is the record of another
    /// epoch.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        let (_, form): (Nonce, RecordForm) = codec::from_json(key, NOUN, object)?;
        let record = from_form(form).map_err(|why| Malformed::new(key, &why))?;
        record.check().map_err(|why| Malformed::new(key, &why))?;
        let own_key = keys::epoch(record.epoch);
        if key.ends_with(&own_key) {
            return Ok(record);
        }
        Err(Malformed::new(key, &format!("it is the record of {own_key}")))
    }
}

fn is_first(index: &usize) -> bool {
    *index == 0
}

fn is_serving(state: &DomainState) -> bool {
    *state == DomainState::Serving
}

fn place(session: SessionId, sessions: &[SessionId]) -> usize {
    sessions.binary_search(&session).expect("checked: every session is listed")
}

/// Those that most hosts have first.
fn distinct_versions(hosts: &BTreeMap<HostName, HostEntry>) -> Vec<KindVersions> {
    let mut counts: BTreeMap<&KindVersions, usize> = BTreeMap::new();
    for host in hosts.values() {
        *counts.entry(&host.versions).or_default() += 1;
    }
    if counts.keys().all(|versions| versions.is_empty()) {
        return Vec::new();
    }
    let mut distinct: Vec<(&KindVersions, usize)> = counts.into_iter().collect();
    distinct.sort_by_key(|&(_, count)| Reverse(count));
    distinct.into_iter().map(|(versions, _)| versions.clone()).collect()
}

fn host_form(host: &HostEntry, sessions: &[SessionId], versions: &[KindVersions]) -> HostForm {
    HostForm {
        address: host.address.clone(),
        state: host.state,
        weight: host.weight,
        zone: host.zone.clone(),
        versions: versions.iter().position(|known| *known == host.versions).unwrap_or(0),
        sessions: host
            .sessions
            .iter()
            .map(|(domain, session)| (*domain, place(*session, sessions)))
            .collect(),
    }
}

fn session_form(id: SessionId, entry: &SessionEntry) -> SessionForm {
    let (state, position) = match entry.state {
        SessionState::Open => (StateForm::Open, None),
        SessionState::Sealed(position) => (StateForm::Sealed, position),
        SessionState::Detached(position) => (StateForm::Detached, Some(position)),
    };
    SessionForm { id, host: entry.host.clone(), domain: entry.domain, state, position }
}

fn domain_form(domain: &DomainEntry, sessions: &[SessionId]) -> DomainForm {
    let mut runs = vec![String::new(); domain.slots.distinct().len()];
    let places = domain.slots.places();
    let mut begin = 0;
    for run in places.chunk_by(|one, next| one == next) {
        add_run(&mut runs[usize::from(run[0])], begin, run.len());
        begin += run.len();
    }
    let tenure =
        |tenure: &Tenure| format!("{}@{}", place(tenure.session, sessions), tenure.epoch.get());
    let groups = runs.into_iter().zip(domain.slots.distinct()).map(|(slots, holding)| GroupForm {
        slots,
        owner: holding.owner.as_ref().map(tenure),
        sources: holding.sources.iter().map(tenure).collect::<Vec<_>>().join(" "),
    });
    DomainForm {
        name: domain.name.clone(),
        rules: domain.rules.clone(),
        store: domain.store,
        state: domain.state,
        slots: groups.collect(),
        unread: unread_form(&domain.unread),
    }
}

fn from_form(form: RecordForm) -> Result<EpochRecord, String> {
    let previous = match &form.previous {
        Some(text) => {
            Some(RecordDigest::parse(text).ok_or_else(|| format!("{text:?} is not a digest"))?)
        }
        None => None,
    };
    let ids: Vec<SessionId> = form.sessions.iter().map(|session| session.id).collect();
    let mut sessions = BTreeMap::new();
    for session in form.sessions {
        let (id, entry) = session_entry(session)?;
        if sessions.insert(id, entry).is_some() {
            return Err(format!("session {id} is listed twice"));
        }
    }
    let mut hosts = BTreeMap::new();
    for (name, host) in form.hosts {
        let host = host_entry(host, &ids, &form.versions)?;
        hosts.insert(name, host);
    }
    // Checked before each domain gets a table of its slots: a few bytes of input may name all slots, and the tables
    // take far more memory.
    if form.domains.len() > DOMAINS_MAX {
        return Err(format!(
            "{} domains, more than the limit of {DOMAINS_MAX}",
            form.domains.len()
        ));
    }
    let mut domains = BTreeMap::new();
    for (id, domain) in form.domains {
        let slots = slot_table(&domain.slots, form.slot_count, &ids)
            .map_err(|why| format!("domain {}: {why}", id.0))?;
        let unread = unread(&domain.unread, form.slot_count)
            .map_err(|why| format!("domain {}: {why}", id.0))?;
        let DomainForm { name, rules, store, state, .. } = domain;
        domains.insert(id, DomainEntry { name, rules, store, state, slots, unread });
    }
    Ok(EpochRecord {
        epoch: form.epoch,
        previous,
        leader: form.leader,
        handover: form.handover,
        reason: form.reason,
        wall_ms: form.wall_ms,
        slot_count: form.slot_count,
        hosts,
        sessions,
        domains,
        shards: form.shards,
    })
}

fn session_entry(form: SessionForm) -> Result<(SessionId, SessionEntry), String> {
    let state = match (form.state, form.position) {
        (StateForm::Open, None) => SessionState::Open,
        (StateForm::Sealed, position) => SessionState::Sealed(position),
        (StateForm::Detached, Some(position)) => SessionState::Detached(position),
        (StateForm::Open, Some(_)) | (StateForm::Detached, None) => {
            return Err(format!(
                "session {}: its state and its seal contradict each other",
                form.id
            ));
        }
    };
    Ok((form.id, SessionEntry { host: form.host, domain: form.domain, state }))
}

fn listed(place: usize, ids: &[SessionId]) -> Result<SessionId, String> {
    ids.get(place)
        .copied()
        .ok_or_else(|| format!("index {place} in a list of {} sessions", ids.len()))
}

fn host_entry(
    form: HostForm,
    ids: &[SessionId],
    versions: &[KindVersions],
) -> Result<HostEntry, String> {
    let versions = match versions.get(form.versions) {
        Some(versions) => versions.clone(),
        None if form.versions == 0 => KindVersions::default(),
        None => {
            return Err(format!(
                "index {} in a list of {} versions",
                form.versions,
                versions.len()
            ));
        }
    };
    let mut sessions = BTreeMap::new();
    for (domain, place) in form.sessions {
        sessions.insert(domain, listed(place, ids)?);
    }
    Ok(HostEntry {
        address: form.address,
        sessions,
        state: form.state,
        weight: form.weight,
        zone: form.zone,
        versions,
    })
}

fn tenure(text: &str, ids: &[SessionId]) -> Result<Tenure, String> {
    let Some((place, epoch)) = text.split_once('@') else {
        return Err(format!("{text:?} is not a tenure"));
    };
    Ok(Tenure { session: listed(number(place)?, ids)?, epoch: Epoch::new(number(epoch)?) })
}

fn slot_table(forms: &[GroupForm], slots: u16, ids: &[SessionId]) -> Result<SlotTable, String> {
    let mut groups = Vec::with_capacity(forms.len());
    let mut by_slot: Vec<Option<usize>> = vec![None; usize::from(slots)];
    for form in forms {
        for run in form.slots.split_ascii_whitespace() {
            for slot in &mut by_slot[slot_range(run, slots)?] {
                if slot.replace(groups.len()).is_some() {
                    return Err(format!("slots {run} are listed twice"));
                }
            }
        }
        let owner = form.owner.as_deref().map(|text| tenure(text, ids)).transpose()?;
        let sources: Result<Vec<Tenure>, String> =
            form.sources.split_ascii_whitespace().map(|text| tenure(text, ids)).collect();
        groups.push(Holding { owner, sources: sources? });
    }
    let by_slot: Option<Vec<usize>> = by_slot.into_iter().collect();
    by_slot
        .map(|by_slot| SlotTable::from_groups(&groups, &by_slot))
        .ok_or_else(|| "some slots are missing".to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        epoch::draft::Draft,
        format::cluster::Cluster,
        ids::{ClusterId, Slot},
    };

    fn name(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn host(session: u128) -> HostEntry {
        HostEntry {
            address: "10.0.0.1:7000".into(),
            sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(session))]),
            state: HostState::Active,
            weight: 100,
            zone: None,
            versions: KindVersions::default(),
        }
    }

    fn leader() -> Leader {
        Leader { host: name("a"), session: SessionId::new(1), address: "10.0.0.1:7000".into() }
    }

    /// Epoch 3 of a cluster of 4,096 slots: a and b own them, c failed.
    fn example() -> EpochRecord {
        let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
        for (host_name, session) in [("a", 1), ("b", 2), ("c", 3)] {
            draft.join(&name(host_name), host(session)).unwrap();
        }
        let first = draft.finish(leader(), "an empty store", 1);
        let mut draft = Draft::after(&first, RecordDigest::of(b"first"));
        draft.remove(SessionId::new(3));
        let second = draft.finish(leader(), "c is silent for 1.2 s", 2);
        let mut draft = Draft::after(&second, RecordDigest::of(b"second"));
        draft.seal_known(SessionId::new(3), Position::new(17));
        draft.finish(leader(), "c is sealed at p17", 3)
    }

    fn decode(object: &[u8]) -> Result<EpochRecord, Malformed> {
        EpochRecord::decode(&keys::epoch(Epoch::new(3)), object)
    }

    /// The example with a part of its text replaced, under a correct checksum.
    fn edited(from: &str, to: &str) -> Result<EpochRecord, Malformed> {
        let text = String::from_utf8(example().encode(Nonce::new(1)).to_vec()).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        decode(&rechecked(&text.replacen(from, to, 1)))
    }

    /// The text with its checksum corrected.
    fn rechecked(text: &str) -> Vec<u8> {
        let at = r#"{"holocron":"epoch","crc32c":""#.len();
        let mut object = text.as_bytes().to_vec();
        object[at..at + 8].copy_from_slice(b"00000000");
        let checksum = format!("{:08x}", crc32c::crc32c(&object));
        object[at..at + 8].copy_from_slice(checksum.as_bytes());
        object
    }

    #[test]
    fn a_record_of_4096_slots_fits_a_screen_and_is_readable() {
        let text = String::from_utf8(example().encode(Nonce::new(1)).to_vec()).unwrap();
        assert!(text.lines().count() < 80, "{text}");
        for part in [
            r#""reason": "c is sealed at p17""#,
            r#""owner": "0@1""#,
            r#""sources": "2@1""#,
            r#""state": "sealed""#,
            r#""position": 17"#,
            r#""slots": "0-1365""#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    /// The example, with these versions of hosts.
    fn versioned(versions: &[(&str, &[(&str, u32)])]) -> EpochRecord {
        let mut record = example();
        for (host, all) in versions {
            let host = record.hosts.get_mut(&name(host)).unwrap();
            host.versions = all.iter().copied().collect();
        }
        record
    }

    #[test]
    fn versions_are_listed_once_and_what_is_unread_by_runs() {
        let text = |record: &EpochRecord| {
            String::from_utf8(record.encode(Nonce::new(1)).to_vec())
                .unwrap()
                .replace([' ', '\n'], "")
        };
        assert!(!text(&example()).contains("versions"), "an old record says nothing of versions");
        let alike = versioned(&[("a", &[("cart", 1)]), ("b", &[("cart", 1)])]);
        assert_eq!(text(&alike).matches("versions").count(), 1, "{}", text(&alike));
        assert_eq!(text(&alike).len() - text(&example()).len(), 24);
        let mut mixed = versioned(&[("a", &[("cart", 1)]), ("b", &[("cart", 2)])]);
        let home = mixed.domains.get_mut(&DomainId::HOME).unwrap();
        let owned = home.slots.owned_by(SessionId::new(1)).map(|(slot, _)| slot);
        home.unread =
            owned.take(3).map(|slot| (slot, [("cart", 2)].into_iter().collect())).collect();
        for part in [
            r#""versions":[{"cart":1},{"cart":2}]"#,
            r#""versions":1,"#,
            r#""unread":[{"slots":"0-2","kinds":{"cart":2}}]"#,
        ] {
            assert!(text(&mixed).contains(part), "{part} in {}", text(&mixed));
        }
        for record in [alike, mixed] {
            assert_eq!(decode(&record.encode(Nonce::new(1))), Ok(record));
        }
    }

    #[test]
    fn it_reads_back_and_only_under_its_own_key() {
        let object = example().encode(Nonce::new(1));
        assert_eq!(decode(&object), Ok(example()));
        let error = EpochRecord::decode(&keys::epoch(Epoch::new(4)), &object).unwrap_err();
        assert!(error.why.contains("it is the record of epochs/"), "{error}");
    }

    #[test]
    fn equal_records_have_one_form_in_any_order_of_slots() {
        let reordered = edited(r#""slots": "0-1365""#, r#""slots": "7 0-6 8-1365""#);
        assert_eq!(reordered.unwrap().encode(Nonce::new(1)), example().encode(Nonce::new(1)));
    }

    #[test]
    fn a_record_that_breaks_a_rule_is_malformed_and_the_error_names_the_rule() {
        for (from, to, why) in [
            (r#""slots": "0-1365""#, r#""slots": "1-1365""#, "missing"),
            (r#""slots": "0-1365""#, r#""slots": "0-1366""#, "listed twice"),
            (r#""slots": "0-1365""#, r#""slots": "0-4096""#, "slots 0-4096 out of 4096"),
            (r#""slots": "0-1365""#, r#""slots": "1365-0""#, "slots 1365-0"),
            (r#""slots": "0-1365""#, r#""slots": "+0-1365""#, "not a valid number"),
            (r#""owner": "0@1""#, r#""owner": "9@1""#, "index 9 in a list of 3 sessions"),
            (r#""owner": "0@1""#, r#""owner": "0@4""#, "a tenure of a later epoch"),
            (r#""owner": "0@1""#, r#""owner": "0@0""#, "a tenure of epoch 0"),
            (r#""owner": "0@1""#, r#""owner": "2@1""#, "is over"),
            (r#""owner": "0@1""#, r#""owned": "0@1""#, "without owner"),
            (r#""owner": "0@1""#, r#""owner": "0""#, "not a tenure"),
            (r#""sources": "2@1""#, r#""sources": "2@1 1@1""#, "out of order"),
            (r#""sources": "2@1""#, r#""sources": "2@2""#, "out of order"),
            (r#""state": "sealed""#, r#""state": "detached""#, "is detached, and a slot names it"),
            (r#""state": "sealed""#, r#""state": "open""#, "contradict each other"),
            (r#""epoch": 3"#, r#""epoch": 0"#, "the first epoch is 1"),
            (r#""previous": ""#, r#""previous": "x"#, "not a digest"),
            (r#""slot_count": 4096"#, r#""slot_count": 0"#, "slots 0-1365 out of 0"),
            (r#""weight": 100"#, r#""weight": 1000001"#, "weight 1000001"),
            (r#""sessions": {"#, r#""sessions": {"7": 1, "#, "belongs to another host"),
            (
                r#""handover": "stays""#,
                r#""handover": {"leaves":{"successor":"z"}}"#,
                "not a host of the record",
            ),
        ] {
            let error = edited(from, to).unwrap_err();
            assert!(error.why.contains(why), "{to}: {error}");
            assert_eq!(error.what, keys::epoch(Epoch::new(3)));
        }
    }

    #[test]
    fn fields_of_a_later_release_are_ignored() {
        assert_eq!(edited(r#""epoch": 3"#, r#""moon": "full", "epoch": 3"#), Ok(example()));
    }

    #[test]
    fn many_slots_with_long_histories_take_little_memory() {
        let sources: Vec<String> = (1..=2000).rev().map(|epoch| format!("2@{epoch}")).collect();
        let text = edited_text(&sources.join(" "));
        // Too large for memory if each slot had its own copy: 65,535 x 2,000 tenures.
        assert!(decode(&rechecked(&text)).is_err(), "sources newer than the record");
    }

    #[test]
    fn many_domains_take_little_memory() {
        let text = String::from_utf8(example().encode(Nonce::new(1)).to_vec()).unwrap();
        let text = text.replace("4096", "65535");
        let (head, _) = text.split_once(r#""domains": {"#).unwrap();
        let domains: Vec<String> = (0..2_000)
            .map(|id| format!(r#""{id}":{{"name":"","slots":[{{"slots":"0-65534"}}]}}"#))
            .collect();
        let object = rechecked(&format!("{head}\"domains\": {{{}}}}}", domains.join(",")));
        let taken = allocation_counter::measure(|| {
            let error = decode(&object).unwrap_err();
            assert!(error.why.contains("2000 domains, more than the limit of 64"), "{error}");
        });
        assert!(taken.bytes_max < 4 << 20, "{taken:?}");
    }

    fn edited_text(sources: &str) -> String {
        String::from_utf8(example().encode(Nonce::new(1)).to_vec())
            .unwrap()
            .replace("4096", "65535")
            .replace("-4095", "-65534")
            .replacen(r#""sources": "2@1""#, &format!("\"sources\": \"{sources}\""), 1)
    }

    #[test]
    #[should_panic(expected = "is not listed")]
    fn a_record_that_breaks_a_rule_is_never_written() {
        let mut record = example();
        record.sessions.remove(&SessionId::new(3));
        drop(record.encode(Nonce::new(1)));
    }

    /// The holding after a slot's history, when sessions below `open` are over.
    fn holding(chain: BTreeMap<u64, u128>, open: u128) -> Holding {
        let tenure =
            |(epoch, bits)| Tenure { epoch: Epoch::new(epoch), session: SessionId::new(bits) };
        let mut newest_first = chain.into_iter().rev();
        let owner = newest_first.next().map(|(epoch, bits)| tenure((epoch, bits.max(open))));
        Holding { owner, sources: newest_first.map(tenure).collect() }
    }

    /// Records of few hosts and slots with random histories.
    fn record() -> impl Strategy<Value = EpochRecord> {
        // By epoch, the session that got the slot; the last is the owner.
        let held = proptest::collection::btree_map(1..7u64, 0..4u128, 1..4);
        (proptest::collection::vec(held, 1..9), ".{0,9}", any::<u64>(), 0..4u128).prop_map(
            |(held, reason, wall_ms, open)| {
                let mut record = example();
                record.epoch = Epoch::new(7);
                record.reason = reason;
                record.wall_ms = wall_ms;
                record.slot_count = u16::try_from(held.len()).unwrap();
                let held: Vec<Holding> =
                    held.into_iter().map(|chain| holding(chain, open)).collect();
                let slots = SlotTable::new(&held);
                let home = DomainEntry::home(slots);
                record.domains = BTreeMap::from([(DomainId::HOME, home)]);
                record.hosts = BTreeMap::new();
                record.sessions = BTreeMap::new();
                for bits in 0..4 {
                    let host_name = name(["a", "b", "c", "d"][usize::try_from(bits).unwrap()]);
                    let state = if bits >= open {
                        record.hosts.insert(host_name.clone(), host(bits));
                        SessionState::Open
                    } else {
                        SessionState::Sealed((bits == 0).then_some(Position::new(4)))
                    };
                    let entry = SessionEntry { host: host_name, domain: DomainId::HOME, state };
                    record.sessions.insert(SessionId::new(bits), entry);
                }
                record
            },
        )
    }

    proptest! {
        #[test]
        fn a_valid_record_reads_back_as_the_same_bytes(record in record(), bits: u128) {
            prop_assert_eq!(record.check(), Ok(()));
            let object = record.encode(Nonce::new(bits));
            let read = EpochRecord::decode(&keys::epoch(record.epoch), &object).unwrap();
            prop_assert_eq!(&read, &record);
            prop_assert_eq!(read.encode(Nonce::new(bits)), object);
            for slot in (0..record.slot_count).map(Slot) {
                prop_assert_eq!(read.holding(DomainId::HOME, slot), record.holding(DomainId::HOME, slot));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(decode(&bytes));
        }

        #[test]
        fn a_record_with_any_part_overwritten_is_refused_or_valid(at: prop::sample::Index, piece in "[0-9@\", a-z{}-]{1,6}") {
            let text = String::from_utf8(example().encode(Nonce::new(1)).to_vec()).unwrap();
            let at = at.index(text.len());
            let end = (at + piece.len()).min(text.len());
            let edited = format!("{}{piece}{}", &text[..at], &text[end..]);
            prop_assume!(edited.starts_with(r#"{"holocron":"epoch","crc32c":""#));
            if let Ok(record) = decode(&rechecked(&edited)) {
                prop_assert_eq!(record.check(), Ok(()));
            }
        }
    }
}
