//! `holocron explain`: who owns a vnode, since when and why, and where its newest state is.

mod text;

use clap::Args;
use holocron::{ask, inspect::Explained};
use serde_json::Value;

use crate::{
    deadline::DeadlineArguments,
    domains::DomainArguments,
    exit::{self, Fail},
    output::print,
    status::ANSWER_WITHIN,
    store::ClusterArguments,
    times::rfc3339,
    vnode::VnodeArguments,
};

/// Explain one vnode: which host owns it, since when and why, and where its newest state is
///
/// Reads the epoch log, and the journals and packs of the hosts that owned the vnode's slot, and changes nothing. Then
/// asks the owner whether the vnode is in its memory. Works while all hosts are down.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
Words:
  slot      a fixed share of the vnodes, chosen by the hash of kind and key; what a host is given
  owner     the host that runs the commands of the slot's vnodes, from one epoch on; that hold is called a tenure
  source    an earlier tenure whose records may still be needed to recover the slot. It stays listed until the owner has
            copied all of them into a checkpoint of its own
  commit    a write of the vnode's state: commit 7 is the seventh since the vnode was created
  journal   what a host has written, batch by batch; a pack holds the records of many vnodes from older batches
  dormant   not in memory; the next call loads the vnode

Examples:
  holocron explain --store file:///tmp/h counter alice
  holocron explain --store file:///tmp/h counter alice --json | jq .newest"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    domains: DomainArguments,
    #[command(flatten)]
    vnode: VnodeArguments,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let name = arguments.vnode.name()?;
    let deadline = arguments.deadline.start();
    let mut reader = deadline.reader(&arguments.cluster.store).await?;
    for domain in arguments.domains.load()?.domains {
        let store = domain.open(deadline).await?;
        reader = reader.with_domain(&domain.name, store);
    }
    let mut explained = deadline.read(reader.explain(&name)).await?;
    if let Some((address, message)) = explained.question() {
        let network = arguments.cluster.tls.network()?;
        let within = deadline.left().min(ANSWER_WITHIN);
        let reply = ask(&*network, address, message, within).await;
        explained = explained.answered(reply.map_err(|error| error.to_string()));
    }
    if arguments.json {
        print(&format!("{:#}\n", as_json(&explained)))
    } else {
        print(&text::of(&explained))
    }
}

/// With the time of the epoch as a text.
fn as_json(explained: &Explained) -> Value {
    let mut json = explained.as_json();
    if let Some(wall_ms) = json["owner"]["wall_ms"].as_u64() {
        json["owner"]["time"] = rfc3339(wall_ms).into();
    }
    json
}
