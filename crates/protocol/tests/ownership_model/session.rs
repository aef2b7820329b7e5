//! What a session does: its duties, its recovery, its journal.

use holocron_protocol::{
    slot::{
        fold::{Fold, Missing},
        log::{Disorder, SlotLog},
        tenure::{self, Duty, Reader},
    },
    state::{index::SlotIndex, place::Origin},
};

use crate::{
    leader::{SLOT, session_id, tenure},
    log::{self, Entry, Log, VNODES, epoch, hash, number, place},
    model::{Action, Ownership, Steps},
    plant::{self, Bug},
    state::{Batch, Life, Looked, Session, Snapshot, State},
};

impl Ownership {
    pub(crate) fn duty(&self, state: &State, session: u8) -> Duty {
        let me = state.session(session);
        let mut submitted = me.submitted;
        if self.planted(Bug::GoesOnAfterRelease) && state.record(me.seen).owner.1 == session {
            submitted.released = 0;
        }
        let holding = &state.record(me.seen).holding;
        tenure::duty(session_id(session.into()), SLOT, holding, submitted.real())
    }

    pub(crate) fn duties(
        &self,
        state: &State,
        number: u8,
        session: &Session,
        actions: &mut Vec<Action>,
    ) {
        match self.duty(state, number) {
            Duty::Nothing => {}
            Duty::Release(_) => actions.push(Action::Release(number)),
            Duty::Serve(_) if state.writes < self.writes => actions.push(Action::Write(number)),
            Duty::Serve(_) => {}
            Duty::Recover(_) => {
                match self.fold(state, number, &session.read) {
                    Some(Fold::Recovered(_)) | None => actions.push(Action::Adopt(number)),
                    Some(Fold::Missing(missing)) => {
                        let of = match missing {
                            Missing::Reading(session) => session,
                            Missing::End(tenure) => tenure.session,
                        };
                        let source = u8::try_from(of.get() - 1).expect("few sessions");
                        actions.push(Action::Read { reader: number, source });
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

    pub(crate) fn seal(&self, state: &mut State, session: u8) {
        let session = state.session_mut(session);
        session.life = Life::Sealed;
        if self.planted(Bug::ResumesFromTheOldSessionsMemory) {
            session.remembered = session.log.open().map(|held| held.entries);
        }
    }
    pub(crate) fn reader(state: &State, session: u8) -> Reader {
        let me = state.session(session);
        Reader { tenure: tenure(state.record(me.seen).owner), submitted: me.submitted.real() }
    }

    /// The fold over what was read; `None` when it contradicts itself.
    pub(crate) fn fold(
        &self,
        state: &State,
        session: u8,
        read: &[Option<Snapshot>],
    ) -> Option<Fold> {
        let sources = &state.seen_by(session).sources;
        plant::fold(self.bug, &Self::reader(state, session), sources, read).ok()
    }

    /// Reads one more journal, or begins to; `None` when that brings nothing new.
    pub(crate) fn read(&self, state: &mut State, reader: u8, source: u8) -> Option<()> {
        let of = state.session(source);
        if of.life == Life::Deleted {
            return None;
        }
        let mut snapshot = Snapshot { log: of.stored.clone(), sealed: of.life != Life::Live };
        let now = Looked {
            source,
            released: snapshot.log.released,
            sealed: snapshot.sealed,
            checkpoints: of.checkpoints,
        };
        let me = state.session(reader);
        let mut read = me.read.clone();
        read.resize(state.sessions.len(), None);
        let before = read[usize::from(source)].take();
        let looked = me.looked.filter(|looked| looked.source == source);
        if let (Some(before), true) = (&before, self.planted(Bug::TailReadBeforeTheEnd)) {
            snapshot.log.tenures.clone_from(&before.log.tenures);
        }
        match looked {
            Some(looked) if looked.checkpoints == now.checkpoints => {}
            Some(looked) if self.planted(Bug::MissingReadAsEmpty) => {
                snapshot = Snapshot {
                    log: Log { released: looked.released, tenures: Vec::new() },
                    sealed: looked.sealed,
                };
            }
            // An object of the range is gone: it starts over.
            Some(_) => {
                state.session_mut(reader).looked = None;
                return Some(());
            }
            None => {}
        }
        read[usize::from(source)] = Some(snapshot);
        // A reading that doesn't show the end is of no use, unless a bug makes it so.
        let misses = match self.fold(state, reader, &read) {
            Some(Fold::Missing(Missing::End(tenure))) => {
                tenure.session == session_id(source.into())
            }
            Some(_) | None => false,
        };
        if misses && !self.planted(Bug::TailReadBeforeTheEnd) {
            return None;
        }
        let me = state.session_mut(reader);
        if self.steps == Steps::SplitReadings && looked.is_none() {
            me.looked = Some(now);
        } else {
            me.looked = None;
            me.read = read;
        }
        Some(())
    }

    pub(crate) fn adopt(&self, state: &mut State, session: u8) -> Option<()> {
        let read = state.session(session).read.clone();
        let Some(Fold::Recovered(recovered)) = self.fold(state, session, &read) else {
            state.violation = Some("what was read contradicts itself");
            return Some(());
        };
        for tenure in &recovered.empty {
            state.known.empty |= 1 << number(tenure.epoch);
        }
        let given = state.seen_by(session).owner.0;
        if self.bug.is_none() && is_ahead(state, session, recovered.sources.len()) {
            state.violation = Some("adopted by a Release that is newer than the tenure");
            return Some(());
        }
        let entries = log::entries(&recovered.index);
        if self.planted(Bug::ServesWithoutAdopt) {
            let me = state.session_mut(session);
            me.submitted.adopted = given;
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
        let Duty::Serve(tenure) = self.duty(state, session) else { return None };
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
                me.submitted.adopted = epoch;
                me.forget_readings();
            }
            Batch::Release(epoch) => {
                me.submitted.released = epoch;
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

    /// The batch in flight is committed: what it says is in the journal, and what it acknowledges leaves.
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
                    state.violation = Some("adopted without an acknowledged write");
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

/// Whether one of so many sources, newest first, ends only by a Release that is newer than the reader's tenure.
fn is_ahead(state: &State, reader: u8, sources: usize) -> bool {
    let (seen, read) = (state.seen_by(reader), &state.session(reader).read);
    let others = seen.sources.iter().take(sources).filter(|(_, source)| *source != reader);
    let mut snapshots = others.filter_map(|&(_, source)| read[usize::from(source)].as_ref());
    snapshots.any(|snapshot| !snapshot.sealed && snapshot.log.released > seen.owner.0)
}

/// Puts a batch into a log; `found` says whose the recovered entries of an Adopt are: the own log has them as foreign, in
/// the journal there are none.
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
