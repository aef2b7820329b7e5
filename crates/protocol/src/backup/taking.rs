//! Taking a cut of a running cluster: two rounds of messages to its sessions, and one look at the epoch log.
//!
//! 1. Every open session of the newest record is frozen, and says where. Sessions that are over must have a seal.
//! 2. When all positions are known, the log is read again, and every frozen session is told to go on, and says whether it was
//!    frozen all the time.
//!
//! If the record is still the newest and all had been frozen, there was a moment between the two rounds at which all
//! journals ended at these positions at once, and no other session served anything. Anything else, also silence, fails the
//! attempt; it costs callers the time that sessions were frozen.
//!
//! Invariants:
//!
//! * The second round begins after every position is known: its answers speak for a moment at which all were frozen.
//! * A cut has an end for each session that its record lists.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use super::contents::{Cut, End, FrozenAt};
use crate::{
    epoch::record::{EpochRecord, SessionState},
    ids::{DomainId, Epoch, Position, SessionId},
    journal::freeze::Thawed,
    planted,
};

/// What the driver does next. Each effect that isn't final is answered by exactly one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Freeze this session; answer [`Event::Frozen`].
    Freeze(SessionId),
    /// Find the seal of this session; answer [`Event::Sealed`].
    FindSeal(SessionId),
    /// Read the newest epoch; answer [`Event::Newest`]. Not before this effect.
    ReadLog,
    /// Tell this session to go on; answer [`Event::Thawed`].
    Thaw(SessionId),
    /// Final: the cut.
    Done(Cut),
    /// Final: there is no cut this time, and why. Sessions that are frozen still go on by themselves.
    Failed(String),
}

/// The answer to an effect, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A session is frozen here.
    Frozen(SessionId, FrozenAt),
    /// The seal of a session stands here.
    Sealed(SessionId, Position),
    /// The number of the newest record.
    Newest(Epoch),
    /// A session goes on.
    Thawed(SessionId, Thawed),
    /// An effect has no answer, and why.
    NoAnswer(String),
}

/// A cut in the making.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taking {
    epoch: Epoch,
    ends: BTreeMap<SessionId, End>,
    /// Sessions whose end isn't known.
    awaited: BTreeSet<SessionId>,
    /// Sessions that haven't said whether they were frozen.
    unconfirmed: BTreeSet<SessionId>,
    log: Log,
    over: bool,
}

/// Whether the record is still the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Log {
    Unread,
    Unchanged,
}

impl Taking {
    /// A cut at this record, which was the newest when it was read, and the first effects.
    ///
    /// # Errors
    ///
    /// A sentence for people if the cluster has a part of which no cut can be taken.
    pub fn new(record: &EpochRecord) -> Result<(Self, Vec<Effect>), String> {
        if let Some((_, domain)) = record.domains.iter().find(|(id, _)| **id != DomainId::HOME) {
            return Err(format!(
                "the cluster has the domain {}: backups of further domains aren't supported",
                domain.name
            ));
        }
        let mut taking = Self {
            epoch: record.epoch,
            ends: BTreeMap::new(),
            awaited: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            log: Log::Unread,
            over: false,
        };
        let mut effects = Vec::new();
        for (&session, entry) in &record.sessions {
            match entry.state {
                SessionState::Open => {
                    taking.awaited.insert(session);
                    taking.unconfirmed.insert(session);
                    effects.push(Effect::Freeze(session));
                }
                SessionState::Sealed(None) => {
                    taking.awaited.insert(session);
                    effects.push(Effect::FindSeal(session));
                }
                SessionState::Sealed(Some(at)) => {
                    taking.ends.insert(session, End::Sealed(at));
                }
                SessionState::Detached(at) => {
                    taking.ends.insert(session, End::Detached(at));
                }
            }
        }
        effects.extend(taking.when_all_are_known());
        Ok((taking, effects))
    }

