//! Elections used alone: members that crash, pause, resign and have clocks of different rates, on a store with every fault.
//!
//! At each moment at most one member may claim to lead; each epoch has one leader; no member sees a token go down; and when
//! everything is healed, one member leads.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex},
};

use holocron::{
    Clock, Random, TokioClock,
    election::{Election, Retention, Role, Rotation},
};
use holocron_planted::Bug;
use holocron_protocol::time::Time;
use holocron_sim::{Chance, StoreFaults, World};

const MEMBERS: [&str; 3] = ["m1", "m2", "m3"];
const LEASE: Duration = Duration::from_secs(2);
/// How long a run is struck.
const STRUCK: Duration = Duration::from_secs(60);
/// How long after the last strike one member must lead.
const HEALS_WITHIN: Duration = Duration::from_secs(12);
/// Rates of clocks, in thousandths: the fastest is less than a tenth faster than the slowest.
const RATES: [u32; 3] = [960, 1_000, 1_045];

const SEEDS_DEFAULT: u64 = 24;
/// The bug to plant in this process.
const PLANTED: &str = "HOLOCRON_ELECTIONS_PLANTED";

/// A clock that is fast or slow. (The world's own rates are too coarse for this: its timers are whole milliseconds.)
#[derive(Debug)]
struct Drifting {
    steady: TokioClock,
    /// In thousandths.
    rate: u32,
}

impl Clock for Drifting {
    fn now(&self) -> Time {
        Time::from_micros(self.steady.now().as_micros() * u64::from(self.rate) / 1_000)
    }

    fn wall_ms(&self) -> u64 {
        self.steady.wall_ms()
    }
}

/// What a process shows of itself, since it was last looked at.
#[derive(Debug, Default)]
struct Shown {
    role: Option<Role>,
    left: Option<Duration>,
}

/// What the processes show, and what they are told, by node.
#[derive(Debug, Default)]
struct Board {
    shown: BTreeMap<String, Shown>,
    resign: BTreeMap<String, bool>,
}

type Shared = Arc<Mutex<Board>>;

struct Run {
    world: World,
    chance: Chance,
    board: Shared,
    rotation: Rotation,
    processes: u64,
    /// The process that led each token.
    leaders: BTreeMap<u64, (String, u64)>,
    /// By node: its current process, the largest token that it showed, and the end of its claims in the world's time.
    process: BTreeMap<String, u64>,
    newest: BTreeMap<String, u64>,
    claims: BTreeMap<String, Duration>,
    /// By node: the last role that its process showed, and when.
    roles: BTreeMap<String, (Duration, Role)>,
    /// What the run has shown, so that it can't pass without having tried anything.
    tally: Tally,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    leaderships: u64,
    claims: u64,
    takeovers_of_claims: u64,
    resigned: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let chance = Chance::new(seed ^ 0xe1ec);
        let rotation = match seed % 3 {
            0 => Rotation::Never,
            1 => Rotation::Every(LEASE * 2),
            _ => Rotation::Contested(LEASE * 3),
        };
        let mut run = Self {
            world: World::new(seed),
            chance,
            board: Shared::default(),
            rotation,
            processes: 0,
            leaders: BTreeMap::new(),
            process: BTreeMap::new(),
            newest: BTreeMap::new(),
            claims: BTreeMap::new(),
            roles: BTreeMap::new(),
            tally: Tally::default(),
        };
        MEMBERS.iter().for_each(|node| run.start(node));
        run
    }

    fn start(&mut self, node: &str) {
        self.processes += 1;
        let seed = self.chance.bits() | 1;
        let (store, board) = (Arc::new(self.world.store(node)), Arc::clone(&self.board));
        let (name, rotation) = (node.to_owned(), self.rotation);
        self.process.insert(name.clone(), self.processes);
        self.newest.remove(node);
        self.claims.remove(node);
        // It was meant for the process before.
        self.board.lock().unwrap().resign.remove(node);
        let index = MEMBERS.iter().position(|member| *member == node).expect("a member");
        self.world.start(node, async move {
            let clock = Drifting { steady: TokioClock::new(), rate: RATES[index] };
            let builder = Election::builder("memory://", "a")
                .store(store)
                .clock(Arc::new(clock))
                .random(Random::from_seed(seed))
                .member(&name)
                .lease(LEASE)
                .rotation(rotation)
                .history(Retention { epochs: 16, age: Duration::ZERO })
                .epoch_segment_len(4);
            if let Ok(election) = builder.join().await {
                show(election, &name, &board).await;
            }
        });
    }

    fn step(&mut self) {
        self.world.step();
        let shown = core::mem::take(&mut self.board.lock().unwrap().shown);
        for (node, Shown { role, left }) in shown {
            let process = self.process[&node];
            if let Some(role) = role {
                self.saw(&node, process, &role);
                self.roles.insert(node.clone(), (self.world.now(), role));
            }
            if let Some(left) = left {
                let index = MEMBERS.iter().position(|member| **member == node).expect("a member");
                let end = self.world.now() + left * 1_000 / RATES[index];
                let claim = self.claims.entry(node).or_default();
                *claim = (*claim).max(end);
                self.tally.claims += 1;
            }
        }
        let now = self.world.now();
        let claiming: Vec<_> = self.claims.iter().filter(|(_, end)| now < **end).collect();
        assert!(claiming.len() <= 1, "two claims at {now:?}: {claiming:?}");
    }

    fn saw(&mut self, node: &str, process: u64, role: &Role) {
        let (Role::Following { token, .. }
        | Role::Leading { token, .. }
        | Role::Unconfirmed { token }) = role
        else {
            return;
        };
        let newest = self.newest.entry(node.to_owned()).or_default();
        assert!(*newest <= token.get(), "{node} sees token {token} after {newest}");
        *newest = token.get();
        if let Role::Leading { token, since } = role {
            let now = (node.to_owned(), process);
            let first = self.leaders.entry(token.get()).or_insert_with(|| {
                self.tally.leaderships += u64::from(token == since);
                let other = self
                    .claims
                    .iter()
                    .any(|(other, end)| *other != node && *end > self.world.now());
                self.tally.takeovers_of_claims += u64::from(other);
                now.clone()
            });
            assert_eq!(*first, now, "two leaders of {token}");
        }
    }

    fn run(&mut self, span: Duration) {
        let until = self.world.now() + span;
        while self.world.now() < until {
            self.step();
        }
    }

    fn strike(&mut self) {
        let node = MEMBERS[usize::try_from(self.chance.below(3)).expect("below three")];
        match self.chance.below(7) {
            0 => self.start(node),
            1 | 2 => self.world.pause(node, self.chance.between(LEASE / 10, LEASE * 3)),
            3 => self.world.shelf.set_outage(self.chance.between(LEASE / 10, LEASE * 3 / 2)),
            4 => self.world.shelf.set_faults(StoreFaults::all()),
            5 => self.world.shelf.set_faults(StoreFaults::none()),
            _ => {
                self.board.lock().unwrap().resign.insert(node.to_owned(), true);
                self.tally.resigned += 1;
            }
        }
    }

    fn heal(&mut self) {
        self.world.shelf.set_faults(StoreFaults::none());
        self.world.shelf.set_outage(Duration::ZERO);
        MEMBERS.iter().for_each(|node| self.world.wake(node));
        self.run(Duration::from_millis(100));
        MEMBERS.iter().for_each(|node| self.start(node));
        self.run(HEALS_WITHIN);
    }
}

