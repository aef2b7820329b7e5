//! `holocron probe`: whether a store keeps the promises that Holocron needs.

use clap::Args;
use holocron::Random;
use holocron_store::{Probe, ProbeError, ProbeReport};
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail},
    store::StoreOptions,
};

/// Check whether a store keeps the promises that Holocron needs
///
/// Checks conditional creates, also under races, and that reads and listings see them. Refuses a store that breaks a
/// promise and names the promise. Deletes what it wrote.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron probe file:///tmp/h
  holocron probe s3://bucket/prefix --option endpoint=http://127.0.0.1:9000 --option allow_http=true"))]
pub(crate) struct Arguments {
    /// The store.
    #[arg(
        value_name = "URL",
        help = "The store: file:///path, s3://bucket/prefix, gs://… or az://…"
    )]
    url: String,
    #[command(flatten)]
    options: StoreOptions,
    /// Concurrent creates of one key. Higher: finds narrower races, opens more connections.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=256))]
    racers: u16,
    /// Number of races, one after the other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Print a JSON object instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let deadline = arguments.deadline.start();
    let store = deadline.open(&arguments.url, &arguments.options).await?;
    let probe = Probe {
        racers: arguments.racers.into(),
        rounds: arguments.rounds.into(),
        deadline: deadline.left(),
        ..Probe::new(Random::from_system().bits())
    };
    let report = holocron_store::probe(&store, &probe).await.map_err(|error| match error {
        ProbeError::Unreachable { last, .. } => deadline.no_answer(last.as_ref()),
        other @ (ProbeError::Broken { .. } | ProbeError::Refused { .. }) => other.into(),
    })?;
    if arguments.json {
        println!("{}", as_json(&report));
    } else {
        println!("{report}");
    }
    Ok(())
}

fn as_json(report: &ProbeReport) -> serde_json::Value {
    let milliseconds = |time: core::time::Duration| time.as_secs_f64() * 1_000.0;
    json!({
        "fit": true,
        "create_p50_ms": milliseconds(report.create_p50),
        "get_p50_ms": milliseconds(report.get_p50),
        "list_p50_ms": milliseconds(report.list_p50),
        "racers": report.racers,
        "rounds": report.rounds,
        "elapsed_ms": milliseconds(report.elapsed),
    })
}
