//! `holocron kinds`: the kinds that a cluster's hosts run, with their commands and queries.

use std::collections::BTreeMap;

use clap::Args;
use holocron::{CallArguments, CallDescription, KindDescription, Shape};
use holocron_protocol::ids::HostName;
use serde_json::{Value, json};

use crate::{
    call::usage,
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    known_kinds::ask_all,
    output::print,
    store::ClusterArguments,
};

/// List the kinds that the hosts run, with their commands, queries and types
///
/// Where hosts run different versions of a kind, each is listed with its hosts.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron kinds --store file:///tmp/h
  holocron kinds --store file:///tmp/h counter
  holocron kinds --store file:///tmp/h --json | jq '.kinds[].kind'"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Only this kind.
    kind: Option<String>,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

/// A kind, and the hosts that run it so.
struct Listed {
    kind: KindDescription,
    hosts: Vec<HostName>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?;
    let view = client.ready().await?;
    let answers = ask_all(client.network(), &view.record, deadline).await;
    let (mut listed, mut silent) = (Vec::new(), BTreeMap::new());
    for (host, answer) in answers {
        match answer {
            Ok(kinds) => kinds.into_iter().for_each(|kind| add(&mut listed, kind, &host)),
            Err(why) => drop(silent.insert(host, why)),
        }
    }
    if listed.is_empty() && !silent.is_empty() {
        let why: Vec<String> = silent.iter().map(|(host, why)| format!("{host}: {why}")).collect();
        return Err(Fail::new(Failure::Later, format!("no host answered. {}", why.join("; "))));
    }
    if let Some(only) = &arguments.kind {
        let names: Vec<String> = listed.iter().map(|listed| listed.kind.kind.clone()).collect();
        listed.retain(|listed| listed.kind.kind == *only);
        if listed.is_empty() {
            let why =
                format!("no host runs a kind named {only:?}; the kinds are: {}", names.join(", "));
            return Err(Fail::new(Failure::Usage, why));
        }
    }
    listed.sort_by(|one, other| {
        (&one.kind.kind, one.kind.version).cmp(&(&other.kind.kind, other.kind.version))
    });
    print(&if arguments.json {
        format!("{:#}\n", as_json(&listed, &silent))
    } else {
        as_text(&listed, &silent)
    })
}

fn add(listed: &mut Vec<Listed>, kind: KindDescription, host: &HostName) {
    match listed.iter_mut().find(|listed| listed.kind == kind) {
        Some(same) => same.hosts.push(host.clone()),
        None => listed.push(Listed { kind, hosts: vec![host.clone()] }),
    }
}

fn as_json(listed: &[Listed], silent: &BTreeMap<HostName, String>) -> Value {
    let kinds: Vec<Value> = listed
        .iter()
        .map(|Listed { kind, hosts }| {
            let mut value = json!(kind);
            value["hosts"] = json!(hosts);
            value
        })
        .collect();
    json!({ "kinds": kinds, "not_answered": silent })
}

fn as_text(listed: &[Listed], silent: &BTreeMap<HostName, String>) -> String {
    let mut out = String::new();
    for Listed { kind, hosts } in listed {
        let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        let shards = kind.shards.map(|count| format!(", {count} shards")).unwrap_or_default();
        out.push_str(&format!(
            "{}  version {}, {}{shards}, at {}\n",
            kind.kind,
            kind.version,
            kind.codec.name(),
            hosts.join(", ")
        ));
        for (noun, calls) in [("command", &kind.commands), ("query", &kind.queries)] {
            calls.iter().for_each(|call| out.push_str(&line(noun, call)));
        }
        out.push_str(&types(kind));
        out.push('\n');
    }
    for (host, why) in silent {
        out.push_str(&format!("{host} did not answer: {why}\n"));
    }
    out
}

fn line(noun: &str, call: &CallDescription) -> String {
    // A kind without the macro doesn't say its results.
    let is_known = call.result != Shape::Unknown;
    let result = if is_known { format!(" -> {}", call.result) } else { String::new() };
    let docs =
        if call.docs.is_empty() { String::new() } else { format!("\n             {}", call.docs) };
    format!("  {noun:<9}{}{result}{docs}\n", usage(call))
}

/// The state, and the named types in the state, the arguments and the results, each once.
fn types(kind: &KindDescription) -> String {
    let mut out = format!("  state    {}\n", kind.state.definition());
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut note = |name: &str, shape: &Shape| {
        let named = (name.to_owned(), shape.definition());
        // A result is written as such.
        if name != "Result" && !seen.contains(&named) {
            seen.push(named);
        }
    };
    for call in kind.commands.iter().chain(&kind.queries) {
        match &call.arguments {
            CallArguments::None => {}
            CallArguments::Named(parts) => {
                parts.iter().for_each(|part| part.shape.each_named(&mut note));
            }
            CallArguments::Value(shape) => shape.each_named(&mut note),
        }
        call.result.each_named(&mut note);
    }
    inside(&kind.state, &mut note);
    for (name, definition) in seen {
        out.push_str(&format!("  type     {name} = {definition}\n"));
    }
    out
}

/// The types inside a state, without the state's own.
fn inside(state: &Shape, note: &mut impl FnMut(&str, &Shape)) {
    let mut is_own = true;
    state.each_named(&mut |name, shape| {
        if !core::mem::take(&mut is_own) {
            note(name, shape);
        }
    });
}
