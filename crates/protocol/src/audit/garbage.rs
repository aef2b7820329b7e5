//! What becomes of each object: needed, permanent, on its way out, or kept for a reason although it looks like garbage.
//!
//! This explains the rules that hosts delete by; it is no rule itself, and nothing is deleted because of it. The rules:
//! [`crate::checkpoint::trim`], [`crate::checkpoint::retain`], [`crate::checkpoint::collect`], [`crate::epoch::log`] and
//! `control::stale`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
};

use serde::Serialize;

use super::{
    history::LogKeys,
    session::SessionView,
    unlisted::{Kind, Unlisted},
};
use crate::{
    epoch::{log::Retention, record::EpochRecord, record::SessionState},
    format::keys::{self, Key},
    ids::{Epoch, HostName, Position, SessionId},
};

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A host may need it.
    Needed,
    /// It stays for ever: it shows that deleted objects existed, or that a session is over.
    Permanent,
    /// No host needs it, and a host is about to delete it.
    Goes,
    /// It looks like garbage, and must not go yet.
    Kept,
    /// No host needs it, and no host looks for it any more.
    Stray,
    /// Not an object of Holocron: never deleted.
    Foreign,
}

impl Fate {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Permanent => "permanent",
            Self::Goes => "goes",
            Self::Kept => "kept",
            Self::Stray => "stray",
            Self::Foreign => "foreign",
        }
    }
}

/// The fate of an object, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Judged {
    /// What kind of object it is, in the plural.
    pub what: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// Why; for one that goes also who deletes it.
    pub why: &'static str,
}

const fn judged(what: &'static str, fate: Fate, why: &'static str) -> Judged {
    Judged { what, fate, why }
}

/// Everything that was read to judge a store's objects.
#[derive(Debug)]
pub struct Content<'a> {
    /// The newest record; `None` in a cluster that has none yet.
    pub newest: Option<&'a EpochRecord>,
    /// The keys of the epoch log.
    pub log: &'a LogKeys,
    /// How many epochs are kept, and for how long.
    pub retention: Retention,
    /// The last epochs of segments that are due by the number of epochs, and are old enough to go.
    pub old: &'a BTreeSet<Epoch>,
    /// The sessions of the newest record.
    pub sessions: &'a BTreeMap<SessionId, SessionView>,
    /// All other sessions.
    pub unlisted: &'a BTreeMap<SessionId, Unlisted>,
    /// Seals of forgotten sessions that have more in their journal than the seal.
    pub seals: &'a BTreeSet<(SessionId, Position)>,
}

