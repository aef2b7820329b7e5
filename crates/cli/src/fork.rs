//! `holocron fork`: a new vnode that begins with the state of another.

use clap::Args;
use holocron::ForkError;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail},
    store::ClusterArguments,
    vnode::name,
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
    let source = name(&arguments.kind, &arguments.source)?;
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?;
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
