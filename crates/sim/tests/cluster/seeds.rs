//! The default scenario with many seeds.

use holocron_sim::{Counters, Outcome, Scenario, run};

/// Default number of seeds; the environment may override it.
const SEEDS_DEFAULT: u64 = 300;
/// Number of tests that share the seeds, to use several cores.
const PARTS: u64 = 4;

/// Seeds above the default ones that once found a bug.
const FOUND: [u64; 8] = [346, 919, 1_032, 1_109, 1_590, 1_661, 2_045, 2_138];

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn tell(outcome: &Outcome) -> String {
    format!(
        "seed {} after {:?}:\n{}\nthe end of its trace:\n{}\nseed {} has violations:\n{}",
        outcome.seed,
        outcome.span,
        outcome
            .counters
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", "),
        outcome.tail.join("\n"),
        outcome.seed,
        outcome.broken.join("\n")
    )
}

/// Runs one part of the seeds: there must be no violation, and together they must exercise everything.
fn run_part(part: u64) {
    let first = variable("HOLOCRON_SEED").unwrap_or(1);
    let seeds = variable("HOLOCRON_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let (mut sum, mut told) = (Counters::default(), 0);
    let (mut broken, mut shown) = (Vec::new(), String::new());
    for seed in (first..first + seeds).filter(|seed| seed % PARTS == part) {
        let outcome = run(&Scenario::new(seed));
        sum += outcome.counters;
        told += 1;
        if !outcome.broken.is_empty() {
            if shown.is_empty() {
                shown = tell(&outcome);
            }
            broken.push((seed, outcome.broken.first().cloned()));
        }
    }
    for (name, count) in sum.iter() {
        println!("{name:>22} {count}");
    }
    assert!(broken.is_empty(), "{shown}\n{} of {told} seeds: {broken:#?}", broken.len());
    if told >= SEEDS_DEFAULT / PARTS {
        assert_eq!(sum.idle(), Vec::<&str>::new(), "{told} seeds did not exercise these");
    }
}

#[test]
fn seeds_that_once_found_a_bug_have_no_violation() {
    for seed in FOUND {
        let outcome = run(&Scenario::new(seed));
        assert!(outcome.broken.is_empty(), "{}", tell(&outcome));
    }
}

#[test]
fn no_seed_has_a_violation_first_part() {
    run_part(0);
}

#[test]
fn no_seed_has_a_violation_second_part() {
    run_part(1);
}

#[test]
fn no_seed_has_a_violation_third_part() {
    run_part(2);
}

#[test]
fn no_seed_has_a_violation_fourth_part() {
    run_part(3);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..6 {
        let scenario = Scenario::new(seed);
        let (first, second) = (run(&scenario), run(&scenario));
        if first != second {
            let at = first.tail.iter().zip(&second.tail).take_while(|(a, b)| a == b).count();
            panic!(
                "seed {seed}: two runs differ after line {at}: {:#?}\nthen {:#?}\nor {:#?}",
                &first.tail[at.saturating_sub(20)..at],
                &first.tail[at..(at + 8).min(first.tail.len())],
                &second.tail[at..(at + 8).min(second.tail.len())]
            );
        }
    }
}