impl Content<'_> {
    /// What becomes of the object at `key`.
    #[must_use]
    pub fn judge(&self, key: &str) -> Judged {
        if key.starts_with(keys::ELECTIONS) {
            let why =
                "of an election used alone below this prefix: its own members delete what is old";
            return judged("objects of elections", Fate::Needed, why);
        }
        let Some(parsed) = keys::parse(key) else {
            return match key.starts_with(keys::PROBE) {
                true => judged(
                    "probe objects",
                    Fate::Goes,
                    "scratch of a start-up probe: the leader deletes what a probe leaves behind in the home domain",
                ),
                false => {
                    judged("foreign objects", Fate::Foreign, "the name isn't one of Holocron's")
                }
            };
        };
        match parsed {
            Key::Cluster => judged("cluster", Fate::Needed, "what every host must agree on"),
            Key::Domain => judged("domain", Fate::Needed, "whose store it is"),
            Key::Kind(..) => judged(
                "records of kinds",
                Fate::Needed,
                "the shape of the states of a version of a kind: hosts with another one don't start",
            ),
            Key::Epoch(epoch) => self.epoch(epoch),
            Key::EpochMark(_) => {
                judged("epoch marks", Fate::Permanent, "shows that epochs are deleted")
            }
            Key::LeaderHint => judged("hints", Fate::Needed, "the leader's hint"),
            Key::HostHint(host) => self.hint(&host),
            Key::TrimMark(..) => judged(
                "trim marks",
                Fate::Permanent,
                "shows that positions of a journal are deleted",
            ),
            Key::EndMark(_) => {
                judged("end marks", Fate::Permanent, "shows that a session is over for ever")
            }
            Key::Journal(session, position) => self.position(session, position),
            Key::Pack(session, number) => {
                let what = "packs";
                let Some(view) = self.sessions.get(&session) else {
                    return self.unlisted(what, session);
                };
                if view.packs().iter().any(|pack| pack.number == number) {
                    return judged(
                        what,
                        Fate::Needed,
                        "the newest checkpoint of its session names it",
                    );
                }
                match view.state {
                    SessionState::Detached(_) => detached(what),
                    SessionState::Sealed(_) => goes_with_its_session(what),
                    SessionState::Open if self.is_source(session) => judged(
                        what,
                        Fate::Kept,
                        "its session is a source of slots that moved: their new owners may still read it",
                    ),
                    SessionState::Open => judged(
                        what,
                        Fate::Kept,
                        "it may belong to the next checkpoint; otherwise its session deletes it then",
                    ),
                }
            }
        }
    }

    fn epoch(&self, epoch: Epoch) -> Judged {
        let what = "epochs";
        if epoch < self.log.first_kept() {
            return judged(what, Fate::Goes, "its segment is marked: the leader deletes it");
        }
        let segments = self.log.segments;
        let segment = segments.segment(epoch);
        if segment >= self.retention.due(self.log.newest(), segments) {
            return judged(
                what,
                Fate::Needed,
                "history: the newest ones, and what shares a segment with them",
            );
        }
        if self.old.contains(&segments.last(segment)) {
            return judged(
                what,
                Fate::Goes,
                "older than the history that is kept: the leader deletes it",
            );
        }
        judged(what, Fate::Kept, "beyond the number of epochs that are kept, but not old enough")
    }

    fn hint(&self, host: &HostName) -> Judged {
        let is_member = self.newest.is_some_and(|record| record.hosts.contains_key(host));
        if is_member {
            return judged("hints", Fate::Needed, "a host's sign of life");
        }
        let why =
            "its host is no member: the leader deletes it when it has not changed for a while";
        judged("hints", Fate::Goes, why)
    }

    fn position(&self, session: SessionId, position: Position) -> Judged {
        let what = "batches";
        let Some(view) = self.sessions.get(&session) else {
            return match self.unlisted.get(&session) {
                Some(unlisted) if unlisted.kind() == Kind::Forgotten => {
                    let only = unlisted.journal.len() == 1;
                    if only || self.seals.contains(&(session, position)) {
                        return judged("seals", Fate::Permanent, "shows where its session ended");
                    }
                    self.unlisted(what, session)
                }
                Some(unlisted) if unlisted.kind() == Kind::NeverJoined => judged(
                    "openings",
                    Fate::Permanent,
                    "its session has not joined: one object per start, in place of a seal",
                ),
                Some(_) | None => self.unlisted(what, session),
            };
        };
        let bounds = view.bounds().unwrap_or_default();
        let recorded = match view.state {
            SessionState::Sealed(at) => at,
            SessionState::Detached(at) => Some(at),
            SessionState::Open => None,
        };
        if recorded.or(bounds.sealed_at) == Some(position) {
            return judged("seals", Fate::Permanent, "shows where its session ended");
        }
        match view.state {
            SessionState::Detached(_) => detached(what),
            SessionState::Open if position == Position::ZERO && bounds.low_water == position => {
                judged("openings", Fate::Needed, "says whose journal it is")
            }
            _ if bounds.sealed_at.is_some_and(|seal| position > seal) => judged(
                what,
                Fate::Kept,
                "above the seal, so never committed: goes with its session",
            ),
            _ if position > bounds.low_water => {
                judged(what, Fate::Needed, "above the newest checkpoint, or its record")
            }
            SessionState::Sealed(_) => goes_with_its_session(what),
            SessionState::Open if view.keys.marks.contains(&view.segments.segment(position)) => {
                judged(what, Fate::Goes, "its segment is marked: its session deletes it")
            }
            SessionState::Open => judged(
                what,
                Fate::Kept,
                "covered by a checkpoint, but its segment isn't as a whole: segments go as one",
            ),
        }
    }

    fn unlisted(&self, what: &'static str, session: SessionId) -> Judged {
        match self.unlisted.get(&session).map(Unlisted::kind) {
            Some(Kind::Forgotten) => judged(
                what,
                Fate::Stray,
                "landed long after its session was collected: no host looks there again",
            ),
            Some(Kind::Unknown | Kind::NeverJoined) | None => judged(
                what,
                Fate::Kept,
                "no record lists its session, and it has no end mark: run scrub",
            ),
        }
    }

    fn is_source(&self, session: SessionId) -> bool {
        self.newest.is_some_and(|record| {
            let mut domains = record.domains.values();
            domains.any(|domain| {
                let mut holdings = domain.slots.distinct().iter();
                holdings.any(|holding| holding.newest_source_of(session).is_some())
            })
        })
    }
}

const fn detached(what: &'static str) -> Judged {
    judged(what, Fate::Goes, "its session is detached: the leader deletes what is left of it")
}

const fn goes_with_its_session(what: &'static str) -> Judged {
    judged(
        what,
        Fate::Kept,
        "its session is sealed and still a source: goes with it when no slot needs it",
    )
}

/// Counts and bytes of objects with the same fate for the same reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<Judged, Total>);

/// A count, and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The smallest key, as an example.
    pub example: String,
}

impl Totals {
    /// Adds an object.
    pub fn add(&mut self, judged: Judged, key: &str, bytes: u64) {
        let total = self.0.entry(judged).or_default();
        total.objects += 1;
        total.bytes += bytes;
        if total.example.is_empty() || key < total.example.as_str() {
            total.example = key.into();
        }
    }

    /// All of them, by what they are.
    pub fn iter(&self) -> impl Iterator<Item = (&Judged, &Total)> {
        self.0.iter()
    }

    /// The objects with a fate.
    #[must_use]
    pub fn of(&self, fate: Fate) -> u64 {
        let with = self.0.iter().filter(|(judged, _)| judged.fate == fate);
        with.map(|(_, total)| total.objects).sum()
    }
}
