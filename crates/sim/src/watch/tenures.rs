//! Tenures as the journals tell them: who took a slot up, wrote for it and let it go, in the order of each journal.
//! Checks invariant 5, and that no source goes before nobody needs it.

use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::ids::{Epoch, Position, SessionId, Slot, Tenure};

use super::{
    invariant::{Broken, Invariant},
    log::Log,
};

/// What all journals say of all slots.
#[derive(Debug, Default)]
pub(super) struct Tenures {
    sessions: BTreeMap<(SessionId, Slot), Told>,
    /// The sessions that are over.
    sealed: BTreeSet<SessionId>,
    /// Those that a committed checkpoint holds in full.
    full: BTreeSet<(Slot, Tenure)>,
    /// Those that an epoch let go because nothing is in them and nothing ever will be.
    empty: BTreeSet<(Slot, Tenure)>,
}

/// What one journal says of one slot.
#[derive(Debug, Default)]
struct Told {
    adopted: BTreeSet<Epoch>,
    /// Where each Release stands.
    released: BTreeMap<Epoch, Position>,
}

impl Told {
    /// The tenure under which it may write.
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

    /// A committed checkpoint holds the slot in full under that tenure.
    pub(super) fn full(&mut self, slot: Slot, tenure: Tenure) {
        self.full.insert((slot, tenure));
    }

    /// Whether a tenure is over, by what has landed, for a reader of that tenure.
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
                if let Some(stranger) = sources.iter().find(|&it| !holding.sources.contains(it)) {
                    fail(format!("{what} from {stranger:?}, which {} does not list", tenure.epoch));
                }
                for &source in &holding.sources {
                    if !self.ended(slot, source, tenure) {
                        fail(format!("{what}, but {source:?} goes on"));
                    }
                    if self.full.contains(&(slot, source)) {
                        break;
                    }
                }
            }
            other => fail(format!("{what}, which gave it to {:?}", other.map(|it| it.owner))),
        }
        let told = self.sessions.entry((tenure.session, slot)).or_default();
        let newest = told.adopted.last().copied().max(told.last_released());
        if newest >= Some(tenure.epoch) || told.open().is_some() {
            fail(format!("{what} after {told:?}"));
        }
        if self.empty.contains(&(slot, tenure)) {
            fail(format!("{what}, a tenure that was said to be empty for ever"));
        }
        told.adopted.insert(tenure.epoch);
        broken
    }

    /// Where the Release stands by which that reader sees the end of a tenure. One of a later epoch than the reader's
    /// doesn't convince it.
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
            let how = format!("{what}, which did not give it away: {owner:?}");
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
        let how = || format!("{session:?} writes for {slot}, which it doesn't hold");
        open.is_none().then(|| Invariant::TenuresEnded.broken(how()))
    }

    /// An epoch lists these tenures of a slot no more. Each may go behind a newer one that a checkpoint holds in full,
    /// or when it has ended without an Adopt: by a Release, by the seal, or because its session was given the slot
    /// again and takes it up under the newer tenure only.
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
