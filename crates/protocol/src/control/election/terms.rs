//! Events, effects and settings of the election.

use core::time::Duration;

use crate::{
    control::lease::{Claim, Lease},
    epoch::{
        log::MarkState,
        record::{EpochRecord, Handover, HostState},
    },
    ids::{Epoch, HostName, SessionId},
    time::Time,
};

/// Timeouts of the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElectionSettings {
    /// How long a leader that was heard over a connection may be silent. Shorter: faster failover, and more false
    /// alarms.
    pub silence_max: Duration,
    /// The same for a leader last heard by a hint, or not heard yet; several hint intervals.
    pub silence_by_hint_max: Duration,
    /// The delay per rank. Should be longer than a create, so that one candidate at a time tries.
    pub rank_step: Duration,
    /// How often a leader puts its hint and looks for a newer epoch.
    pub confirm_every: Duration,
    /// How long to wait before a request without a clear answer is retried.
    pub retry_after: Duration,
}

impl Default for ElectionSettings {
    fn default() -> Self {
        Self {
            silence_max: Duration::from_secs(1),
            silence_by_hint_max: Duration::from_secs(15),
            rank_step: Duration::from_millis(250),
            confirm_every: Duration::from_secs(5),
            retry_after: Duration::from_millis(500),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time passed. Send it at least every [`ElectionSettings::rank_step`].
    Tick,
    /// The leader of that epoch is alive.
    HeardLeader {
        /// The epoch it claims to lead.
        epoch: Epoch,
        /// How it was heard.
        by: HeardBy,
    },
    /// A newer epoch may exist: another host said so, or something that the newest known one needs is gone.
    NewerEpochPossible,
    /// A leader can't be reached. Doesn't count against another session that leads now, even one of the same host name.
    LeaderSuspected {
        /// Its session in the home domain.
        leader: SessionId,
    },
    /// A record was read, by any way, and isn't in a trimmed segment.
    Learned(News),
    /// Answers [`Effect::Read`].
    Read(ReadOutcome),
    /// Answers [`Effect::Create`].
    Created(CreateOutcome),
    /// Answers [`Effect::CheckMark`].
    Marked(MarkOutcome),
    /// The leader has something to write. Ignored if a create is in flight or the store fails: send it again.
    ChangeWanted,
    /// A rotation in which every candidate competes is due: try the next epoch although the leader is alive.
    ContestDue,
    /// The host's own tick was late: it was paused.
    Paused,
    /// The host's own store requests fail.
    StoreFailing,
    /// The host's own store requests succeed again.
    StoreWorking,
}

/// How a leader was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeardBy {
    /// Over a live connection.
    Connection,
    /// Its hint's counter moved, and there is no connection.
    Hint,
}

/// What a record says about who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct News {
    /// The record's epoch.
    pub epoch: Epoch,
    /// Who wrote it.
    pub writer: Writer,
    /// This host's rank among the candidates; 0 is first.
    pub rank: u32,
}

/// Who wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// This session.
    Us,
    /// Another leader, with this session in the home domain, that continues to lead.
    Other(SessionId),
    /// Another leader that left with this record, or whose session this record replaced with a later one of the same
    /// host name: there is no leader to wait for.
    Gone,
}

/// What a read of the log found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadOutcome {
    /// The newest record.
    Newest(News),
    /// Nothing newer than what was known.
    Nothing,
    /// No answer.
    Unknown,
}

/// How the create of an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateOutcome {
    /// Our record is at the key.
    Won,
    /// Another record is at the key.
    Lost,
    /// No clear answer: it may have landed, or may still land.
    Unknown,
    /// No request was sent: there was no record to write.
    Withdrawn,
}

/// Whether an epoch's mark exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkOutcome {
    /// A definite answer.
    Seen(MarkState),
    /// No answer.
    Unknown,
}

/// What the driver does. `Read`, `Create` and `CheckMark` are each answered by exactly one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read the log from this epoch on ([`crate::epoch::log::EpochReader`]).
    Read(Epoch),
    /// Make the next record and create it, if there is anything to write. A read may find the record before this is
    /// answered.
    Create(Epoch),
    /// Get the mark of that epoch's segment.
    CheckMark(Epoch),
    /// Put the leader's hint for that epoch.
    PutHint(Epoch),
    /// This host leads that epoch, by the record in the log (after an unclear create, not always the last record made).
    Lead(Epoch),
    /// Another host leads, or led, that epoch.
    Follow(Epoch),
}

