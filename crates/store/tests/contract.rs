//! Every implementation keeps the contract. Tests that need a server print that they were skipped if there is none.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use holocron_store::{
    Counting, Directory, Error, Fault, Faults, Faulty, Latency, Lie, Lying, Memory, Probe,
    ProbeError, Store, contract, open, open_or_make, probe,
};

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
    let url = format!("file://{}/new", root.path().display());
    contract::check(&open_or_make(&url, &[]).unwrap()).await;
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

#[tokio::test(start_paused = true)]
async fn a_store_that_is_only_busy_keeps_the_contract() {
    let faults = Faults { fail_before: 0.05, burst: 0.005, burst_len_max: 10, ..Faults::default() };
    let faulty = Arc::new(Faulty::new(Arc::new(Memory::new()), 1, faults));
    contract::check(&(Arc::clone(&faulty) as Arc<dyn Store>)).await;
    assert!(faulty.injected()[&Fault::FailBefore] > 50, "{:?}", faulty.injected());
}

#[tokio::test(start_paused = true)]
async fn every_lie_breaks_its_promise_of_the_contract() {
    for lie in Lie::ALL {
        let sentence = match lie {
            Lie::IgnoresCondition | Lie::RefusesConflicts | Lie::FailsConflicts => {
                "a create over an object is a conflict"
            }
            Lie::RefusesAndOverwrites => "a create over an object leaves it alone",
            Lie::ChecksThenWrites => "one of 32 concurrent creates wins",
            Lie::CachesMissing | Lie::LosesWrites | Lie::FailuresAreMissing => "is there",
            Lie::ListsLate => "a listing after a create shows it",
            Lie::IgnoresRangeStart => "bytes 99999..100000",
            Lie::KeepsDeleted => "a get after a delete finds nothing",
            Lie::RefusesMissing | Lie::AnswersAnything => "an object that isn't there is None",
            Lie::IgnoresConditionOfLarge => "a large create over an object is an error",
        };
        let store: Arc<dyn Store> = Arc::new(Lying::new(Arc::new(Memory::new()), lie));
        let checked = tokio::spawn(async move { contract::check(&store).await }).await;
        let panic = checked.expect_err("a lie found out").into_panic();
        let said = panic.downcast_ref::<String>().expect("a sentence");
        assert!(said.contains(sentence), "{lie:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_s3_server_keeps_the_contract() {
    server_keeps_the_contract("HOLOCRON_TEST_S3_URL", "HOLOCRON_REQUIRE_S3").await;
}

/// For the real service. The tests in `gcs.rs` always run, with an emulator.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gcs_bucket_keeps_the_contract() {
    server_keeps_the_contract("HOLOCRON_TEST_GCS_URL", "HOLOCRON_REQUIRE_GCS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_azure_server_keeps_the_contract() {
    if let Some(server) =
        server_keeps_the_contract("HOLOCRON_TEST_AZURE_URL", "HOLOCRON_REQUIRE_AZURE").await
    {
        // The S3 server of the tests accepts every request; this server checks signatures.
        let wrong_key = [("access_key".to_owned(), "d3Jvbmc=".to_owned())];
        refuses_everything(&open(&server, &wrong_key).expect("a wrong key is no mistake yet"))
            .await;
    }
}

/// Runs the contract against the server whose URL is in the variable `url`, and returns the URL. Without a URL it fails
/// if the variable `required` is 1, and otherwise prints that it was skipped.
async fn server_keeps_the_contract(url: &str, required: &str) -> Option<String> {
    let Ok(server) = std::env::var(url) else {
        assert_ne!(
            std::env::var(required).as_deref(),
            Ok("1"),
            "{required}=1, but {url} isn't set"
        );
        // Directly to standard error, because the test harness hides the output of a passing test.
        let skipped = format!(
            "
SKIPPED: {url} isn't set
"
        );
        std::io::stderr().write_all(skipped.as_bytes()).expect("standard error is there");
        return None;
    };
    let below = open(&format!("{}/below/it", server.trim_end_matches('/')), &[])
        .expect("the URL names a store");
    contract::check(&below).await;

    // The whole bucket is also a store, with the same objects under longer keys.
    let root = open(&server, &[]).expect("the URL names a store");
    below.put("a/b", "x".into()).await.expect("put");
    assert_eq!(root.get("below/it/a/b").await.expect("get"), Some("x".into()));
    let listed: Vec<_> =
        root.list("").await.expect("list").into_iter().map(|listed| listed.key).collect();
    assert!(listed.contains(&"below/it/a/b".to_owned()), "{listed:?}");
    root.delete("below/it/a/b").await.expect("delete");
    assert_eq!(below.list("").await.expect("list"), []);

    probe(&below, &Probe::new(1)).await.expect("a store that keeps the contract is fit");

    let (scheme, rest) = server.split_once("://").expect("a URL has a scheme");
    let bucket = rest.split('/').next().expect("a split has a first part");
    // A missing bucket must not look like an empty one.
    refuses_everything(
        &open(&format!("{scheme}://{bucket}-not-there"), &[])
            .expect("a missing bucket is no mistake yet"),
    )
    .await;
    Some(server)
}

async fn refuses_everything(store: &Arc<dyn Store>) {
    for answer in [
        store.get("key").await.err(),
        store.get_range("key", 0..1).await.err(),
        store.create("key", "x".into()).await.err(),
        store.put("key", "x".into()).await.err(),
        store.list("").await.err(),
    ] {
        assert!(matches!(answer, Some(Error::Denied { .. })), "{store:?} refuses us: {answer:?}");
    }
    let error =
        probe(store, &Probe::new(1)).await.expect_err("a store that refuses us can't be used");
    assert!(matches!(error, ProbeError::Refused { .. }), "{error}");
    let sentence = error.to_string();
    assert!(sentence.len() < 300 && !sentence.contains('<'), "for people: {sentence}");
}
