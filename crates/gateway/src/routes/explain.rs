//! `GET /v1/explain/{kind}/{key}`: where a vnode is and why, and its state for those who may read it.

use axum::{
    extract::{Request, State},
    http::request::Parts,
};
use holocron::ask;
use holocron_protocol::ids::VnodeName;
use serde_json::{Value, json as value};
use tokio::time::{Instant, timeout_at};

use super::{
    Answered,
    epochs::{reader, unread},
    json,
};
use crate::{
    access::Scope,
    gateway::{Gateway, to_cluster, to_vnode},
    problem::ProblemKind,
    request::{deadline, left, vnode},
};

/// The handler.
pub(super) async fn explain(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (mut head, _) = request.into_parts();
    let name = vnode(&mut head).await?;
    let deadline = deadline(&gateway, &head)?;
    gateway.admit(&head, to_cluster(Scope::Admin)).await?;
    let mut reader = reader(&gateway).await?.clone();
    if let Some(observer) = &gateway.0.observer {
        reader = observer.with_domains(reader);
    }
    let late = |_elapsed| ProblemKind::StoreUnavailable.with("the store took too long");
    let explaining = timeout_at(deadline, reader.explain(&name)).await;
    let mut explained = explaining.map_err(late)?.map_err(unread)?;
    if let Some((address, message)) = explained.question() {
        let network = gateway.0.client.network();
        let reply =
            ask(&**network, address, message, super::OWNER_WITHIN.min(left(deadline))).await;
        explained = explained.answered(reply.map_err(|error| error.to_string()));
    }
    let mut told = explained.as_json();
    told["state"] = state(&gateway, &head, &name, deadline).await;
    Ok(json(told.to_string()))
}

/// The state as JSON, or why it isn't shown. Text, because its numbers may be larger than other languages take.
async fn state(gateway: &Gateway, head: &Parts, name: &VnodeName, deadline: Instant) -> Value {
    if let Err(refused) = gateway.admit(head, to_vnode(Scope::Read, name)).await {
        return value!({ "why": format!("not shown: {}", refused.detail()) });
    }
    let kind = match gateway.0.kinds.get(name.kind()).await {
        Ok(kind) => kind,
        Err(unknown) => return value!({ "why": unknown.detail() }),
    };
    let client = gateway.0.client.clone().with_deadline(left(deadline));
    match client.state_json(name).await {
        Ok(bytes) => match core::str::from_utf8(&bytes) {
            Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
                value!({ "json": text, "version": kind.version, "shape": kind.state })
            }
            // A release that doesn't know the question answers with bytes.
            Ok(_) | Err(_) => value!({ "why": "its host can't write it as JSON" }),
        },
        Err(error) => value!({ "why": error.to_string(), "shape": kind.state }),
    }
}
