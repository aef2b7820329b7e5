//! The demo on an S3 server with lost answers: the verdict comes first, and the clean-up doesn't change it.

use std::{io::Write as _, process::Output};

use serde_json::Value;

use super::{
    proxy::{Fault, Proxy},
    support::{run, text, turn},
};

/// The S3 server of the tests: its URL and its endpoint. Without one it fails if the server is required, and otherwise
/// prints that the test was skipped.
fn server() -> Option<(String, String)> {
    if let Ok(url) = std::env::var("HOLOCRON_TEST_S3_URL") {
        let endpoint = std::env::var("AWS_ENDPOINT").expect("scripts/s3-server.sh sets both");
        return Some((url, endpoint));
    }
    assert_ne!(
        std::env::var("HOLOCRON_REQUIRE_S3").as_deref(),
        Ok("1"),
        "HOLOCRON_REQUIRE_S3=1, but HOLOCRON_TEST_S3_URL isn't set"
    );
    // Directly to standard error, because the test harness hides the output of a passing test.
    let skipped = "\nSKIPPED: HOLOCRON_TEST_S3_URL isn't set\n";
    std::io::stderr().write_all(skipped.as_bytes()).expect("standard error is there");
    None
}

/// Runs a short demo through a proxy, below its own prefix.
async fn demo(url: &str, proxy: &Proxy) -> Output {
    let endpoint = format!("--option=endpoint={}", proxy.endpoint);
    let arguments = ["demo", "--vnodes=600", "--seconds=4", "--json", "--store", url, &endpoint];
    run(&arguments).await
}

fn fresh(server: &str, word: &str) -> String {
    let server = server.trim_end_matches('/');
    format!("{server}/{word}-{}", std::process::id())
}

/// The verdict is good, and no object is left.
async fn is_clean(word: &str, fault: Fault) {
    let Some((server, endpoint)) = server() else { return };
    let _turn = turn().await;
    let url = fresh(&server, word);
    let proxy = Proxy::start(&endpoint, fault).await;
    let output = demo(&url, &proxy).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for none in ["lost", "doubled", "stale_reads", "unread"] {
        assert_eq!(report[none], 0, "{none}: {said}");
    }
    assert!(proxy.injected() > 20, "{} faults: {said}", proxy.injected());
    assert!(proxy.injected_in_deletes() > 0, "no delete was hit");
    assert!(!said.contains("not cleaned up"), "{said}");
    let store = holocron_store::open(&url, &[]).unwrap();
    assert_eq!(store.list("").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_whose_answers_are_dropped_has_its_verdict_and_cleans_up() {
    is_clean("drops", Fault::DropsAnswers(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_whose_requests_fail_has_its_verdict_and_cleans_up() {
    is_clean("fails", Fault::Answers500(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_cannot_delete_has_its_verdict_and_reports_what_is_left() {
    let Some((server, endpoint)) = server() else { return };
    let _turn = turn().await;
    let url = fresh(&server, "refuses");
    let proxy = Proxy::start(&endpoint, Fault::RefusesEpochDeletes).await;
    let output = demo(&url, &proxy).await;
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["lost"], 0, "{errors}");
    let warning = errors.lines().last().unwrap();
    assert!(warning.contains(&format!("{url}/demo-")), "{errors}");
    assert!(warning.contains("not cleaned up"), "{errors}");
    // Deletes what the demo couldn't delete.
    let store = holocron_store::open(&url, &[]).unwrap();
    for object in store.list("").await.unwrap() {
        store.delete(&object.key).await.unwrap();
    }
}
