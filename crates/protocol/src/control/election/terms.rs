//! What the election hears and says: its events, effects and settings.

use core::time::Duration;

use crate::{
    epoch::{
        log::MarkState,
        record::{EpochRecord, Handover, HostState},
    },
    ids::{Epoch, HostName, SessionId},
    time::Time,
};

/// When to try, and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElectionSettings {
    /// How long a leader heard over a connection may be silent. Shorter fails over sooner and more often for nothing.
    pub silence_max: Duration,
    /// The same for a leader last heard by a hint, or not at all yet; several hint intervals.
    pub silence_by_hint_max: Duration,
    /// How much later each rank tries. Should outlast a create, so that one candidate at a time tries.
    pub rank_step: Duration,
    /// How often a leader puts its hint and looks for a later epoch.
    pub confirm_every: Duration,
    /// How long after a request without clear answer it is asked again.
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
    /// Time passed; send it often, at least every [`ElectionSettings::rank_step`].
    Tick,
    /// The leader of that epoch lives.
    HeardLeader {
        /// What it says it leads.
        epoch: Epoch,
        /// How it was heard.
        by: HeardBy,
    },
    /// A newer epoch may exist: another host said so, or something that the newest known one needs is gone.
    NewerEpochPossible,
    /// A leader can't be reached. Says nothing about another session, even of the same name, that leads by now.
    LeaderSuspected {
        /// Its session in the home domain.
        leader: SessionId,
    },
    /// A record was read, by whatever way, and its ground was found live.
    Learned(News),
    /// Answers [`Effect::Read`].
    Read(ReadOutcome),
    /// Answers [`Effect::Create`].
    Created(CreateOutcome),
    /// Answers [`Effect::CheckMark`].
    Marked(MarkOutcome),
    /// The leader has something to write. Lost if a create is under way or the store fails: say it again.
    ChangeWanted,
    /// The host's own tick came late: it was paused.
    Paused,
    /// The host's own store requests fail.
    StoreFailing,
    /// They succeed again.
    StoreWorking,
}

/// How a leader was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeardBy {
    /// Over a live connection.
    Connection,
    /// Its hint moved, and there is no connection.
    Hint,
}

/// What a record says about who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct News {
    /// The record's epoch.
    pub epoch: Epoch,
    /// Whose it is.
    pub writer: Writer,
    /// This host's place in the line of candidates; 0 is first.
    pub rank: u32,
}

/// Whose a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// Ours: of this very session.
    Us,
    /// Another's, of this session in the home domain, that goes on leading.
    Other(SessionId),
    /// Another's, that left with this record or that this record replaced by a later session of its name: there is
    /// no one to wait for.
    Gone,
}

/// What a read of the log found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadOutcome {
    /// The newest record.
    Newest(News),
    /// Nothing later than what was known.
    Nothing,
    /// No answer.
    Unknown,
}

/// How the create of an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreateOutcome {
    /// Our record stands there.
    Won,
    /// Another record stands there.
    Lost,
    /// No clear answer: it may have landed, or may yet.
    Unknown,
    /// Nothing was asked of the store: there was no record to write.
    Withdrawn,
}

/// Whether an epoch's mark is there.
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
    /// Make the next record and create it, if there is anything to write. While its answer is out, a read may have
    /// found it already.
    Create(Epoch),
    /// Get the mark of that epoch's segment.
    CheckMark(Epoch),
    /// Put the leader's hint for that epoch.
    PutHint(Epoch),
    /// This host leads that epoch, by the record that stands in the log (after an unclear create not always the last
    /// one made).
    Lead(Epoch),
    /// Another leads, or led, that epoch.
    Follow(Epoch),
}

/// What this host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It was paused, or found itself far behind: nothing is held against anybody before the log was read.
    Waking,
    /// Quiet, as long as it hears the leader.
    Following {
        /// Until when without a sign.
        until: Time,
    },
    /// Nobody seems to lead.
    Candidate {
        /// Not to be tried before.
        not_before: Time,
    },
    /// It leads the newest epoch it knows.
    Leading {
        /// When it heard that its first create of this leadership had returned.
        since: Time,
        /// When the last read began that found nothing later.
        confirmed: Option<Time>,
        /// When to look again.
        confirm_at: Time,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Attempt {
    None,
    Creating(Epoch),
    /// Won; does it stand in live ground?
    Checking {
        epoch: Epoch,
        won_at: Time,
        asking: Asking,
    },
}

/// A question to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asking {
    /// None is needed.
    Nothing,
    /// To be asked then.
    At(Time),
    /// Asked then.
    Since(Time),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum StoreHealth {
    Working,
    Failing,
}

impl News {
    /// What a record says to a host, whose session in the home domain is `session` if it has one.
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

/// A host's place in the line of candidates: a named successor first, then the active hosts by name, then the draining
/// ones, then the leader, which is the one that isn't heard, unless a later session has its name; strangers last.
fn rank(record: &EpochRecord, host: &HostName) -> u32 {
    let leader_lives = record.is_open(record.leader.session);
    let order = |name: &HostName| match (&record.handover, record.hosts.get(name)) {
        (Handover::Leaves { successor: Some(successor) }, _) if successor == name => 0,
        _ if record.leader.host == *name && leader_lives => 3,
        (_, Some(entry)) if entry.state == HostState::Active => 1,
        (_, Some(_)) => 2,
        (_, None) => 4,
    };
    let own = (order(host), host);
    let before = record.hosts.keys().filter(|name| (order(name), *name) < own).count();
    // Strangers know nothing of each other: a step later and by chance, lest they all come at once.
    let stranger = usize::from(!record.hosts.contains_key(host));
    u32::try_from(before + stranger).expect("the number of hosts is bounded")
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format};

    use super::*;
    use crate::{
        epoch::{
            draft::Draft,
            record::{HostEntry, Leader, RecordDigest},
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
    fn active_hosts_come_first_by_name_then_draining_ones_then_the_leader_then_strangers() {
        assert_eq!(ranks(&finish(draft())), [0, 3, 1, 2, 5]);
    }

    #[test]
    fn a_named_successor_comes_first_and_nobody_waits_for_the_leader() {
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
        assert_eq!(writer(Some(SessionId::new(9))), other, "an earlier life of b wrote it");
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
        assert_eq!(record.handover, Handover::Stays, "it wrote this as it writes any record");
        assert_eq!(record.standing_leader(), None);
        for session in [2, 9, 1] {
            let news = News::of(&record, &name("b"), Some(SessionId::new(session)));
            assert_eq!(news.writer, Writer::Gone, "{session}");
        }
        assert_eq!(ranks(&record), [0, 1, 2, 3, 5]);
    }

    #[test]
    fn the_log_of_nobody_is_anybodys() {
        let mut draft = draft();
        for session in 1..=4 {
            draft.remove(SessionId::new(session));
        }
        draft.resign(None).unwrap();
        let news = News::of(&finish(draft), &name("x"), None);
        assert_eq!((news.writer, news.rank), (Writer::Gone, 1));
    }
}
