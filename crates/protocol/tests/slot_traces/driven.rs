//! One slot at session A, driven at random like a session would: it reads epochs late or not at all, its recoveries end at
//! any time, and vnodes of any tenure try to append.

use std::collections::BTreeSet;

use holocron_protocol::{
    epoch::record::Holding,
    ids::{CommitNumber, Epoch, Position, SessionId, Slot, Tenure, VnodeHash},
    slot::{
        log::SlotLog,
        residency::{Admission, Effect, Event, Residency, SlotState},
        tenure::{Duty, Submitted, duty},
    },
    state::{
        index::SlotIndex,
        place::{FileNumber, Origin, Place, PlaceKind},
    },
};
use proptest::{prelude::*, sample::Index};

use crate::random;

const SLOT: Slot = Slot(0);
const A: SessionId = SessionId::new(1);
/// Sessions that the slot is given to, A among them.
const SESSIONS: u128 = 3;

#[derive(Clone, Debug)]
enum Action {
    /// The next epoch gives the slot to a session.
    Give(u128),
    /// The next epoch drops all sources but so many of the newest.
    Keep(usize),
    /// A reads the newest epoch.
    Read,
    /// A recovery ends, of those that A was ever told to begin.
    Recovered(Index),
    /// A's vnodes have handed over.
    Flushed,
    /// A vnode that was activated under some tenure has a record to append.
    Append(Index),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (1..=SESSIONS).prop_map(Action::Give),
        1 => (0..3usize).prop_map(Action::Keep),
        4 => Just(Action::Read),
        4 => any::<Index>().prop_map(Action::Recovered),
        2 => Just(Action::Flushed),
        2 => any::<Index>().prop_map(Action::Append),
    ]
}

/// The session, and what it should have made of what happened.
struct Driven {
    residency: Residency,
    epoch: Epoch,
    /// The newest one written.
    newest: Holding,
    /// The newest one that A has read.
    read: Holding,
    submitted: Submitted,
    /// Where its newest Adopt stands.
    since: Position,
    last: Position,
    /// What its journal says, by the rules of every reader.
    log: SlotLog,
    commit: CommitNumber,
    /// The tenures it was told to recover for.
    begun: BTreeSet<Epoch>,
    /// Whether it was told to drain since nothing was owed.
    drains: bool,
    /// What was seen of the machine.
    seen: BTreeSet<&'static str>,
}

impl Driven {
    fn new() -> Self {
        let owner = Some(Tenure { session: A, epoch: Epoch::new(1) });
        Self {
            residency: Residency::new(A, 1),
            epoch: Epoch::new(1),
            newest: Holding { owner, sources: vec![] },
            read: Holding::default(),
            submitted: Submitted::default(),
            since: Position::ZERO,
            last: Position::ZERO,
            log: SlotLog::default(),
            commit: CommitNumber::ZERO,
            begun: BTreeSet::new(),
            drains: false,
            seen: BTreeSet::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Give(session) => self.give(SessionId::new(*session)),
            Action::Keep(count) => {
                self.epoch = self.epoch.next();
                self.newest.sources.truncate(*count);
            }
            Action::Read => {
                self.read.clone_from(&self.newest);
                self.step(Event::Epoch(&self.newest.clone()));
            }
            Action::Recovered(which) => {
                if let Some(tenure) = pick(&self.begun, which) {
                    self.recovered(tenure);
                }
            }
            Action::Flushed => self.flushed(),
            Action::Append(which) => {
                if let Some(tenure) = pick(&self.begun, which) {
                    self.append(tenure);
                }
            }
        }
        self.check();
    }

    fn give(&mut self, session: SessionId) {
        self.epoch = self.epoch.next();
        if self.newest.is_owned_by(session) {
            return;
        }
        let owner = Tenure { session, epoch: self.epoch };
        let before = self.newest.owner.replace(owner).expect("it always has an owner");
        self.newest.sources.insert(0, before);
    }

    fn recovered(&mut self, tenure: Epoch) {
        if !self.residency.may_adopt(SLOT, tenure) {
            self.seen.insert("a recovery that isn't wanted any more");
            return;
        }
        self.last = self.last.next();
        self.submitted.adopted = tenure;
        self.since = self.last;
        self.log.adopt(tenure, SlotIndex::default()).expect("an Adopt in order");
        self.step(Event::Adopted { tenure, at: self.last });
    }

    fn flushed(&mut self) {
        let Some(release) = self.residency.owed_release(SLOT) else { return };
        self.last = self.last.next();
        self.submitted.released = release;
        self.log.release(release).expect("a Release in order");
        self.step(Event::Released);
        self.seen.insert("a Release");
    }

