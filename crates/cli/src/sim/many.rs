//! Many seeds, each in its own process.

use core::time::Duration;
use std::{collections::BTreeSet, ops::Range, process::Stdio};

use holocron_sim::{Counters, Outcome};
use serde::Serialize;
use tokio::{
    process::Command,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{Arguments, Change};
use crate::{
    exit::{Fail, Failure},
    signals::Signals,
    table::thousands,
};

/// How long one seed may take. A normal run takes a second or less; beyond this it hangs.
const SEED_WITHIN: Duration = Duration::from_secs(300);

/// A run of at least this many default seeds must exercise every counter.
const IDLE_SEEDS_MIN: u64 = 100;

/// Failing seeds printed while it runs.
const TOLD_MAX: usize = 10;

/// Time between two progress lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The results of all seeds.
#[derive(Debug, Serialize)]
struct Sums {
    seeds: u64,
    /// Seeds that broke a promise, with the promises.
    broken: Vec<Broken>,
    /// Simulated time of all seeds.
    simulated_seconds: f64,
    /// Real time of the whole run.
    elapsed_seconds: f64,
    counters: Counters,
    /// Counters that stayed zero.
    idle: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Broken {
    seed: u64,
    promises: Vec<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let seeds = arguments.seeds.clone().expect("one seed or many").0;
    let mut signals = Signals::new()?;
    let mut fleet = Fleet::new(&arguments, seeds);
    tokio::select! {
        biased;
        () = signals.next() => return Err(Fail::failed("interrupted")),
        () = fleet.run() => {}
    }
    let sums = fleet.sums();
    if arguments.json {
        println!("{}", serde_json::to_string(&sums).expect("sums are plain data"));
    } else {
        print!("{}", as_text(&sums));
    }
    if let Some(first) = sums.broken.first() {
        let what = format!(
            "{} of {} seeds broke a promise; `holocron sim --seed {}` shows the first",
            thousands(sums.broken.len() as u64),
            thousands(sums.seeds),
            first.seed
        );
        return Err(Fail::new(Failure::Broken, what));
    }
    let default = arguments.change.arguments().is_empty();
    if default && sums.seeds >= IDLE_SEEDS_MIN && !sums.idle.is_empty() {
        return Err(Fail::failed(format!("counters stayed zero: {}", sums.idle.join(", "))));
    }
    Ok(())
}

/// The running processes, and the results of those that have ended.
struct Fleet {
    left: Range<u64>,
    count: u64,
    change: Change,
    jobs: usize,
    runs_per_seed: u32,
    until_broken: bool,
    began: Instant,
    done: u64,
    simulated: Duration,
    counters: Counters,
    broken: Vec<Broken>,
    at_work: BTreeSet<u64>,
}

impl Fleet {
    fn new(arguments: &Arguments, seeds: Range<u64>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            count: seeds.end - seeds.start,
            left: seeds,
            change: arguments.change.clone(),
            jobs: arguments.jobs.map_or_else(cores, usize::from),
            runs_per_seed: if arguments.twice { 2 } else { 1 },
            until_broken: arguments.until_broken,
            began: Instant::now(),
            done: 0,
            simulated: Duration::ZERO,
            counters: Counters::default(),
            broken: Vec::new(),
            at_work: BTreeSet::new(),
        }
    }

    async fn run(&mut self) {
        let mut lines = interval(LINE_EVERY);
        lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
        lines.tick().await;
        let mut at_work = JoinSet::new();
        loop {
            let goes_on = !self.until_broken || self.broken.is_empty();
            while goes_on && at_work.len() < self.jobs && self.start_next(&mut at_work) {}
            tokio::select! {
                biased;
                ended = at_work.join_next() => match ended {
                    Some(Ok((seed, ended))) => self.take(seed, ended),
                    Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                    None => return,
                },
                _ = lines.tick() => self.say_how_far(),
            }
        }
    }

    fn start_next(&mut self, at_work: &mut JoinSet<(u64, Result<Outcome, String>)>) -> bool {
        let Some(seed) = self.left.next() else { return false };
        self.at_work.insert(seed);
        let (change, runs) = (self.change.arguments(), self.runs_per_seed);
        at_work.spawn(async move { (seed, in_processes(seed, &change, runs).await) });
        true
    }

    fn take(&mut self, seed: u64, ended: Result<Outcome, String>) {
        self.at_work.remove(&seed);
        self.done += 1;
        let promises = match ended {
            Ok(outcome) => {
                self.simulated += outcome.span;
                self.counters += outcome.counters;
                outcome.broken
            }
            Err(why) => vec![why],
        };
        let Some(first) = promises.first() else { return };
        if self.broken.len() < TOLD_MAX {
            eprintln!("seed {seed}: {first}");
        }
        self.broken.push(Broken { seed, promises });
    }

    fn say_how_far(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = Duration::from_secs(self.done).as_secs_f64() / seconds;
        let left = Duration::from_secs(self.count - self.done).as_secs_f64() / rate.max(0.001);
        eprintln!(
            "{:6.0} s  {} of {} seeds, {} broken, {rate:.1}/s, {:.0} min left",
            seconds,
            thousands(self.done),
            thousands(self.count),
            self.broken.len(),
            left / 60.0
        );
    }

    fn sums(mut self) -> Sums {
        self.broken.sort_by_key(|broken| broken.seed);
        Sums {
            seeds: self.done,
            broken: self.broken,
            simulated_seconds: self.simulated.as_secs_f64(),
            elapsed_seconds: self.began.elapsed().as_secs_f64(),
            counters: self.counters,
            idle: self.counters.idle(),
        }
    }
}

/// Runs a seed in one process, or in several that must agree.
async fn in_processes(seed: u64, change: &[String], runs: u32) -> Result<Outcome, String> {
    let mut first = in_process(seed, change).await?;
    for _ in 1..runs {
        let again = in_process(seed, change).await?;
        if (again.hash, again.lines) != (first.hash, first.lines) {
            first.broken.push(format!(
                "invariant 13 (same seed, same trace): {:016x} ({} lines), then {:016x} ({} lines)",
                first.hash, first.lines, again.hash, again.lines
            ));
        }
    }
    Ok(first)
}

async fn in_process(seed: u64, change: &[String]) -> Result<Outcome, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("can't find this program: {error}"))?;
    let running = Command::new(program)
        .args(["sim", "--json", "--seed", &seed.to_string()])
        .args(change)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(SEED_WITHIN, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("its process was not started: {error}")),
        Err(_elapsed) => return Err(format!("its process did not end within {SEED_WITHIN:?}")),
    };
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("its process ended with {}: {error}", output.status))
}

fn as_text(sums: &Sums) -> String {
    let mut text = String::new();
    for Broken { seed, promises } in &sums.broken {
        for promise in promises {
            text.push_str(&format!("BROKEN  seed {seed}: {promise}\n"));
        }
    }
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<24}  {value}\n"));
    row("seeds", thousands(sums.seeds));
    row("broken", thousands(sums.broken.len() as u64));
    row("simulated time", format!("{:.1} h", sums.simulated_seconds / 3_600.0));
    row("time", format!("{:.0} s", sums.elapsed_seconds));
    for (name, count) in sums.counters.iter() {
        row(&name.replace('_', " "), thousands(count));
    }
    text
}
