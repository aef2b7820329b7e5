//! Watchers of one vnode that commits, leaves memory and moves to other tenures at random.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use holocron_protocol::{
    ids::{CommitNumber, Epoch, Slot, VnodeHash},
    request::watchers::{Arrival, KEEP, Watched, Watcher, Watchers},
    time::Time,
};
use proptest::prelude::*;

use crate::{random, switch};

const CALLERS: usize = 4;
const HOLD: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Action {
    /// The vnode commits.
    Commit,
    /// A watcher comes, if it doesn't wait.
    Arrive(usize),
    /// Seconds pass.
    Pass(u64),
    /// The vnode leaves memory.
    Evict,
    /// Its slot moves away, perhaps changes there, and comes back.
    Move(bool),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Commit),
        8 => (0..CALLERS).prop_map(Action::Arrive),
        2 => (1..8u64).prop_map(Action::Pass),
        2 => Just(Action::Evict),
        1 => any::<bool>().prop_map(Action::Move),
    ]
}

struct Driven {
    watchers: Watchers<usize>,
    now: Time,
    tenure: u64,
    commit: CommitNumber,
    /// Whether it is in memory.
    active: bool,
    seen: [CommitNumber; CALLERS],
    waits: [bool; CALLERS],
    came_up: BTreeSet<&'static str>,
}

impl Driven {
    fn new() -> Self {
        Self {
            watchers: Watchers::default(),
            now: Time::ZERO,
            tenure: 1,
            commit: CommitNumber::ZERO,
            active: false,
            seen: [CommitNumber::ZERO; CALLERS],
            waits: [false; CALLERS],
            came_up: BTreeSet::new(),
        }
    }

    fn of(&self) -> Watched {
        let tenure = Epoch::new(self.tenure);
        Watched { vnode: VnodeHash::from_bits(1), slot: Slot(0), tenure }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Commit => {
                self.active = true;
                self.commit = self.commit.next();
                for caller in self.watchers.commits(self.of(), self.commit) {
                    self.waits[caller] = false;
                    self.sees(caller);
                    self.came_up.insert("a commit for one that waits");
                }
            }
            Action::Arrive(caller) if !self.waits[caller] => self.arrive(caller),
            Action::Arrive(_) => {}
            Action::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.expire();
            }
            Action::Evict => self.active = false,
            Action::Move(changes) => {
                self.tenure += 1;
                self.active = false;
                let released = BTreeMap::from([(Slot(0), Epoch::new(self.tenure))]);
                for caller in self.watchers.release(&released) {
                    self.waits[caller] = false;
                    self.came_up.insert("a move while one waits");
                }
                if changes {
                    self.commit = self.commit.next();
                }
            }
        }
    }

    fn arrive(&mut self, caller: usize) {
        let of = self.of();
        let known = self.watchers.newest(of.vnode, of.tenure);
        if let (false, Some(known)) = (self.active, known) {
            assert_eq!(known, self.commit, "what is known of a vnode outside memory is so");
            self.came_up.insert("one waits without the vnode");
        } else {
            self.active = true;
        }
        let watcher = Watcher { after: self.seen[caller], hold: HOLD, caller };
        match self.watchers.arrive(self.now, of, self.commit, watcher) {
            Arrival::Waits => self.waits[caller] = true,
            Arrival::Newer(caller) => {
                self.sees(caller);
                self.came_up.insert("one was behind");
            }
            Arrival::Refused(_) => unreachable!("few wait, all of the newest tenure"),
        }
    }

    fn sees(&mut self, caller: usize) {
        assert!(self.seen[caller] < self.commit, "a watcher sees something newer each time");
        self.seen[caller] = self.commit;
    }

    fn expire(&mut self) {
        for (after, caller) in self.watchers.expire(self.now) {
            assert_eq!(after, self.seen[caller], "it is told what it has named");
            self.waits[caller] = false;
        }
    }

    /// All watchers come once more, and then nothing happens.
    fn finish(mut self) -> BTreeSet<&'static str> {
        for caller in 0..CALLERS {
            if !self.waits[caller] {
                self.arrive(caller);
            }
        }
        for (caller, seen) in self.seen.iter().enumerate() {
            assert_eq!(*seen, self.commit, "{caller} has not seen the newest commit");
        }
        self.now += HOLD;
        self.expire();
        self.now += KEEP;
        self.expire();
        assert!(self.watchers.is_empty() && self.watchers.waiting() == 0, "something is left");
        self.came_up
    }
}

fn search() {
    let actions = prop::collection::vec(action(), 1..60);
    let came_up = random::search(1_000, &actions, |actions| {
        let mut driven = Driven::new();
        actions.iter().for_each(|action| driven.take(*action));
        driven.finish()
    });
    assert_eq!(came_up.len(), 4, "{came_up:?}");
}

#[test]
fn a_watcher_always_comes_to_see_the_newest_commit() {
    search();
}

#[test]
#[ignore = "breaks a promise: started by a test with a bug planted"]
fn switched_watchers() {
    switch::plant();
    search();
}
