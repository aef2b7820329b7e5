//! `holocron backups`: which backups are in a place.

use std::sync::Arc;

use clap::Args;
use holocron::backup::{Backups, Summary};
use holocron_store::Store;
use serde_json::{Value, json};

use crate::{
    deadline::Deadline,
    exit::{self, Fail},
    scrub::size,
    store::{STORE_WITHIN, StoreOptions},
    table::{render, thousands},
    times::{rfc3339, shown},
};

/// List the backups in a place, oldest first
#[derive(Debug, Args)]
#[command(name = "backups", after_help = exit::help("Examples:
  holocron backups --from file:///backups"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    from: PlaceArguments,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// A place of backups.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArguments {
    /// The place of the backups; a URL like that of `--store`.
    #[arg(long = "from", value_name = "URL")]
    from_url: String,
    /// An option of the client of that store, such as endpoint or region. May be repeated.
    #[arg(long = "from-option", value_name = "KEY=VALUE", value_parser = crate::store::pair)]
    from_options: Vec<(String, String)>,
}

impl PlaceArguments {
    pub(super) async fn open(&self) -> Result<Backups, Fail> {
        let options = StoreOptions { pairs: self.from_options.clone() };
        let store: Arc<dyn Store> =
            Deadline::within(STORE_WITHIN).open(&self.from_url, &options).await?;
        Ok(Backups::new(store))
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let list = arguments.from.open().await?.list().await?;
    if arguments.json {
        println!("{:#}", json!({ "backups": list.iter().map(as_json).collect::<Vec<_>>() }));
        return Ok(());
    }
    if list.is_empty() {
        println!("no backups");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|summary| {
            vec![
                summary.number.to_string(),
                shown(summary.taken_ms),
                summary.epoch.to_string(),
                thousands(summary.objects),
                size(summary.bytes),
            ]
        })
        .collect();
    print!("{}", render(&["backup", "taken", "epoch", "objects", "size"], &rows));
    Ok(())
}

fn as_json(summary: &Summary) -> Value {
    json!({
        "backup": summary.number,
        "cluster": summary.cluster.to_string(),
        "taken": rfc3339(summary.taken_ms),
        "taken_ms": summary.taken_ms,
        "epoch": summary.epoch.get(),
        "objects": summary.objects,
        "bytes": summary.bytes,
    })
}
