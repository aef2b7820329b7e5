//! The subcommands: exit codes and output.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::support::{Place, all_served, holocron, run, text, turn, until};

/// Runs a subcommand on the place's store. Returns exit code, standard output as JSON (null if it isn't JSON), and all
/// output as text.
async fn say(place: &Place, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let url = place.url();
    let mut all = arguments.to_vec();
    all.splice(1..1, ["--store", &url]);
    let output = run(&all).await;
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), json, text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_can_call_vnodes() {
    let _turn = turn().await;
    let place = Place::new();
    let (code, _, said) = say(&place, &["call", "counter", "alice", "value"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there is no cluster"), "{said}");

    let _host = place.host("h1", &[]).await;
    for (arguments, answer) in [
        (vec!["counter", "alice", "add", "5"], json!(5)),
        (vec!["counter", "alice", "add", "-2"], json!(3)),
        (vec!["counter", "alice", "value"], json!(3)),
        (vec!["counter", "bob", "value", "--local"], json!(0)),
        (
            vec!["kv", "k", "put", r#"{"field":"a","value":"b"}"#],
            json!({ "Ok": { "done": true, "before": null } }),
        ),
        (
            vec!["kv", "k", "compare-and-set", r#"{"field":"a","expected":"x","value":"c"}"#],
            json!({ "Ok": { "done": false, "before": "b" } }),
        ),
        (
            vec!["kv", "k", "compare-and-set", r#"{"field":"n","expected":null,"value":"1"}"#],
            json!({ "Ok": { "done": true, "before": null } }),
        ),
        (vec!["kv", "k", "all"], json!({ "a": "b", "n": "1" })),
        (
            vec!["kv", "k", "delete", r#"{"field":"a"}"#],
            json!({ "done": true, "before": "b", "revision": null }),
        ),
        (vec!["kv", "k", "get", r#"{"field":"a"}"#], json!(null)),
    ] {
        let mut all = vec!["call"];
        all.extend(&arguments);
        let (code, mut json, said) = say(&place, &all).await;
        // Revisions come from the clock.
        if let Some(change) = json.get_mut("Ok").and_then(Value::as_object_mut) {
            change.remove("revision");
        }
        assert_eq!((code, json), (Some(0), answer), "{arguments:?}: {said}");
    }
    for arguments in [
        vec!["call", "counter", "alice", "sub", "5"],
        vec!["call", "counter", "alice", "add", "five"],
        vec!["call", "stack", "alice", "add", "5"],
        vec!["call", "counter", "alice", "add", "5", "--local"],
    ] {
        let (code, _, said) = say(&place, &arguments).await;
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_can_see_what_there_is_to_call() {
    let _turn = turn().await;
    let place = Place::new();
    let (one, two) = (place.host("h1", &[]).await, place.host("h2", &[]).await);
    all_served(&place, &[&one, &two]).await;
    let (code, _, said) = say(&place, &["kinds"]).await;
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "counter  version 1, bincode, at h1, h2\n",
        "  command  add(amount: i64) -> i64\n",
        "  query    value -> i64\n",
        "  state    { value: i64 }\n",
        "  command  compare-and-set(field: String, expected: Option<String>, value: Option<String>) -> Result<Change, KvError>\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let (code, kinds, said) = say(&place, &["kinds", "kv", "--json"]).await;
    assert_eq!((code, &kinds["kinds"][0]["hosts"]), (Some(0), &json!(["h1", "h2"])), "{said}");
    assert_eq!(kinds["kinds"][0]["queries"][0]["name"], "get", "{said}");
    let (code, _, said) = say(&place, &["kinds", "stack"]).await;
    assert!(code == Some(2) && said.contains("the kinds are: counter, kv, lease, queue"), "{said}");
    two.kill().await;
    let (code, _, said) = say(&place, &["kinds", "counter"]).await;
    // It is asked for as long as the others haven't noticed.
    let alone = said.contains("h2 did not answer") || said.contains("bincode, at h1\n");
    assert!(code == Some(0) && alone, "{said}");
    // In order, and as text without quotes.
    let (code, json, said) = say(&place, &["call", "kv", "k", "put", "a", "b"]).await;
    assert_eq!((code, &json["Ok"]["done"]), (Some(0), &json!(true)), "{said}");
}

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    items: BTreeMap<String, Item>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Item {
    n: u32,
    note: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
enum CartError {
    TooMany { max: u32 },
}

#[holocron::vnode(kind = "cart", version = 2, codec = MessagePack)]
impl Cart {
    /// Adds so many; returns how many there are.
    ///
    /// More than ten are refused.
    #[command]
    fn add(&mut self, sku: &str, n: u32, note: Option<String>) -> Result<u32, CartError> {
        let item = self.items.entry(sku.to_owned()).or_insert(Item { n: 0, note: None });
        if item.n + n > 10 {
            return Err(CartError::TooMany { max: 10 });
        }
        item.n += n;
        item.note = note.or(item.note.take());
        Ok(item.n)
    }

    #[command]
    fn checkout(&mut self) {
        self.items.clear();
    }

    #[query(local)]
    fn item(&self, sku: &str) -> Option<Item> {
        self.items.get(sku).cloned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_calls_a_kind_that_the_binary_does_not_know() {
    let _turn = turn().await;
    let place = Place::new();
    let host = holocron::Host::builder(&place.url()).name("shop").vnode::<Cart>();
    let _host = host.start().await.unwrap();
    let (code, _, said) = say(&place, &["kinds"]).await;
    let expected = "cart  version 2, MessagePack, at shop\n  \
         command  add(sku: String, n: u32, note: Option<String>) -> Result<u32, CartError>\n             \
         Adds so many; returns how many there are.\n  \
         command  checkout -> ()\n  \
         query    item(sku: String) -> Option<Item>\n  \
         state    { items: Map<String, Item> }\n  \
         type     CartError = TooMany { max: u32 }\n  \
         type     Item = { n: u32, note: Option<String> }\n\n";
    assert_eq!((code, said.as_str()), (Some(0), expected));
    for (arguments, answer) in [
        (vec!["add", "tea", "2", "null"], json!({ "Ok": 2 })),
        (vec!["add", r#"{"sku":"tea","n":3,"note":"green"}"#], json!({ "Ok": 5 })),
        (vec!["add", r#"{"sku":"tea","n":9}"#], json!({ "Err": { "TooMany": { "max": 10 } } })),
        (vec!["item", "tea", "--local"], json!({ "n": 5, "note": "green" })),
        (vec!["checkout"], Value::Null),
        (vec!["item", "tea", "--query"], Value::Null),
    ] {
        let mut all = vec!["call", "cart", "alice"];
        all.extend(&arguments);
        let (code, json, said) = say(&place, &all).await;
        assert_eq!((code, json), (Some(0), answer), "{arguments:?}: {said}");
    }
    // Sent, and refused by the host: nothing ran.
    let wrong = ["call", "cart", "alice", "add", r#"{"sku":"tea","n":"two"}"#];
    let (code, _, said) = say(&place, &wrong).await;
    assert!(code == Some(6) && said.contains("command add: invalid type: string"), "{said}");
    let (code, _, said) = say(&place, &["call", "cart", "alice", "add", "tea"]).await;
    assert!(code == Some(2) && said.contains("add(sku: String, n: u32, note:"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_needs_only_the_store_and_seal_needs_the_leader() {
    let _turn = turn().await;
    let place = Place::new();
    let (one, two) = (place.host("h1", &[]).await, place.host("h2", &[]).await);
    all_served(&place, &[&one, &two]).await;
    let (code, status, said) = say(&place, &["status", "--json"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&status["leader"], &status["slots"]), (&json!("h1"), &json!(4096)));
    assert_eq!(status["hosts"].as_array().unwrap().len(), 2);
    assert!(status["hosts"][1]["status"]["slots_serving"].as_u64() > Some(0), "{said}");
    let session = status["hosts"][1]["status"]["session"].clone();
    let (code, _, said) = say(&place, &["status"]).await;
    assert!(code == Some(0) && said.contains("h1 leads; 4,096 slots"), "{said}");

    let (code, _, said) = say(&place, &["seal", "h9"]).await;
    assert!(code == Some(1) && said.contains("there are: h1, h2"), "{said}");
    let (code, sealed, said) = say(&place, &["seal", "h2", "--json"]).await;
    assert_eq!((code, &sealed["sealed"]), (Some(0), &json!("h2")), "{said}");
    until("it is back with another session", async || {
        let (_, status, _) = say(&place, &["status", "--json"]).await;
        let host = status["hosts"].as_array()?.iter().find(|host| host["name"] == "h2")?.clone();
        let now = host["status"].get("session")?.clone();
        (now != session && host["answered"] == json!(true)).then_some(())
    })
    .await;

    one.kill().await;
    two.kill().await;
    let (code, status, said) = say(&place, &["status", "--json"]).await;
    assert_eq!(code, Some(0), "{said}");
    for host in status["hosts"].as_array().unwrap() {
        assert_eq!(host["answered"], json!(false), "{said}");
        assert!(host["error"].is_string(), "{said}");
    }
    let (code, _, said) = say(&place, &["call", "counter", "c", "value", "--deadline", "1"]).await;
    assert_eq!(code, Some(5), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_accepts_a_fit_store_and_refuses_an_unknown_scheme() {
    let place = Place::new();
    let output = run(&["probe", &place.url(), "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["fit"], json!(true));
    assert!(report["create_p50_ms"].as_f64().unwrap() > 0.0);
    let output = run(&["probe", "ftp://example.org/x"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("not a known scheme: use file, memory, s3, gs or az"));
}

#[tokio::test(flavor = "multi_thread")]
async fn help_has_examples_and_exit_codes() {
    for subcommand in
        ["demo", "host", "call", "kinds", "status", "history", "explain", "seal", "probe"]
    {
        let output = run(&[subcommand, "--help"]).await;
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{subcommand}");
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planting_an_unknown_bug_is_wrong_usage() {
    let mut probe = holocron(&["probe", "memory://"]);
    let output = probe.env("HOLOCRON_PLANTED", "gremlins").output().await.unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    // A development build lists the bugs, a release build says that it has none.
    let expected = if cfg!(debug_assertions) { "no-window" } else { "release build" };
    assert!(said.contains("gremlins") && said.contains(expected), "{said}");
}
