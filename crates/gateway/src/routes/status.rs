//! `GET /v1/status`: every host, with what it measures.

use axum::extract::{Request, State};

use super::{Answered, json};
use crate::{
    access::Scope,
    gateway::{Gateway, to_cluster},
    request::{deadline, left},
    status::latest,
};

/// The handler.
pub(super) async fn status(State(gateway): State<Gateway>, request: Request) -> Answered {
    let (head, _) = request.into_parts();
    gateway.admit(&head, to_cluster(Scope::Admin)).await?;
    let left = left(deadline(&gateway, &head)?);
    Ok(json(latest(&gateway, left).await?))
}
