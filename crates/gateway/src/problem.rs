//! What went wrong, for callers: RFC 9457 problems, each of which says whether the call took effect.
//!
//! [`TABLE`] is the only place that knows their status, and `docs/http.md` is checked against it.

use core::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use holocron::{CallError, Ran, Unavailable};
use serde_json::json;

/// What kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says what each means")]
pub enum ProblemKind {
    Malformed,
    OtherArguments,
    Unauthenticated,
    Forbidden,
    NotFound,
    NoSuchVnode,
    UnknownKind,
    UnknownCall,
    MethodNotAllowed,
    BodyTooSlow,
    BodyTooLarge,
    MediaType,
    Rejected,
    KeyReused,
    TooManyRequests,
    KeysFull,
    Panicked,
    StateUnreadable,
    ReplyUnreadable,
    Busy,
    Unreachable,
    Moving,
    NotServed,
    Quarantined,
    StoreLost,
    StoreUnavailable,
    NotReady,
    TooManyWatchers,
    TooManyConnections,
    Unclear,
    OutcomePending,
}

/// One kind of problem.
pub(crate) struct Row {
    pub(crate) kind: ProblemKind,
    /// The last part of its type.
    pub(crate) name: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) ran: Ran,
    /// Seconds after which a retry may help; 0 if it won't.
    pub(crate) retry_after: u64,
    pub(crate) title: &'static str,
}

const fn row(
    kind: ProblemKind,
    name: &'static str,
    (status, ran): (StatusCode, Ran),
    retry_after: u64,
    title: &'static str,
) -> Row {
    Row { kind, name, status, ran, retry_after, title }
}

const fn no(status: StatusCode) -> (StatusCode, Ran) {
    (status, Ran::No)
}

use ProblemKind as Kind;
use StatusCode as Status;

/// All problems, in the order of their status.
#[rustfmt::skip]
pub(crate) const TABLE: [Row; 31] = [
    row(Kind::Malformed, "malformed", no(Status::BAD_REQUEST), 0, "The request is malformed"),
    row(Kind::OtherArguments, "other-arguments", no(Status::BAD_REQUEST), 0, "The host's version of the kind has other arguments"),
    row(Kind::Unauthenticated, "unauthenticated", no(Status::UNAUTHORIZED), 0, "The request doesn't say who sends it"),
    row(Kind::Forbidden, "forbidden", no(Status::FORBIDDEN), 0, "The caller may not do this"),
    row(Kind::NotFound, "not-found", no(Status::NOT_FOUND), 0, "There is nothing at this path"),
    row(Kind::NoSuchVnode, "no-such-vnode", no(Status::NOT_FOUND), 0, "The vnode does not exist"),
    row(Kind::UnknownKind, "unknown-kind", no(Status::NOT_FOUND), 0, "No host runs this kind of vnode"),
    row(Kind::UnknownCall, "unknown-call", no(Status::NOT_FOUND), 0, "The kind has no such command or query"),
    row(Kind::MethodNotAllowed, "method-not-allowed", no(Status::METHOD_NOT_ALLOWED), 0, "The path does not have this method"),
    row(Kind::BodyTooSlow, "body-too-slow", no(Status::REQUEST_TIMEOUT), 0, "The body did not arrive in time"),
    row(Kind::BodyTooLarge, "body-too-large", no(Status::PAYLOAD_TOO_LARGE), 0, "The body is too large"),
    row(Kind::MediaType, "media-type", no(Status::UNSUPPORTED_MEDIA_TYPE), 0, "The body is not declared as JSON"),
    row(Kind::Rejected, "rejected", no(Status::UNPROCESSABLE_ENTITY), 0, "The vnode can't carry the call out"),
    row(Kind::KeyReused, "key-reused", no(Status::UNPROCESSABLE_ENTITY), 0, "The idempotency key belongs to another request"),
    row(Kind::TooManyRequests, "too-many-requests", no(Status::TOO_MANY_REQUESTS), 1, "The caller sends too many requests"),
    row(Kind::KeysFull, "keys-full", no(Status::TOO_MANY_REQUESTS), 60, "No further idempotency key can be kept"),
    row(Kind::Panicked, "panicked", no(Status::INTERNAL_SERVER_ERROR), 0, "The vnode's code panicked and was undone"),
    row(Kind::StateUnreadable, "state-unreadable", no(Status::INTERNAL_SERVER_ERROR), 0, "The vnode's stored state can't be read"),
    row(Kind::ReplyUnreadable, "reply-unreadable", (Status::INTERNAL_SERVER_ERROR, Ran::Yes), 0, "The call ran, but there is no reply"),
    row(Kind::Busy, "busy", no(Status::SERVICE_UNAVAILABLE), 1, "Too many calls are in flight"),
    row(Kind::Unreachable, "unreachable", no(Status::SERVICE_UNAVAILABLE), 1, "No host answered"),
    row(Kind::Moving, "moving", no(Status::SERVICE_UNAVAILABLE), 1, "The vnode is moving to another host"),
    row(Kind::NotServed, "not-served", no(Status::SERVICE_UNAVAILABLE), 5, "No host serves the vnode"),
    row(Kind::Quarantined, "quarantined", no(Status::SERVICE_UNAVAILABLE), 5, "The vnode rests after repeated panics"),
    row(Kind::StoreLost, "store-lost", no(Status::SERVICE_UNAVAILABLE), 0, "The store of the cluster is lost"),
    row(Kind::StoreUnavailable, "store-unavailable", no(Status::SERVICE_UNAVAILABLE), 1, "The store gives no answer"),
    row(Kind::NotReady, "not-ready", no(Status::SERVICE_UNAVAILABLE), 1, "The host doesn't serve its share"),
    row(Kind::TooManyWatchers, "too-many-watchers", no(Status::SERVICE_UNAVAILABLE), 5, "Too many watches are open"),
    row(Kind::TooManyConnections, "too-many-connections", no(Status::SERVICE_UNAVAILABLE), 1, "Too many connections are open"),
    row(Kind::Unclear, "unclear", (Status::GATEWAY_TIMEOUT, Ran::Unclear), 0, "The call may have taken effect, or may yet"),
    row(Kind::OutcomePending, "outcome-pending", (Status::GATEWAY_TIMEOUT, Ran::Unclear), 1, "The outcome isn't known yet; send the same key again"),
];

