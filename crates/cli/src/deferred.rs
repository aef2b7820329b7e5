//! `holocron deferred`: what a vnode is about to do, and what of it was set aside.

use clap::Args;
use holocron::{Amendment, DeferredItem, DeferredKind};
use holocron_protocol::ids::VnodeName;
use serde_json::{Value, json};

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    output::print,
    store::ClusterArguments,
    table,
    times::shown,
};

/// Show the timers, messages and effects of a vnode that aren't done; retry or drop what was set aside
///
/// A message that its target answers with a panic, and what has failed 24 times within about two hours, is set aside: it
/// stays, and isn't tried again until you say what to do with it. Nothing else of the vnode waits for it.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
Words:
  timer     a command of the vnode itself, at a time
  message   a command for another vnode
  effect    work outside that the vnode's kind does, such as a call of a service; it may have been done in part
  expiry    the time at which the vnode is deleted

Examples:
  holocron deferred --store file:///tmp/h cart c7
  holocron deferred --store file:///tmp/h cart c7 --retry 12
  holocron deferred --store file:///tmp/h cart c7 --json | jq '.items[] | select(.set_aside)'"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// The vnode's kind.
    kind: String,
    /// The vnode's key.
    key: String,
    /// Try the message or effect with this number again, now.
    #[arg(long, value_name = "NUMBER", conflicts_with = "drop")]
    retry: Option<u64>,
    /// Forget the message or effect with this number: it is never done.
    #[arg(long, value_name = "NUMBER")]
    drop: Option<u64>,
    /// Print a JSON object instead of text.
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
    let amendment = match (arguments.retry, arguments.drop) {
        (Some(number), _) => Some(Amendment::Retry(number)),
        (None, Some(number)) => Some(Amendment::Discard(number)),
        (None, None) => None,
    };
    if let Some(amendment) = amendment {
        client.amend(&name, amendment).await?;
    }
    let work = client.deferred(&name).await?;
    if arguments.json {
        let items: Vec<Value> = work.items.iter().map(as_json).collect();
        return print(&format!("{}\n", json!({ "vnode": name.to_string(), "items": items })));
    }
    if work.items.is_empty() {
        return print(&format!("{name} has nothing left to do\n"));
    }
    let rows: Vec<Vec<String>> = work.items.iter().map(row).collect();
    print(&table::render(&["what", "number", "when", "tries", "last failure"], &rows))
}

fn row(item: &DeferredItem) -> Vec<String> {
    let (what, number) = match &item.what {
        DeferredKind::Timer { name, .. } if name.is_empty() => ("expiry".to_owned(), String::new()),
        DeferredKind::Timer { name, every_ms: 0 } => (format!("timer {name}"), String::new()),
        DeferredKind::Timer { name, every_ms } => {
            (format!("timer {name}, every {every_ms} ms"), String::new())
        }
        DeferredKind::Message { number, to } => (format!("message to {to}"), number.to_string()),
        DeferredKind::Effect { number } => ("effect".to_owned(), number.to_string()),
    };
    let when = match item.due_ms {
        _ if item.set_aside => "set aside".to_owned(),
        0 => "now".to_owned(),
        due => shown(due),
    };
    vec![what, number, when, item.tries.to_string(), item.why.clone().unwrap_or_default()]
}

fn as_json(item: &DeferredItem) -> Value {
    let what = match &item.what {
        DeferredKind::Timer { name, every_ms } => {
            json!({ "what": "timer", "name": name, "every_ms": every_ms })
        }
        DeferredKind::Message { number, to } => {
            json!({ "what": "message", "number": number, "to": to })
        }
        DeferredKind::Effect { number } => json!({ "what": "effect", "number": number }),
    };
    let rest = json!({
        "due_ms": item.due_ms,
        "tries": item.tries,
        "set_aside": item.set_aside,
        "why": item.why,
    });
    match (what, rest) {
        (Value::Object(mut what), Value::Object(rest)) => {
            what.extend(rest);
            Value::Object(what)
        }
        (what, _) => what,
    }
}
