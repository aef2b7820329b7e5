//! Residency: what a session does with each slot of its domain, from the epoch that gives the slot to the Release that
//! ends it.
//!
//! | from | to | when |
//! | --- | --- | --- |
//! | not ours, release owed | recovering | an epoch gives the slot to this session |
//! | recovering | recovering | an epoch gives it again, under a newer tenure |
//! | recovering | serving | its Adopt is appended |
//! | recovering | release owed, not ours | an epoch gives it to another session, or to none |
//! | serving | draining | an epoch gives it to another session |
//! | draining | serving | an epoch gives it back before its Release is appended |
//! | draining, release owed | not ours | its Release is appended |
//! | not ours | release owed | an epoch lists a tenure of this session as a source, though it was never adopted |
//!
//! One value per slot answers every question about the slot: whether a vnode that isn't in memory may be activated for a
//! call, under which tenure a record may be appended, whether a linearizable answer may leave, which record of a vnode is
//! the newest, and whether a Release is owed. It changes in the same step in which the Adopt or the Release is appended to
//! the journal, so the order of records in the journal is the order of these changes.
//!
//! Invariants:
//!
//! * The state follows from the newest holding and from what was submitted ([`super::tenure::duty`]); the history adds
//!   only where the newest Adopt stands.
//! * A record of a slot is appended only under the tenure whose Adopt was appended and whose Release was not.
//! * A tenure is adopted at most once, and only while the newest epoch gives it.
//! * A vnode opens something outside its state only while its slot is served, and the slot's Release is appended only when
//!   everything of that tenure is closed, or was given up because its close is overdue.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use crate::{
    epoch::record::Holding,
    ids::{Epoch, Position, SessionId, Slot},
    planted,
    slot::tenure::{Duty, Submitted, duty},
};

/// What a session does with a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Another session's, or released. Nothing is owed.
    #[default]
    NotOurs,
    /// Given to this session. Its sources are being read; calls wait.
    Recovering {
        /// The tenure it will be adopted under.
        tenure: Epoch,
    },
    /// Adopted: calls run.
    Serving {
        /// The tenure it is served under. May be older than the newest epoch's, see [`Duty::Serve`].
        tenure: Epoch,
        /// The position of its Adopt.
        since: Position,
    },
    /// Given away after it was adopted. Its vnodes hand over what they have, then the Release is appended.
    Draining {
        /// The tenure it was served under.
        tenure: Epoch,
        /// The position of its Adopt.
        since: Position,
        /// The epoch that the Release names.
        release: Epoch,
    },
    /// Given away before it was adopted: the new owner waits for the Release all the same.
    ReleaseOwed {
        /// The epoch that the Release names.
        release: Epoch,
    },
}

/// What happened to a slot.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A newer epoch was read; who holds the slot in it.
    Epoch(&'a Holding),
    /// The Adopt of the recovering tenure was appended at that position.
    Adopted {
        /// The tenure.
        tenure: Epoch,
        /// Where its Adopt will commit.
        at: Position,
    },
    /// The Release that was owed was appended.
    Released,
    /// A vnode that is active under that tenure begins to open something outside its state ([`super::lifecycle`]).
    Opening(Epoch),
    /// What it opened is closed or dropped, or never opened.
    Closed(Epoch),
    /// The closes of that tenure are overdue: their tokens were cancelled, and the Release waits no longer.
    CloseOverdue(Epoch),
}

/// What the session does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read the slot's sources. Calls that arrive wait.
    Recover,
    /// Admit no more calls, have the vnodes hand over, then append the owed Release.
    Drain,
    /// Run the calls that waited.
    RunWaiting,
    /// Refuse the calls that waited: another session owns the slot.
    RefuseWaiting,
}

/// What happens to a call for a vnode of a slot that isn't in memory. A vnode in memory takes calls until the Release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It runs under this tenure.
    Run(Epoch),
    /// It waits until the slot is adopted.
    Wait,
    /// It is refused: this session isn't the owner, or no longer.
    Refuse,
}

/// Where the newest record of a vnode is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// In the committed tail of the session's own journal.
    InTail,
    /// Where the index of this tenure says, if it knows the vnode.
    InIndex(Epoch),
    /// Unknown to this session: the slot isn't served here.
    NotServed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct OneSlot {
    state: SlotState,
    submitted: Submitted,
    /// The position of the newest Adopt.
    since: Position,
}

/// The slots of one domain at one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Residency {
    session: SessionId,
    slots: Vec<OneSlot>,
    /// By slot and tenure, how many vnodes hold something open. None for most.
    open: BTreeMap<(Slot, Epoch), u32>,
}

impl Residency {
    /// A session that holds nothing yet.
    #[must_use]
    pub fn new(session: SessionId, slot_count: u16) -> Self {
        Self { session, slots: vec![OneSlot::default(); slot_count.into()], open: BTreeMap::new() }
    }