impl ProblemKind {
    pub(crate) fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.kind == self).expect("a test looks for each kind in the table")
    }

    /// Its name, the last part of its type: `urn:holocron:problem:moving`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The kind of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// Whether the call took effect.
    #[must_use]
    pub fn ran(self) -> Ran {
        self.row().ran
    }

    /// A problem of this kind.
    pub(crate) fn with(self, detail: impl Into<String>) -> Problem {
        Problem { kind: self, detail: detail.into(), retry_after: None, header: None }
    }
}

/// One problem, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    retry_after: Option<Duration>,
    header: Option<(header::HeaderName, String)>,
}

impl Problem {
    /// What kind of problem.
    #[must_use]
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The sentence for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// With another time after which to try again.
    pub(crate) const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// With a header that belongs to its status.
    pub(crate) fn header(mut self, name: header::HeaderName, value: String) -> Self {
        self.header = Some((name, value));
        self
    }

    fn retry_seconds(&self) -> u64 {
        // Rounded up: a retry that comes too early is refused again.
        let seconds = |after: Duration| after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.retry_after.map_or(self.kind.row().retry_after, |after| seconds(after).max(1))
    }

    /// Its body.
    pub(crate) fn body(&self) -> String {
        let Row { name, status, ran, title, .. } = self.kind.row();
        let ran = match ran {
            Ran::Yes => "yes",
            Ran::No => "no",
            Ran::Unclear => "unclear",
        };
        let mut body = json!({
            "type": format!("urn:holocron:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
            "ran": ran,
        });
        if self.retry_seconds() > 0 {
            body["retry_after_s"] = json!(self.retry_seconds());
        }
        body.to_string()
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let sentence = error.to_string();
        let kind = match error {
            CallError::Busy => Kind::Busy,
            CallError::Unclear => Kind::Unclear,
            CallError::Unavailable { reason, .. } => match reason {
                Unavailable::Unreachable => Kind::Unreachable,
                Unavailable::Moving => Kind::Moving,
                Unavailable::NotServed => Kind::NotServed,
                Unavailable::Quarantined => Kind::Quarantined,
                Unavailable::Unreadable => Kind::StateUnreadable,
                Unavailable::StoreLost => Kind::StoreLost,
            },
            CallError::Rejected { .. } => Kind::Rejected,
            CallError::UnknownCommand { .. } => Kind::UnknownCall,
            CallError::OtherArguments { .. } => Kind::OtherArguments,
            CallError::Panicked => Kind::Panicked,
            CallError::UnknownKind => Kind::UnknownKind,
            CallError::Unreadable { .. } => Kind::ReplyUnreadable,
        };
        kind.with(sentence)
    }
}

/// The media type of problems.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.row().status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.retry_seconds() > 0 {
            headers.insert(header::RETRY_AFTER, self.retry_seconds().into());
        }
        if let Some((name, value)) = self.header
            && let Ok(value) = HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_problem_as_it_is() {
        let page = include_str!("../../../docs/http.md");
        for Row { kind, name, status, ran, title, .. } in &TABLE {
            assert_eq!(kind.row().name, *name, "twice in the table");
            assert_eq!(ProblemKind::named(name), Some(*kind));
            let ran = format!("{ran:?}").to_lowercase();
            let line = format!("| `{name}` | {} | {ran} | {title}", status.as_u16());
            assert!(page.contains(&line), "docs/http.md has no line that begins with {line}");
        }
        let kinds = page.lines().filter(|line| {
            line.contains("| no |") || line.contains("| unclear |") || line.contains("| yes |")
        });
        assert_eq!(kinds.count(), TABLE.len(), "docs/http.md has others too");
    }

    #[test]
    fn a_problem_and_its_error_agree_on_whether_the_call_ran() {
        let why = String::new;
        let errors = [
            CallError::Busy,
            CallError::Unclear,
            CallError::Panicked,
            CallError::UnknownKind,
            CallError::Rejected { why: why() },
            CallError::Unreadable { why: why() },
            CallError::Unavailable { reason: Unavailable::Moving, why: why() },
        ];
        for error in errors {
            assert_eq!(Problem::from(error.clone()).kind().ran(), error.ran(), "{error}");
        }
    }
}
