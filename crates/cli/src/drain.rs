//! `holocron drain`: move all slots of a host to others.

use clap::Args;
use holocron::PeerMessage;
use holocron_protocol::epoch::record::HostState;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail},
    leader::{ask_leader, known_host},
    settle::{Moved, Order, session_of},
    store::ClusterArguments,
};

/// Move all slots of a host to other hosts
///
/// Callers see slow calls at most, no failed ones. The host stays in the cluster without slots until it joins
/// again (it restarts, or was sealed), or until --undo. Stopping a host with SIGTERM drains it too. Returns when every slot is served elsewhere;
/// with --undo at once.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron drain --store file:///tmp/h h2 --deadline 60
  holocron drain --store file:///tmp/h h2 --undo"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
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
    let client = deadline.connect(&arguments.cluster).await?;
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
    let (slots, session) = (record.slots_to_hand_over(&host), session_of(&record, &host));
    let order = PeerMessage::Drain(host.clone());
    ask_leader(&client, order.clone(), deadline).await?;
    let reader = deadline.reader(&arguments.cluster.store).await?;
    let drain = Order { client: &client, reader: &reader, deadline, order, host: &host };
    let epoch = drain.until_done(record, |record| {
        let state = record.hosts.get(&host).map(|host| host.state);
        match (record.slots_to_hand_over(&host), state) {
            _ if session_of(record, &host) != session => Moved::Gone,
            (0, Some(HostState::Draining)) => Moved::Done,
            (left, _) => Moved::Left(left),
        }
    });
    let epoch = epoch.await?;
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
