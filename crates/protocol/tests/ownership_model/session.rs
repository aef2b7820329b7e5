//! The steps of a session: serving, recovery, its journal.

use holocron_protocol::{
    epoch::draft::{SlotReport, SourceFact},
    ids::{Epoch, Position},
    slot::{
        log::{Disorder, SlotLog},
        recovery::Effect,
        residency::{Event, SlotState},
    },
    state::{index::SlotIndex, place::Origin},
};

use crate::{
    log::{self, Entry, Log, VNODES, epoch, hash, number, place},
    model::{Action, Ownership, Steps},
    plant::{self, Bug},
    state::{Batch, ReadRange, Session, Snapshot, State, Status},
};

impl Ownership {
    /// The tenure under which the session writes now.
    fn served(&self, state: &State, session: u8) -> Option<Epoch> {
        let me = state.session(session);
        let bug_serves = self.planted(Bug::GoesOnAfterRelease)
            && state.record(me.seen).owner.1 == session
            && me.submitted().adopted > Epoch::ZERO;
        match me.slot() {
            SlotState::Serving { tenure, .. } => Some(tenure),
            _ if bug_serves => Some(me.submitted().adopted),
            SlotState::NotOurs
            | SlotState::Recovering { .. }
            | SlotState::Draining { .. }
            | SlotState::ReleaseOwed { .. } => None,
        }
    }

    pub(crate) fn duties(
        &self,
        state: &State,
        number: u8,
        session: &Session,
        actions: &mut Vec<Action>,
    ) {
        if self.served(state, number).is_some() {
            if state.writes < self.writes {
                actions.push(Action::Write(number));
            }
            return;
        }
        match session.slot() {
            SlotState::NotOurs => {}
            SlotState::Draining { .. } | SlotState::ReleaseOwed { .. } => {
                actions.push(Action::Release(number));
            }
            SlotState::Serving { .. } => unreachable!("it is served"),
            SlotState::Recovering { .. } => {
                for effect in self.recover(state, number, &session.read) {
                    match effect {
                        Effect::Adopt(_) | Effect::Contradicted(..) => {
                            actions.push(Action::Adopt(number));
                        }
                        Effect::Fetch(of, _) => {
                            let source = u8::try_from(of.get() - 1).expect("few sessions");
                            actions.push(Action::Read { reader: number, source });
                        }
                        // A session may read epochs in any state.
                        Effect::ReadEpochLog | Effect::Report(_) => {}
                        Effect::Forget(_) | Effect::Alert(_) => unreachable!("nothing failed"),
                    }
                }
                let old =
                    if self.planted(Bug::ResumesFromTheOldSessionsMemory) { 0 } else { number };
                if state.session(old).remembered.is_some() {
                    actions.push(Action::Resume(number, old));
                }
            }
        }
    }

    /// The effects of the recovery for what was read; if there are none, its effects after its deadline.
    fn recover(&self, state: &State, session: u8, read: &[Option<Snapshot>]) -> Vec<Effect> {
        let me = state.session(session);
        let residency = me.residency.as_ref().expect("it was listed");
        let record = state.record(me.seen);
        let effects = plant::recover(self.bug, residency, record, read);
        if !effects.is_empty() {
            return effects;
        }
        // At the deadline, reads of live journals are dropped.
        let sealed: Vec<Option<Snapshot>> = read
            .iter()
            .map(|snapshot| snapshot.clone().filter(|snapshot| snapshot.sealed))
            .collect();
        plant::recover(self.bug, residency, record, &sealed)
    }

    pub(crate) fn seal(&self, state: &mut State, session: u8) {
        let session = state.session_mut(session);
        session.status = Status::Sealed;
        if self.planted(Bug::ResumesFromTheOldSessionsMemory) {
            session.remembered = session.log.open().map(|held| held.entries);
        }
    }

