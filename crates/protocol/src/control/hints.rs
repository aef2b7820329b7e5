//! Hints: small objects that may be wrong without harm. They show liveness if there is no connection.
//!
//! A hint is overwritten periodically under one key; it fences nothing. A hint shows liveness only when its counter
//! *moves* between two reads: that needs only the reader's own clock. So the first read of a hint shows nothing.
//!
//! Invariants:
//!
//! * A leader's hint below the reader's newest epoch is ignored.
//! * A counter has moved only in comparison with an earlier value of the same session.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    epoch::{record::HOSTS_MAX, shards::DeclaredShards, versions::KindVersions},
    format::codec::{self, Malformed},
    ids::{DomainId, Epoch, HostName, Nonce, SessionId},
};

/// The leader's hint, at [`crate::format::keys::LEADER_HINT`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaderHint {
    /// The epoch it leads.
    pub epoch: Epoch,
    /// Its session in the home domain.
    pub session: SessionId,
    /// Grows with every hint it puts.
    pub counter: u64,
    /// Its address.
    pub address: String,
}

/// A host's hint, at [`crate::format::keys::host_hint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostHint {
    /// Its address.
    pub address: String,
    /// Its session in each domain it serves.
    pub sessions: BTreeMap<DomainId, SessionId>,
    /// Commands that it ran in the last second, for operators and for placement.
    pub load: u64,
    /// Grows with every hint it puts, as long as it makes progress.
    pub counter: u64,
    /// The kinds with shards that it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shards: DeclaredShards,
    /// The versions of all its kinds.
    #[serde(default, skip_serializing_if = "KindVersions::is_empty")]
    pub versions: KindVersions,
}

const LEADER_NOUN: &str = "leader-hint";
const HOST_NOUN: &str = "host-hint";

impl LeaderHint {
    /// The object to put.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        codec::to_json(LEADER_NOUN, nonce, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key; the reader then ignores the hint.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        codec::from_json(key, LEADER_NOUN, object).map(|(_, hint)| hint)
    }
}

impl HostHint {
    /// The object to put.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        codec::to_json(HOST_NOUN, nonce, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key; the reader then ignores the hint.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        codec::from_json(key, HOST_NOUN, object).map(|(_, hint)| hint)
    }
}

/// What a read of a hint shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The counter moved since the last read: its writer is alive.
    Moved,
    /// Nothing: first read, not moved, or of an old epoch.
    None,
}

/// A follower's last read of the leader's hint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaderHintWatch {
    last: Option<(SessionId, u64)>,
}

impl LeaderHintWatch {
    /// Takes a hint that was just read; `newest` is the reader's newest epoch.
    #[must_use]
    pub fn saw(&mut self, hint: &LeaderHint, newest: Epoch) -> Sign {
        if hint.epoch < newest {
            return Sign::None;
        }
        let now = (hint.session, hint.counter);
        let sign = sign(self.last.as_ref(), &now);
        self.last = Some(now);
        sign
    }
}

/// The leader's last read of the hosts' hints: for joins by hint, and for hosts without a connection.
#[derive(Clone, Debug, Default)]
pub struct HostHintWatch {
    last: BTreeMap<HostName, (Vec<SessionId>, u64)>,
}

impl HostHintWatch {
    /// Takes the hints of one listing; returns the hosts whose counter moved. Hosts that aren't listed are forgotten.
    /// Of more than [`HOSTS_MAX`] hints, the last by name are ignored.
    #[must_use]
    pub fn saw(&mut self, hints: &BTreeMap<HostName, HostHint>) -> Vec<HostName> {
        let mut moved = Vec::new();
        let before = core::mem::take(&mut self.last);
        for (name, hint) in hints.iter().take(HOSTS_MAX) {
            let now = (hint.sessions.values().copied().collect(), hint.counter);
            if sign(before.get(name), &now) == Sign::Moved {
                moved.push(name.clone());
            }
            self.last.insert(name.clone(), now);
        }
        assert!(self.last.len() <= HOSTS_MAX, "more hints are kept than there may be hosts");
        moved
    }
}

/// Whether the counter moved. A counter of another session can't be compared.
fn sign<W: PartialEq>(before: Option<&(W, u64)>, now: &(W, u64)) -> Sign {
    match before {
        Some((writer, counter)) if *writer == now.0 && *counter != now.1 => Sign::Moved,
        Some(_) | None => Sign::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::keys;

    fn leader(epoch: u64, session: u128, counter: u64) -> LeaderHint {
        LeaderHint {
            epoch: Epoch::new(epoch),
            session: SessionId::new(session),
            counter,
            address: "h1:7000".into(),
        }
    }

    fn host(session: u128, counter: u64) -> HostHint {
        HostHint {
            address: "h1:7000".into(),
            sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(session))]),
            load: 3,
            counter,
            shards: DeclaredShards::default(),
            versions: KindVersions::default(),
        }
    }

    #[test]
    fn hints_read_back() {
        let hint = leader(3, 1, 9);
        assert_eq!(LeaderHint::decode(keys::LEADER_HINT, &hint.encode(Nonce::new(1))), Ok(hint));
        let hint = host(1, 9);
        assert_eq!(HostHint::decode("hints/hosts/h1", &hint.encode(Nonce::new(1))), Ok(hint));
        assert!(HostHint::decode("k", &leader(3, 1, 9).encode(Nonce::new(1))).is_err());
    }

    #[test]
    fn a_leaders_hint_shows_liveness_only_when_its_counter_moves() {
        let mut watch = LeaderHintWatch::default();
        let newest = Epoch::new(3);
        assert_eq!(watch.saw(&leader(3, 1, 9), newest), Sign::None);
        assert_eq!(watch.saw(&leader(3, 1, 9), newest), Sign::None);
        assert_eq!(watch.saw(&leader(3, 1, 10), newest), Sign::Moved);
    }

    #[test]
    fn the_hint_of_an_old_leader_is_ignored() {
        let mut watch = LeaderHintWatch::default();
        let newest = Epoch::new(4);
        assert_eq!(watch.saw(&leader(3, 1, 9), newest), Sign::None);
        assert_eq!(watch.saw(&leader(3, 1, 10), newest), Sign::None);
        assert_eq!(watch.saw(&leader(4, 2, 1), newest), Sign::None, "another session's counter");
        assert_eq!(watch.saw(&leader(4, 2, 2), newest), Sign::Moved);
    }

    #[test]
    fn a_host_joins_by_hint_only_after_its_counter_moved() {
        let mut watch = HostHintWatch::default();
        let name = HostName::new("h1").unwrap();
        let mut see = |hint: Option<HostHint>| {
            let hints = hint.into_iter().map(|hint| (name.clone(), hint)).collect();
            watch.saw(&hints).len()
        };
        assert_eq!(see(Some(host(1, 5))), 0, "a dead host may have left it");
        assert_eq!(see(Some(host(1, 6))), 1);
        assert_eq!(see(Some(host(2, 7))), 0, "a new session starts over");
        assert_eq!(see(None), 0);
        assert_eq!(see(Some(host(2, 8))), 0, "forgotten meanwhile");
    }
}
