//! Starting hosts, and refusals to start.

use core::time::Duration;

use holocron::VnodeRef;
use holocron_kinds::{Counter, CounterClient as _};
use tokio::time::Instant;

use super::support::{Place, all_served, run, text, turn, until};

/// The time within which an error must be reported, also on a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_with_the_same_name_replaces_the_first() {
    let _turn = turn().await;
    let place = Place::new();
    let mut earlier = place.host("twin", &[]).await;
    let client = place.client().await;
    let counter: VnodeRef<Counter> = client.get("c");
    assert_eq!(counter.add(1).await, Ok(1));

    let later = place.host("twin", &[]).await;
    let ended = earlier.ended().await;
    assert_eq!(ended.code(), Some(1), "{}", earlier.log());
    assert!(earlier.log().contains("twin has taken its place"), "{}", earlier.log());
    all_served(&place, &[&later]).await;
    assert_eq!(counter.add(1).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_one_clear_error_within_10_s() {
    let started = Instant::now();
    let output = run(&[
        "host",
        "--store=s3://bucket/prefix",
        // No server listens at port 1.
        "--option=endpoint=http://127.0.0.1:1",
        "--option=allow_http=true",
        "--option=region=nowhere",
        "--option=access_key_id=x",
        "--option=secret_access_key=x",
    ])
    .await;
    assert!(started.elapsed() < TOLD_WITHIN, "{:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let told: Vec<&str> = said.lines().filter(|line| line.starts_with("holocron: ")).collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].contains("the store gave no clear answer"), "{said}");
    assert!(text(&output.stdout).is_empty(), "it never listened");
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_beyond_loopback_needs_allow_remote() {
    let place = Place::new();
    let url = place.url();
    let output = run(&["host", "--store", &url, "--listen", "0.0.0.0:0"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--allow-remote"), "{}", text(&output.stderr));
    let written = std::fs::read_dir(place.path()).unwrap().count();
    assert_eq!(written, 0, "a host that is refused writes nothing");

    let _turn = turn().await;
    let host = place.host("far", &["--listen", "0.0.0.0:0", "--allow-remote"]).await;
    assert!(host.address.starts_with("0.0.0.0:"), "{}", host.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_an_unknown_format_is_refused_with_what_to_do() {
    let _turn = turn().await;
    let place = Place::new();
    place.host("h1", &[]).await.kill().await;
    let cluster = place.path().join("cluster");
    let stored = std::fs::read_to_string(&cluster).unwrap();
    assert!(stored.contains("\"format\":1"), "{stored}");
    std::fs::write(&cluster, stored.replacen("\"format\":1", "\"format\":99", 1)).unwrap();

    let mut refused = place.try_host("h2", &[]);
    assert_eq!(refused.ended().await.code(), Some(1));
    let log = refused.log();
    assert!(
        log.contains("format version 99") && log.contains("use the release that wrote it"),
        "{log}"
    );
    let url = place.url();
    let output = run(&["status", "--store", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("format version 99"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_start_together_on_an_empty_store_form_one_cluster() {
    let _turn = turn().await;
    let place = Place::new();
    let (one, two, three) =
        tokio::join!(place.host("h1", &[]), place.host("h2", &[]), place.host("h3", &[]));
    let client = place.client().await;
    all_served(&place, &[&one, &two, &three]).await;
    until("all are in", async || place.record().await.filter(|record| record.hosts.len() == 3))
        .await;
    let counter: VnodeRef<Counter> = client.get("c");
    assert_eq!(counter.add(3).await, Ok(3));
    assert_eq!(counter.value().await, Ok(3));
}