/// This host's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It was paused, or is far behind: it must read the log before it may suspect the leader.
    Waking,
    /// It follows a leader that it hears.
    Following {
        /// When the next heartbeat is overdue.
        until: Time,
    },
    /// There seems to be no leader.
    Candidate {
        /// When it may try.
        not_before: Time,
    },
    /// It leads the newest epoch it knows.
    Leading {
        /// When it learned that its first epoch of this leadership was created.
        since: Time,
        /// When the last read that found nothing newer began; not before `since`.
        confirmed: Option<Time>,
        /// When to read the log again.
        confirm_at: Time,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Attempt {
    None,
    Creating(Epoch),
    /// Won. Checking whether its segment was trimmed.
    Checking {
        epoch: Epoch,
        won_at: Time,
        asking: Asking,
    },
}

/// The state of a request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asking {
    /// Not needed.
    Nothing,
    /// To be sent at this time.
    At(Time),
    /// In flight since this time.
    Since(Time),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StoreHealth {
    Working,
    Failing,
}

impl News {
    /// From a record, for a host; `session` is the host's session in the home domain, if it has one.
    #[must_use]
    pub fn of(record: &EpochRecord, host: &HostName, session: Option<SessionId>) -> Self {
        let writer = match record.standing_leader() {
            None => Writer::Gone,
            Some(leader) if session == Some(leader.session) => Writer::Us,
            Some(leader) => Writer::Other(leader.session),
        };
        Self { epoch: record.epoch, writer, rank: rank(record, host) }
    }
}

/// A host's rank among the candidates: a named successor first, then active hosts by name, then draining hosts, then
/// the silent leader (unless a later session has its name), then hosts that aren't in the record.
fn rank(record: &EpochRecord, host: &HostName) -> u32 {
    let leader_is_open = record.is_open(record.leader.session);
    let order = |name: &HostName| match (&record.handover, record.hosts.get(name)) {
        (Handover::Leaves { successor: Some(successor) }, _) if successor == name => 0,
        _ if record.leader.host == *name && leader_is_open => 3,
        (_, Some(entry)) if entry.state == HostState::Active => 1,
        (_, Some(_)) => 2,
        (_, None) => 4,
    };
    let own = (order(host), host);
    let before = record.hosts.keys().filter(|name| (order(name), *name) < own).count();
    // Hosts that aren't in the record don't know each other: one step later and with jitter, so that they don't all try
    // at once.
    let is_unknown = usize::from(!record.hosts.contains_key(host));
    u32::try_from(before + is_unknown).expect("the number of hosts is bounded")
}

impl super::Election {
    /// What it may *claim*, towards systems that don't check the fencing token, once a read has confirmed that it leads.
    #[must_use]
    pub fn claim(&self, lease: Lease) -> Option<Claim> {
        match self.role {
            Role::Leading { since, confirmed: Some(confirmed), .. } => {
                Some(lease.claim(since, confirmed))
            }
            Role::Leading { confirmed: None, .. }
            | Role::Waking
            | Role::Following { .. }
            | Role::Candidate { .. } => None,
        }
    }

    /// Who wrote the newest record it knows.
    #[must_use]
    pub const fn writer(&self) -> Writer {
        self.writer
    }

    /// The epoch that it is creating, if a create is in flight or its mark is being checked.
    #[must_use]
    pub const fn creating(&self) -> Option<Epoch> {
        match self.attempt {
            Attempt::None => None,
            Attempt::Creating(epoch) | Attempt::Checking { epoch, .. } => Some(epoch),
        }
    }

    /// The epoch of its create without a clear answer, while that epoch has no record: it may still become one of ours.
    #[must_use]
    pub const fn unclear(&self) -> Option<Epoch> {
        self.unclear
    }

    /// Follows a leader until its next heartbeat is overdue. A record is no heartbeat, because its age is unknown.
    pub(super) fn following(&self, now: Time) -> Role {
        let quiet = match self.heard_by {
            Some(HeardBy::Connection) => self.settings.silence_max,
            Some(HeardBy::Hint) | None => self.settings.silence_by_hint_max,
        };
        Role::Following { until: now + quiet }
    }

    /// The first in rank tries at once; others try later, with jitter between those of the same rank.
    pub(super) fn candidate(&self, now: Time, chance: u64, rank: u32) -> Role {
        let step = u64::try_from(self.settings.rank_step.as_micros()).unwrap_or(u64::MAX).max(1);
        let jitter = if rank == 0 { 0 } else { chance % step };
        let later = self.settings.rank_step.saturating_mul(rank);
        Role::Candidate { not_before: now + later + Duration::from_micros(jitter) }
    }

    pub(super) fn leading(&self, now: Time, created_at: Time) -> Role {
        match self.role {
            // The next epoch of the same leader: no other host led in between.
            Role::Leading { .. } => self.role,
            Role::Waking | Role::Following { .. } | Role::Candidate { .. } => {
                Role::Leading { since: created_at, confirmed: None, confirm_at: now }
            }
        }
    }

    /// What holds after every step; `before` is the newest epoch known before it.
    pub(super) fn assert_consistent(&self, before: Epoch) {
        assert!(before <= self.newest, "the newest epoch went from {before} to {}", self.newest);
        if let Role::Leading { since, confirmed, .. } = self.role {
            assert_eq!(self.writer, Writer::Us, "it leads by another's record");
            assert!(
                confirmed.is_none_or(|confirmed| since <= confirmed),
                "it leads since {since:?}, and a read of {confirmed:?} confirmed it"
            );
        }
        if let Some(unclear) = self.unclear {
            assert!(self.newest < unclear, "{unclear} is unclear though {} is known", self.newest);
        }
        if let Attempt::Creating(epoch) | Attempt::Checking { epoch, .. } = self.attempt {
            assert!(epoch <= self.newest.next(), "it creates {epoch} after {}", self.newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format};

    use super::*;
    use crate::{
        epoch::{
            draft::Draft,
            record::{HostEntry, Leader, RecordDigest},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::{ClusterId, DomainId},
    };

    fn name(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    /// Hosts a to d with sessions 1 to 4; d is draining, b leads.
    fn draft() -> Draft {
        let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
        for (host, session) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            let entry = HostEntry {
                address: format!("{host}:1"),
                sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(session))]),
                state: HostState::Active,
                weight: 100,
                zone: None,
                versions: KindVersions::default(),
            };
            draft.join(&name(host), entry).unwrap();
        }
        draft.drain(SessionId::new(4));
        draft
    }

    fn finish(draft: Draft) -> EpochRecord {
        let leader = Leader { host: name("b"), session: SessionId::new(2), address: "b:1".into() };
        draft.finish(leader, "", 0)
    }

    fn after(record: &EpochRecord) -> Draft {
        Draft::after(record, RecordDigest::of(b"its bytes"))
    }

    fn ranks(record: &EpochRecord) -> [u32; 5] {
        ["a", "b", "c", "d", "x"].map(|host| News::of(record, &name(host), None).rank)
    }

    #[test]
    fn active_hosts_come_first_by_name_then_draining_hosts_then_the_leader_then_unknown_hosts() {
        assert_eq!(ranks(&finish(draft())), [0, 3, 1, 2, 5]);
    }

    #[test]
    fn a_named_successor_comes_first_and_no_host_waits_for_the_leader() {
        let mut draft = draft();
        draft.resign(Some(&name("c"))).unwrap();
        let record = finish(draft);
        assert_eq!(ranks(&record), [1, 3, 0, 2, 5]);
        let own = News::of(&record, &name("b"), Some(SessionId::new(2)));
        assert_eq!(own.writer, Writer::Gone);
    }

    #[test]
    fn a_record_is_ours_by_its_session_not_by_its_name() {
        let record = finish(draft());
        let writer = |session| News::of(&record, &name("b"), session).writer;
        assert_eq!(writer(Some(SessionId::new(2))), Writer::Us);
        let other = Writer::Other(SessionId::new(2));
        assert_eq!(writer(Some(SessionId::new(9))), other, "an earlier session of b wrote it");
        assert_eq!(writer(None), other);
    }

    #[test]
    fn a_leader_that_was_replaced_under_its_name_is_gone_and_its_replacement_is_not_last() {
        let mut draft = draft();
        let first = HostEntry {
            sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(9))]),
            ..draft.hosts()[&name("b")].clone()
        };
        draft = after(&finish(draft));
        draft.join(&name("b"), first).unwrap();
        let record = finish(draft);
        assert_eq!(record.handover, Handover::Stays, "it did not resign");
        assert_eq!(record.standing_leader(), None);
        for session in [2, 9, 1] {
            let news = News::of(&record, &name("b"), Some(SessionId::new(session)));
            assert_eq!(news.writer, Writer::Gone, "{session}");
        }
        assert_eq!(ranks(&record), [0, 1, 2, 3, 5]);
    }

    #[test]
    fn a_log_without_hosts_has_no_leader_to_wait_for() {
        let mut draft = draft();
        for session in 1..=4 {
            draft.remove(SessionId::new(session));
        }
        draft.resign(None).unwrap();
        let news = News::of(&finish(draft), &name("x"), None);
        assert_eq!((news.writer, news.rank), (Writer::Gone, 1));
    }
}
