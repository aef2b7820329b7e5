//! `holocron backup`, `backups`, `restore` and `clone`: consistent copies of a cluster.

mod place;
mod restore;

use std::sync::{Arc, atomic::Ordering};

use clap::Args;
use holocron::backup::{Added, BackupError, Backups, Original, Progress, Snapshot};
use holocron_store::{Store, explain};
use serde_json::json;
use tokio::time::Instant;

pub(crate) use self::{
    place::{Arguments as ListArguments, run as list},
    restore::{CloneArguments, RestoreArguments, clone, restore},
};
use crate::{
    deadline::Deadline,
    exit::{self, Fail, Failure},
    scrub::size,
    store::{ClusterArguments, STORE_WITHIN, StoreOptions},
    table::thousands,
    times::{lasting, shown},
};

/// Copy a running cluster to another place, as it was at one moment
///
/// Takes a cut: all that was committed at one moment, and nothing else. Commands wait for some milliseconds meanwhile, at
/// most two seconds. Then copies what no earlier backup in that place has, checks the copy, and writes its manifest.
/// Let one backup at a time use a place.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron backup --store s3://bucket/cluster --to s3://other/backups --to-option region=eu-west-1 --keep 30
  holocron backups --from file:///backups
  holocron restore --from file:///backups --to file:///tmp/restored"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    to: TargetArguments,
    /// Then delete all but so many of the newest backups. Without it, all stay.
    #[arg(long, value_name = "BACKUPS", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Where a copy goes.
#[derive(Clone, Debug, Args)]
pub(crate) struct TargetArguments {
    /// Where the copy goes; a URL like that of `--store`.
    #[arg(long = "to", value_name = "URL")]
    to_url: String,
    /// An option of the client of that store, such as endpoint or region. May be repeated.
    #[arg(long = "to-option", value_name = "KEY=VALUE", value_parser = crate::store::pair)]
    to_options: Vec<(String, String)>,
}

impl TargetArguments {
    /// Opens it; a directory is made if it isn't there.
    async fn open(&self) -> Result<Arc<dyn Store>, Fail> {
        let pairs = self.to_options.clone();
        Deadline::within(STORE_WITHIN).open_or_make(&self.to_url, &StoreOptions { pairs }).await
    }
}

impl From<BackupError> for Fail {
    fn from(error: BackupError) -> Self {
        let failure = match &error {
            BackupError::NoCut(_) | BackupError::Store(_) => Failure::Later,
            BackupError::NoCluster(_)
            | BackupError::NotSupported(_)
            | BackupError::OtherCluster(_)
            | BackupError::NoBackup(_)
            | BackupError::NotEmpty(_) => Failure::Failed,
            BackupError::Malformed(_) | BackupError::Object { .. } | BackupError::Unsound(_) => {
                Failure::Damaged
            }
        };
        Self::new(failure, explain(&error))
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let backups = Backups::new(arguments.to.open().await?);
    let snapshot = take(&arguments.cluster).await?;
    let begun = Instant::now();
    let progress = Arc::<Progress>::default();
    let adding = backups.add(&snapshot, Arc::clone(&progress));
    let added = with_progress("copied", progress, adding).await?;
    let copied_in = begun.elapsed();
    // From here on nothing has to be kept for it.
    let (epoch, frozen_for) = (snapshot.epoch(), snapshot.frozen_for());
    drop(snapshot);
    let gone = match arguments.keep {
        Some(keep) => Some(backups.keep_newest(usize::try_from(keep).unwrap_or(usize::MAX)).await?),
        None => None,
    };
    let Added { number, copied, copied_bytes, shared } = added;
    if arguments.json {
        let (backups_deleted, objects_deleted) = gone.unwrap_or_default();
        println!(
            "{}",
            json!({
                "backup": number,
                "epoch": epoch.get(),
                "commits_waited_ms": u64::try_from(frozen_for.as_millis()).unwrap_or(u64::MAX),
                "objects_copied": copied,
                "bytes_copied": copied_bytes,
                "objects_shared": shared,
                "backups_deleted": backups_deleted,
                "objects_deleted": objects_deleted,
            })
        );
        return Ok(());
    }
    println!(
        "backup {number}: {epoch}; commits waited {frozen_for:.0?}; copied and checked {} objects, {}, in {}; {} were there already",
        thousands(copied),
        size(copied_bytes),
        lasting(copied_in),
        thousands(shared)
    );
    if let Some((backups, objects)) = gone {
        println!("deleted {backups} older backups and {} objects", thousands(objects));
    }
    Ok(())
}

/// Takes a cut of a cluster.
async fn take(cluster: &ClusterArguments) -> Result<Snapshot, Fail> {
    let store = Deadline::within(STORE_WITHIN).open(&cluster.store.url, &cluster.store.options);
    let original = Original::new(store.await?).network(cluster.tls.network()?);
    Ok(Snapshot::take(&original).await?)
}

/// Prints to standard error how far copying has come, while it runs.
async fn with_progress<T>(
    verb: &str,
    progress: Arc<Progress>,
    copying: impl Future<Output = Result<T, BackupError>>,
) -> Result<T, BackupError> {
    let mut copying = core::pin::pin!(copying);
    loop {
        tokio::select! {
            biased;
            done = &mut copying => return done,
            () = tokio::time::sleep(crate::scrub::PROGRESS_EVERY) => {
                let of = |count: &core::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
                eprintln!(
                    "holocron: {verb} {} of {} objects, {}",
                    thousands(of(&progress.objects)),
                    thousands(of(&progress.objects_known)),
                    size(of(&progress.bytes))
                );
            }
        }
    }
}

/// A backup in a line of text.
fn in_words(summary: &holocron::backup::Summary) -> String {
    format!("backup {} of {}, {}", summary.number, shown(summary.taken_ms), summary.epoch)
}
