//! The routes. Each handler reads: what is asked, who asks, what is answered.

mod cluster;
pub(crate) mod dashboard;
mod epochs;
mod explain;
mod list;
mod status;
mod vnodes;
mod watch;

use core::time::Duration;

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;

pub(crate) use self::list::LIMIT_MAX as LIST_MAX;
use crate::{
    gateway::Gateway,
    problem::{Problem, ProblemKind},
};

/// How long one request to the store may take for an answer.
const STORE_WITHIN: Duration = Duration::from_secs(5);
/// How long the owner of a vnode may take to say whether it is in memory.
const OWNER_WITHIN: Duration = Duration::from_secs(2);

/// What a handler returns.
type Answered = Result<Response, Problem>;

/// All routes of a gateway.
pub(crate) fn router(gateway: &Gateway) -> Router {
    let mut router = Router::new()
        .route("/v1/vnodes/{kind}", get(list::list))
        .route("/v1/vnodes/{kind}/{key}", get(vnodes::exists).delete(vnodes::delete))
        .route("/v1/vnodes/{kind}/{key}/{call}", get(vnodes::query).post(vnodes::command))
        .route("/v1/kinds", get(cluster::kinds))
        .route("/v1/hosts", get(cluster::hosts))
        .route("/v1/status", get(status::status))
        .route("/v1/epochs", get(epochs::epochs))
        .route("/v1/epochs/{epoch}", get(epochs::epoch))
        .route("/v1/explain/{kind}/{key}", get(explain::explain))
        .route("/v1/openapi.json", get(cluster::openapi))
        .route("/healthz", get(cluster::healthz))
        .route("/readyz", get(cluster::readyz));
    if gateway.0.metrics.is_some() {
        router = router.route("/metrics", get(cluster::metrics));
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .with_state(gateway.clone())
}

async fn nothing_here(request: Request) -> Problem {
    let path = request.uri().path();
    ProblemKind::NotFound
        .with(format!("{path:?} is no path of this gateway; a slash in a key is written %2F"))
}

async fn other_method(request: Request) -> Problem {
    let (method, path) = (request.method(), request.uri().path());
    ProblemKind::MethodNotAllowed.with(format!("{path:?} has no {method}"))
}

/// A reply in JSON.
fn json(body: impl Into<Bytes>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::OK, headers, body.into()).into_response()
}
