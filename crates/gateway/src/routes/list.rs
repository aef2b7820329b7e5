//! Listing the vnodes of a kind.

use axum::extract::{Request, State};
use holocron::ListCursor;
use serde_json::json as value;
use tokio::time::timeout_at;

use super::{Answered, json};
use crate::{
    access::{Access, Scope, Target},
    arguments::pairs,
    gateway::Gateway,
    problem::{Problem, ProblemKind},
    request::{deadline, left, name, path},
};

/// Keys on a page, if the request doesn't say.
const LIMIT_DEFAULT: usize = 100;
/// Most keys on a page.
pub(crate) const LIMIT_MAX: usize = 1_000;

/// The parameters of a listing.
struct Asked {
    prefix: String,
    limit: usize,
    after: Option<ListCursor>,
}

impl Asked {
    fn of(uri: &axum::http::Uri) -> Result<Self, Problem> {
        let malformed = |why: String| ProblemKind::Malformed.with(why);
        let mut asked = Self { prefix: String::new(), limit: LIMIT_DEFAULT, after: None };
        for (name, text) in pairs(uri)? {
            match &*name {
                "prefix" => asked.prefix = text,
                "limit" => {
                    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    let wrong = || malformed(format!("limit is a number from 1 to {LIMIT_MAX}"));
                    asked.limit = limit.ok_or_else(wrong)?;
                }
                "after" => {
                    let cursor = text.parse::<ListCursor>();
                    let wrong = |invalid: holocron::InvalidCursor| malformed(invalid.to_string());
                    asked.after = Some(cursor.map_err(wrong)?);
                }
                _ => return Err(malformed(format!("there is no parameter {name:?}"))),
            }
        }
        Ok(asked)
    }
}

/// `GET /v1/vnodes/{kind}`
pub(super) async fn list(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (mut head, _) = request.into_parts();
    let kind = path::<String>(&mut head).await?;
    name(&kind, "any")?;
    let deadline = deadline(&gateway, &head)?;
    let Asked { prefix, limit, after } = Asked::of(&head.uri)?;
    let target = Target::Vnode { kind: &kind, key: &prefix };
    gateway.admit(&head, Access { scope: Scope::Read, target }).await?;
    gateway.0.kinds.get(&kind).await?;
    let client = gateway.0.client.clone().with_deadline(left(deadline));
    let mut listing = match after {
        Some(cursor) => client.list_from(&kind, &prefix, cursor),
        None => client.list(&kind, &prefix),
    };
    let mut keys: Vec<String> = Vec::new();
    while keys.len() < limit {
        match timeout_at(deadline, listing.next_keys(limit - keys.len())).await {
            Ok(Ok(Some(more))) => keys.extend(more),
            Ok(Ok(None)) => break,
            // What is listed already is a page too, and its cursor goes on from there.
            Ok(Err(_)) | Err(_) if !keys.is_empty() => break,
            Ok(Err(error)) => return Err(error.into()),
            Err(_elapsed) => {
                return Err(ProblemKind::Unreachable.with("no page came in time"));
            }
        }
    }
    let next = listing.cursor().map(|cursor| cursor.to_string());
    Ok(json(value!({ "kind": kind, "keys": keys, "next": next }).to_string()))
}
