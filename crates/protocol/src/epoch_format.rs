//! How an epoch record looks in the store: JSON for `cat` and `jq`.
//!
//! Sessions are listed once and referred to by their place in that list; a tenure is written `2@7`, the session at
//! place 2 since epoch 7. Slots are grouped by who holds them, as runs: `0-1365 1400`. One record of 4,096 slots and
//! three hosts takes a screen.
//!
//! Invariants:
//!
//! * A record has one form: encoding what was decoded from our own bytes gives the same bytes.
//! * Whatever decodes satisfies [`EpochRecord::check`] and stands under its own key.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, Malformed},
    epoch::{
        DomainEntry, EpochRecord, Holding, HostEntry, HostState, Leader, RecordDigest,
        SessionEntry, SessionState, SlotTable,
    },
    ids::{DomainId, Epoch, HostName, Nonce, Position, SessionId, Tenure},
    keys,
};

const NOUN: &str = "epoch";

#[derive(Serialize, Deserialize)]
struct RecordForm {
    epoch: Epoch,
    reason: String,
    wall_ms: u64,
    previous: Option<String>,
    leader: Leader,
    successor: Option<HostName>,
    slot_count: u16,
    hosts: BTreeMap<HostName, HostForm>,
    sessions: Vec<SessionForm>,
    domains: BTreeMap<DomainId, DomainForm>,
}

#[derive(Serialize, Deserialize)]
struct HostForm {
    address: String,
    state: HostState,
    weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// By domain, places in the list of sessions.
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
    slots: Vec<GroupForm>,
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
    /// When the record breaks a rule of [`Self::check`]: it could never be read back.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        self.check().unwrap_or_else(|why| panic!("{}: {why}", self.epoch));
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        let form = RecordForm {
            epoch: self.epoch,
            reason: self.reason.clone(),
            wall_ms: self.wall_ms,
            previous: self.previous.map(|digest| digest.to_string()),
            leader: self.leader.clone(),
            successor: self.successor.clone(),
            slot_count: self.slot_count,
            hosts: self
                .hosts
                .iter()
                .map(|(name, host)| (name.clone(), host_form(host, &sessions)))
                .collect(),
            sessions: self.sessions.iter().map(|(id, entry)| session_form(*id, entry)).collect(),
            domains: self
                .domains
                .iter()
                .map(|(id, domain)| (*id, domain_form(domain, &sessions)))
                .collect(),
        };
        codec::to_json(NOUN, nonce, &form)
    }

    /// Reads the record that stands at `key`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key, when it is damaged, breaks a rule of [`Self::check`], or is another epoch's.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        let (_, form): (Nonce, RecordForm) = codec::from_json(key, NOUN, object)?;
        let record = from_form(form).map_err(|why| Malformed::new(key, &why))?;
        record.check().map_err(|why| Malformed::new(key, &why))?;
        let own_key = keys::epoch(record.epoch);
        if key.ends_with(&own_key) {
            return Ok(record);
        }
        Err(Malformed::new(key, &format!("it says it is {own_key}")))
    }
}

fn place(session: SessionId, sessions: &[SessionId]) -> usize {
    sessions.binary_search(&session).expect("check: every session named is listed")
}

fn host_form(host: &HostEntry, sessions: &[SessionId]) -> HostForm {
    HostForm {
        address: host.address.clone(),
        state: host.state,
        weight: host.weight,
        zone: host.zone.clone(),
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
        let slots = &mut runs[usize::from(run[0])];
        if !slots.is_empty() {
            slots.push(' ');
        }
        match run.len() {
            1 => slots.push_str(&format!("{begin}")),
            len => slots.push_str(&format!("{begin}-{}", begin + len - 1)),
        }
        begin += run.len();
    }
    let tenure =
        |tenure: &Tenure| format!("{}@{}", place(tenure.session, sessions), tenure.epoch.get());
    let groups = runs.into_iter().zip(domain.slots.distinct()).map(|(slots, holding)| GroupForm {
        slots,
        owner: holding.owner.as_ref().map(tenure),
        sources: holding.sources.iter().map(tenure).collect::<Vec<_>>().join(" "),
    });
    DomainForm { name: domain.name.clone(), slots: groups.collect() }
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
        let host = host_entry(host, &ids)?;
        hosts.insert(name, host);
    }
    let mut domains = BTreeMap::new();
    for (id, domain) in form.domains {
        let slots = slot_table(&domain.slots, form.slot_count, &ids)
            .map_err(|why| format!("domain {}: {why}", id.0))?;
        domains.insert(id, DomainEntry { name: domain.name, slots });
    }
    Ok(EpochRecord {
        epoch: form.epoch,
        previous,
        leader: form.leader,
        successor: form.successor,
        reason: form.reason,
        wall_ms: form.wall_ms,
        slot_count: form.slot_count,
        hosts,
        sessions,
        domains,
    })
}

fn session_entry(form: SessionForm) -> Result<(SessionId, SessionEntry), String> {
    let state = match (form.state, form.position) {
        (StateForm::Open, None) => SessionState::Open,
        (StateForm::Sealed, position) => SessionState::Sealed(position),
        (StateForm::Detached, Some(position)) => SessionState::Detached(position),
        (StateForm::Open, Some(_)) | (StateForm::Detached, None) => {
            return Err(format!("session {}: its state and its seal don't fit", form.id));
        }
    };
    Ok((form.id, SessionEntry { host: form.host, domain: form.domain, state }))
}

fn listed(place: usize, ids: &[SessionId]) -> Result<SessionId, String> {
    ids.get(place).copied().ok_or_else(|| format!("session {place} of a list of {}", ids.len()))
}

fn host_entry(form: HostForm, ids: &[SessionId]) -> Result<HostEntry, String> {
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
    })
}

/// Plain digits only: `+7` would be a second way to write 7.
fn number<T: core::str::FromStr>(text: &str) -> Result<T, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| format!("{text:?} is not a number that belongs here"))
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
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last): (u16, u16) = (number(first)?, number(last)?);
            if first > last || last >= slots {
                return Err(format!("slots {run} of {slots}"));
            }
            for slot in &mut by_slot[usize::from(first)..=usize::from(last)] {
                if slot.replace(groups.len()).is_some() {
                    return Err(format!("slots {run} are held twice"));
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
