//! The dashboard: one page and its parts, as they were when this was built. It has no data: the page asks for them, with a
//! token if there are tokens, so it is shown to everyone.
//!
//! Invariant: the page loads nothing from elsewhere and runs nothing but these files. The policy says so to browsers.

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

use crate::{gateway::Gateway, problem::ProblemKind};

/// What a browser may load and run. No forms, no frames, no other origins; data URLs for the icon.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The headers of every file.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // A host of another release has other files under the same names.
    (header::CACHE_CONTROL, "no-cache"),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("../../dashboard/index.html");

/// The files below `/dashboard/`: name, media type, content.
const FILES: [(&str, &str, &str); 14] = [
    ("base.css", CSS, include_str!("../../dashboard/base.css")),
    ("views.css", CSS, include_str!("../../dashboard/views.css")),
    ("main.js", SCRIPT, include_str!("../../dashboard/main.js")),
    ("api.js", SCRIPT, include_str!("../../dashboard/api.js")),
    ("dom.js", SCRIPT, include_str!("../../dashboard/dom.js")),
    ("format.js", SCRIPT, include_str!("../../dashboard/format.js")),
    ("rates.js", SCRIPT, include_str!("../../dashboard/rates.js")),
    ("palette.js", SCRIPT, include_str!("../../dashboard/palette.js")),
    ("tiles.js", SCRIPT, include_str!("../../dashboard/tiles.js")),
    ("hosts.js", SCRIPT, include_str!("../../dashboard/hosts.js")),
    ("slots.js", SCRIPT, include_str!("../../dashboard/slots.js")),
    ("timeline.js", SCRIPT, include_str!("../../dashboard/timeline.js")),
    ("takeovers.js", SCRIPT, include_str!("../../dashboard/takeovers.js")),
    ("search.js", SCRIPT, include_str!("../../dashboard/search.js")),
];

/// The routes of the page.
pub(crate) fn router(gateway: &Gateway) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/dashboard/{file}", get(file))
        .method_not_allowed_fallback(super::other_method)
        .with_state(gateway.clone())
}

async fn page() -> Response {
    answer(HTML, PAGE)
}

async fn file(request: Request) -> Response {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, media_type, content)) => answer(media_type, content),
        None => ProblemKind::NotFound.with("the dashboard has no such file").into_response(),
    }
}

fn answer(media_type: &'static str, content: &'static str) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, media_type)], HEADERS, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_named_exists_and_none_is_from_elsewhere() {
        let all = FILES.iter().map(|(_, _, content)| *content).chain([PAGE]);
        for content in all {
            assert!(!content.contains("innerHTML"), "texts of the cluster must stay texts");
            for part in content.split(['"', '\'']) {
                if let Some(name) = part.strip_prefix("/dashboard/").or(part.strip_prefix("./")) {
                    assert!(FILES.iter().any(|(known, ..)| *known == name), "{part} is missing");
                }
                let is_namespace = part == "http://www.w3.org/2000/svg";
                assert!(!part.starts_with("http") || is_namespace, "{part} is elsewhere");
            }
        }
    }
}
