//! What isn't about one vnode: kinds, hosts, health.

use axum::{
    extract::{Request, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use holocron::{KindDescription, Readiness};
use serde_json::json as value;

use super::{Answered, json};
use crate::{
    access::Scope,
    gateway::{Gateway, to_cluster},
    openapi,
    problem::ProblemKind,
    request::{deadline, left},
    status::picture,
};

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
    let hosts = picture::hosts(&record);
    Ok(json(value!({ "epoch": record.epoch.get(), "hosts": hosts }).to_string()))
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