    /// The record goes into the journal if it may, where it belongs to the tenure that is open there.
    fn append(&mut self, tenure: Epoch) {
        let open = self.log.open().map(|tenure| tenure.epoch);
        if !self.residency.may_append(SLOT, tenure) {
            self.seen.insert("a record that is refused");
            return;
        }
        assert_eq!(open, Some(tenure), "a record outside an open tenure");
        self.last = self.last.next();
        self.commit = self.commit.next();
        let place = Place {
            file: FileNumber::default(),
            offset: 32,
            length: 1,
            checksum: 0,
            commit: self.commit,
            wake_at: 0,
            kind: PlaceKind::Live,
            origin: Origin::Own,
        };
        self.log.write(VnodeHash::from_bits(1), &place).expect("a record of an open tenure");
        self.seen.insert("a record");
    }

    fn step(&mut self, event: Event<'_>) {
        let before = self.residency.state(SLOT);
        let effects = self.residency.step(SLOT, event);
        let after = self.residency.state(SLOT);
        for effect in &effects {
            match (effect, after) {
                (Effect::Recover, SlotState::Recovering { tenure }) => {
                    self.begun.insert(tenure);
                }
                (Effect::Drain, SlotState::Draining { .. } | SlotState::ReleaseOwed { .. }) => {
                    self.drains = true;
                }
                (Effect::RunWaiting, SlotState::Serving { .. })
                | (Effect::RefuseWaiting, SlotState::NotOurs | SlotState::ReleaseOwed { .. }) => {}
                unfit => panic!("{unfit:?} after {before:?}"),
            }
        }
        // Calls wait while it is recovering and at no other time.
        let waited = is_recovering(before) && !is_recovering(after);
        let ends = [Effect::RunWaiting, Effect::RefuseWaiting];
        let ended = effects.iter().filter(|effect| ends.contains(effect)).count();
        assert_eq!(ended, usize::from(waited), "{before:?} to {after:?}: {effects:?}");
    }

    /// The state follows from the newest holding that was read and from what was submitted, whatever happened before.
    fn check(&mut self) {
        let (submitted, since) = (self.submitted, self.since);
        let state = match (duty(A, SLOT, &self.read, submitted), submitted.open()) {
            (Duty::Nothing, _) => SlotState::NotOurs,
            (Duty::Recover(tenure), _) => SlotState::Recovering { tenure },
            (Duty::Serve(tenure), _) => SlotState::Serving { tenure, since },
            (Duty::Release(release), Some(tenure)) => {
                SlotState::Draining { tenure, since, release }
            }
            (Duty::Release(release), None) => SlotState::ReleaseOwed { release },
        };
        assert_eq!(self.residency.state(SLOT), state);
        assert_eq!(self.residency.submitted(SLOT), submitted);
        let open = self.log.open().map(|tenure| tenure.epoch);
        assert_eq!(self.residency.open_tenure(SLOT), open, "the journal says otherwise");
        let runs =
            matches!(state, SlotState::Serving { .. }).then(|| Admission::Run(open.unwrap()));
        assert_eq!(runs.is_some(), runs == Some(self.residency.admission(SLOT)));
        let owes = self.residency.owed_release(SLOT).is_some();
        self.drains &= owes;
        assert_eq!(self.drains, owes, "nothing was said of the Release that is owed");
        if let SlotState::Recovering { tenure } = state {
            assert!(self.begun.contains(&tenure), "nothing was said of a recovery for {tenure}");
        }
        self.seen.insert(match state {
            SlotState::NotOurs => "not ours",
            SlotState::Recovering { .. } => "recovering",
            SlotState::Serving { tenure, .. } if self.read.owner.unwrap().epoch > tenure => {
                "serving under an older tenure"
            }
            SlotState::Serving { .. } => "serving",
            SlotState::Draining { .. } => "draining",
            SlotState::ReleaseOwed { .. } => "a Release owed of a slot that was never adopted",
        });
    }
}

const fn is_recovering(state: SlotState) -> bool {
    matches!(state, SlotState::Recovering { .. })
}

fn pick(tenures: &BTreeSet<Epoch>, which: &Index) -> Option<Epoch> {
    let tenures: Vec<Epoch> = tenures.iter().copied().collect();
    (!tenures.is_empty()).then(|| *which.get(&tenures))
}

#[test]
fn the_state_follows_from_the_newest_holding_and_what_was_submitted() {
    let actions = proptest::collection::vec(action(), 1..60);
    let seen = random::search(1_024, &actions, |actions| {
        let mut driven = Driven::new();
        actions.iter().for_each(|action| driven.act(action));
        driven.seen
    });
    assert_eq!(seen.len(), 10, "too little came up: {seen:?}");
}