    /// Takes one event to its effects. Never blocks, never fails.
    ///
    /// # Panics
    ///
    /// When an Adopt or Release was appended that isn't due, epochs went down, or something was opened that may not be.
    #[must_use]
    pub fn step(&mut self, slot: Slot, event: Event<'_>) -> Vec<Effect> {
        let before = self.slots[slot.index()];
        let after = match event {
            Event::Epoch(holding) => self.on_epoch(slot, before, holding),
            Event::Adopted { tenure, at } => adopted(slot, before, tenure, at),
            Event::Released => {
                assert!(self.is_closed(slot), "{slot} is released before everything is closed");
                released(slot, before)
            }
            Event::Opening(tenure) => {
                assert!(self.may_open(slot, tenure), "{slot}: opened under {tenure}, unserved");
                *self.open.entry((slot, tenure)).or_default() += 1;
                before
            }
            Event::Closed(tenure) => {
                self.on_closed(slot, tenure);
                before
            }
            Event::CloseOverdue(tenure) => {
                self.open.remove(&(slot, tenure));
                before
            }
        };
        after.assert_consistent(slot);
        self.slots[slot.index()] = after;
        effects(before.state, after.state)
    }

    fn on_epoch(&self, slot: Slot, before: OneSlot, holding: &Holding) -> OneSlot {
        let OneSlot { submitted, since, .. } = before;
        let state = match (duty(self.session, slot, holding, submitted), submitted.open()) {
            (Duty::Nothing, _) => SlotState::NotOurs,
            (Duty::Recover(tenure), _) => SlotState::Recovering { tenure },
            // Given back before its Release was appended: it goes on as if it had never left.
            (Duty::Serve(tenure), _) => SlotState::Serving { tenure, since },
            (Duty::Release(release), Some(tenure)) => {
                SlotState::Draining { tenure, since, release }
            }
            (Duty::Release(release), None) => SlotState::ReleaseOwed { release },
        };
        OneSlot { state, ..before }
    }

    fn on_closed(&mut self, slot: Slot, tenure: Epoch) {
        // Absent if it was given up before it closed.
        if let Some(count) = self.open.get_mut(&(slot, tenure)) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&(slot, tenure));
            }
        }
    }

    /// What the session does with a slot.
    #[must_use]
    pub fn state(&self, slot: Slot) -> SlotState {
        self.slots[slot.index()].state
    }

    /// Every slot with its state, in order.
    pub fn states(&self) -> impl Iterator<Item = (Slot, SlotState)> {
        (0..).map(Slot).zip(self.slots.iter().map(|slot| slot.state))
    }

    /// What was submitted about a slot.
    #[must_use]
    pub fn submitted(&self, slot: Slot) -> Submitted {
        self.slots[slot.index()].submitted
    }

    /// What happens to a call that arrives.
    #[must_use]
    pub fn admission(&self, slot: Slot) -> Admission {
        match self.state(slot) {
            SlotState::Serving { tenure, .. } => Admission::Run(tenure),
            SlotState::Recovering { .. } => Admission::Wait,
            SlotState::NotOurs | SlotState::Draining { .. } | SlotState::ReleaseOwed { .. } => {
                Admission::Refuse
            }
        }
    }

    /// The tenure under which records of the slot may be appended.
    #[must_use]
    pub fn open_tenure(&self, slot: Slot) -> Option<Epoch> {
        match self.state(slot) {
            SlotState::Serving { tenure, .. } | SlotState::Draining { tenure, .. } => Some(tenure),
            SlotState::NotOurs | SlotState::Recovering { .. } | SlotState::ReleaseOwed { .. } => {
                None
            }
        }
    }

    /// Whether a record of a vnode that is active under `tenure` may be appended.
    #[must_use]
    pub fn may_append(&self, slot: Slot, tenure: Epoch) -> bool {
        let rule = self.open_tenure(slot) == Some(tenure);
        planted::may_append(rule, self.submitted(slot), tenure)
    }

    /// Whether a linearizable answer of a vnode that is active under `tenure` may wait for its barrier. The barrier says
    /// that the session isn't over, not that it still holds the slot.
    #[must_use]
    pub fn may_answer(&self, slot: Slot, tenure: Epoch) -> bool {
        self.open_tenure(slot) == Some(tenure)
    }

    /// Whether a recovery of the slot under `tenure` is still wanted, so that its Adopt may be appended.
    #[must_use]
    pub fn may_adopt(&self, slot: Slot, tenure: Epoch) -> bool {
        self.state(slot) == SlotState::Recovering { tenure }
    }

    /// The epoch of the Release that is owed now.
    #[must_use]
    pub fn owed_release(&self, slot: Slot) -> Option<Epoch> {
        match self.state(slot) {
            SlotState::Draining { release, .. } | SlotState::ReleaseOwed { release } => {
                Some(release)
            }
            SlotState::NotOurs | SlotState::Recovering { .. } | SlotState::Serving { .. } => None,
        }
    }

    /// Whether calls of a slot run.
    #[must_use]
    pub fn is_served(&self, slot: Slot) -> bool {
        matches!(self.state(slot), SlotState::Serving { .. })
    }

    /// Whether a vnode that is active under `tenure` may open something outside its state.
    #[must_use]
    pub fn may_open(&self, slot: Slot, tenure: Epoch) -> bool {
        matches!(self.state(slot), SlotState::Serving { tenure: open, .. } if open == tenure)
    }

    /// Whether no vnode of the tenure that is open holds anything outside its state.
    #[must_use]
    pub fn is_closed(&self, slot: Slot) -> bool {
        let open = self.open_tenure(slot);
        planted::is_closed(open.is_none_or(|tenure| !self.open.contains_key(&(slot, tenure))))
    }

    /// The epoch of the Release that may be appended now: it is owed, and everything is closed.
    #[must_use]
    pub fn releasable(&self, slot: Slot) -> Option<Epoch> {
        self.owed_release(slot).filter(|_| self.is_closed(slot))
    }

    /// Where the newest record of a vnode is, given the position of its newest record in the session's own tail. One
    /// below the Adopt is of an earlier tenure: another owner may have written since, and then the index knows.
    #[must_use]
    pub fn newest(&self, slot: Slot, in_tail: Option<Position>) -> Newest {
        match self.state(slot) {
            SlotState::Serving { tenure, since } | SlotState::Draining { tenure, since, .. } => {
                if in_tail.is_some_and(|position| planted::keep_cache(position >= since)) {
                    Newest::InTail
                } else {
                    Newest::InIndex(tenure)
                }
            }
            SlotState::NotOurs | SlotState::Recovering { .. } | SlotState::ReleaseOwed { .. } => {
                Newest::NotServed
            }
        }
    }
}

