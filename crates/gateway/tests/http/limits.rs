//! What must not harm a host: slow, huge, many, malformed. After each, the gateway still answers.

use core::{net::SocketAddr, time::Duration};

use holocron_gateway::{GatewaySettings, ServeSettings};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::support::{Node, SOON, ask, folder, get, raw};

const ADD: &str = "/v1/vnodes/cart/alice/add";

async fn answers(to: SocketAddr) {
    assert_eq!(get(to, "/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let head = format!(
        "POST {ADD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1073741824\r\n\r\n"
    );
    let began = Instant::now();
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer[..read]);
    assert!(text.starts_with("HTTP/1.1 413") && text.contains("body-too-large"), "{text}");
    // A client that goes on sending is cut off, long before a gigabyte.
    let mut sent = 0_u64;
    let chunk = vec![b' '; 1 << 16];
    while timeout(SOON, stream.write_all(&chunk)).await.expect("it doesn't hang").is_ok() {
        sent += chunk.len() as u64;
        assert!(sent < 64 << 20, "{sent} bytes were taken");
    }
    assert!(began.elapsed() < SOON);
    // Without a length it is counted as it comes.
    let mut chunked = format!(
        "POST {ADD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..40 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = raw(node.http, &chunked).await;
    assert!(answer.status == 413 || answer.status == 0, "{answer:?}");
    answers(node.http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_are_too_long_or_many_or_slow_are_refused() {
    let folder = folder();
    let settings =
        ServeSettings { head_within: Duration::from_millis(500), ..ServeSettings::default() };
    let node = Node::start_with(&folder, "h1", |gateway| gateway, settings).await;
    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    assert_eq!(ask(node.http, "GET", "/healthz", &many, "").await.status, 431);
    let long = format!("x: {}\r\n", "y".repeat(64 << 10));
    assert_eq!(ask(node.http, "GET", "/healthz", &long, "").await.status, 431);
    let path = format!("/v1/vnodes/cart/{}", "k".repeat(64 << 10));
    let status = get(node.http, &path).await.status;
    assert!(status == 414 || status == 431, "{status}");
    for head in ["GARBAGE\r\n\r\n", "GET /healthz\u{0} HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}"] {
        let answer = raw(node.http, head.as_bytes()).await;
        assert!(answer.status == 400 || answer.status == 0, "{head:?}: {answer:?}");
    }
    // A head byte by byte, which never ends.
    let began = Instant::now();
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let mut sent = 0;
    while stream.write_all(b"G").await.is_ok() && began.elapsed() < SOON {
        sent += 1;
        sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{sent} bytes in {:?}", began.elapsed());
    answers(node.http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_slow_and_bodies_that_are_too_many_are_refused() {
    let folder = folder();
    let settings = GatewaySettings { bodies_len_max: 1_000_000, ..GatewaySettings::default() };
    let set_up = |gateway: holocron_gateway::GatewayBuilder| gateway.settings(settings);
    let node = Node::start_with(&folder, "h1", set_up, ServeSettings::default()).await;
    let slow = |timeout: &str| {
        format!(
            "POST {ADD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nrequest-timeout: {timeout}\r\ncontent-length: 900000\r\n\r\n["
        )
    };
    let mut first = TcpStream::connect(node.http).await.unwrap();
    first.write_all(slow("20").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    let second =
        ask(node.http, "POST", ADD, "content-type: application/json\r\n", &" ".repeat(200_000))
            .await;
    assert_eq!(second.problem(), ("busy".to_owned(), "no".to_owned()));
    drop(first);
    sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    stream.write_all(slow("0.5").as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer[..read]);
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("body-too-slow"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(5));
    answers(node.http).await;
}

/// As many as fit: both ends of each connection are in this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_are_held_and_one_more_is_refused_by_name() {
    let wanted = 10_000;
    let files = files_allowed(2 * wanted + 1_000);
    let connections = usize::try_from(files.saturating_sub(1_000) / 2).unwrap().min(10_000);
    let folder = folder();
    let settings = ServeSettings {
        connections_max: connections,
        head_within: Duration::from_secs(120),
        ..ServeSettings::default()
    };
    let node = Node::start_with(&folder, "h1", |gateway| gateway, settings).await;
    let mut idle = Vec::new();
    // The limit counts those of the start that are still being closed.
    while idle.len() < connections - 10 {
        idle.push(TcpStream::connect(node.http).await.unwrap());
    }
    answers(node.http).await;
    for _ in 0..10 {
        idle.push(TcpStream::connect(node.http).await.unwrap());
    }
    sleep(Duration::from_millis(500)).await;
    let refused = get(node.http, "/healthz").await;
    assert_eq!(
        refused.problem(),
        ("too-many-connections".to_owned(), "no".to_owned()),
        "of {connections}"
    );
    drop(idle);
    let began = Instant::now();
    while get(node.http, "/healthz").await.status != 200 {
        assert!(began.elapsed() < SOON);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Allows this process so many open files, or as many as it may have.
fn files_allowed(wanted: u64) -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(wanted).min(wanted);
    limit.current = Some(limit.current.unwrap_or(allowed).max(allowed));
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(allowed)
}
