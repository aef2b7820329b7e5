//! Packs, searched exhaustively: one session that writes packs for a checkpoint, commits it, releases a slot, and
//! meanwhile deletes packs that are not needed any more.
//!
//! The crate's own [`unneeded_packs`] decides. Here it may be called at any time, also while the next checkpoint is
//! built. The library never does that: it deletes before it starts the next checkpoint, so there the bound `free_from`
//! has no effect. It must hold nevertheless, or a change that lets the two overlap would lose packs.
#![expect(clippy::print_stdout, reason = "how much was searched is worth knowing")]
#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

#[path = "support/switched.rs"]
mod switch;

use std::collections::BTreeSet;

use holocron_planted::Bug;
use holocron_protocol::{
    checkpoint::retain::{Listed, OwnPacks, unneeded_packs},
    ids::PackNumber,
};
use stateright::{Checker, HasDiscoveries, Model, Property};

type Packs = BTreeSet<u64>;

/// Packs written in total.
const PACKS: u64 = 5;

const MISSING: &str = "a pack that is needed is missing";
/// States that the search must reach.
type Happens = (&'static str, fn(&Session, &State) -> bool);
const HAPPENS: [Happens; 4] = [
    ("a pack is deleted while the next checkpoint is built", |_, state| {
        state.building.is_some() && state.gone
    }),
    ("a pack of a failed checkpoint is deleted", |_, state| {
        state.failed.iter().any(|number| !state.stored.contains(number))
    }),
    ("a pack is kept for readers of a released slot", |_, state| {
        state.read.iter().flatten().any(|number| !state.named.contains(number))
    }),
    ("a checkpoint names packs old and new", |_, state| state.named.len() > 1),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// The packs in the store.
    stored: Packs,
    /// The packs that the session has written and not deleted.
    written: Packs,
    /// The next free number.
    next: u64,
    /// The packs of the newest committed checkpoint.
    named: Packs,
    /// The first free number when that checkpoint was built.
    free_from: u64,
    building: Option<Building>,
    /// The packs that readers of a released slot may still read.
    read: Option<Packs>,
    /// The packs written for checkpoints that failed.
    failed: Packs,
    /// Whether a pack was deleted since the current checkpoint was started.
    gone: bool,
}

/// A checkpoint that isn't committed yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Building {
    kept: Packs,
    new: Packs,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// Starts a checkpoint that keeps these packs of the previous one.
    Begin(Packs),
    Write,
    Commit,
    /// The checkpoint fails: a record to copy can't be read now.
    Fail,
    Delete(u64),
    /// A slot is released: its readers use the newest committed checkpoint.
    Release,
    /// The newest epoch doesn't list the session as a source any more.
    Unlist,
}

#[derive(Clone, Copy, Debug)]
struct Session;

impl State {
    fn garbage(&self) -> Packs {
        let numbers = |packs: &Packs| packs.iter().copied().map(PackNumber::new).collect();
        let (written, named) = (numbers(&self.written), numbers(&self.named));
        let listed = self.read.is_some();
        let packs = OwnPacks {
            written: &written,
            named: &named,
            free_from: PackNumber::new(self.free_from),
            listed: if listed { Listed::AsSource } else { Listed::Nowhere },
        };
        unneeded_packs(packs).map(PackNumber::get).collect()
    }

    fn has_all_needed_packs(&self) -> bool {
        let read = self.read.iter().flatten();
        let built = self.building.iter().flat_map(|building| &building.new);
        self.named.iter().chain(read).chain(built).all(|number| self.stored.contains(number))
    }
}

impl Model for Session {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            stored: Packs::new(),
            written: Packs::new(),
            next: 1,
            named: Packs::new(),
            free_from: 1,
            building: None,
            read: None,
            failed: Packs::new(),
            gone: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.building.is_some() {
            actions.extend([Action::Commit, Action::Fail]);
            if state.next <= PACKS {
                actions.push(Action::Write);
            }
        } else if state.next <= PACKS {
            actions.extend(subsets(&state.named).map(Action::Begin));
        }
        actions.extend(state.garbage().into_iter().map(Action::Delete));
        actions.push(if state.read.is_some() { Action::Unlist } else { Action::Release });
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Begin(kept) => {
                state.building = Some(Building { kept, new: Packs::new() });
                state.gone = false;
            }
            Action::Write => {
                let number = state.next;
                state.next += 1;
                state.building.as_mut()?.new.insert(number);
                state.written.insert(number);
                state.stored.insert(number);
            }
            Action::Commit => {
                let Building { kept, new } = state.building.take()?;
                state.named = kept.union(&new).copied().collect();
                state.free_from = state.next;
            }
            Action::Fail => state.failed.extend(state.building.take()?.new),
            Action::Delete(number) => {
                state.stored.remove(&number);
                state.written.remove(&number);
                state.gone = true;
            }
            Action::Release => state.read = Some(state.named.clone()),
            Action::Unlist => state.read = None,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties =
            vec![Property::always(MISSING, |_, state: &State| state.has_all_needed_packs())];
        properties
            .extend(HAPPENS.iter().map(|&(name, happens)| Property::sometimes(name, happens)));
        properties
    }
}

/// All subsets of these packs.
fn subsets(packs: &Packs) -> impl Iterator<Item = Packs> {
    let packs: Vec<u64> = packs.iter().copied().collect();
    (0..1_u32 << packs.len()).map(move |bits| {
        let chosen = packs.iter().enumerate().filter(|&(at, _)| bits >> at & 1 == 1);
        chosen.map(|(_, &number)| number).collect()
    })
}

/// Searches everything.
fn search_all() {
    let checker = Session.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    if let Some(path) = checker.discovery(MISSING) {
        panic!("{MISSING}: {:?}", path.into_actions());
    }
    for (name, _) in HAPPENS {
        drop(checker.discovery(name).ok_or(name).unwrap());
    }
}

#[test]
fn a_pack_that_is_needed_is_never_deleted() {
    search_all();
}

/// One bug at a time, planted in the crate itself.
mod switched {
    use super::*;

    #[test]
    #[ignore = "breaks a promise: started by the test below, with a bug planted"]
    fn search() {
        let _planted = switch::plant();
        search_all();
    }

    #[test]
    fn packs_deleted_that_the_next_checkpoint_names() {
        switch::is_missed(Bug::DeletePacksToCome, "switched::search", MISSING);
    }
}