    /// Reads one more journal, or begins to; `None` if that brings nothing new.
    pub(crate) fn read(&self, state: &mut State, reader: u8, source: u8) -> Option<()> {
        let of = state.session(source);
        if of.status == Status::Deleted {
            return None;
        }
        let mut snapshot = Snapshot { log: of.stored.clone(), sealed: of.status != Status::Live };
        let now = ReadRange {
            source,
            released: snapshot.log.released,
            sealed: snapshot.sealed,
            checkpoints: of.checkpoints,
        };
        let me = state.session(reader);
        let mut read = me.read.clone();
        read.resize(state.sessions.len(), None);
        let before = read[usize::from(source)].take();
        let range = me.range.filter(|range| range.source == source);
        if let (Some(before), true) = (&before, self.planted(Bug::TailReadBeforeTheEnd)) {
            snapshot.log.tenures.clone_from(&before.log.tenures);
        }
        match range {
            Some(range) if range.checkpoints == now.checkpoints => {}
            Some(range) if self.planted(Bug::MissingReadAsEmpty) => {
                snapshot = Snapshot {
                    log: Log { released: range.released, tenures: Vec::new() },
                    sealed: range.sealed,
                };
            }
            // An object of the range was trimmed: the read starts over.
            Some(_) => {
                state.session_mut(reader).range = None;
                return Some(());
            }
            None => {}
        }
        read[usize::from(source)] = Some(snapshot);
        // A read that doesn't show the end is useless, except for a bug.
        let record = state.record(me.seen);
        let misses = plant::misses_end(self.bug, me, record, &read) == Some(source);
        if misses && !self.planted(Bug::TailReadBeforeTheEnd) {
            return None;
        }
        let me = state.session_mut(reader);
        if self.steps == Steps::SplitReadings && range.is_none() {
            me.range = Some(now);
        } else {
            me.range = None;
            me.read = read;
        }
        Some(())
    }

    pub(crate) fn adopt(&self, state: &mut State, session: u8) -> Option<()> {
        let read = state.session(session).read.clone();
        let mut adopted = None;
        for effect in self.recover(state, session, &read) {
            match effect {
                Effect::Adopt(recovered) => adopted = Some(recovered),
                Effect::Report(SlotReport { fact: SourceFact::Empty(tenure), .. }) => {
                    state.known.empty |= 1 << number(tenure.epoch);
                }
                Effect::Contradicted(..) => {
                    state.violation = Some("the journals contradict each other");
                    return Some(());
                }
                Effect::Report(_)
                | Effect::Fetch(..)
                | Effect::Forget(_)
                | Effect::ReadEpochLog
                | Effect::Alert(_) => unreachable!("it is complete"),
            }
        }
        let recovered = adopted.expect("it is complete");
        let given = state.seen_by(session).owner.0;
        if self.bug.is_none() && is_ahead(state, session, recovered.sources.len()) {
            state.violation = Some("an Adopt relied on a Release newer than its tenure");
            return Some(());
        }
        let entries = log::entries(&recovered.index);
        if self.planted(Bug::ServesWithoutAdopt) {
            let me = state.session_mut(session);
            drop(me.step(adopted_now(given)));
            let mut log = me.log.real();
            log.adopt(epoch(given), log::index(&foreign(entries))).ok()?;
            me.log = Log::of(&log);
            return Some(());
        }
        self.submit(state, session, Batch::Adopt(given, entries));
        Some(())
    }

    pub(crate) fn write(&self, state: &mut State, session: u8) -> Option<()> {
        let vnode = state.writes % u8::try_from(VNODES).expect("few vnodes");
        let me = state.session(session);
        let tenure = self.served(state, session)?;
        let held = me.log.tenures.iter().find(|held| epoch(held.epoch) == tenure)?;
        let history = held.entries[usize::from(vnode)].history.with(state.writes + 1);
        state.writes += 1;
        self.submit(state, session, Batch::Write { vnode, history });
        Some(())
    }

