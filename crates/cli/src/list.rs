//! `holocron list`: the vnodes of a kind.

use clap::Args;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    output::print,
    store::ClusterArguments,
};

/// List the keys of the vnodes of a kind
///
/// Prints a key per line as the pages arrive, in no order. Each slot of the cluster is shown as it was committed at one
/// moment (a slot with more than 4096 vnodes page by page); a vnode that is created or deleted meanwhile may be listed or not.
/// The hosts read the newest record of every vnode, whatever its kind and key: a request per few megabytes.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron list --store file:///tmp/h counter
  holocron list --store file:///tmp/h cart --prefix eu/ | sort
  holocron list --store file:///tmp/h cart --json | jq -r .key"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The vnodes' kind.
    kind: String,
    /// Only keys that begin with this.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Print a JSON object per line instead of the key.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?.with_deadline(deadline.left());
    let mut listing = client.list(&arguments.kind, &arguments.prefix);
    let late =
        || Fail::new(Failure::Later, "the listing isn't complete; give it a longer --deadline");
    while let Some(keys) =
        timeout(deadline.left(), listing.next_page()).await.map_err(|_elapsed| late())??
    {
        let mut lines = String::new();
        for key in keys {
            if arguments.json {
                lines.push_str(&json!({ "kind": arguments.kind, "key": key }).to_string());
            } else {
                lines.push_str(&key);
            }
            lines.push('\n');
        }
        print(&lines)?;
    }
    Ok(())
}
