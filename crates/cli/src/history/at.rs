//! `--at`: the cluster as it was at a time.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron::{Clock as _, SystemClock};
use holocron_protocol::{
    epoch::record::{EpochRecord, HostState},
    ids::{DomainId, HostName},
};
use serde_json::{Value, json};

use super::{Source, teller::Form};
use crate::{
    domain,
    exit::Fail,
    output::print,
    table::{render, thousands},
    times::{When, lasting, rfc3339, shown},
};

pub(super) async fn show(source: &Source, when: When, form: Form) -> Result<(), Fail> {
    let wall_ms = when.wall_ms(SystemClock.wall_ms());
    let found = source.deadline.read(source.reader.record_at(source.kept, wall_ms)).await?;
    let Some(record) = found else {
        return Err(nothing_of(source, wall_ms).await);
    };
    match form {
        Form::Text => {
            let age = Duration::from_millis(wall_ms - record.wall_ms);
            print(&format!(
                "At {} the newest epoch was {}, {} old.\n{}",
                shown(wall_ms),
                thousands(record.epoch.get()),
                lasting(age),
                state_as_text(&record)
            ))
        }
        Form::Json => {
            let mut state = state_as_json(&record);
            state["at"] = json!(rfc3339(wall_ms));
            print(&format!("{state}\n"))
        }
    }
}

/// Why nothing is known of a time.
async fn nothing_of(source: &Source, wall_ms: u64) -> Fail {
    let first = source.kept.first;
    let begin = match source.record(first).await {
        Ok(record) => format!("it begins at {}", shown(record.wall_ms)),
        Err(fail) => format!("its first record can't be read: {fail}"),
    };
    let what = match source.kept.last_deleted() {
        Some(last) => format!("epochs 1 to {} are no longer kept", thousands(last.get())),
        None => "the cluster was not founded yet".to_owned(),
    };
    Fail::failed(format!("no record is as old as {}: {what}; {begin}", shown(wall_ms)))
}

/// The slots that each host owns in the home domain.
fn slots_of(record: &EpochRecord) -> BTreeMap<&HostName, u64> {
    let mut slots = BTreeMap::new();
    for (_, holding) in record.home().slots.iter() {
        if let Some((host, _)) = holding.owner.and_then(|owner| record.host_of(owner.session)) {
            *slots.entry(host).or_default() += 1;
        }
    }
    slots
}

/// How many slots need what hosts wrote under earlier tenures.
fn slots_with_sources(record: &EpochRecord) -> u64 {
    let slots = record.home().slots.iter();
    slots.filter(|(_, holding)| !holding.sources.is_empty()).count() as u64
}

fn state_of(state: HostState) -> &'static str {
    match state {
        HostState::Active => "active",
        HostState::Draining => "draining",
    }
}

/// A record as the state of the cluster.
pub(super) fn state_as_text(record: &EpochRecord) -> String {
    let owned = slots_of(record);
    let rows: Vec<Vec<String>> = record
        .hosts
        .iter()
        .map(|(name, host)| {
            vec![
                name.to_string(),
                host.address.clone(),
                state_of(host.state).to_owned(),
                thousands(owned.get(name).copied().unwrap_or(0)),
                host.weight.to_string(),
                host.zone.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let header = ["host", "address", "state", "slots", "weight", "zone"];
    let mut out =
        format!("{} leads; {} slots\n", record.leader.host, thousands(record.slot_count.into()));
    out.push_str(&render(&header, &rows));
    if record.domains.len() > 1 {
        out.push('\n');
        out.push_str(&domain::as_text(record));
    }
    let unowned = u64::from(record.slot_count) - owned.values().sum::<u64>();
    if unowned > 0 {
        out.push_str(&format!("{} slots have no owner\n", thousands(unowned)));
    }
    let sources = slots_with_sources(record);
    if sources > 0 {
        let sources = thousands(sources);
        out.push_str(&format!("{sources} slots still need what an earlier owner wrote\n"));
    }
    out
}

/// A record as the state of the cluster.
pub(super) fn state_as_json(record: &EpochRecord) -> Value {
    let owned = slots_of(record);
    let hosts: Vec<Value> = record
        .hosts
        .iter()
        .map(|(name, host)| {
            json!({
                "name": name.as_str(),
                "address": host.address,
                "session": host.sessions.get(&DomainId::HOME),
                "state": state_of(host.state),
                "weight": host.weight,
                "zone": host.zone,
                "slots": owned.get(name).copied().unwrap_or(0),
            })
        })
        .collect();
    json!({
        "epoch": record.epoch.get(),
        "time": rfc3339(record.wall_ms),
        "wall_ms": record.wall_ms,
        "leader": record.leader.host.as_str(),
        "reason": record.reason,
        "slots": record.slot_count,
        "slots_with_sources": slots_with_sources(record),
        "hosts": hosts,
        "domains": domain::as_json(record),
    })
}
