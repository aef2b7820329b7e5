//! Members of an election used alone, in a third of the seeds: they share the hosts' store, and crash and pause as hosts do.
//!
//! Each member says what it sees; here that is compared: each token has one leader, no member sees a token go down, and in the
//! end one member leads. That no two claims overlap is checked by `tests/cluster/elections.rs`, whose clocks differ by less than
//! a tenth. Everything is drawn from a generator of its own.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use holocron::{
    Random, TokioClock,
    election::{Election, Role},
};

use super::{Story, strikes::MILLISECOND};
use crate::{chance::Chance, store::SimStore, trace::Trace};

const MEMBERS: [&str; 2] = ["m1", "m2"];
const NAME: &str = "jobs";
const LEASE: Duration = Duration::from_secs(2);
const GAP_MAX: Duration = Duration::from_secs(4);
/// How often a member says what it sees.
const SAID_EVERY: Duration = Duration::from_millis(5);
/// How long after the healing one member must lead: a lease, its margin, and looks at the store.
const LEADS_WITHIN: Duration = Duration::from_secs(30);

/// What the members have said.
#[derive(Debug, Default)]
struct Board {
    /// The process that led each token.
    leaders: BTreeMap<u64, u64>,
    /// The newest role of each process.
    roles: BTreeMap<u64, Role>,
    /// What they said that contradicts the rules.
    broken: Vec<String>,
}

impl Board {
    fn says(&mut self, process: u64, role: &Role) {
        let token = token_of(role);
        let before = self.roles.insert(process, role.clone()).as_ref().and_then(token_of);
        if let (Some(before), Some(token)) = (before, token)
            && token < before
        {
            self.broken.push(format!("a member sees token {token} after {before}"));
        }
        if let Role::Leading { token, .. } = role
            && *self.leaders.entry(token.get()).or_insert(process) != process
        {
            self.broken.push(format!("token {token} has two leaders"));
        }
    }
}

fn token_of(role: &Role) -> Option<u64> {
    match role {
        Role::Following { token, .. }
        | Role::Leading { token, .. }
        | Role::Unconfirmed { token } => Some(token.get()),
        Role::NoLeader | Role::Resigning | Role::Over(_) => None,
    }
}

/// The members of a story.
#[derive(Debug)]
pub(super) struct Members {
    chance: Chance,
    board: Arc<Mutex<Board>>,
    processes: u64,
    next: Duration,
}

impl Members {
    /// For a seed; `None` if it has none.
    pub(super) fn new(seed: u64) -> Option<Self> {
        let chance = Chance::new(seed ^ 0xe1_ec70);
        (chance.below(3) == 0).then(|| Self {
            chance,
            board: Arc::default(),
            processes: 0,
            next: Duration::ZERO,
        })
    }

    fn start(&mut self, story: &mut Story, node: &str) {
        self.processes += 1;
        let (process, board) = (self.processes, Arc::clone(&self.board));
        let store = story.cluster.world.store(node);
        let random = Random::from_seed(self.chance.bits() | 1);
        let name = node.to_owned();
        drop(story.cluster.world.start(node, member(store, random, name, (process, board))));
    }

    /// Starts and strikes members that are due.
    pub(super) fn go_on(&mut self, story: &mut Story) {
        let now = story.cluster.world.now();
        if now < self.next {
            return;
        }
        let starts = self.processes == 0;
        self.next = now + self.chance.between(MILLISECOND * 200, GAP_MAX);
        if starts {
            MEMBERS.iter().for_each(|node| self.start(story, node));
            return;
        }
        let at = usize::try_from(self.chance.below(2)).expect("below two");
        let node = MEMBERS[at];
        if self.chance.happens(0.5) {
            self.start(story, node);
        } else {
            let span = self.chance.between(LEASE / 10, LEASE * 3);
            story.cluster.world.pause(node, span);
        }
    }

    /// After everything was healed: one member leads, and nothing that was said contradicts the rules.
    /// Returns how many tokens were led.
    pub(super) fn finish(mut self, story: &mut Story) -> u64 {
        for node in MEMBERS {
            story.cluster.world.wake(node);
            self.start(story, node);
        }
        let until = story.cluster.world.now() + LEADS_WITHIN;
        while !self.one_leads() && story.cluster.world.now() < until {
            story.cluster.world.run(MILLISECOND * 20);
        }
        self.judge(&story.trace);
        self.board.lock().expect("no member panics under it").leaders.len() as u64
    }

    /// Whether one of the processes that run now leads.
    fn one_leads(&self) -> bool {
        let board = self.board.lock().expect("no member panics under it");
        let now = self.processes - 1..=self.processes;
        now.filter(|process| matches!(board.roles.get(process), Some(Role::Leading { .. }))).count()
            == 1
    }

    fn judge(&self, trace: &Trace) {
        if !self.one_leads() {
            trace.violate(format_args!(
                "invariant 12 (after faults stop, one leader): no member of an election leads {LEADS_WITHIN:?} after the last fault"
            ));
        }
        let board = self.board.lock().expect("no member panics under it");
        for broken in &board.broken {
            trace.violate(format_args!("invariant 2 (one winner per epoch): {broken}"));
        }
    }
}

/// A member that says what it sees until it ends.
async fn member(
    store: SimStore,
    random: Random,
    name: String,
    (process, board): (u64, Arc<Mutex<Board>>),
) {
    let builder = Election::builder("memory://", NAME).store(Arc::new(store)).random(random);
    let builder = builder.clock(Arc::new(TokioClock::new()));
    let Ok(election) = builder.member(&name).lease(LEASE).join().await else { return };
    loop {
        board.lock().expect("no member panics under it").says(process, &election.role());
        tokio::time::sleep(SAID_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::ids::Epoch;

    use super::*;

    #[test]
    fn two_leaders_of_one_token_and_a_token_that_goes_down_are_noticed() {
        let leading = |token: u64| {
            let token = Epoch::new(token);
            Role::Leading { token, since: token }
        };
        let mut board = Board::default();
        board.says(1, &leading(3));
        board.says(2, &leading(4));
        assert_eq!(board.broken, Vec::<String>::new());
        board.says(3, &leading(4));
        assert_eq!(board.broken, ["token e4 has two leaders"]);
        board.says(2, &Role::Unconfirmed { token: Epoch::new(2) });
        assert_eq!(board.broken.len(), 2);
    }
}
