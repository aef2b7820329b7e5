//! Keys of objects: the only code that knows the store's layout.
//!
//! Numbers are zero-padded to 20 digits, so that keys sort by number in stores that sort. The next number is always
//! derived from keys, never from a decoded body, so that one undecodable object can't block the cluster. Keys are
//! relative to the root of their domain.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use crate::ids::{Epoch, HostName, PackNumber, Position, Segment, SessionId};

/// Format version and slot count; created once.
pub const CLUSTER: &str = "cluster";
/// Whose store it is, in the root of a domain other than the home domain; created once.
pub const DOMAIN: &str = "domain";
/// Prefix of the epoch log.
pub const EPOCHS: &str = "epochs/";
/// Prefix of the marks that say which epochs may be deleted.
pub const EPOCH_MARKS: &str = "epoch-marks/";
/// The leader's hint: liveness only.
pub const LEADER_HINT: &str = "hints/leader";
/// Prefix of the hosts' hints: liveness and joining.
pub const HOST_HINTS: &str = "hints/hosts/";
/// Prefix of all sessions.
pub const SESSIONS: &str = "sessions/";
/// What never changes of an election used alone; relative to [`election_root`], like the other keys of its log.
pub const ELECTION: &str = "election";
/// Prefix of the records of kinds: which shape the states of each version have.
pub const KINDS: &str = "kinds/";
/// Prefix of all elections used alone.
pub const ELECTIONS: &str = "elections/";
/// Prefix of the start-up probe's scratch objects.
pub const PROBE: &str = "probe/";

/// The record of an epoch.
#[must_use]
pub fn epoch(epoch: Epoch) -> String {
    format!("{EPOCHS}{:020}", epoch.get())
}

/// The mark that says the epochs of a segment may be deleted.
#[must_use]
pub fn epoch_mark(segment: Segment) -> String {
    format!("{EPOCH_MARKS}{:020}", segment.get())
}

/// A host's hint.
#[must_use]
pub fn host_hint(host: &HostName) -> String {
    format!("{HOST_HINTS}{host}")
}

/// The root of an election used alone, without a trailing slash. Its epoch log has the keys of a cluster's, below it.
#[must_use]
pub fn election_root(election: &HostName) -> String {
    format!("{ELECTIONS}{election}")
}

/// Prefix of all objects of a session.
#[must_use]
pub fn session(session: SessionId) -> String {
    format!("{SESSIONS}{session}/")
}

/// Prefix of a session's journal.
#[must_use]
pub fn journal(session: SessionId) -> String {
    format!("{SESSIONS}{session}/journal/")
}

/// A position of a session's journal: a batch, or the seal.
#[must_use]
pub fn journal_position(session: SessionId, position: Position) -> String {
    format!("{SESSIONS}{session}/journal/{:020}", position.get())
}

/// Prefix of a session's marks.
#[must_use]
pub fn trims(session: SessionId) -> String {
    format!("{SESSIONS}{session}/trims/")
}

/// The mark that says the positions of a segment may be deleted.
#[must_use]
pub fn trim_mark(session: SessionId, segment: Segment) -> String {
    format!("{SESSIONS}{session}/trims/{:020}", segment.get())
}

/// The mark that says all objects of a session, except its seal and marks, may be deleted.
#[must_use]
pub fn end_mark(session: SessionId) -> String {
    format!("{SESSIONS}{session}/trims/end")
}

/// Prefix of a session's packs.
#[must_use]
pub fn packs(session: SessionId) -> String {
    format!("{SESSIONS}{session}/packs/")
}

/// A pack.
#[must_use]
pub fn pack(session: SessionId, number: PackNumber) -> String {
    format!("{SESSIONS}{session}/packs/{:020}", number.get())
}

/// The record of a version of a kind. What a key can't have is percent-encoded in the kind's name.
#[must_use]
pub fn kind(kind: &str, version: u32) -> String {
    let mut key = KINDS.to_owned();
    for byte in kind.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(byte.into()),
            _ => key.push_str(&format!("%{byte:02X}")),
        }
    }
    key.push_str(&format!("/{version:020}"));
    key
}

/// What a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The cluster's own object.
    Cluster,
    /// The object of a domain's store.
    Domain,
    /// A record of the epoch log.
    Epoch(Epoch),
    /// A mark of the epoch log.
    EpochMark(Segment),
    /// The leader's hint.
    LeaderHint,
    /// A host's hint.
    HostHint(HostName),
    /// A position of a journal.
    Journal(SessionId, Position),
    /// A trim mark of a session.
    TrimMark(SessionId, Segment),
    /// The end mark of a session.
    EndMark(SessionId),
    /// A pack of a session.
    Pack(SessionId, PackNumber),
    /// The record of a version of a kind.
    Kind(String, u32),
}

impl Key {
    /// The key that names it.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Cluster => CLUSTER.into(),
            Self::Domain => DOMAIN.into(),
            Self::Epoch(number) => epoch(*number),
            Self::EpochMark(segment) => epoch_mark(*segment),
            Self::LeaderHint => LEADER_HINT.into(),
            Self::HostHint(host) => host_hint(host),
            Self::Journal(session, position) => journal_position(*session, *position),
            Self::TrimMark(session, segment) => trim_mark(*session, *segment),
            Self::EndMark(session) => end_mark(*session),
            Self::Pack(session, number) => pack(*session, *number),
            Self::Kind(name, version) => kind(name, *version),
        }
    }
}

