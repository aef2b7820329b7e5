//! `holocron sim`: simulated clusters of the real library, with the faults that a seed draws.
//!
//! One seed runs in this process and is reported in full. With many seeds each runs in a process of its own: they share
//! the cores, a seed that hangs or aborts doesn't affect the others, and running a seed twice compares two processes.

mod many;
mod seeds;

use core::time::Duration;

use clap::Args;
use holocron_sim::{Faults, Outcome, Scenario};

use self::seeds::Seeds;
use crate::{
    exit::{self, Fail, Failure},
    table::thousands,
};

/// Run simulated clusters, from seeds, and check every promise
///
/// Hosts, clients and journals are real; time, network and store are simulated, with every fault that real ones have.
/// The same seed gives the same run. Exit code 3 means that a promise was broken.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron sim --seed 7
  holocron sim --seed 7 --faults crash,pause --minutes 2
  holocron sim --seeds 1..1000 --json"))]
pub(crate) struct Arguments {
    /// One seed: prints what happened, and on failure the end of its trace.
    #[arg(long, value_name = "N", required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Many seeds, from A to before B, in as many processes at once as there are cores.
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    #[command(flatten)]
    change: Change,
    /// With --seeds: processes at once, instead of one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), requires = "seeds")]
    jobs: Option<u16>,
    /// With --seeds: stop at the first broken promise.
    #[arg(long, requires = "seeds")]
    until_broken: bool,
    /// With --seeds: run each seed in two processes and compare their traces.
    #[arg(long, requires = "seeds")]
    twice: bool,
    /// Print a JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// What overrides the values drawn from the seed.
#[derive(Clone, Debug, Args)]
struct Change {
    /// Number of hosts; drawn from the seed if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=26))]
    hosts: Option<u16>,
    /// Number of vnodes under load; drawn from the seed if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(6..=100_000))]
    vnodes: Option<u32>,
    /// Simulated minutes under load; drawn from the seed if not given.
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<f64>,
    /// Faults by name, separated by commas, or all, or none; drawn from the seed if not given.
    #[arg(long, value_name = "NAMES")]
    faults: Option<Faults>,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.01..=10_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("a number from 0.01 to 10000".to_owned()),
    }
}

impl Change {
    fn scenario(&self, seed: u64) -> Scenario {
        let mut scenario = Scenario::new(seed);
        if let Some(hosts) = self.hosts {
            scenario.hosts = hosts.into();
        }
        if let Some(vnodes) = self.vnodes {
            scenario.vnodes = vnodes;
        }
        if let Some(minutes) = self.minutes {
            scenario.load = Duration::from_secs_f64(minutes * 60.0);
        }
        if let Some(faults) = &self.faults {
            scenario.faults = faults.clone();
        }
        scenario
    }

    /// The same as arguments, for another process.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([format!("--{name}"), value]);
            }
        };
        add("hosts", self.hosts.map(|hosts| hosts.to_string()));
        add("vnodes", self.vnodes.map(|vnodes| vnodes.to_string()));
        add("minutes", self.minutes.map(|minutes| minutes.to_string()));
        add("faults", self.faults.as_ref().map(ToString::to_string));
        arguments
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let Some(seed) = arguments.seed else {
        return many::run(arguments).await;
    };
    let scenario = arguments.change.scenario(seed);
    // The world has runtimes of its own, which must not run inside this one.
    let outcome = tokio::task::spawn_blocking(move || holocron_sim::run(&scenario))
        .await
        .map_err(|error| Fail::failed(format!("the simulation itself failed: {error}")))?;
    if arguments.json {
        println!("{}", serde_json::to_string(&outcome).expect("an outcome is plain data"));
    } else {
        print!("{}", as_text(&outcome));
    }
    verdict(&outcome)
}

fn verdict(outcome: &Outcome) -> Result<(), Fail> {
    let Some(first) = outcome.broken.first() else { return Ok(()) };
    Err(Fail::new(Failure::Broken, format!("seed {}: {first}", outcome.seed)))
}

fn as_text(outcome: &Outcome) -> String {
    let mut text = String::new();
    if !outcome.broken.is_empty() {
        for line in &outcome.tail {
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        for broken in &outcome.broken {
            text.push_str(&format!("BROKEN  {broken}\n"));
        }
        text.push('\n');
    }
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<24}  {value}\n"));
    row("seed", outcome.seed.to_string());
    row("simulated time", format!("{:.1} s", outcome.span.as_secs_f64()));
    row("trace", format!("{:016x} ({} lines)", outcome.hash, thousands(outcome.lines)));
    for (name, count) in outcome.counters.iter() {
        row(&name.replace('_', " "), thousands(count));
    }
    text
}