/// Shows a member's role and claim until it ends; a member that resigned joins no more.
async fn show(election: Election, node: &str, board: &Shared) {
    let mut last = None;
    loop {
        let (role, left) = (election.role(), election.leader_until().map(|until| until.left()));
        let resigns = {
            let mut board = board.lock().unwrap();
            let shown = board.shown.entry(node.to_owned()).or_default();
            if last.as_ref() != Some(&role) {
                shown.role = Some(role.clone());
            }
            shown.left = left;
            board.resign.remove(node).is_some()
        };
        if resigns {
            drop(election.resign().await);
            return;
        }
        last = Some(role);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

fn run(seed: u64) -> Tally {
    let mut run = Run::new(seed);
    let until = run.world.now() + STRUCK;
    while run.world.now() < until {
        run.run(run.chance.between(LEASE / 20, LEASE));
        run.strike();
        for node in MEMBERS {
            // A member that resigned or lost its store joins again.
            if run.chance.below(12) == 0 && run.world.is_running(node) {
                run.start(node);
            }
        }
    }
    run.heal();
    let violations = run.world.trace.violations();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}: {:#?}", run.world.trace.tail());
    // The newest epoch may be of a moment ago: a follower polls for it.
    let newest = run.leaders.keys().next_back().copied().unwrap_or_default();
    let knows = |node: &str| run.newest.get(node).is_some_and(|token| token + 1 >= newest);
    assert!(
        newest > 0 && MEMBERS.iter().all(|node| knows(node)),
        "seed {seed}: {newest} at {:?}, {:#?}",
        run.world.now(),
        run.roles
    );
    run.tally
}

/// The story below, with a bug planted: in a process of its own, because a planted bug is for the whole process.
#[test]
fn a_new_leader_that_claims_at_once_is_caught() {
    let test = "elections::one_leader_per_epoch_and_no_two_claims_whatever_happens";
    let output = Command::new(std::env::current_exe().expect("a test is a program"))
        .args(["--exact", test, "--nocapture"])
        .env(PLANTED, Bug::ClaimAtOnce.name())
        .output()
        .expect("it starts again");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "the bug isn't caught");
    assert!(said.contains("two claims at"), "{said}");
}

#[test]
fn one_leader_per_epoch_and_no_two_claims_whatever_happens() {
    if let Ok(name) = std::env::var(PLANTED) {
        holocron_planted::plant(Bug::from_name(&name).expect("a bug of that name"));
    }
    let seeds = std::env::var("HOLOCRON_SEEDS").map_or(SEEDS_DEFAULT, |text| text.parse().unwrap());
    let mut sum = Tally::default();
    for seed in 1..=seeds {
        let tally = run(seed);
        sum.leaderships += tally.leaderships;
        sum.claims += tally.claims;
        sum.takeovers_of_claims += tally.takeovers_of_claims;
        sum.resigned += tally.resigned;
    }
    println!("{sum:?}");
    assert!(sum.leaderships >= seeds * 4 && sum.claims >= seeds * 100, "{sum:?}");
    assert!(sum.takeovers_of_claims > 0 && sum.resigned > 0, "{sum:?}");
}
