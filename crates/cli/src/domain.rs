//! `holocron domain`: shows the domains of a cluster, adds one and removes one.

use core::time::Duration;

use clap::{Args, Subcommand};
use holocron::{PeerMessage, Rule};
use holocron_protocol::{
    epoch::{
        domain::{DomainState, Names, Offer},
        record::{DomainEntry, EpochRecord},
    },
    ids::{DomainId, Epoch},
};
use serde_json::{Value, json};

use crate::{
    deadline::{Deadline, DeadlineArguments},
    exit::{self, Fail, Failure},
    leader::ask_leader,
    status::status_of,
    store::ClusterArguments,
    table::{render, thousands},
};

/// The pause between two looks for a newer record.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Show, add or remove domains: stores of their own for some of the vnodes
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron domain list --store file:///tmp/h
  holocron domain add acme --key-prefix acme/ --store file:///tmp/h
  holocron domain remove acme --store file:///tmp/h"))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(ListArguments),
    Add(AddArguments),
    Remove(RemoveArguments),
}

/// Show the domains, what they take and which hosts serve them
#[derive(Debug, Args)]
struct ListArguments {
    #[command(flatten)]
    of: Common,
}

/// Add a domain to the cluster
///
/// Do this only if none of the vnodes that it takes exists: those that do would stay in the home domain, where they are not
/// found any more. Don't call such vnodes until the command has returned. A host serves the domain once it has its URL (`holocron
/// host --domain`), and may have it before.
#[derive(Debug, Args)]
struct AddArguments {
    /// Its name.
    name: String,
    /// It takes vnodes of this kind. May be repeated.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// It takes vnodes whose key begins with this. May be repeated.
    #[arg(long = "key-prefix", value_name = "PREFIX")]
    key_prefixes: Vec<String>,
    #[command(flatten)]
    of: Common,
}

/// Take a domain out of use
///
/// Its vnodes can't be called any more, and its name and rules are never given to another domain. Its objects stay in its
/// store; delete them when no host runs with its URL any more. This can't be undone.
#[derive(Debug, Args)]
struct RemoveArguments {
    /// Its name.
    name: String,
    #[command(flatten)]
    of: Common,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    match arguments.action {
        Action::List(arguments) => list(arguments.of).await,
        Action::Add(arguments) => add(arguments).await,
        Action::Remove(arguments) => remove(arguments).await,
    }
}

async fn list(of: Common) -> Result<(), Fail> {
    let client = of.deadline.start().connect(&of.cluster).await?;
    let record = client.ready().await?.record;
    if of.json {
        println!("{:#}", as_json(&record));
    } else {
        print!("{}", as_text(&record));
    }
    Ok(())
}

async fn add(arguments: AddArguments) -> Result<(), Fail> {
    let AddArguments { name, kinds, key_prefixes, of } = arguments;
    let rules = kinds.into_iter().map(Rule::Kind);
    let rules = rules.chain(key_prefixes.into_iter().map(Rule::KeyPrefix)).collect();
    let offer = Offer { name: name.clone(), rules, store: None, names: Names::New };
    offer.check().map_err(|why| Fail::new(Failure::Usage, why))?;
    let asked = PeerMessage::OfferDomain(offer);
    let epoch = until(&of, asked, |record| record.domain_named(&name).is_some()).await?;
    if of.json {
        println!("{}", json!({ "domain": name, "epoch": epoch.get() }));
    } else {
        println!("domain {name} is added since {epoch}, and every host knows it");
    }
    Ok(())
}

async fn remove(arguments: RemoveArguments) -> Result<(), Fail> {
    let RemoveArguments { name, of } = arguments;
    let is_removed = |record: &EpochRecord| {
        let named = record.domain_named(&name);
        named.is_some_and(|(_, domain)| domain.state == DomainState::Removed)
    };
    let epoch = until(&of, PeerMessage::RemoveDomain(name.clone()), is_removed).await?;
    if of.json {
        println!("{}", json!({ "domain": name, "epoch": epoch.get() }));
    } else {
        println!("domain {name} is removed since {epoch}, and no host serves it any more");
    }
    Ok(())
}

