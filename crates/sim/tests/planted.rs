//! Every planted bug is caught.
//!
//! A bug is for a whole process, so this binary is started again for each. The seed in the table of
//! `docs/verification.md` comes first, then all others from 1 on. The same seed must have no violation without the bug.
#![cfg(debug_assertions)]
#![expect(clippy::print_stdout, reason = "a search says what it found")]

use std::{
    env,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use holocron_planted::Bug;
use holocron_sim::planted::{Noticed, SEEDS_MAX, first_broken, noticed};

const DOCUMENT: &str = include_str!("../../../docs/verification.md");
/// The bug to plant.
const BUG: &str = "HOLOCRON_PLANTED";
/// The first seed to try.
const SEED: &str = "HOLOCRON_SEED";

/// The rows of the table: a bug's name, and the seed that catches it, if there is one.
fn rows() -> Vec<(&'static str, Option<u64>)> {
    let (_, rest) = DOCUMENT.split_once("<!-- planted bugs: begin -->").expect("the table begins");
    let (table, _) = rest.split_once("<!-- planted bugs: end -->").expect("it ends");
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.strip_suffix('`')?;
            let seed = cells.last()?.trim_end_matches('|').trim();
            Some((name, seed.parse().ok()))
        })
        .collect()
}

#[test]
fn the_table_has_every_bug() {
    let told: Vec<&str> = rows().into_iter().map(|(name, _)| name).collect();
    let all: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    assert_eq!(
        told, all,
        "write the table again: cargo run -p holocron-sim --example planted-table"
    );
}

#[test]
fn a_bug_that_a_model_catches_has_a_test() {
    let models = [
        ("journal_model", include_str!("../../protocol/tests/journal_model/main.rs")),
        ("by_name", include_str!("../../holocron/tests/by_name/main.rs")),
        ("fetch", include_str!("../../holocron/src/store_io/fetch/tests.rs")),
        ("journal_loss", include_str!("../../protocol/tests/journal_loss.rs")),
        ("cut_model", include_str!("../../protocol/tests/cut_model.rs")),
        ("pack_model", include_str!("../../protocol/tests/pack_model.rs")),
        ("once_model", include_str!("../../protocol/tests/once_model/main.rs")),
        ("ownership_model", include_str!("../../protocol/tests/ownership_model/main.rs")),
        ("slot_traces", include_str!("../../protocol/tests/slot_traces/main.rs")),
        ("control_traces", include_str!("../../protocol/tests/control_traces/main.rs")),
        ("election_traces", include_str!("../../protocol/tests/election_traces/main.rs")),
    ];
    for bug in Bug::ALL {
        let Noticed::InModel { model, test } = noticed(*bug) else { continue };
        let (_, source) = models.iter().find(|(name, _)| *name == model).unwrap();
        let (module, name) = test.split_once("::").unwrap();
        let (_, switched) = source.split_once(&format!("mod {module} {{")).unwrap();
        assert!(switched.contains(&format!("fn {name}()")), "{model} has no test {test}");
    }
}

#[test]
#[ignore = "runs with a bug planted: started by the test below"]
fn search() {
    let bug = env::var(BUG).ok().and_then(|name| Bug::from_name(&name));
    holocron_planted::plant(bug.expect("started with the name of a bug"));
    let first = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let (seed, broken) =
        first_broken(first.into_iter().chain(1..=SEEDS_MAX)).expect("the bug is caught");
    println!("seed {seed}: {broken}");
}

#[test]
fn every_bug_is_caught_by_the_default_workload_or_a_model() {
    let rows = rows();
    let bugs: Vec<Bug> =
        Bug::ALL.iter().copied().filter(|bug| noticed(*bug) == Noticed::InSimulation).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = rows.iter().find(|(name, _)| *name == bug.name());
            is_caught(*bug, row.and_then(|(_, seed)| *seed).unwrap_or(1));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
}

fn is_caught(bug: Bug, first: u64) {
    let output = Command::new(env::current_exe().expect("a test is a program"))
        .args(["--exact", "search", "--ignored", "--nocapture"])
        .envs([(BUG, bug.name()), (SEED, &first.to_string())])
        .output()
        .expect("it starts again");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: not caught by {SEEDS_MAX} seeds: {said}", bug.name());
    let (_, found) = said.split_once("seed ").expect("it prints the seed");
    println!("{}: seed {:.160}", bug.name(), found.lines().next().unwrap_or_default());
    let seed = found.split(':').next().and_then(|seed| seed.parse().ok()).expect("a number");
    assert_eq!(first_broken([seed]), None, "seed {seed} without {}", bug.name());
}
