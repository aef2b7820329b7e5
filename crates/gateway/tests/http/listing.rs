//! Listing page by page, each from another gateway.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Node, folder, get, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_goes_on_at_any_gateway_and_each_vnode_is_listed_once() {
    let folder = folder();
    let one = Node::start(&folder, "h1").await;
    let other = Node::start(&folder, "h2").await;
    one.until_ready().await;
    let mut expected = BTreeSet::new();
    for number in 0..150 {
        let key = format!("{}/{number}", if number % 3 == 0 { "eu" } else { "us" });
        let path = format!("/v1/vnodes/cart/{}/add", key.replace('/', "%2F"));
        assert_eq!(post(one.http, &path, r#"["a",1]"#).await.status, 200);
        expected.insert(key);
    }
    for (prefix, limit, count) in [("", 7, 150), ("eu/", 10, 50), ("", 1_000, 150), ("no", 10, 0)] {
        let (mut keys, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let to = if pages % 2 == 0 { one.http } else { other.http };
            let page =
                get(to, &format!("/v1/vnodes/cart?prefix={prefix}&limit={limit}{after}")).await;
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            let listed = page["keys"].as_array().unwrap();
            assert!(listed.len() <= limit, "{page}");
            keys.extend(listed.iter().map(|key| key.as_str().unwrap().to_owned()));
            pages += 1;
            let Value::String(next) = &page["next"] else { break };
            after = format!("&after={next}");
        }
        let distinct: BTreeSet<String> = keys.iter().cloned().collect();
        assert_eq!((keys.len(), distinct.len()), (count, count), "{prefix} {limit}");
        assert!(distinct.iter().all(|key| expected.contains(key) && key.starts_with(prefix)));
    }
}
