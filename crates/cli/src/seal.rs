//! `holocron seal`: end a host's session by force.

use clap::Args;
use holocron::PeerMessage;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail},
    leader::{ask_leader, known_host},
    store::ClusterArguments,
};

/// Seal a host's session and move its slots to other hosts
///
/// Asks the leader to do it. Everything the host acknowledged stays. A healthy host opens a new session and rejoins.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron seal --store file:///tmp/h h2"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The host's name.
    host: String,
    /// Print a JSON object instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?;
    let host = known_host(&client.ready().await?.record, &arguments.host)?;
    let leader = ask_leader(&client, PeerMessage::Seal(host.clone()), deadline).await?;
    if arguments.json {
        println!("{}", json!({ "sealed": host.as_str(), "by": leader }));
    } else {
        println!("the leader at {leader} seals {host}");
    }
    Ok(())
}