    /// Takes an answer; returns what to do next. Nothing follows a final effect.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        if self.over {
            return Vec::new();
        }
        match event {
            Event::Frozen(session, at) => self.known(session, End::Frozen(at)),
            Event::Sealed(session, at) => self.known(session, End::Sealed(at)),
            Event::Newest(newest) => {
                if planted::is_newest(newest == self.epoch) {
                    self.log = Log::Unchanged;
                    self.when_confirmed()
                } else {
                    self.fail(format!("the cluster went on to {newest} meanwhile"))
                }
            }
            Event::Thawed(session, Thawed::WasFrozen) => {
                assert!(self.awaited.is_empty(), "{session} was thawed before all were frozen");
                self.unconfirmed.remove(&session);
                self.when_confirmed()
            }
            Event::Thawed(session, Thawed::HadGoneOn) => {
                self.fail(format!("session {session} did not wait for the others"))
            }
            Event::NoAnswer(why) => self.fail(why),
        }
    }

    fn known(&mut self, session: SessionId, end: End) -> Vec<Effect> {
        if !self.awaited.remove(&session) {
            return Vec::new();
        }
        self.ends.insert(session, end);
        self.when_all_are_known()
    }

    fn when_all_are_known(&self) -> Vec<Effect> {
        if !self.awaited.is_empty() {
            return Vec::new();
        }
        let thaw = self.unconfirmed.iter().map(|&session| Effect::Thaw(session));
        core::iter::once(Effect::ReadLog).chain(thaw).collect()
    }

    fn when_confirmed(&mut self) -> Vec<Effect> {
        if self.log == Log::Unread || !self.unconfirmed.is_empty() {
            return Vec::new();
        }
        self.over = true;
        let ends = core::mem::take(&mut self.ends);
        Vec::from([Effect::Done(Cut { epoch: self.epoch, ends })])
    }

    fn fail(&mut self, why: String) -> Vec<Effect> {
        self.over = true;
        Vec::from([Effect::Failed(why)])
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        epoch::{
            draft::Draft,
            record::{HostEntry, HostState, Leader, RecordDigest, WEIGHT_DEFAULT},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::{ClusterId, HostName},
    };

    const A: SessionId = SessionId::new(1);
    const B: SessionId = SessionId::new(2);

    fn entry(session: SessionId) -> HostEntry {
        HostEntry {
            address: "here".into(),
            sessions: BTreeMap::from([(DomainId::HOME, session)]),
            state: HostState::Active,
            weight: WEIGHT_DEFAULT,
            zone: None,
            versions: KindVersions::default(),
        }
    }

    fn name(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn leader() -> Leader {
        Leader { host: name("a"), session: A, address: "here".into() }
    }

    /// Two hosts.
    fn two() -> EpochRecord {
        let cluster = Cluster { slots: 2, ..Cluster::new(ClusterId::new(1)) };
        let mut draft = Draft::first(&cluster);
        draft.join(&name("a"), entry(A)).unwrap();
        draft.join(&name("b"), entry(B)).unwrap();
        draft.finish(leader(), "first", 1)
    }

    fn frozen(position: u64) -> FrozenAt {
        FrozenAt {
            position: Position::new(position),
            low_water: Position::ZERO,
            checkpoint_at: Position::ZERO,
        }
    }

    const SECOND: [Effect; 3] = [Effect::ReadLog, Effect::Thaw(A), Effect::Thaw(B)];

    /// Both sessions are frozen.
    fn both_frozen() -> Taking {
        let (mut taking, first) = Taking::new(&two()).unwrap();
        assert_eq!(first, [Effect::Freeze(A), Effect::Freeze(B)]);
        assert_eq!(taking.step(Event::Frozen(A, frozen(3))), []);
        assert_eq!(taking.step(Event::Frozen(A, frozen(4))), [], "a repeated answer");
        assert_eq!(taking.step(Event::Frozen(B, frozen(7))), SECOND);
        taking
    }

    #[test]
    fn the_second_round_begins_when_all_are_frozen() {
        let mut taking = both_frozen();
        assert_eq!(taking.step(Event::Thawed(A, Thawed::WasFrozen)), []);
        assert_eq!(taking.step(Event::Newest(Epoch::new(1))), []);
        let ends = BTreeMap::from([(A, End::Frozen(frozen(3))), (B, End::Frozen(frozen(7)))]);
        let cut = Cut { epoch: Epoch::new(1), ends };
        assert_eq!(taking.step(Event::Thawed(B, Thawed::WasFrozen)), [Effect::Done(cut)]);
        assert_eq!(taking.step(Event::NoAnswer("late".into())), [], "it is over");
    }

    #[test]
    fn one_that_went_on_fails_the_cut() {
        let effects = both_frozen().step(Event::Thawed(A, Thawed::HadGoneOn));
        assert!(matches!(&effects[..], [Effect::Failed(_)]), "{effects:?}");
    }

    #[test]
    fn a_newer_epoch_fails_the_cut() {
        let effects = both_frozen().step(Event::Newest(Epoch::new(2)));
        assert_eq!(effects, [Effect::Failed("the cluster went on to e2 meanwhile".into())]);
    }

    #[test]
    fn a_session_that_is_over_needs_its_seal() {
        let before = two();
        let digest = RecordDigest::of(&before.encode(crate::ids::Nonce::new(1)));
        let mut draft = Draft::after(&before, digest);
        assert!(draft.remove(B));
        let after = draft.finish(leader(), "b is gone", 2);
        let (mut taking, first) = Taking::new(&after).unwrap();
        assert_eq!(first, [Effect::Freeze(A), Effect::FindSeal(B)]);
        assert_eq!(taking.step(Event::Frozen(A, frozen(3))), []);
        let second = taking.step(Event::Sealed(B, Position::new(9)));
        assert_eq!(second, [Effect::ReadLog, Effect::Thaw(A)]);
        assert_eq!(taking.step(Event::Newest(Epoch::new(2))), []);
        let ends =
            BTreeMap::from([(A, End::Frozen(frozen(3))), (B, End::Sealed(Position::new(9)))]);
        let cut = Cut { epoch: Epoch::new(2), ends };
        assert_eq!(taking.step(Event::Thawed(A, Thawed::WasFrozen)), vec![Effect::Done(cut)]);
    }
}
