//! `holocron delete`: deletes a vnode.

use clap::Args;
use holocron_protocol::ids::VnodeName;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    store::ClusterArguments,
};

/// Delete a vnode: its state and its timers
///
/// Its next command begins with the default state of its kind. Messages that it has sent are still delivered. Its name stays in
/// the store, so that no earlier request runs again.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron delete --store file:///tmp/h counter alice"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The vnode's kind.
    kind: String,
    /// The vnode's key.
    key: String,
    /// Print a JSON object instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let name = VnodeName::new(&arguments.kind, &arguments.key)
        .map_err(|error| Fail::new(Failure::Usage, error.to_string()))?;
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?.with_deadline(deadline.left());
    client.delete(&name).await?;
    if arguments.json {
        println!("{}", json!({ "deleted": name.to_string() }));
    } else {
        println!("{name} is deleted");
    }
    Ok(())
}
