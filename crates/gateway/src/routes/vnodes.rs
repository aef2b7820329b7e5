//! Calls of one vnode.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use holocron::{Body, CommitNumber, Format, Mode};
use serde_json::json as value;

use super::{Answered, json, watch};
use crate::{
    access::{Peer, Scope},
    arguments::{QueryString, find, of_body},
    gateway::{Gateway, text_of, to_vnode},
    idempotency::{self, Keyed},
    problem::ProblemKind,
    request::{Target, deadline, json_body, left, vnode},
};

/// The header of the commit that an answer belongs to.
pub(crate) const COMMIT: &str = "holocron-commit";

/// `POST /v1/vnodes/{kind}/{key}/{command}`
pub(super) async fn command(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (mut head, body) = request.into_parts();
    let Target { name, call: word } = Target::of(&mut head).await?;
    let deadline = deadline(&gateway, &head)?;
    let principal = gateway.admit(&head, to_vnode(Scope::Write, &name)).await?;
    let body = json_body(&gateway, &head, body, deadline).await?;
    let kind = gateway.0.kinds.get(name.kind()).await?;
    let call = of_body(find(&kind, &kind.commands, &word)?, &body)?;
    if let Some(key) = text_of(&head, idempotency::HEADER) {
        let keyed = Keyed::new(&principal, key?, (&name, &word, &body))?;
        let (reply, earlier) = idempotency::run(&gateway, keyed, (name, call), deadline).await?;
        let mut response = json(reply);
        response.headers_mut().insert(idempotency::REPLAYED, earlier.text());
        return Ok(response);
    }
    let body = Body { format: Format::Json, bytes: call };
    let client = &gateway.0.client;
    let replied = client.call_with_commit(&name, Mode::Command, body, left(deadline)).await?;
    Ok(with_commit(replied))
}

/// `GET /v1/vnodes/{kind}/{key}/{query}`
pub(super) async fn query(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (mut head, _) = request.into_parts();
    let Target { name, call: word } = Target::of(&mut head).await?;
    let deadline = deadline(&gateway, &head)?;
    gateway.admit(&head, to_vnode(Scope::Read, &name)).await?;
    let asked = QueryString::of(&head.uri)?;
    let kind = gateway.0.kinds.get(name.kind()).await?;
    let call = asked.call(find(&kind, &kind.queries, &word)?)?;
    let accepted = text_of(&head, header::ACCEPT.as_str()).transpose()?.unwrap_or_default();
    let wants_events = accepted.split(',').any(|media| media.trim().starts_with(watch::MEDIA_TYPE));
    if wants_events {
        return watch::watch(&gateway, &head, (name, call), deadline).await;
    }
    let body = Body { format: Format::Json, bytes: call };
    let client = &gateway.0.client;
    let replied = client.call_with_commit(&name, asked.mode, body, left(deadline)).await?;
    Ok(with_commit(replied))
}

/// `GET /v1/vnodes/{kind}/{key}`
pub(super) async fn exists(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (mut head, _) = request.into_parts();
    let name = vnode(&mut head).await?;
    let deadline = deadline(&gateway, &head)?;
    gateway.admit(&head, to_vnode(Scope::Read, &name)).await?;
    // A kind that no host runs has no vnodes, and its owner would say that it doesn't know the kind.
    gateway.0.kinds.get(name.kind()).await?;
    let client = gateway.0.client.clone().with_deadline(left(deadline));
    if !client.exists(&name).await? {
        let why = format!("{name} does not exist: no command has run since it was last deleted");
        return Err(ProblemKind::NoSuchVnode.with(why));
    }
    Ok(json(value!({ "kind": name.kind(), "key": name.key() }).to_string()))
}

/// `DELETE /v1/vnodes/{kind}/{key}`
pub(super) async fn delete(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (mut head, _) = request.into_parts();
    let name = vnode(&mut head).await?;
    let deadline = deadline(&gateway, &head)?;
    let who = gateway.admit(&head, to_vnode(Scope::Write, &name)).await?;
    gateway.0.kinds.get(name.kind()).await?;
    let deleted = gateway.0.client.clone().with_deadline(left(deadline)).delete(&name).await;
    let from = head.extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
    let outcome = deleted.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
    let action = format!("delete {:?}", name.to_string());
    holocron_access::note_admin_action(who.0, &from, &action, &outcome);
    deleted?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn with_commit((reply, commit): (Bytes, CommitNumber)) -> Response {
    let mut response = json(reply);
    response.headers_mut().insert(COMMIT, HeaderValue::from(commit.get()));
    response
}
