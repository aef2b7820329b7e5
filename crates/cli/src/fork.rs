//! `holocron fork`: a new vnode that begins with the state of another.

use clap::Args;
use holocron::ForkError;
use holocron_protocol::ids::VnodeName;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    store::ClusterArguments,
};

/// Make a new vnode that begins with the state of another
///
/// The state is that of a moment while the command runs. Timers, messages and effects that wait stay with the source. A vnode
/// that exists is never overwritten.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron fork --store file:///tmp/h cart c7 c7-copy"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The vnodes' kind.
    kind: String,
    /// The key of the vnode whose state is copied.
    source: String,
    /// The key of the new vnode.
    key: String,
    /// Print a JSON object instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let source = VnodeName::new(&arguments.kind, &arguments.source)
        .map_err(|error| Fail::new(Failure::Usage, error.to_string()))?;
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?.with_deadline(deadline.left());
    client.fork(&source, &arguments.key).await.map_err(|error| match error {
        ForkError::Call(error) => error.into(),
        refused @ (ForkError::NoSource(_) | ForkError::Exists(_)) => {
            Fail::failed(refused.to_string())
        }
    })?;
    let fork = format!("{}/{}", arguments.kind, arguments.key);
    if arguments.json {
        println!("{}", json!({ "fork": fork, "source": source.to_string() }));
    } else {
        println!("{fork} begins with the state of {source}");
    }
    Ok(())
}
