//! The cluster as operators look at it: every host with what it measures, and the last takeovers.

pub(crate) mod picture;
mod takeovers;

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use holocron::{
    CallError, Clock as _, Measured, SystemClock,
    measures::{CallMeasures, HostMeasures},
};
use holocron_protocol::ids::HostName;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use crate::gateway::Gateway;

/// How long an answer is given again: many viewers cost hosts as much as two.
const FRESH: Duration = Duration::from_millis(500);

/// What some requests to the store cost, in dollars, by verb.
pub type Cost = Arc<dyn Fn(&BTreeMap<String, u64>) -> f64 + Send + Sync>;

/// The newest status, for all who ask.
#[derive(Debug, Default)]
pub(crate) struct Latest(Mutex<Option<(Instant, Bytes)>>);

/// The status of the cluster as JSON. All hosts are asked at most once in [`FRESH`], however many viewers there are.
pub(crate) async fn latest(gateway: &Gateway, within: Duration) -> Result<Bytes, CallError> {
    // Held while hosts are asked: whoever asks meanwhile gets the same answer.
    let mut latest = gateway.0.status.0.lock().await;
    if let Some((at, known)) = &*latest
        && at.elapsed() < FRESH
    {
        return Ok(known.clone());
    }
    let measured = gateway.0.client.clone().with_deadline(within).measures().await?;
    let local = gateway.0.observer.as_ref().map(holocron::Observer::name);
    let told = Bytes::from(as_json(&measured, local, gateway.0.cost.as_ref()).to_string());
    *latest = Some((Instant::now(), told.clone()));
    Ok(told)
}

fn as_json(measured: &Measured, local: Option<&HostName>, cost: Option<&Cost>) -> Value {
    let Measured { record, hosts } = measured;
    let mut listed = picture::hosts(record);
    for host in listed.as_array_mut().into_iter().flatten() {
        let name = host["name"].as_str().unwrap_or_default().to_owned();
        let answer = hosts.iter().find(|(host, _)| host.as_str() == name).map(|(_, answer)| answer);
        match answer {
            Some(Ok(measures)) => add_measures(host, measures, cost),
            Some(Err(why)) => host["error"] = json!(why),
            None => host["error"] = json!("it was not asked"),
        }
    }
    json!({
        "epoch": record.epoch.get(),
        "reason": record.reason,
        "wall_ms": record.wall_ms,
        "now_ms": SystemClock.wall_ms(),
        "leader": record.leader.host.as_str(),
        "slots": record.slot_count,
        "gateway_of": local.map(HostName::as_str),
        "version": env!("CARGO_PKG_VERSION"),
        "is_priced": cost.is_some(),
        "hosts": listed,
        "takeovers": takeovers::of(hosts, record),
    })
}

fn add_measures(host: &mut Value, measures: &HostMeasures, cost: Option<&Cost>) {
    let calls: serde_json::Map<String, Value> = measures.calls.iter().map(call).collect();
    host["measures"] = json!({
        "status": measures.status,
        "version": measures.version,
        "wall_ms": measures.wall_ms,
        "started_ms": measures.started_ms,
        "resident_bytes": measures.resident_bytes,
        "commits": measures.commits,
        "calls": calls,
        "requests": measures.requests,
        "dollars": cost.map(|cost| cost(&measures.requests)),
        "recovering": measures.recovering,
        "going": measures.going,
    });
}

fn call((mode, calls): (&String, &CallMeasures)) -> (String, Value) {
    let CallMeasures { ok, others, durations } = calls;
    (mode.clone(), json!({ "ok": ok, "others": others, "durations": durations }))
}
