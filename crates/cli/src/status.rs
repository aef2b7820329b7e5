//! `holocron status`: the state of a cluster, from its newest epoch record and from each host that answers.

mod leading;

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

pub(crate) use self::leading::sentences;
use clap::Args;
use futures::{StreamExt, stream};
use holocron::{
    Clock, HostStatus, NotOpen, PeerMessage, PeerReply, SystemClock, ask, net::Network,
};
use holocron_protocol::{
    checkpoint::retain::Copying,
    epoch::{
        record::{EpochRecord, HostEntry, HostState},
        versions::KindVersions,
    },
    ids::HostName,
};
use serde_json::{Value, json};

use crate::{
    deadline::{Deadline, DeadlineArguments},
    domain,
    exit::{self, Fail},
    settle::slots_of,
    store::ClusterArguments,
    table::{render, thousands},
};

/// Show the hosts of a cluster, who leads, and who holds how many slots
///
/// Also shows slots that come and go, the measured load (as much as that many commands per second), the progress of their
/// journals, what the leader is about to move, and what it waits for. Needs only the store, and names the hosts that did not
/// answer.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron status --store file:///tmp/h
  holocron status --store file:///tmp/h --json | jq .leader"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Print a JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?;
    let view = client.ready().await?;
    let answers = ask_all(client.network(), &view.record, deadline).await;
    if arguments.json {
        println!("{:#}", as_json(&view.record, &answers));
    } else {
        print!("{}", as_text(&view.record, &answers));
    }
    Ok(())
}

/// How long one host may take to answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Hosts asked at a time.
const ASKED_AT_ONCE: usize = 64;

/// The status of each host, or why it did not answer.
pub(crate) type Answers = BTreeMap<HostName, Result<HostStatus, String>>;

/// Asks each host for its status.
pub(crate) async fn ask_all(
    network: &Arc<dyn Network>,
    record: &EpochRecord,
    deadline: Deadline,
) -> Answers {
    let asked = record.hosts.iter().map(|(name, host)| async move {
        let within = deadline.left().min(ANSWER_WITHIN);
        (name.clone(), status_within(&**network, &host.address, within).await)
    });
    stream::iter(asked).buffer_unordered(ASKED_AT_ONCE).collect().await
}

/// The status of the host at an address.
pub(crate) async fn status_of(network: &dyn Network, address: &str) -> Result<HostStatus, String> {
    status_within(network, address, ANSWER_WITHIN).await
}