fn adopted(slot: Slot, before: OneSlot, tenure: Epoch, at: Position) -> OneSlot {
    assert_eq!(before.state, SlotState::Recovering { tenure }, "{slot} is adopted unasked");
    let Submitted { adopted, released } = before.submitted;
    assert!(adopted < tenure && released < tenure, "{slot} is adopted out of order");
    assert!(before.since < at, "{slot}: the Adopt at {at} comes after one at {}", before.since);
    OneSlot {
        state: SlotState::Serving { tenure, since: at },
        submitted: Submitted { adopted: tenure, ..before.submitted },
        since: at,
    }
}

fn released(slot: Slot, before: OneSlot) -> OneSlot {
    let (SlotState::Draining { release, .. } | SlotState::ReleaseOwed { release }) = before.state
    else {
        panic!("{slot} is released in {:?}, unasked", before.state);
    };
    assert!(before.submitted.released < release, "{slot} is released twice by {release}");
    OneSlot {
        state: SlotState::NotOurs,
        submitted: Submitted { released: release, ..before.submitted },
        ..before
    }
}

/// What follows from a change of state.
fn effects(before: SlotState, after: SlotState) -> Vec<Effect> {
    use SlotState::{Draining, NotOurs, Recovering, ReleaseOwed, Serving};
    match (before, after) {
        (NotOurs | ReleaseOwed { .. }, Recovering { .. }) => vec![Effect::Recover],
        // The new tenure has other sources; calls go on waiting.
        (Recovering { tenure: old }, Recovering { tenure: new }) if old != new => {
            vec![Effect::Recover]
        }
        (Recovering { .. }, Serving { .. }) => vec![Effect::RunWaiting],
        (Recovering { .. }, NotOurs) => vec![Effect::RefuseWaiting],
        (Recovering { .. }, ReleaseOwed { .. }) => vec![Effect::RefuseWaiting, Effect::Drain],
        (Serving { .. }, Draining { .. }) | (NotOurs, ReleaseOwed { .. }) => vec![Effect::Drain],
        // A Release that is on its way already names the newest epoch when it is appended.
        (Draining { .. }, Draining { .. }) | (ReleaseOwed { .. }, ReleaseOwed { .. }) => vec![],
        (
            NotOurs | Recovering { .. } | Serving { .. } | Draining { .. } | ReleaseOwed { .. },
            NotOurs | Recovering { .. } | Serving { .. } | Draining { .. } | ReleaseOwed { .. },
        ) => vec![],
    }
}

impl OneSlot {
    fn assert_consistent(&self, slot: Slot) {
        let open = self.submitted.open();
        match self.state {
            SlotState::Serving { tenure, since } => {
                assert_eq!(open, Some(tenure), "{slot} is served without an Adopt");
                assert_eq!(since, self.since, "{slot} is served since another Adopt");
            }
            SlotState::Draining { tenure, since, release } => {
                assert_eq!(open, Some(tenure), "{slot} drains though it isn't held");
                assert_eq!(since, self.since, "{slot} drains since another Adopt");
                assert!(tenure < release, "{slot}: {release} gave away {tenure}");
            }
            SlotState::Recovering { tenure } => {
                assert_eq!(open, None, "{slot} is recovered though it is held");
                assert!(self.submitted.released < tenure, "{slot} is recovered after its Release");
            }
            SlotState::ReleaseOwed { .. } => {
                assert_eq!(open, None, "{slot} is held: its vnodes must hand over first");
            }
            SlotState::NotOurs => {}
        }
    }
}
