//! Every problem that can be brought about, by name, with what it says about whether the call ran.

use core::{num::NonZeroU32, time::Duration};
use std::{collections::BTreeSet, sync::Mutex};

use async_trait::async_trait;
use axum::http::request::Parts;
use holocron_gateway::{
    Access, Authorize, Denied, GatewaySettings, Principal, Rate, Scope, ServeSettings, Target,
};

use crate::support::{Node, SOON, ask, folder, get, post, post_keyed};

const CART: &str = "/v1/vnodes/cart/alice";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_said_by_name() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let to = node.http;
    let long = "k".repeat(10_000);
    let json = "content-type: application/json\r\n";
    let add = format!("{CART}/add");
    let put = |headers: &'static str, body: &'static str| ("POST", add.clone(), headers, body);
    for (request, status, name) in [
        (put(json, "{"), 400, "malformed"),
        (put(json, "[1]"), 400, "malformed"),
        (put(json, r#"{"sku":"a","n":1},"clear":{"#), 400, "malformed"),
        (put(json, r#"{"sku":"a","n":"many"}"#), 422, "rejected"),
        (put(json, r#"{"sku":"a","n":1,"more":2}"#), 422, "rejected"),
        (put("content-type: application/x-www-form-urlencoded\r\n", "{}"), 415, "media-type"),
        (put("", "{}"), 415, "media-type"),
        (
            put("content-type: application/json\r\nrequest-timeout: soon\r\n", "{}"),
            400,
            "malformed",
        ),
        (
            put("content-type: application/json\r\nidempotency-key: a b\r\n", r#"["a",1]"#),
            400,
            "malformed",
        ),
        (("POST", format!("{CART}/sub"), json, "{}"), 404, "unknown-call"),
        (("GET", format!("{CART}/add"), "", ""), 404, "unknown-call"),
        (("GET", format!("{CART}/count"), "", ""), 422, "rejected"),
        (("GET", format!("{CART}/count?x=1"), "", ""), 400, "malformed"),
        (("GET", format!("{CART}/items?consistency=maybe"), "", ""), 400, "malformed"),
        (("GET", CART.to_owned(), "", ""), 404, "no-such-vnode"),
        (("PUT", CART.to_owned(), "", ""), 405, "method-not-allowed"),
        (("GET", "/v1/vnodes/ship/alice".to_owned(), "", ""), 404, "unknown-kind"),
        (("POST", "/v1/vnodes/ship/alice/add".to_owned(), json, "{}"), 404, "unknown-kind"),
        (("GET", "/v1/vnodes/cart//items".to_owned(), "", ""), 400, "malformed"),
        (("GET", "/v1/vnodes/cart/a/b/items".to_owned(), "", ""), 404, "not-found"),
        (("GET", "/v1".to_owned(), "", ""), 404, "not-found"),
        (("GET", "/metrics".to_owned(), "", ""), 404, "not-found"),
        (("GET", format!("/v1/vnodes/cart/{long}"), "", ""), 400, "malformed"),
        (("GET", "/v1/vnodes/cart/%ff".to_owned(), "", ""), 400, "malformed"),
        (("GET", "/v1/vnodes/cart?after=x".to_owned(), "", ""), 400, "malformed"),
        (("GET", "/v1/vnodes/cart?limit=1001".to_owned(), "", ""), 400, "malformed"),
        (("GET", "/v1/epochs?limit=0".to_owned(), "", ""), 400, "malformed"),
        (("POST", "/v1/vnodes/holocron.requests/7/post".to_owned(), json, "{}"), 403, "forbidden"),
        (("GET", "/v1/vnodes/holocron.requests".to_owned(), "", ""), 403, "forbidden"),
        (("POST", format!("{CART}/grow"), json, "[2000000]"), 422, "rejected"),
        (("POST", format!("{CART}/panics"), json, ""), 500, "panicked"),
    ] {
        let (method, path, headers, body) = request;
        let shown = path.get(..80).unwrap_or(&path);
        let answer = ask(to, method, &path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {shown} {body}: {answer:?}");
        assert_eq!(answer.problem(), (name.to_owned(), "no".to_owned()), "{method} {shown} {body}");
    }
    assert_eq!(get(to, CART).await.problem().0, "no-such-vnode", "nothing of all that has run");
}

/// Knows two tokens; notes what it was asked.
#[derive(Debug, Default)]
struct Tokens(Mutex<BTreeSet<(Scope, String)>>);

#[async_trait]
impl Authorize for Tokens {
    async fn authorize(&self, head: &Parts, access: Access<'_>) -> Result<Principal, Denied> {
        let key = match access.target {
            Target::Vnode { kind, key } => format!("{kind}/{key}"),
            Target::Kind(kind) => format!("{kind}/-"),
            Target::Cluster => "-/-".to_owned(),
        };
        self.0.lock().unwrap().insert((access.scope, key));
        match head.headers.get("authorization").map(axum::http::HeaderValue::as_bytes) {
            Some(b"Bearer reader") if access.scope == Scope::Write => {
                Err(Denied::Forbidden("a reader writes nothing".to_owned()))
            }
            Some(token) => Ok(Principal(String::from_utf8_lossy(token).into_owned())),
            None => Err(Denied::Unknown { challenge: "Bearer".to_owned() }),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_what_is_asked_before_anything_is_done_and_keys_belong_to_a_principal() {
    let folder = folder();
    let node = Node::start_with(
        &folder,
        "h1",
        |gateway| gateway.authorize(Tokens::default()),
        ServeSettings::default(),
    )
    .await;
    let add = format!("{CART}/add");
    let unknown = post(node.http, &add, r#"["a",1]"#).await;
    assert_eq!(unknown.problem(), ("unauthenticated".to_owned(), "no".to_owned()));
    assert_eq!(unknown.header("www-authenticate"), Some("Bearer"));
    let reader = "authorization: Bearer reader\r\ncontent-type: application/json\r\n";
    let refused = ask(node.http, "POST", &add, reader, r#"["a",1]"#).await;
    assert_eq!(refused.problem().0, "forbidden");
    assert_eq!(get(node.http, "/healthz").await.status, 200, "open to all");
    assert_eq!(ask(node.http, "GET", "/v1/hosts", reader, "").await.status, 200);
    for (who, expected) in [("ann", 1), ("bob", 2), ("ann", 1)] {
        let headers = format!(
            "authorization: Bearer {who}\r\ncontent-type: application/json\r\nidempotency-key: k1\r\n"
        );
        let added = ask(node.http, "POST", &add, &headers, r#"["a",1]"#).await;
        assert_eq!(added.json()["Ok"], expected, "{who}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_sends_too_much_is_told_when_to_come_again() {
    let folder = folder();
    let (one, few) = (NonZeroU32::new(1).unwrap(), NonZeroU32::new(5).unwrap());
    let settings = GatewaySettings {
        rate: Some(Rate { per_second: one, burst: few }),
        watchers_max: 0,
        ..GatewaySettings::default()
    };
    let node = Node::start_with(
        &folder,
        "h1",
        |gateway| gateway.settings(settings),
        ServeSettings::default(),
    )
    .await;
    let events = "accept: text/event-stream\r\n";
    let watched = ask(node.http, "GET", &format!("{CART}/items"), events, "").await;
    assert_eq!(watched.problem().0, "too-many-watchers");
    let mut refused = None;
    for _ in 0..6 {
        let answer = get(node.http, &format!("{CART}/items")).await;
        refused = (answer.status == 429).then_some(answer);
    }
    let refused = refused.expect("five at once are allowed");
    assert_eq!(refused.problem(), ("too-many-requests".to_owned(), "no".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(get(node.http, "/readyz").await.status, 200, "probes aren't counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vnode_without_a_host_is_waited_for_until_the_deadline() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let mut other = Node::start(&folder, "h2").await;
    node.until_ready().await;
    other.until_ready().await;
    // Its vnodes move to h1 only once it is suspected.
    other.crash().await;
    let mut names = BTreeSet::new();
    for number in 0..40 {
        let path = format!("/v1/vnodes/cart/v{number}/add");
        let headers = "content-type: application/json\r\nrequest-timeout: 0.001\r\n";
        let answer = ask(node.http, "POST", &path, headers, r#"["a",1]"#).await;
        if answer.status != 200 {
            let (name, ran) = answer.problem();
            assert!(
                matches!(&*name, "unclear" | "unreachable" | "moving" | "body-too-slow"),
                "{answer:?}"
            );
            assert_eq!(ran == "unclear", name == "unclear", "{answer:?}");
            names.insert(name);
        }
    }
    assert!(!names.is_empty(), "a millisecond is short");
    let answer = post(node.http, &format!("{CART}/add"), r#"["a",1]"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_about_to_end_is_not_ready() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    node.gateway.leave();
    let answer = get(node.http, "/readyz").await;
    assert_eq!(answer.problem().0, "not-ready");
    assert_eq!(get(node.http, "/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_without_outcome_in_time_is_pending_and_a_retry_learns_it() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let add = format!("{CART}/add");
    let headers =
        "content-type: application/json\r\nidempotency-key: k1\r\nrequest-timeout: 0.002\r\n";
    let first = ask(node.http, "POST", &add, headers, r#"["a",1]"#).await;
    if first.status != 200 {
        let (name, ran) = first.problem();
        let expected = if ran == "unclear" { "outcome-pending" } else { "unreachable" };
        assert!(name == expected || name == "body-too-slow", "{first:?}");
    }
    let again = tokio::time::timeout(SOON, post_keyed(node.http, "k1", &add, r#"["a",1]"#)).await;
    assert_eq!(again.unwrap().json()["Ok"], 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(node.http, &format!("{CART}/count?sku=a")).await.json(), 1);
}
