//! Every implementation keeps the contract; servers run it where they are there, and are missed loudly.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use holocron_store::{Counting, Directory, Faults, Faulty, Latency, Memory, Store, contract, open};

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::check(&open("memory://", &[]).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_contract_across_threads() {
    contract::check(&open("memory://", &[]).unwrap()).await;
}

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let store = Directory::open(root.path()).unwrap();
    contract::check(&(Arc::new(store) as Arc<dyn Store>)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_keeps_the_contract_across_threads() {
    let root = tempfile::tempdir().unwrap();
    let url = format!("file://{}/new/deep", root.path().display());
    contract::check(&open(&url, &[]).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn wrappers_keep_the_contract() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let faultless: Arc<dyn Store> = Arc::new(Faulty::new(memory, 1, Faults::default()));
    let slow: Arc<dyn Store> = Arc::new(Latency::new(faultless, Duration::from_millis(5)));
    let counting =
        Arc::new(Counting::new(slow, |key| if key.contains("race") { "race" } else { "other" }));
    contract::check(&(Arc::clone(&counting) as Arc<dyn Store>)).await;
    assert!(counting.counts().of_purpose("race").requests > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_s3_server_keeps_the_contract() {
    server_keeps_the_contract("HOLOCRON_TEST_S3_URL", "HOLOCRON_REQUIRE_S3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_azure_server_keeps_the_contract() {
    server_keeps_the_contract("HOLOCRON_TEST_AZURE_URL", "HOLOCRON_REQUIRE_AZURE").await;
}

/// Runs the contract against the server whose URL is in the variable `url`. Without one: fails if the variable
/// `required` is 1, else says that it was skipped.
async fn server_keeps_the_contract(url: &str, required: &str) {
    let Ok(server) = std::env::var(url) else {
        assert_ne!(
            std::env::var(required).as_deref(),
            Ok("1"),
            "{required}=1, but {url} isn't set"
        );
        // To the process's own standard error: the test harness hides what a passing test prints.
        let skipped = format!(
            "
SKIPPED: {url} isn't set
"
        );
        std::io::stderr().write_all(skipped.as_bytes()).expect("standard error is there");
        return;
    };
    // Half of it in the root, half below a prefix of its own.
    let root = open(&server, &[]).expect("the URL names a store");
    let below = open(&format!("{}/below/it", server.trim_end_matches('/')), &[])
        .expect("so does one below it");
    contract::check(&root).await;
    contract::check(&below).await;

    let nowhere = {
        let (scheme, rest) = server.split_once("://").expect("a URL has a scheme");
        let bucket = rest.split('/').next().expect("a split has a first part");
        open(&format!("{scheme}://{bucket}-not-there"), &[])
            .expect("a missing bucket is no mistake yet")
    };
    // A bucket that isn't there must not pass for an empty one.
    for answer in [
        nowhere.get("key").await.err(),
        nowhere.get_range("key", 0..1).await.err(),
        nowhere.create("key", "x".into()).await.err(),
        nowhere.put("key", "x".into()).await.err(),
        nowhere.list("").await.err(),
    ] {
        let denied = matches!(answer, Some(holocron_store::Error::Denied { .. }));
        assert!(denied, "a missing bucket is an error: {answer:?}");
    }
}
