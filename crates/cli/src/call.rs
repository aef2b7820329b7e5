//! `holocron call`: one command or query from the shell.
//!
//! The shell knows no types: it asks a host which commands and queries the kind has, and calls in JSON.

mod body;

use bytes::Bytes;
use clap::Args;
use holocron::{Body, Format};
use holocron_protocol::ids::VnodeName;

pub(crate) use self::body::usage;
use self::body::{Wanted, body, find};
use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    known_kinds::{KnownKinds, host_first},
    store::ClusterArguments,
};

/// Send one command or query to a vnode
///
/// Prints the answer as JSON. Works with every kind that the cluster's hosts run: `holocron kinds` lists them.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
Arguments are JSON, each in order or all by name in one object. Text needs no quotes where the kind expects text.
A kind whose commands have no names takes the command itself, as JSON.

Examples:
  holocron call --store file:///tmp/h counter alice add 5
  holocron call --store file:///tmp/h counter alice value
  holocron call --store file:///tmp/h kv settings put colour blue
  holocron call --store file:///tmp/h kv settings put '{\"field\":\"colour\",\"value\":\"blue\"}'"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The vnode's kind.
    kind: String,
    /// The vnode's key. A vnode is created by its first command.
    key: String,
    /// The command or query.
    #[arg(value_name = "COMMAND")]
    word: String,
    /// Its arguments, as JSON.
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// It is a query, if the kind has a command of that name too, or calls without names.
    #[arg(long)]
    query: bool,
    /// Answer a query from the owner's memory. Cheaper, but stale if the owner was fenced a moment ago.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let usage = |why: String| Fail::new(Failure::Usage, why);
    let name = VnodeName::new(&arguments.kind, &arguments.key)
        .map_err(|invalid| usage(invalid.to_string()))?;
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?.with_deadline(deadline.left());
    let view = client.ready().await?;
    let hosts = host_first(&view.record, &name);
    let known = KnownKinds::ask_one(&client, &hosts, deadline, name.kind()).await?;
    let Some(kind) = known.of(name.kind()) else {
        return Err(usage(format!(
            "no host runs a kind named {:?}; the kinds are: {}",
            name.kind(),
            known.names()
        )));
    };
    let wanted = match (arguments.local, arguments.query) {
        (true, _) => Wanted::Local,
        (false, true) => Wanted::Query,
        (false, false) => Wanted::Any,
    };
    let (mode, call) = find(kind, &arguments.word, wanted).map_err(usage)?;
    let body = body(call, &arguments.word, &arguments.arguments).map_err(usage)?;
    let body = Body { format: Format::Json, bytes: Bytes::from(body) };
    let reply = client.call(&name, mode, body, deadline.left()).await?;
    println!("{}", String::from_utf8_lossy(&reply));
    Ok(())
}