    pub(crate) fn submit(&self, state: &mut State, session: u8, batch: Batch) {
        let me = state.session_mut(session);
        match batch {
            Batch::Adopt(epoch, _) => {
                drop(me.step(adopted_now(epoch)));
                me.forget_readings();
            }
            Batch::Release(epoch) => {
                drop(me.step(Event::Released));
                assert_eq!(number(me.submitted().released), epoch, "the Release that is owed");
                me.forget_readings();
                if self.planted(Bug::ResumesFromMemoryAfterRelease) {
                    me.remembered = me.log.open().map(|held| held.entries);
                }
            }
            Batch::Write { .. } => {}
        }
        me.in_flight = Some(batch);
        if self.steps != Steps::Split {
            self.land(state, session);
        }
    }

    /// The batch in flight is committed: its record is in the journal, and its write is acknowledged.
    pub(crate) fn land(&self, state: &mut State, session: u8) {
        let me = state.session_mut(session);
        let Some(batch) = me.in_flight.take() else { return };
        let (mut own, mut stored) = (me.log.real(), me.stored.real());
        let applied = apply(&mut own, batch, Origin::Foreign)
            .and_then(|()| apply(&mut stored, batch, Origin::Own));
        if applied.is_err() {
            state.violation = Some("a journal breaks a rule");
            return;
        }
        (me.log, me.stored) = (Log::of(&own), Log::of(&stored));
        if let Some(planned) = &mut me.checkpoint {
            planned.above.push(batch);
        }
        match batch {
            Batch::Adopt(epoch, entries) => {
                if self.planted(Bug::SourceDroppedAtAdopt) {
                    state.known.full |= 1 << epoch;
                }
                let mut acknowledged = state.acknowledged.iter().zip(&entries);
                if !acknowledged.all(|(acknowledged, entry)| acknowledged.begins(entry.history)) {
                    state.violation = Some("an Adopt misses an acknowledged write");
                }
            }
            Batch::Write { vnode, history } => {
                let acknowledged = &mut state.acknowledged[usize::from(vnode)];
                if !acknowledged.begins(history) {
                    state.violation = Some("acknowledged writes diverge");
                }
                *acknowledged = history;
            }
            Batch::Release(_) => {}
        }
    }
}

/// An Adopt of this tenure is submitted. Its position only has to grow with each one.
fn adopted_now(given: u8) -> Event<'static> {
    Event::Adopted { tenure: epoch(given), at: Position::new(given.into()) }
}

/// Whether one of the newest `sources` sources ends only by a Release that is newer than the reader's tenure.
fn is_ahead(state: &State, reader: u8, sources: usize) -> bool {
    let (seen, read) = (state.seen_by(reader), &state.session(reader).read);
    let others = seen.sources.iter().take(sources).filter(|(_, source)| *source != reader);
    let mut snapshots = others.filter_map(|&(_, source)| read[usize::from(source)].as_ref());
    snapshots.any(|snapshot| !snapshot.sealed && snapshot.log.released > seen.owner.0)
}

/// Applies a batch to a log. `found` tells which: the session's own log has the recovered entries of an Adopt as foreign
/// ones, its journal has none.
pub(crate) fn apply(log: &mut SlotLog, batch: Batch, found: Origin) -> Result<(), Disorder> {
    match batch {
        Batch::Adopt(given, entries) => {
            let entries = match found {
                Origin::Foreign => log::index(&foreign(entries)),
                Origin::Own => SlotIndex::default(),
            };
            log.adopt(epoch(given), entries)
        }
        Batch::Release(given) => log.release(epoch(given)),
        Batch::Write { vnode, history } => {
            log.write(hash(vnode), &place(Entry { history, origin: Origin::Own }))
        }
    }
}

pub(crate) fn foreign(mut entries: log::Entries) -> log::Entries {
    for entry in entries.iter_mut().filter(|entry| entry.history.len() > 0) {
        entry.origin = Origin::Foreign;
    }
    entries
}
