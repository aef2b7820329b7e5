//! The typed client of a kind, against a host in memory.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron::{
    Body, CallError, Context, Format, Host, Mode, Ran, Settings, Unavailable, Vnode as _, VnodeRef,
    vnode,
};
use holocron_protocol::ids::VnodeName;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Sku(String);

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    items: BTreeMap<Sku, u32>,
}

/// What the shop allows.
struct Shop {
    per_sku_max: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CartError {
    TooMany { max: u32 },
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    /// Adds so many of an article; returns how many there are now.
    ///
    /// More than the shop allows is refused.
    #[command]
    fn add(&mut self, context: &mut Context<'_, Self>, sku: Sku, n: u32) -> Result<u32, CartError> {
        let max = context.env().per_sku_max;
        let have = self.items.entry(sku).or_default();
        if *have + n > max {
            return Err(CartError::TooMany { max });
        }
        *have += n;
        Ok(*have)
    }

    #[command]
    fn rename(&mut self, from: &str, to: &Sku) -> bool {
        match self.items.remove(&Sku(from.to_owned())) {
            Some(n) => self.items.insert(to.clone(), n).is_none(),
            None => false,
        }
    }

    #[command(name = "delete")]
    fn empty(&mut self) {
        self.items.clear();
    }

    #[command]
    fn break_down(&mut self) {
        panic!("as told");
    }

    #[command]
    fn block(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    #[query]
    fn items(&self) -> Vec<(Sku, u32)> {
        self.items.iter().map(|(sku, n)| (sku.clone(), *n)).collect()
    }

    /// Has keys that JSON can't have.
    #[query]
    fn by_count(&self) -> BTreeMap<(u32, u32), Sku> {
        (0..).zip(&self.items).map(|(at, (sku, n))| ((*n, at), sku.clone())).collect()
    }

    #[query(local)]
    fn count(&self, context: &Context<'_, Self>) -> (String, usize) {
        (context.key().to_owned(), self.items.len())
    }

    fn _is_no_handler(&self) {}
}

async fn host() -> Host {
    let shop = Shop { per_sku_max: 10 };
    Host::builder("memory://").name("h1").env(shop).vnode::<Cart>().start().await.unwrap()
}

fn sku(text: &str) -> Sku {
    Sku(text.to_owned())
}

#[tokio::test]
async fn handlers_are_called_as_methods_with_their_own_results() {
    let host = host().await;
    let alice: VnodeRef<Cart> = host.client().get("alice");
    assert_eq!(alice.add(sku("tea"), 2).await, Ok(Ok(2)));
    assert_eq!(alice.add(sku("tea"), 3).await, Ok(Ok(5)));
    // The handler's own error comes through as a value.
    assert_eq!(alice.add(sku("tea"), 6).await, Ok(Err(CartError::TooMany { max: 10 })));
    assert_eq!(alice.rename("tea", &sku("coffee")).await, Ok(true));
    assert_eq!(alice.items().await, Ok(vec![(sku("coffee"), 5)]));
    assert_eq!(alice.count().await, Ok(("alice".to_owned(), 1)));
    assert_eq!(alice.by_count().await.unwrap().len(), 1);
    assert_eq!(alice.break_down().await, Err(CallError::Panicked));
    assert_eq!(alice.empty().await, Ok(()));
    assert_eq!(alice.items().await, Ok(vec![]));
    // Calls may be made in tasks.
    let alice = tokio::spawn(async move { alice.add(sku("tea"), 1).await.map(|_| alice) });
    alice.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_is_counted() {
    let settings =
        Settings { handler_warn_after: Duration::from_millis(500), ..Settings::default() };
    let builder = Host::builder("memory://").env(Shop { per_sku_max: 10 }).vnode::<Cart>();
    let host = builder.settings(settings).start().await.unwrap();
    let alice: VnodeRef<Cart> = host.client().get("alice");
    alice.block(1).await.unwrap();
    assert_eq!(host.status().slow_handlers, 0);
    alice.block(501).await.unwrap();
    assert_eq!(host.status().slow_handlers, 1);
}

async fn json(host: &Host, mode: Mode, body: &str) -> Result<String, CallError> {
    let name = VnodeName::new(Cart::KIND, "alice").unwrap();
    let body = Body { format: Format::Json, bytes: body.to_owned().into() };
    let reply = host.client().call(&name, mode, body, Duration::from_secs(10)).await?;
    Ok(String::from_utf8(reply.to_vec()).unwrap())
}

#[tokio::test]
async fn a_caller_without_the_types_calls_in_json() {
    let host = host().await;
    let command = |body| json(&host, Mode::Command, body);
    assert_eq!(command(r#"{"add": {"sku": "tea", "n": 2}}"#).await.unwrap(), r#"{"Ok":2}"#);
    assert_eq!(
        command(r#"{"add": {"n": 9, "sku": "tea"}}"#).await.unwrap(),
        r#"{"Err":{"TooMany":{"max":10}}}"#
    );
    assert_eq!(json(&host, Mode::Query, r#""items""#).await.unwrap(), r#"[["tea",2]]"#);
    assert_eq!(json(&host, Mode::Local, r#"{"count": {}}"#).await.unwrap(), r#"["alice",1]"#);
    assert_eq!(command(r#""delete""#).await.unwrap(), "null");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_did_not_run() {
    let host = host().await;
    for (mode, body, told) in [
        (
            Mode::Command,
            r#"{"sub": {"sku": "tea"}}"#,
            "unknown: there is no command \"sub\"; there are: add, rename, delete, break_down",
        ),
        (Mode::Command, r#""items""#, "unknown: there is no command \"items\""),
        (Mode::Query, r#""add""#, "there is no query \"add\"; there are: items, by_count, count"),
        (Mode::Command, r#"{"add": {"sku": "tea"}}"#, "rejected: command add: missing field `n`"),
        (Mode::Command, r#""add""#, "rejected: command add: missing field `sku`"),
        (
            Mode::Command,
            r#"{"add": {"sku": "tea", "n": 1, "gift": true}}"#,
            "unknown field `gift`, expected `sku` or `n`",
        ),
        (
            Mode::Command,
            r#"{"add": {"sku": "tea", "n": -1}}"#,
            "rejected: command add: invalid value",
        ),
        (Mode::Command, r#"{"delete": {}, "add": {"sku": "tea", "n": 1}}"#, "one name in it"),
        (Mode::Command, "{", "rejected: EOF"),
        (Mode::Command, "7", "expected a command by its name"),
    ] {
        let error = json(&host, mode, body).await.expect_err(body);
        assert!(error.to_string().contains(told), "{body}: {error}");
        assert_eq!(error.ran(), Ran::No, "{body}");
    }
    let alice: VnodeRef<Cart> = host.client().get("alice");
    assert_eq!(alice.items().await, Ok(vec![]));
}

#[tokio::test]
async fn a_result_that_json_cannot_hold_is_refused_without_blaming_the_vnode() {
    let host = host().await;
    let alice: VnodeRef<Cart> = host.client().get("alice");
    alice.add(sku("tea"), 1).await.unwrap().unwrap();
    // More often than panics are allowed.
    for _ in 0..10 {
        let error = json(&host, Mode::Query, r#""by_count""#).await.unwrap_err();
        assert!(error.to_string().contains("can't be written as JSON"), "{error}");
    }
    assert_eq!(alice.add(sku("tea"), 1).await, Ok(Ok(2)));
}

#[tokio::test]
async fn a_kind_without_its_environment_keeps_a_host_from_starting() {
    let started = Host::builder("memory://").vnode::<Cart>().start().await;
    let error = started.unwrap_err().to_string();
    assert!(
        error.contains("\"cart\"") && error.contains("Shop") && error.contains(".env("),
        "{error}"
    );
}

#[tokio::test]
async fn a_vnode_that_cannot_be_called_says_why_in_a_word() {
    let host = host().await;
    let client = host.client().with_deadline(Duration::from_millis(300));
    let alice: VnodeRef<Cart> = client.get("alice");
    alice.add(sku("tea"), 1).await.unwrap().unwrap();
    for _ in 0..6 {
        drop(alice.break_down().await);
    }
    let error = alice.add(sku("tea"), 1).await.unwrap_err();
    assert!(
        matches!(error, CallError::Unavailable { reason: Unavailable::Quarantined, .. }),
        "{error:?}"
    );
    assert_eq!(error.ran(), Ran::No);
    host.stop().await;
    let error = alice.add(sku("tea"), 1).await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable { .. }), "{error:?}");
}