/// Asks the leader, and waits until a record says it and every host acts on that record.
async fn until(
    of: &Common,
    asked: PeerMessage,
    is_so: impl Fn(&EpochRecord) -> bool,
) -> Result<Epoch, Fail> {
    let deadline = of.deadline.start();
    let client = deadline.connect(&of.cluster).await?;
    ask_leader(&client, asked, deadline).await?;
    let reader = deadline.reader(&of.cluster.store).await?;
    let record = loop {
        let kept = deadline.read(reader.kept()).await?;
        let entry = deadline.read(reader.entry(kept.newest)).await?;
        match entry.record() {
            Some(record) if is_so(record) => break record.clone(),
            Some(_) | None => pause(deadline, "no record says it yet").await?,
        }
    };
    for (name, host) in &record.hosts {
        loop {
            let why = match status_of(&**client.network(), &host.address).await {
                Ok(status) if status.epoch >= record.epoch => break,
                Ok(status) => format!("it is at {}", status.epoch),
                Err(why) => why,
            };
            let what = format!("{} says it, but {name} has not acted on it: {why}", record.epoch);
            pause(deadline, &what).await?;
        }
    }
    Ok(record.epoch)
}

/// Waits a little, or fails at the deadline.
async fn pause(deadline: Deadline, what: &str) -> Result<(), Fail> {
    if deadline.left().is_zero() {
        let sentence = format!("the leader has noted it, and it will be done; {what}");
        return Err(Fail::new(Failure::Later, sentence));
    }
    tokio::time::sleep(LOOK_EVERY.min(deadline.left())).await;
    Ok(())
}

/// The hosts that serve a domain, each with its slots there.
fn served_by(record: &EpochRecord, id: DomainId, domain: &DomainEntry) -> Vec<(String, usize)> {
    let hosts = record.hosts.iter().filter_map(|(name, host)| {
        let session = host.sessions.get(&id)?;
        Some((name.to_string(), domain.slots.owned_by(*session).count()))
    });
    hosts.collect()
}

/// What a domain takes, in words.
fn takes(domain: &DomainEntry) -> String {
    if domain.rules.is_empty() {
        return "what no other domain takes".to_owned();
    }
    let rules = domain.rules.iter().map(|rule| match rule {
        Rule::Kind(kind) => format!("kind {kind}"),
        Rule::KeyPrefix(prefix) => format!("keys {prefix}*"),
    });
    rules.collect::<Vec<_>>().join(", ")
}

fn state(id: DomainId, domain: &DomainEntry) -> &'static str {
    match (domain.state, domain.store) {
        (DomainState::Removed, _) => "removed",
        (DomainState::Serving, None) if id != DomainId::HOME => "no store yet",
        (DomainState::Serving, _) => "in use",
    }
}

/// The domains of a record, as a table.
pub(crate) fn as_text(record: &EpochRecord) -> String {
    let rows: Vec<Vec<String>> = record
        .domains
        .iter()
        .map(|(id, domain)| {
            let served = served_by(record, *id, domain);
            let served = served
                .iter()
                .map(|(name, slots)| format!("{name} ({})", thousands(*slots as u64)))
                .collect::<Vec<_>>();
            let served = if served.is_empty() { "no host".to_owned() } else { served.join(", ") };
            vec![domain.name.clone(), state(*id, domain).to_owned(), served, takes(domain)]
        })
        .collect();
    render(&["domain", "state", "served by (slots)", "takes"], &rows)
}

/// The domains of a record, for programs.
pub(crate) fn as_json(record: &EpochRecord) -> Value {
    let domains = record.domains.iter().map(|(id, domain)| {
        let hosts: serde_json::Map<String, Value> = served_by(record, *id, domain)
            .into_iter()
            .map(|(name, slots)| (name, json!(slots)))
            .collect();
        json!({
            "name": domain.name,
            "number": id.0,
            "state": state(*id, domain),
            "store": domain.store.map(|store| store.to_string()),
            "rules": domain.rules,
            "slots_by_host": hosts,
        })
    });
    Value::Array(domains.collect())
}