/// Parses a key; `None` for a foreign name, which callers ignore and count.
#[must_use]
pub fn parse(key: &str) -> Option<Key> {
    match key {
        CLUSTER => return Some(Key::Cluster),
        DOMAIN => return Some(Key::Domain),
        LEADER_HINT => return Some(Key::LeaderHint),
        _ => {}
    }
    if let Some(rest) = key.strip_prefix(EPOCHS) {
        return number(rest).map(|number| Key::Epoch(Epoch::new(number)));
    }
    if let Some(rest) = key.strip_prefix(EPOCH_MARKS) {
        return number(rest).map(|number| Key::EpochMark(Segment::new(number)));
    }
    if let Some(rest) = key.strip_prefix(HOST_HINTS) {
        return HostName::new(rest).ok().map(Key::HostHint);
    }
    if let Some(rest) = key.strip_prefix(KINDS) {
        return version_of_kind(rest).filter(|found| found.path() == key);
    }
    let (session, rest) = key.strip_prefix(SESSIONS)?.split_once('/')?;
    let session = SessionId::parse(session)?;
    match rest.split_once('/')? {
        ("journal", name) => {
            number(name).map(|number| Key::Journal(session, Position::new(number)))
        }
        ("trims", "end") => Some(Key::EndMark(session)),
        ("trims", name) => number(name).map(|number| Key::TrimMark(session, Segment::new(number))),
        ("packs", name) => number(name).map(|number| Key::Pack(session, PackNumber::new(number))),
        _ => None,
    }
}

fn version_of_kind(rest: &str) -> Option<Key> {
    let (encoded, version) = rest.split_once('/')?;
    let (mut name, mut bytes) = (Vec::new(), encoded.bytes());
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(core::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    let version = number(version)?.try_into().ok()?;
    Some(Key::Kind(String::from_utf8(name).ok()?, version))
}

/// The position that a key names in a session's journal. For reading lists of a journal.
#[must_use]
pub fn position_in(session: SessionId, key: &str) -> Option<Position> {
    if let Some(Key::Journal(owner, position)) = parse(key)
        && owner == session
    {
        return Some(position);
    }
    None
}

/// The purpose of a request to this key, for counting requests.
#[must_use]
pub fn purpose(key: &str) -> &'static str {
    match key.split('/').next() {
        Some("cluster") => "cluster",
        Some("domain") => "domain",
        Some("election" | "elections") => "election",
        Some("epochs") => "epoch",
        Some("epoch-marks") => "epoch-mark",
        Some("hints") => "hint",
        Some("kinds") => "kind",
        Some("probe") => "probe",
        Some("sessions") => match key.split('/').nth(2) {
            Some("journal") => "journal",
            Some("trims") => "trim",
            Some("packs") => "pack",
            _ => "session",
        },
        _ => "foreign",
    }
}

/// Exactly twenty digits: `7` and `+7` are foreign, so that each number has one name.
fn number(text: &str) -> Option<u64> {
    if text.len() != 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_key_reads_back_as_what_it_names() {
        let session_id = SessionId::new(7);
        let host = HostName::new("h1").unwrap();
        for (key, meaning) in [
            (CLUSTER.to_string(), Key::Cluster),
            (DOMAIN.to_string(), Key::Domain),
            (epoch(Epoch::new(42)), Key::Epoch(Epoch::new(42))),
            (epoch_mark(Segment::new(3)), Key::EpochMark(Segment::new(3))),
            (LEADER_HINT.to_string(), Key::LeaderHint),
            (host_hint(&host), Key::HostHint(host)),
            (
                journal_position(session_id, Position::new(u64::MAX)),
                Key::Journal(session_id, Position::new(u64::MAX)),
            ),
            (trim_mark(session_id, Segment::new(0)), Key::TrimMark(session_id, Segment::new(0))),
            (end_mark(session_id), Key::EndMark(session_id)),
            (pack(session_id, PackNumber::new(9)), Key::Pack(session_id, PackNumber::new(9))),
            (kind("cart", 2), Key::Kind("cart".into(), 2)),
            (kind("a/b.c ä%", 1), Key::Kind("a/b.c ä%".into(), 1)),
        ] {
            assert_eq!(meaning.path(), key);
            assert_eq!(parse(&key), Some(meaning), "{key}");
            assert_ne!(purpose(&key), "foreign", "{key}");
        }
    }

    #[test]
    fn a_foreign_name_is_not_parsed() {
        for foreign in [
            "",
            "epochs/7",
            "epochs/00000000000000000007x",
            "sessions/xyz/journal/1",
            "hints/hosts/..",
            "readme",
            "kinds/cart/2",
            "kinds/%63art/00000000000000000002",
            "kinds/c%6/00000000000000000002",
            "kinds/cart/00000004294967296",
        ] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn keys_sort_by_number() {
        assert!(epoch(Epoch::new(9)) < epoch(Epoch::new(10)));
    }
}
