//! `holocron drain`: move all slots of a host to others.

use clap::Args;
use holocron::PeerMessage;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail},
    leader::{ask_leader, known_host},
    settle::{slots_of, until_moved},
    store::StoreArguments,
};

/// Move all slots of a host to other hosts
///
/// Callers see slow calls at most, no failed ones. The host stays in the cluster without slots until its process
/// restarts, or until --undo. Stopping a host with SIGTERM drains it too. Returns when every slot is served elsewhere;
/// with --undo at once.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron drain --store file:///tmp/h h2 --deadline 60
  holocron drain --store file:///tmp/h h2 --undo"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The host's name.
    host: String,
    /// Give the host slots again.
    #[arg(long)]
    undo: bool,
    /// Print a JSON object instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.store).await?;
    let record = client.ready().await?.record;
    let host = known_host(&record, &arguments.host)?;
    if arguments.undo {
        ask_leader(&client, PeerMessage::Undrain(host.clone()), deadline).await?;
        if arguments.json {
            println!("{}", json!({ "host": host.as_str(), "draining": false }));
        } else {
            println!("{host} will get slots again");
        }
        return Ok(());
    }
    let slots = slots_of(&record, &host);
    ask_leader(&client, PeerMessage::Drain(host.clone()), deadline).await?;
    let reader = deadline.reader(&arguments.store).await?;
    let epoch = until_moved(&reader, record, deadline, |record| slots_of(record, &host)).await?;
    if arguments.json {
        let epoch = epoch.get();
        println!(
            "{}",
            json!({ "host": host.as_str(), "draining": true, "slots": slots, "epoch": epoch })
        );
    } else {
        println!("{host} is drained: {slots} slots moved, served elsewhere since {epoch}");
    }
    Ok(())
}
