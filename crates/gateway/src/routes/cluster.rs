//! What isn't about one vnode: kinds, hosts, epochs, health.

use core::time::Duration;

use axum::{
    extract::{Request, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use holocron::{
    KindDescription, Readiness,
    inspect::{Entry, ReadError},
};
use holocron_protocol::epoch::{
    changes::changes,
    record::{EpochRecord, HostState},
};
use serde_json::{Value, json as value};

use super::{Answered, json};
use crate::{
    access::Scope,
    arguments::pairs,
    gateway::{Gateway, to_cluster},
    openapi,
    problem::{Problem, ProblemKind},
    request::{deadline, left},
};

/// Epochs on a page, if the request doesn't say.
const EPOCHS_DEFAULT: u64 = 20;
/// Most epochs on a page.
pub(crate) const EPOCHS_MAX: u64 = 200;
/// How long one request to the store may take for a page.
const STORE_WITHIN: Duration = Duration::from_secs(5);

/// `GET /v1/kinds`
pub(super) async fn kinds(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (head, _) = request.into_parts();
    gateway.admit(&head, to_cluster(Scope::Read)).await?;
    let known = gateway.0.kinds.all().await;
    let kinds: Vec<&KindDescription> = known.iter().collect();
    Ok(json(value!({ "kinds": kinds }).to_string()))
}

/// `GET /v1/openapi.json`
pub(super) async fn openapi(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (head, _) = request.into_parts();
    gateway.admit(&head, to_cluster(Scope::Read)).await?;
    let known = gateway.0.kinds.all().await;
    Ok(json(openapi::document(known.iter()).to_string()))
}

/// `GET /v1/hosts`
pub(super) async fn hosts(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (head, _) = request.into_parts();
    gateway.admit(&head, to_cluster(Scope::Admin)).await?;
    let left = left(deadline(&gateway, &head)?);
    let record = gateway.0.client.clone().with_deadline(left).ready().await?.record;
    Ok(json(hosts_of(&record).to_string()))
}

fn hosts_of(record: &EpochRecord) -> Value {
    let mut slots = std::collections::BTreeMap::<&str, u64>::new();
    for (_, holding) in record.home().slots.iter() {
        if let Some((name, _)) = holding.owner.and_then(|owner| record.host_of(owner.session)) {
            *slots.entry(name.as_str()).or_default() += 1;
        }
    }
    let hosts: Vec<Value> = record
        .hosts
        .iter()
        .map(|(name, host)| {
            value!({
                "name": name.as_str(),
                "address": host.address,
                "status": match host.state {
                    HostState::Active => "active",
                    HostState::Draining => "draining",
                },
                "leads": *name == record.leader.host,
                "slots": slots.get(name.as_str()).copied().unwrap_or(0),
            })
        })
        .collect();
    value!({ "epoch": record.epoch.get(), "hosts": hosts })
}

/// `GET /v1/epochs`
pub(super) async fn epochs(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (head, _) = request.into_parts();
    gateway.admit(&head, to_cluster(Scope::Admin)).await?;
    let (mut after, mut limit) = (None, EPOCHS_DEFAULT);
    for (name, text) in pairs(&head.uri)? {
        let number = text.parse::<u64>().ok();
        match (&*name, number) {
            ("after", Some(number)) => after = Some(number),
            ("limit", Some(number)) if (1..=EPOCHS_MAX).contains(&number) => limit = number,
            _ => {
                let why = format!("there are after (an epoch) and limit (1 to {EPOCHS_MAX})");
                return Err(ProblemKind::Malformed.with(why));
            }
        }
    }
    let page = page_of_epochs(&gateway, after, limit).await;
    page.map(|page| json(page.to_string()))
}

async fn page_of_epochs(
    gateway: &Gateway,
    after: Option<u64>,
    limit: u64,
) -> Result<Value, Problem> {
    let Some(observer) = &gateway.0.observer else {
        return Err(ProblemKind::NotFound.with("this gateway has no host, and no store to read"));
    };
    let unread = |error: ReadError| ProblemKind::StoreUnavailable.with(error.to_string());
    let reader = gateway.0.reader.get_or_try_init(|| observer.reader(STORE_WITHIN)).await;
    let reader = reader.map_err(unread)?;
    let kept = reader.kept().await.map_err(unread)?;
    let newest = kept.newest.get();
    let shown = match after {
        None => kept.last(limit),
        Some(after) => {
            let first = after.saturating_add(1).max(kept.first.get());
            first..=newest.min(first.saturating_add(limit - 1))
        }
    };
    // The one before says what has changed with the first.
    let first = *shown.start();
    let read = (first - 1).max(kept.first.get())..=*shown.end();
    let entries =
        if shown.is_empty() { Vec::new() } else { reader.entries(read).await.map_err(unread)? };
    let mut before: Option<std::sync::Arc<EpochRecord>> = None;
    let mut epochs = Vec::new();
    for (epoch, entry) in entries {
        let record = entry.record().cloned();
        if epoch.get() >= first {
            epochs.push(told(epoch.get(), before.as_deref(), &entry));
        }
        before = record;
    }
    Ok(value!({ "newest": newest, "epochs": epochs }))
}

/// An epoch, with what changed since the one before, in words.
fn told(epoch: u64, before: Option<&EpochRecord>, entry: &Entry) -> Value {
    let Some(record) = entry.record() else {
        return value!({ "epoch": epoch, "readable": false });
    };
    let changed: Vec<String> = changes(before, record).iter().map(ToString::to_string).collect();
    value!({
        "epoch": epoch,
        "readable": true,
        "wall_ms": record.wall_ms,
        "leader": record.leader.host.as_str(),
        "reason": record.reason,
        "changes": changed,
    })
}

/// `GET /healthz`
pub(super) async fn healthz() -> Response {
    json(value!({ "status": "alive" }).to_string())
}

/// `GET /readyz`
pub(super) async fn readyz(State(gateway): State<Gateway>) -> Answered {
    let readiness = match &gateway.0.observer {
        _ if gateway.0.leaving.is_cancelled() => {
            Readiness::NotReady("the gateway is about to end".to_owned())
        }
        Some(observer) => observer.readiness(),
        None if gateway.0.client.view().is_some() => Readiness::Ready,
        None => Readiness::NotReady("no epoch record is known yet".to_owned()),
    };
    match readiness {
        Readiness::Ready => Ok(json(value!({ "status": "ready" }).to_string())),
        Readiness::NotReady(why) => Err(ProblemKind::NotReady.with(why)),
    }
}

/// `GET /metrics`
pub(super) async fn metrics(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (head, _) = request.into_parts();
    gateway.admit(&head, to_cluster(Scope::Admin)).await?;
    let metrics = gateway.0.metrics.as_ref().ok_or_else(|| ProblemKind::NotFound.with("none"))?;
    let headers =
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((headers, metrics()).into_response())
}
