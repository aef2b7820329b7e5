//! The dashboard's page, and what it asks for.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::request::Parts;
use holocron_gateway::{Access, Authorize, Denied, Principal, Scope, ServeSettings, Target};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Node, SOON, ask, folder, get, post};

/// Asks until what is told is so.
async fn until(node: &Node, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = get(node.http, path).await;
        if answer.status == 200 && is_so(&answer.json()) {
            return answer.json();
        }
        assert!(began.elapsed() < SOON, "{answer:?}");
        sleep(core::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_its_files_come_with_a_policy_and_need_no_token() {
    let folder = folder();
    let node = Node::start_with(
        &folder,
        "h1",
        |gateway| gateway.authorize(Scopes),
        ServeSettings::default(),
    )
    .await;
    let page = get(node.http, "/").await;
    assert_eq!(page.status, 200);
    let parts = page.text.split('"').filter(|part| part.starts_with("/dashboard/"));
    let mut paths: Vec<String> = parts.map(ToOwned::to_owned).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    paths.push("/".to_owned());
    for path in paths {
        let file = get(node.http, &path).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
    assert_eq!(get(node.http, "/dashboard/other.js").await.problem().0, "not-found");
    assert_eq!(ask(node.http, "POST", "/", "", "").await.problem().0, "method-not-allowed");
    for path in ["/v1/status", "/v1/epochs", "/v1/epochs/1", "/v1/explain/cart/alice"] {
        assert_eq!(get(node.http, path).await.problem().0, "unauthenticated", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_has_every_host_and_its_cost_and_tells_takeovers_by_phase() {
    let folder = folder();
    let node = Node::start_with(
        &folder,
        "h1",
        |gateway| gateway.cost(Arc::new(|requests| requests.values().sum::<u64>() as f64)),
        ServeSettings::default(),
    )
    .await;
    let mut other = Node::start(&folder, "h2").await;
    let hosts = |status: &Value| status["hosts"].as_array().unwrap().len();
    let status = until(&node, "/v1/status", |status| hosts(status) == 2).await;
    assert_eq!(status["gateway_of"], "h1");
    assert_eq!(status["slots"], 64);
    assert_eq!(post(node.http, "/v1/vnodes/cart/alice/add", r#"["a",1]"#).await.status, 200);
    let has_called = |status: &Value| {
        let all = status["hosts"].as_array().unwrap().iter();
        let ok = all.filter_map(|host| host["measures"]["calls"]["command"]["ok"].as_u64());
        ok.sum::<u64>() >= 1
    };
    let status = until(&node, "/v1/status", has_called).await;
    for host in status["hosts"].as_array().unwrap() {
        let measures = &host["measures"];
        assert!(measures["dollars"].as_f64().unwrap() > 0.0, "{host}");
        assert!(measures["resident_bytes"].as_u64().unwrap() > 1_000_000, "{host}");
        assert_eq!(measures["status"]["name"], host["name"]);
    }
    other.crash().await;
    let taken = |status: &Value| {
        status["takeovers"].as_array().unwrap().iter().any(|takeover| {
            takeover["how"] == "takeover"
                && takeover["from"] == json!(["h2"])
                && takeover["is_running"] == false
                && takeover["seals"][0]["by"] == "h1"
                && takeover["recoveries"][0]["by"] == "h1"
        })
    };
    let status = until(&node, "/v1/status", taken).await;
    assert_eq!(hosts(&status), 1, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_are_told_page_by_page_backwards_and_one_by_one_with_their_slots() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let _other = Node::start(&folder, "h2").await;
    let both = |page: &Value| page["newest"].as_u64().unwrap() >= 3;
    let page = until(&node, "/v1/epochs", both).await;
    assert_eq!(page["oldest"], 1);
    let before = get(node.http, "/v1/epochs?before=3&limit=1").await.json();
    assert_eq!(before["epochs"].as_array().unwrap().len(), 1);
    assert_eq!(before["epochs"][0]["epoch"], 2);
    assert_eq!(before["epochs"][0]["changes_left_out"], 0);
    assert_eq!(get(node.http, "/v1/epochs?before=1").await.json()["epochs"], json!([]));
    let wrong = "/v1/epochs?before=3&after=1";
    assert_eq!(get(node.http, wrong).await.problem().0, "malformed");
    let joined = page["epochs"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .find(|epoch| epoch["kinds"].as_array().unwrap().contains(&json!("handed_over")));
    let number = joined.expect("slots were handed to h2")["epoch"].as_u64().unwrap();
    let one = get(node.http, &format!("/v1/epochs/{number}")).await.json();
    assert_eq!(one["hosts"][1]["name"], "h2");
    let runs = one["domains"][0]["owners"].as_array().unwrap();
    assert_eq!(runs.iter().map(|run| run[1].as_u64().unwrap()).sum::<u64>(), 64);
    assert_eq!(one["moved"][0]["to"], "h2");
    assert_eq!(get(node.http, "/v1/epochs/9999").await.problem().0, "not-found");
    assert_eq!(get(node.http, "/v1/epochs/0").await.problem().0, "malformed");
    assert_eq!(get(node.http, "/v1/epochs/x").await.problem().0, "malformed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vnode_is_explained_with_its_state() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let key = "%3Cimg%20src=x%20onerror=alert(1)%3E";
    assert_eq!(
        post(node.http, &format!("/v1/vnodes/cart/{key}/add"), r#"["tea",2]"#).await.status,
        200
    );
    let told = get(node.http, &format!("/v1/explain/cart/{key}")).await;
    assert_eq!(told.header("content-type"), Some("application/json"), "never markup");
    let told = told.json();
    assert_eq!(told["owner"]["host"], "h1");
    assert_eq!(told["newest"]["commit"], 1);
    assert_eq!(told["memory"]["state"], "active");
    assert_eq!(told["state"]["json"], r#"{"items":{"tea":2}}"#);
    let never = get(node.http, "/v1/explain/cart/nobody").await.json();
    assert_eq!(never["newest"], Value::Null);
    assert_eq!(never["state"]["json"], "null");
    assert_eq!(get(node.http, "/v1/explain/ship/alice").await.json()["state"]["json"], Value::Null);
    let reserved = get(node.http, "/v1/explain/holocron.requests/1").await;
    assert_eq!(reserved.problem().0, "forbidden");
}

/// A token's text names its scopes.
#[derive(Debug)]
struct Scopes;

#[async_trait]
impl Authorize for Scopes {
    async fn authorize(&self, head: &Parts, access: Access<'_>) -> Result<Principal, Denied> {
        let shown = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        let Some(shown) = shown else {
            return Err(Denied::Unknown { challenge: "Bearer".to_owned() });
        };
        let needed = match (access.scope, access.target) {
            (Scope::Admin, _) => "admin",
            (Scope::Read, Target::Vnode { .. }) => "read",
            (Scope::Read | Scope::Write, _) => "write",
        };
        match shown.contains(needed) {
            true => Ok(Principal(shown.to_owned())),
            false => Err(Denied::Forbidden(format!("this needs {needed}"))),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_shown_only_to_those_who_may_read_the_vnode() {
    let folder = folder();
    let node = Node::start_with(
        &folder,
        "h1",
        |gateway| gateway.authorize(Scopes),
        ServeSettings::default(),
    )
    .await;
    let all = "authorization: Bearer admin-read-write\r\ncontent-type: application/json\r\n";
    let added = ask(node.http, "POST", "/v1/vnodes/cart/alice/add", all, r#"["tea",2]"#).await;
    assert_eq!(added.status, 200, "{added:?}");
    let explain = "/v1/explain/cart/alice";
    let reader = ask(node.http, "GET", explain, "authorization: Bearer read\r\n", "").await;
    assert_eq!(reader.problem().0, "forbidden", "where a vnode is belongs to operators");
    let admin = ask(node.http, "GET", explain, "authorization: Bearer admin\r\n", "").await;
    let state = &admin.json()["state"];
    assert_eq!(state["why"], "not shown: this needs read");
    assert!(!admin.text.contains("tea"), "{admin:?}");
    let both = ask(node.http, "GET", explain, all, "").await;
    assert_eq!(both.json()["state"]["json"], r#"{"items":{"tea":2}}"#);
}
