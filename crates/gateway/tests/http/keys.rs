//! Idempotency keys: once, whatever is sent again and whatever crashes.

use futures::future::join_all;
use serde_json::json;

use crate::support::{Node, folder, get, post_keyed};

const ADD: &str = "/v1/vnodes/cart/alice/add";
const ONE: &str = r#"["tea",1]"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_counts_once_one_after_the_other_and_at_the_same_time() {
    let folder = folder();
    let one = Node::start(&folder, "h1").await;
    let other = Node::start(&folder, "h2").await;
    one.until_ready().await;
    let first = post_keyed(one.http, "k1", ADD, ONE).await;
    assert_eq!((first.status, first.json()), (200, json!({ "Ok": 1 })));
    assert_eq!(first.header("idempotency-replayed"), Some("false"));
    for node in [&one, &other] {
        let again = post_keyed(node.http, "k1", ADD, ONE).await;
        assert_eq!((again.status, again.json()), (200, json!({ "Ok": 1 })));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    let many = (0..16).map(|number| {
        let node = if number % 2 == 0 { &one } else { &other };
        post_keyed(node.http, "k2", ADD, ONE)
    });
    for answer in join_all(many).await {
        assert_eq!((answer.status, answer.json()), (200, json!({ "Ok": 2 })), "{answer:?}");
    }
    let different = (0..20).map(|number| {
        let key = format!("other-{number}");
        async move { post_keyed(one.http, &key, ADD, ONE).await }
    });
    for answer in join_all(different).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(get(one.http, "/v1/vnodes/cart/alice/count?sku=tea").await.json(), 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_request_is_refused_and_what_has_not_run_may_be_tried_again() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    assert_eq!(post_keyed(node.http, "k1", ADD, ONE).await.status, 200);
    for (path, body) in [(ADD, r#"["tea",2]"#), ("/v1/vnodes/cart/bob/add", ONE)] {
        let reused = post_keyed(node.http, "k1", path, body).await;
        assert_eq!(
            (reused.status, reused.problem().0.as_str()),
            (422, "key-reused"),
            "{path} {body}"
        );
    }
    let clear = post_keyed(node.http, "k1", "/v1/vnodes/cart/alice/clear", "").await;
    assert_eq!(clear.problem().0, "key-reused");
    // Promptly, not after the two hours for which other messages are tried again.
    for (path, body, name) in [
        ("/v1/vnodes/cart/alice/panics", "", "panicked"),
        ("/v1/vnodes/cart/alice/add", r#"{"sku":"a","n":-1}"#, "rejected"),
        ("/v1/vnodes/cart/alice/grow", "[2000000]", "rejected"),
    ] {
        let key = format!("fails-{name}-{}", body.len());
        for _ in 0..2 {
            let answer = post_keyed(node.http, &key, path, body).await;
            assert_eq!(answer.problem(), (name.to_owned(), "no".to_owned()), "{answer:?}");
        }
    }
    let long = "/v1/vnodes/cart/alice/long_reply";
    for _ in 0..2 {
        let answer = post_keyed(node.http, "long", long, "[20000]").await;
        assert_eq!(answer.problem(), ("reply-unreadable".to_owned(), "yes".to_owned()));
    }
    assert_eq!(get(node.http, "/v1/vnodes/cart/alice/count?sku=long").await.json(), 1);
    let big = format!(r#"["{}",1]"#, "x".repeat(70_000));
    let too_large = post_keyed(node.http, "big", ADD, &big).await;
    assert_eq!(too_large.problem().0, "body-too-large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_survive_the_crash_of_the_host_that_took_them() {
    let folder = folder();
    let survivor = Node::start(&folder, "h1").await;
    let mut other = Node::start(&folder, "h2").await;
    survivor.until_ready().await;
    let keys: Vec<String> = (0..40).map(|number| format!("order-{number}")).collect();
    let before = join_all(keys[..20].iter().map(|key| post_keyed(other.http, key, ADD, ONE))).await;
    assert!(before.iter().all(|answer| answer.status == 200), "{before:?}");
    // The rest is under way when the host crashes.
    let under_way = join_all(keys[20..].iter().map(|key| post_keyed(survivor.http, key, ADD, ONE)));
    let (_, during) = tokio::join!(other.crash(), under_way);
    drop(during);
    let after = join_all(keys.iter().map(|key| post_keyed(survivor.http, key, ADD, ONE))).await;
    for (key, answer) in keys.iter().zip(&after) {
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
    }
    for (first, again) in before.iter().zip(&after) {
        assert_eq!(first.json(), again.json(), "the outcome is the first one's");
    }
    assert_eq!(get(survivor.http, "/v1/vnodes/cart/alice/count?sku=tea").await.json(), 40);
}
