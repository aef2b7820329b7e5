//! `holocron call`: one command or query from the shell.

use clap::Args;
use holocron::VnodeRef;
use serde_json::Value;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    kinds::{self, Counter, Kv, ShellCall, ShellKind},
    store::StoreArguments,
};

/// Send one command or query to a vnode
///
/// Prints the answer as JSON.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The vnode's kind: counter or kv.
    kind: String,
    /// The vnode's key. A vnode is created by its first command.
    key: String,
    /// The command or query, see below.
    #[arg(value_name = "COMMAND")]
    word: String,
    /// Its argument, as JSON.
    #[arg(value_name = "JSON", value_parser = parse_json, allow_hyphen_values = true)]
    argument: Option<Value>,
    /// Answer a query from the owner's memory. Cheaper, but stale if the owner was fenced a moment ago.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

fn after_help() -> String {
    exit::help(&format!(
        "Commands and queries:\n{}\nExamples:
  holocron call --store file:///tmp/h counter alice add 5
  holocron call --store file:///tmp/h counter alice value
  holocron call --store file:///tmp/h kv settings put '{{\"field\":\"colour\",\"value\":\"blue\"}}'",
        kinds::describe(),
    ))
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("not JSON ({error}); write text in quotes: '\"text\"'"))
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let answer = match arguments.kind.as_str() {
        "counter" => call::<Counter>(&arguments).await?,
        "kv" => call::<Kv>(&arguments).await?,
        kind => {
            let why = format!("no built-in kind is named {kind:?}; the kinds are counter and kv");
            return Err(Fail::new(Failure::Usage, why));
        }
    };
    println!("{answer}");
    Ok(())
}

async fn call<V: ShellKind>(arguments: &Arguments) -> Result<Value, Fail> {
    let argument = arguments.argument.clone().unwrap_or(Value::Null);
    // Before connecting, so that a wrong argument fails at once.
    let call = kinds::parse::<V>(&arguments.word, &argument)
        .map_err(|why| Fail::new(Failure::Usage, why))?;
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.store).await?.with_deadline(deadline.left());
    let vnode: VnodeRef<V> = client.get(&arguments.key);
    let answer = match call {
        ShellCall::Command(_) if arguments.local => {
            return Err(Fail::new(Failure::Usage, "--local works with queries only"));
        }
        ShellCall::Command(command) => serde_json::to_value(vnode.command(command).await?),
        ShellCall::Query(query) if arguments.local => {
            serde_json::to_value(vnode.local(query).await?)
        }
        ShellCall::Query(query) => serde_json::to_value(vnode.query(query).await?),
    };
    answer.map_err(|error| Fail::failed(format!("the answer can't be written as JSON: {error}")))
}
