//! Tenures by the journals: the Adopts, records and Releases of each slot, in the order of each journal. Checks
//! invariant 5, and that a source is dropped only when it isn't needed.

use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::ids::{Epoch, Position, SessionId, Slot, Tenure};

use super::{
    invariant::{Broken, Invariant},
    log::Log,
};

/// The tenures of all slots in all journals.
#[derive(Debug, Default)]
pub(super) struct Tenures {
    sessions: BTreeMap<(SessionId, Slot), Told>,
    /// The sessions that are over.
    sealed: BTreeSet<SessionId>,
    /// Tenures that a committed checkpoint has in full.
    full: BTreeSet<(Slot, Tenure)>,
    /// Tenures that an epoch dropped because they ended empty.
    empty: BTreeSet<(Slot, Tenure)>,
}

/// One slot in one journal.
#[derive(Debug, Default)]
struct Told {
    adopted: BTreeSet<Epoch>,
    /// The position of each Release.
    released: BTreeMap<Epoch, Position>,
}

impl Told {
    /// The open tenure, under which the session may write.
    fn open(&self) -> Option<Epoch> {
        let adopted = self.adopted.last().copied()?;
        self.last_released().is_none_or(|released| released <= adopted).then_some(adopted)
    }

    fn last_released(&self) -> Option<Epoch> {
        self.released.last_key_value().map(|(&epoch, _)| epoch)
    }
}

impl Tenures {
    /// A session is over.
    pub(super) fn sealed(&mut self, session: SessionId) {
        self.sealed.insert(session);
    }

    /// A committed checkpoint has the slot in full under this tenure.
    pub(super) fn full(&mut self, slot: Slot, tenure: Tenure) {
        self.full.insert((slot, tenure));
    }

    /// Whether a tenure has ended for a reader, by what has landed.
    fn ended(&self, slot: Slot, tenure: Tenure, reader: Tenure) -> bool {
        let told = self.sessions.get(&(tenure.session, slot));
        if tenure.session == reader.session {
            return told.is_none_or(|told| told.open() != Some(tenure.epoch));
        }
        self.sealed.contains(&tenure.session) || self.release_of(slot, tenure, reader).is_some()
    }

    /// A committed Adopt.
    pub(super) fn adopted(
        &mut self,
        slot: Slot,
        tenure: Tenure,
        sources: &[Tenure],
        log: &Log,
    ) -> Vec<Broken> {
        let mut broken = Vec::new();
        let mut fail = |how: String| broken.push(Invariant::TenuresEnded.broken(how));
        let what = format!("{slot} is adopted by {:?} under {}", tenure.session, tenure.epoch);
        match log.holding(tenure.epoch, slot) {
            Some(holding) if holding.owner == Some(tenure) => {
                if let Some(unlisted) = sources.iter().find(|&it| !holding.sources.contains(it)) {
                    fail(format!("{what} from {unlisted:?}, which {} does not list", tenure.epoch));
                }
                for &source in &holding.sources {
                    if !self.ended(slot, source, tenure) {
                        fail(format!("{what}, but {source:?} has not ended"));
                    }
                    if self.full.contains(&(slot, source)) {
                        break;
                    }
                }
            }
            other => fail(format!("{what}, which assigned it to {:?}", other.map(|it| it.owner))),
        }
        let told = self.sessions.entry((tenure.session, slot)).or_default();
        let newest = told.adopted.last().copied().max(told.last_released());
        if newest >= Some(tenure.epoch) || told.open().is_some() {
            fail(format!("{what} after {told:?}"));
        }
        if self.empty.contains(&(slot, tenure)) {
            fail(format!("{what}, a tenure that was dropped as empty"));
        }
        told.adopted.insert(tenure.epoch);
        broken
    }

    /// The position of the Release that ends a tenure for this reader. A Release of a later epoch than the reader's
    /// doesn't count.
    pub(super) fn release_of(
        &self,
        slot: Slot,
        tenure: Tenure,
        reader: Tenure,
    ) -> Option<Position> {
        let told = self.sessions.get(&(tenure.session, slot))?;
        let (&released, &position) = told.released.range(..=reader.epoch).next_back()?;
        (tenure.epoch < released).then_some(position)
    }

    /// A committed Release.
    pub(super) fn released(
        &mut self,
        (session, position): (SessionId, Position),
        slot: Slot,
        epoch: Epoch,
        log: &Log,
    ) -> Vec<Broken> {
        let mut broken = Vec::new();
        let what = format!("{slot} is released by {session:?} under {epoch}");
        let owner = log.holding(epoch, slot).and_then(|holding| holding.owner);
        let gave_away = owner.is_some_and(|owner| owner.epoch == epoch && owner.session != session);
        if !gave_away {
            let how = format!("{what}, but the owner did not change: {owner:?}");
            broken.push(Invariant::TenuresEnded.broken(how));
        }
        let told = self.sessions.entry((session, slot)).or_default();
        if told.adopted.last() >= Some(&epoch) || told.last_released() > Some(epoch) {
            let how = format!("{what} after {told:?}");
            broken.push(Invariant::TenuresEnded.broken(how));
        }
        told.released.insert(epoch, position);
        broken
    }

    /// A committed record of a vnode of the slot.
    pub(super) fn written(&self, session: SessionId, slot: Slot) -> Option<Broken> {
        let open = self.sessions.get(&(session, slot)).and_then(Told::open);
        let how = || format!("{session:?} writes for {slot} without an open tenure");
        open.is_none().then(|| Invariant::TenuresEnded.broken(how()))
    }

    /// An epoch drops tenures of a slot. Each may be dropped after a newer one that a checkpoint has in full, or when
    /// it has ended without an Adopt: by a Release, by the seal, or because its session got the slot again and adopts
    /// only under the newer tenure.
    pub(super) fn dropped(&mut self, slot: Slot, before: &[Tenure], now: &[Tenure]) -> Vec<Broken> {
        let mut broken = Vec::new();
        let mut settled = false;
        for &tenure in before {
            let told = self.sessions.get(&(tenure.session, slot));
            let adopted = told.is_some_and(|told| told.adopted.contains(&tenure.epoch));
            let released = told.and_then(Told::last_released) > Some(tenure.epoch);
            let again =
                before.iter().any(|it| it.session == tenure.session && it.epoch > tenure.epoch);
            let ended = released || again || self.sealed.contains(&tenure.session);
            if !now.contains(&tenure) && !settled {
                if adopted || !ended {
                    let how = format!("{slot} drops {tenure:?}, which recoveries still need");
                    broken.push(Invariant::Recovered.broken(how));
                }
                self.empty.insert((slot, tenure));
            }
            settled |= self.full.contains(&(slot, tenure));
        }
        broken
    }
}
