//! What every request has: a path, a time, maybe a body; each bounded.

use core::time::Duration;

use axum::{
    RequestPartsExt as _,
    body::Body,
    extract::Path,
    http::{header, request::Parts},
};
use bytes::Bytes;
use holocron::KindDescription;
use holocron_protocol::ids::VnodeName;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

use crate::{
    gateway::{Gateway, text_of},
    problem::{Problem, ProblemKind},
};

/// The header in which a request says how many seconds it may take.
pub(crate) const REQUEST_TIMEOUT: &str = "request-timeout";

/// A path below `/v1/vnodes`: a vnode, and what to call.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: VnodeName,
    pub(crate) call: String,
}

impl Target {
    /// The vnode and the call of a path.
    pub(crate) async fn of(head: &mut Parts) -> Result<Self, Problem> {
        let (kind, key, call) = path::<(String, String, String)>(head).await?;
        Ok(Self { name: name(&kind, &key)?, call })
    }
}

/// The vnode of a path.
pub(crate) async fn vnode(head: &mut Parts) -> Result<VnodeName, Problem> {
    let (kind, key) = path::<(String, String)>(head).await?;
    name(&kind, &key)
}

/// The segments of a path, percent-decoded once. A slash in a key is written `%2F`; dots mean nothing.
pub(crate) async fn path<T>(head: &mut Parts) -> Result<T, Problem>
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    let path = head.extract::<Path<T>>().await;
    path.map(|Path(segments)| segments)
        .map_err(|rejection| ProblemKind::Malformed.with(format!("the path: {rejection}")))
}

/// A valid name of a vnode that callers may touch.
pub(crate) fn name(kind: &str, key: &str) -> Result<VnodeName, Problem> {
    if KindDescription::is_reserved(kind) {
        let why = format!("kinds such as {kind:?} belong to the runtime and can't be reached");
        return Err(ProblemKind::Forbidden.with(why));
    }
    VnodeName::new(kind, key).map_err(|invalid| ProblemKind::Malformed.with(invalid.0))
}

/// When the request must be answered.
pub(crate) fn deadline(gateway: &Gateway, head: &Parts) -> Result<Instant, Problem> {
    let settings = &gateway.0.settings;
    let asked = match text_of(head, REQUEST_TIMEOUT) {
        None => settings.deadline,
        Some(text) => {
            let seconds = text?.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
            let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            duration.ok_or_else(|| {
                ProblemKind::Malformed.with("Request-Timeout is a positive number of seconds")
            })?
        }
    };
    Ok(Instant::now() + asked.min(settings.deadline_max))
}

/// What is left until the deadline.
pub(crate) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The whole body, which is JSON or empty.
pub(crate) async fn json_body(
    gateway: &Gateway,
    head: &Parts,
    body: Body,
    deadline: Instant,
) -> Result<Bytes, Problem> {
    let len_max = gateway.0.settings.body_len_max;
    let too_large = || ProblemKind::BodyTooLarge.with(format!("a body may have {len_max} bytes"));
    let declared = head.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // A declared length is judged before a byte of the body is read.
    if declared.is_some_and(|length| length > len_max as u64) {
        return Err(too_large());
    }
    // A chunked body may have any length.
    let reserved = declared.map_or(len_max, |length| usize::try_from(length).unwrap_or(len_max));
    let permits = u32::try_from(reserved).unwrap_or(u32::MAX);
    let _room = gateway
        .0
        .bodies
        .try_acquire_many(permits)
        .map_err(|_full| ProblemKind::Busy.with("too many bytes of requests are in memory"))?;
    let read = timeout_at(deadline, Limited::new(body, len_max).collect()).await;
    let slow = |_elapsed| ProblemKind::BodyTooSlow.with("the body did not arrive in time");
    let bytes = read.map_err(slow)?.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return too_large();
        }
        ProblemKind::Malformed.with(format!("the body can't be read: {error}"))
    })?;
    let bytes = bytes.to_bytes();
    if !bytes.is_empty() {
        check_media_type(head)?;
    }
    Ok(bytes)
}

/// A body must be declared as JSON: forms of other sites' pages, which browsers send without asking, aren't.
fn check_media_type(head: &Parts) -> Result<(), Problem> {
    let given = text_of(head, header::CONTENT_TYPE.as_str()).transpose()?;
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let why = format!("send Content-Type: application/json, not {essence:?}");
    Err(ProblemKind::MediaType.with(why))
}
