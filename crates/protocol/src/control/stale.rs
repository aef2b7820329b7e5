//! What processes leave behind that no session owns: hints of hosts that are gone, and objects of start-up probes.
//!
//! Neither is needed for safety: a hint may be missing without harm, and a probe's names are never used again. What a live
//! process may still need must stay long enough, so age decides. It is the leader's own observation by its own steady
//! clock: an object goes only after it was seen unchanged at two looks at least that far apart. A new leader starts over,
//! and a leader that was paused: its clock counts time in suspend, the deadline of a probe on its machine doesn't.
//!
//! Invariants:
//!
//! * The hint of a host in the newest record never goes, nor one that changed since the look before.
//! * A probe's object goes only after more time than a probe may take ([`SCRATCH_AFTER`]).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use crate::{
    control::hints::HostHint,
    epoch::record::{EpochRecord, HOSTS_MAX},
    ids::{HostName, SessionId},
    time::Time,
};

/// How long the hint of a host that is no member stays unchanged before it is deleted. A live host that can't join puts
/// its hint every few seconds, so it stays.
pub const HINT_AFTER: Duration = Duration::from_secs(5 * 60);
/// How long an object of a start-up probe stays before it is deleted: twice the longest time that a probe may take.
pub const SCRATCH_AFTER: Duration = Duration::from_secs(10 * 60);
/// Most objects of probes that are remembered; further ones wait until these are deleted.
pub const SCRATCH_MAX: usize = 10_000;

/// What was seen of a hint.
#[derive(Clone, Debug)]
struct Seen {
    sessions: Vec<SessionId>,
    counter: u64,
    since: Time,
}

/// What the leader has seen that may be left behind.
#[derive(Clone, Debug, Default)]
pub struct Stale {
    hints: BTreeMap<HostName, Seen>,
    scratch: BTreeMap<String, Time>,
}

impl Stale {
    /// Takes the hints of one listing, except those of hosts that answer heartbeats; returns the hosts whose hints go.
    #[must_use]
    pub fn hints(
        &mut self,
        now: Time,
        newest: &EpochRecord,
        hints: &BTreeMap<HostName, HostHint>,
    ) -> Vec<HostName> {
        let mut stale = Vec::new();
        let mut before = core::mem::take(&mut self.hints);
        for (name, hint) in hints.iter().take(HOSTS_MAX) {
            if newest.hosts.contains_key(name) {
                continue;
            }
            let sessions: Vec<SessionId> = hint.sessions.values().copied().collect();
            let unchanged = before
                .remove(name)
                .filter(|seen| seen.counter == hint.counter && seen.sessions == sessions);
            let seen = unchanged.unwrap_or(Seen { sessions, counter: hint.counter, since: now });
            if now.since(seen.since) >= HINT_AFTER {
                stale.push(name.clone());
            }
            self.hints.insert(name.clone(), seen);
        }
        assert!(
            !stale.iter().any(|name| newest.hosts.contains_key(name)),
            "the hint of a member stays"
        );
        stale
    }

    /// Takes the objects of probes that exist; returns those that go.
    #[must_use]
    pub fn scratch(&mut self, now: Time, listed: &BTreeSet<String>) -> Vec<String> {
        self.scratch.retain(|key, _| listed.contains(key));
        for key in listed {
            if self.scratch.len() < SCRATCH_MAX {
                self.scratch.entry(key.clone()).or_insert(now);
            }
        }
        let old = self.scratch.iter().filter(|(_, since)| now.since(**since) >= SCRATCH_AFTER);
        old.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;
    use crate::{
        epoch::{
            draft::Draft,
            record::{HostEntry, HostState, Leader},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::{ClusterId, DomainId},
    };

    fn name(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    /// A record whose only host is h1.
    fn record() -> EpochRecord {
        let session = SessionId::new(1);
        let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
        let entry = HostEntry {
            address: "h1:1".into(),
            sessions: BTreeMap::from([(DomainId::HOME, session)]),
            state: HostState::Active,
            weight: 100,
            zone: None,
            versions: KindVersions::default(),
        };
        draft.join(&name("h1"), entry).unwrap();
        draft.finish(Leader { host: name("h1"), session, address: String::new() }, "a test", 1)
    }

    fn hint(session: u128, counter: u64) -> HostHint {
        let sessions = BTreeMap::from([(DomainId::HOME, SessionId::new(session))]);
        let (shards, versions) = (BTreeMap::new(), KindVersions::default());
        HostHint { address: "h:1".into(), sessions, load: 0, counter, shards, versions }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_hint_of_a_host_that_is_gone_goes_when_it_stayed_the_same_for_five_minutes() {
        let (mut stale, record) = (Stale::default(), record());
        let mut look = |seconds, hint| {
            stale.hints(at(seconds), &record, &BTreeMap::from([(name("h2"), hint)]))
        };
        assert_eq!(look(0, hint(2, 7)), []);
        assert_eq!(look(299, hint(2, 7)), []);
        assert_eq!(look(300, hint(2, 7)), [name("h2")]);
        assert_eq!(look(310, hint(2, 8)), [], "it lives, and can't join");
        assert_eq!(look(609, hint(2, 8)), []);
        assert_eq!(look(610, hint(3, 8)), [], "another process of that name");
    }

    #[test]
    fn the_hint_of_a_member_stays() {
        let (mut stale, record) = (Stale::default(), record());
        for seconds in [0, 300, 3_000] {
            let hints = BTreeMap::from([(name("h1"), hint(1, 7))]);
            assert_eq!(stale.hints(at(seconds), &record, &hints), []);
        }
    }

    #[test]
    fn an_object_of_a_probe_goes_after_ten_minutes_of_the_same_leader() {
        let mut stale = Stale::default();
        let mut look = |seconds, keys: &[&str]| {
            stale.scratch(at(seconds), &keys.iter().map(ToString::to_string).collect())
        };
        assert_eq!(look(0, &["probe/a"]), Vec::<String>::new());
        assert_eq!(look(599, &["probe/a", "probe/b"]), Vec::<String>::new());
        assert_eq!(look(600, &["probe/a", "probe/b"]), vec!["probe/a"]);
        assert_eq!(look(1_199, &["probe/b"]), vec!["probe/b"]);
    }
}
