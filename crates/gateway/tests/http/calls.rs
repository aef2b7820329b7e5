//! Every route, as it is meant.

use std::sync::Arc;

use holocron_gateway::ServeSettings;
use serde_json::json;

use crate::support::{Node, ask, folder, get, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_queries_and_deletion() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let to = node.http;
    let alice = "/v1/vnodes/cart/alice";
    let added = post(to, &format!("{alice}/add"), r#"{"sku":"tea","n":2}"#).await;
    assert_eq!((added.status, added.json()), (200, json!({ "Ok": 2 })));
    let first: u64 = added.header("holocron-commit").unwrap().parse().unwrap();
    let added = post(to, &format!("{alice}/add"), r#"["tea", 3]"#).await;
    assert_eq!(added.json(), json!({ "Ok": 5 }));
    assert!(added.header("holocron-commit").unwrap().parse::<u64>().unwrap() > first);
    let refused = post(to, &format!("{alice}/add"), r#"{"sku":"tea","n":1000000}"#).await;
    assert_eq!(
        (refused.status, refused.json()),
        (200, json!({ "Err": { "TooMany": { "max": 1_000_000 } } }))
    );
    for query in ["items", "items?consistency=local", "items?consistency=linearizable"] {
        let items = get(to, &format!("{alice}/{query}")).await;
        assert_eq!((items.status, items.json()), (200, json!({ "tea": 5 })), "{query}");
    }
    for query in ["count?sku=tea", "count?sku=%22tea%22", "count?consistency=local&sku=t%65a"] {
        assert_eq!(get(to, &format!("{alice}/{query}")).await.json(), json!(5), "{query}");
    }
    assert_eq!(get(to, alice).await.json(), json!({ "kind": "cart", "key": "alice" }));
    let head = ask(to, "HEAD", alice, "", "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(post(to, &format!("{alice}/clear"), "").await.json(), json!(null));
    assert_eq!(ask(to, "DELETE", alice, "", "").await.status, 204);
    assert_eq!(get(to, alice).await.problem().0, "no-such-vnode");
    assert_eq!(ask(to, "HEAD", alice, "", "").await.status, 404);
    let tree = r#"{"tree":{"label":"a","parts":[{"label":"b","parts":[]}]}}"#;
    let planted = post(to, &format!("{alice}/plant"), tree).await;
    assert_eq!(planted.json()["parts"][0]["label"], "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_the_cluster() {
    let folder = folder();
    let metrics = Arc::new(|| "up 1\n".to_owned());
    let node = Node::start_with(
        &folder,
        "h1",
        |gateway| gateway.metrics(metrics),
        ServeSettings::default(),
    )
    .await;
    let to = node.http;
    assert_eq!(get(to, "/healthz").await.status, 200);
    assert_eq!(get(to, "/metrics").await.text, "up 1\n");
    let kinds = get(to, "/v1/kinds").await.json();
    assert_eq!(kinds["kinds"].as_array().unwrap().len(), 1, "the runtime's own kinds aren't shown");
    assert_eq!(kinds["kinds"][0]["kind"], "cart");
    let hosts = get(to, "/v1/hosts").await.json();
    let host = &hosts["hosts"][0];
    assert_eq!(
        (&host["name"], &host["status"], &host["slots"]),
        (&json!("h1"), &json!("active"), &json!(64))
    );
    let epochs = get(to, "/v1/epochs?limit=1").await.json();
    let newest = epochs["newest"].as_u64().unwrap();
    assert_eq!(epochs["epochs"][0]["epoch"], newest);
    assert!(!epochs["epochs"][0]["changes"].as_array().unwrap().is_empty(), "{epochs}");
    let later = get(to, &format!("/v1/epochs?after={}", newest + 100)).await.json();
    assert_eq!(later["epochs"], json!([]));
    let all = get(to, "/v1/epochs?after=0&limit=2").await.json();
    assert_eq!(all["epochs"][0]["epoch"], 1, "{all}");
    let document = get(to, "/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let add = &document["paths"]["/v1/vnodes/cart/{key}/add"]["post"];
    let body = &add["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["required"], json!(["sku", "n"]), "{add}");
    assert_eq!(
        document["components"]["schemas"]["CartTree"]["required"],
        json!(["label", "parts"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_gateway_answers_for_any_vnode() {
    let folder = folder();
    let one = Node::start(&folder, "h1").await;
    let other = Node::start(&folder, "h2").await;
    one.until_ready().await;
    for number in 0..20 {
        let path = format!("/v1/vnodes/cart/k{number}/add");
        assert_eq!(post(one.http, &path, r#"["tea",1]"#).await.json(), json!({ "Ok": 1 }));
        assert_eq!(post(other.http, &path, r#"["tea",1]"#).await.json(), json!({ "Ok": 2 }));
    }
    assert!(post(one.http, "/v1/vnodes/cart/k0/clear", "").await.status == 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_any_text_and_paths_mean_what_they_say() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    for (written, key) in [
        ("..", ".."),
        ("%2e%2e", ".."),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("%00", "\0"),
        ("%C3%A9", "é"),
        ("a+b", "a+b"),
        ("..%2f..%2fetc", "../../etc"),
    ] {
        let added = post(node.http, &format!("/v1/vnodes/cart/{written}/add"), r#"["x",1]"#).await;
        assert_eq!(added.status, 200, "{written}: {added:?}");
        let shown = get(node.http, &format!("/v1/vnodes/cart/{written}")).await;
        assert_eq!(shown.json()["key"], key);
    }
}
