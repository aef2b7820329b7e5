//! `holocron restore` and `holocron clone`: a cluster that begins as another was at one moment.

use std::sync::Arc;

use clap::Args;
use holocron::{
    Clock as _, SystemClock,
    backup::{self, Backups, Progress, Restored, Snapshot, Summary},
};
use serde_json::json;

use super::{TargetArguments, in_words, place::PlaceArguments, take, with_progress};
use crate::{
    exit::{self, Fail},
    store::ClusterArguments,
    table::thousands,
    times::When,
};

/// Make a new cluster from a backup
///
/// Copies a backup to an empty prefix, where it becomes a cluster of its own, with an id of its own: start hosts there. They
/// recover what was committed at the moment of the backup. Effects that were asked for and not done then run there again.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron restore --from file:///backups --to file:///tmp/restored
  holocron restore --from file:///backups --to file:///tmp/restored --at '2026-11-29 09:00:00'
  holocron restore --from file:///backups --to file:///tmp/restored --at 2h"))]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    from: PlaceArguments,
    #[command(flatten)]
    to: TargetArguments,
    /// The number of the backup. Without it and --at, the newest.
    #[arg(long, value_name = "NUMBER", conflicts_with = "at")]
    number: Option<u64>,
    /// The newest backup that was taken at this time or before, UTC; or that long ago.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    at: Option<When>,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Make a new cluster that begins as a running one is now
///
/// Takes a cut like `holocron backup` and copies it to an empty prefix, where it becomes a cluster of its own, with an id of
/// its own. The running one goes on.
#[derive(Debug, Args)]
#[command(name = "clone", after_help = exit::help("Examples:
  holocron clone --store file:///tmp/h --to file:///tmp/h-copy"))]
pub(crate) struct CloneArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    to: TargetArguments,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn restore(arguments: RestoreArguments) -> Result<(), Fail> {
    let backups = arguments.from.open().await?;
    let chosen = choose(&backups, arguments.number, arguments.at).await?;
    let snapshot = backups.open(chosen.number).await?;
    let restored = copy(&snapshot, &arguments.to).await?;
    if arguments.json {
        println!("{}", as_json(restored, json!({ "backup": chosen.number })));
    } else {
        println!("restored {}: {}", in_words(&chosen), as_text(restored, &arguments.to));
    }
    Ok(())
}

pub(crate) async fn clone(arguments: CloneArguments) -> Result<(), Fail> {
    let snapshot = take(&arguments.cluster).await?;
    let restored = copy(&snapshot, &arguments.to).await?;
    if arguments.json {
        println!("{}", as_json(restored, json!({ "of_epoch": snapshot.epoch().get() })));
    } else {
        println!("cloned {}: {}", snapshot.epoch(), as_text(restored, &arguments.to));
    }
    Ok(())
}

async fn copy(snapshot: &Snapshot, to: &TargetArguments) -> Result<Restored, Fail> {
    let target = to.open().await?;
    let progress = Arc::<Progress>::default();
    let restoring = backup::restore(snapshot, target, Arc::clone(&progress));
    Ok(with_progress("restored", progress, restoring).await?)
}

/// The backup that was asked for.
async fn choose(backups: &Backups, number: Option<u64>, at: Option<When>) -> Result<Summary, Fail> {
    let list = backups.list().await?;
    let until = at.map(|at| at.wall_ms(SystemClock.wall_ms()));
    let fits = |summary: &&Summary| {
        number.is_none_or(|number| summary.number == number)
            && until.is_none_or(|until| summary.taken_ms <= until)
    };
    let chosen = list.iter().rev().find(fits).cloned();
    chosen.ok_or_else(|| {
        Fail::failed(match list.first() {
            None => "there is no backup in this place".to_owned(),
            Some(oldest) if number.is_none() => {
                format!("there is no backup that old: the oldest is {}", in_words(oldest))
            }
            Some(_) => {
                "there is no backup of this number: `holocron backups` lists them".to_owned()
            }
        })
    })
}

fn as_text(restored: Restored, to: &TargetArguments) -> String {
    format!(
        "{} objects, checked; the cluster {} begins at {}. Start hosts with --store {}",
        thousands(restored.objects),
        restored.cluster,
        restored.epoch,
        to.to_url
    )
}

fn as_json(restored: Restored, mut of: serde_json::Value) -> serde_json::Value {
    of["cluster"] = json!(restored.cluster.to_string());
    of["epoch"] = json!(restored.epoch.get());
    of["objects"] = json!(restored.objects);
    of
}