async fn status_within(
    network: &dyn Network,
    address: &str,
    within: Duration,
) -> Result<HostStatus, String> {
    match ask(network, address, PeerMessage::Status, within).await {
        Ok(PeerReply::Status(status)) => Ok(*status),
        Ok(other) => Err(format!("{address}: unexpected answer: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn state_of(host: &HostEntry) -> &'static str {
    match host.state {
        HostState::Active => "active",
        HostState::Draining => "draining",
    }
}

fn as_json(record: &EpochRecord, answers: &Answers) -> Value {
    let hosts: Vec<Value> = record
        .hosts
        .iter()
        .map(|(name, host)| {
            let (status, error) = match answers.get(name) {
                Some(Ok(status)) => (json!(status), Value::Null),
                Some(Err(why)) => (Value::Null, json!(why)),
                None => (Value::Null, json!("not asked")),
            };
            json!({
                "name": name.as_str(),
                "address": host.address,
                "state": state_of(host),
                "weight": host.weight,
                "versions": host.versions,
                "slots": slots_of(record, name),
                "leads": *name == record.leader.host,
                "answered": error.is_null(),
                "status": status,
                "error": error,
            })
        })
        .collect();
    json!({
        "epoch": record.epoch.get(),
        "reason": record.reason,
        "wall_ms": record.wall_ms,
        "leader": record.leader.host.as_str(),
        "slots": record.slot_count,
        "shards": record.shards,
        "hosts": hosts,
        "domains": domain::as_json(record),
    })
}

fn as_text(record: &EpochRecord, answers: &Answers) -> String {
    const HEADER: [&str; 14] = [
        "host",
        "address",
        "state",
        "slots",
        "coming",
        "going",
        "load",
        "vnodes",
        "active",
        "packs",
        "commands",
        "queries",
        "committed",
        "checkpoint",
    ];
    let ago = Duration::from_millis(SystemClock.wall_ms().saturating_sub(record.wall_ms));
    let mut out = format!(
        "epoch {}, {} s ago: {}\n{} leads; {} slots\n\n",
        record.epoch.get(),
        thousands(ago.as_secs()),
        record.reason,
        record.leader.host,
        thousands(record.slot_count.into()),
    );
    out.push_str(&kinds_with_shards(record));
    let mut header = HEADER.to_vec();
    if !record.shards.is_empty() {
        header.push("shards");
    }
    let rows: Vec<Vec<String>> = record
        .hosts
        .iter()
        .map(|(name, host)| {
            let mut row = vec![name.to_string(), host.address.clone(), state_of(host).to_owned()];
            row.push(thousands(slots_of(record, name) as u64));
            if let Some(Ok(status)) = answers.get(name) {
                row.extend(
                    [
                        status.slots_waiting.into(),
                        status.slots_going.into(),
                        status.load,
                        status.vnodes_known,
                        status.vnodes_active,
                        status.packs.into(),
                        status.commands,
                        status.queries,
                        status.progress.committed.get(),
                        status.progress.checkpoint_at.get(),
                    ]
                    .map(thousands),
                );
                if !record.shards.is_empty() {
                    row.push(format!("{}/{}", status.shards.open, status.shards.serving));
                }
            } else {
                row.resize(header.len(), "?".to_owned());
            }
            row
        })
        .collect();
    out.push_str(&render(&header, &rows));
    if record.domains.len() > 1 {
        out.push('\n');
        out.push_str(&domain::as_text(record));
    }
    out.push_str(&unread(record));
    answers.values().flatten().for_each(|status| out.push_str(&under_way(status)));
    answers.iter().for_each(|(name, answer)| out.push_str(&trouble(name, answer)));
    out
}

/// A line for what a host can't read of its slots.
fn unread(record: &EpochRecord) -> String {
    let mut counts: BTreeMap<(&HostName, &KindVersions), u64> = BTreeMap::new();
    for domain in record.domains.values() {
        for (slot, kinds) in &domain.unread {
            let owner = domain.slots.holding(*slot).owner;
            if let Some((host, _)) = owner.and_then(|owner| record.host_of(owner.session)) {
                *counts.entry((host, kinds)).or_default() += 1;
            }
        }
    }
    let line = |((host, kinds), count): ((&HostName, &KindVersions), u64)| {
        let count = thousands(count);
        format!(
            "{host} can't read {kinds}, which may be in {count} of its slots: start a host that can\n"
        )
    };
    counts.into_iter().map(line).collect()
}

/// What a host does about slots that move, and which domains it doesn't serve.
fn under_way(status: &HostStatus) -> String {
    let name = &status.name;
    let mut out = String::new();
    for domain in &status.domains {
        if let Some(why) = &domain.trouble {
            out.push_str(&format!("{name} doesn't serve domain {}: {why}\n", domain.name));
        }
    }
    if status.copying == Copying::Remaining {
        out.push_str(&format!("{name} copies the states of slots that it got\n"));
    }
    for sentence in status.leading.iter().flat_map(sentences) {
        out.push_str(&format!("{sentence}\n"));
    }
    out
}

/// A host that did not answer, or what isn't open at one that did.
fn trouble(name: &HostName, answer: &Result<HostStatus, String>) -> String {
    let status = match answer {
        Ok(status) => status,
        Err(why) => return format!("{name} did not answer: {why}\n"),
    };
    let line = |NotOpen { vnode, failures, why }: &NotOpen| match failures {
        0 => format!("{vnode} is not open at {name}: {why}\n"),
        failures => {
            format!("{vnode} is not open at {name}: {why} ({failures} failures in a row)\n")
        }
    };
    status.shards.not_open.iter().map(line).collect()
}

/// A line for each kind with shards.
fn kinds_with_shards(record: &EpochRecord) -> String {
    let lines = record.shards.kinds().map(|(kind, shards)| {
        let hosts: Vec<&str> = shards.hosts.iter().map(HostName::as_str).collect();
        let at = match hosts.is_empty() {
            true => "no host runs the kind".to_owned(),
            false => format!("at {}", hosts.join(", ")),
        };
        format!("{kind}: {} shards, {at}\n", shards.count)
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { lines + "\n" }
}
