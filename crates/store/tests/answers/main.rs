//! A server that is no object store, can't be reached or refuses us is reported at once, with what to do. A server that
//! may be just starting is waited for.

mod server;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holocron_store::{
    Error, GaveUp, Patience, Probe, ProbeError, Promise, Store, get_until, list_until, open, probe,
};
use server::{Faults, code, s3, serve, text};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The limit for "at once", on a machine that runs other tests. Far less than a start waits.
const AT_ONCE: Duration = Duration::from_secs(4);

fn at(endpoint: &str) -> Arc<dyn Store> {
    let options = [
        ("endpoint", endpoint),
        ("allow_http", "true"),
        ("access_key_id", "AKID"),
        ("secret_access_key", "wJalrXUtnFEMI"),
    ];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    open("s3://bucket/prefix", &options).expect("all of this is well-formed")
}

/// How a probe of the server at `endpoint` fails, at once.
async fn refusal(endpoint: &str) -> ProbeError {
    let start = Instant::now();
    let patient = Probe { deadline: Duration::from_secs(30), ..Probe::new(1) };
    let error = probe(&at(endpoint), &patient).await.expect_err(endpoint);
    assert!(start.elapsed() < AT_ONCE, "{:?}: {error}", start.elapsed());
    assert!(!error.to_string().contains("wJalr"), "{error}");
    error
}

/// The server is refused as unusable with the present setup, and the error has all of these parts.
async fn cannot_be_used(endpoint: &str, parts: &[&str]) {
    let error = refusal(endpoint).await;
    assert!(matches!(error, ProbeError::Refused { .. }), "{error}");
    let said = error.to_string();
    assert!(said.starts_with("this store can't be used: ") && said.len() < 400, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
    reader_hears(endpoint, parts).await;
}

/// A reader, such as a client that connects, gets the same error.
async fn reader_hears(endpoint: &str, parts: &[&str]) {
    let (patience, never) = (Patience::at_start(Duration::from_secs(30)), CancellationToken::new());
    let store = at(endpoint);
    let start = Instant::now();
    let gave_up = match get_until(&*store, "cluster", patience, &never).await {
        Err(gave_up) => gave_up,
        // Not found, or an object: a listing shows whether the server is a store.
        Ok(_) => list_until(&*store, "cluster", patience, &never).await.expect_err(endpoint),
    };
    assert!(start.elapsed() < AT_ONCE, "{:?}: {gave_up}", start.elapsed());
    let said = holocron_store::explain(&gave_up);
    assert!(said.starts_with("cluster: the store can't be used: "), "{said}");
    assert!(parts.iter().any(|part| said.contains(part)), "{said}");
}

#[tokio::test]
async fn a_gateway_is_refused_as_no_object_store() {
    let plain = serve(|_| text("404 Not Found", "text/plain", "404 page not found")).await;
    cannot_be_used(
        &format!("http://{plain}"),
        &["or this is not an object store; check the bucket and the option endpoint"],
    )
    .await;
    for (status, body) in
        [("200 OK", "<html>Welcome</html>"), ("404 Not Found", "<html>nothing here</html>")]
    {
        let page = serve(move |_| text(status, "text/html; charset=utf-8", body)).await;
        let said = format!(
            "this is not an object store: {page} answers with a web page ({})",
            &status[..3]
        );
        cannot_be_used(&format!("http://{page}"), &[&said]).await;
    }
    let files = serve(|request| match request.method.as_str() {
        "GET" => text("404 Not Found", "text/plain", "no such file"),
        _ => text("405 Method Not Allowed", "text/plain", "no"),
    })
    .await;
    cannot_be_used(&format!("http://{files}"), &["not an object store"]).await;
}

#[tokio::test]
async fn a_server_that_answers_ok_to_everything_is_unfit() {
    for body in ["OK", ""] {
        let yes = serve(move |_| text("200 OK", "text/plain", body)).await;
        let error = refusal(&format!("http://{yes}")).await;
        assert!(
            matches!(error, ProbeError::Broken { promise: Promise::NothingUnwritten, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("this is not an object store"), "{error}");
        reader_hears(
            &format!("http://{yes}"),
            &["this is not an object store: its answer can't be read"],
        )
        .await;
    }
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_code_and_what_to_do() {
    for (status, name, advice) in [
        ("400 Bad Request", "ExpiredToken", "get new credentials"),
        ("403 Forbidden", "InvalidAccessKeyId", "check access_key_id"),
        ("403 Forbidden", "SignatureDoesNotMatch", "check secret_access_key and region"),
        ("403 Forbidden", "RequestTimeTooSkewed", "set this machine's clock"),
        ("403 Forbidden", "AccessDenied", "check the credentials"),
        ("404 Not Found", "NoSuchBucket", "make the bucket, or check its name"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "check region"),
        ("501 Not Implemented", "NotImplemented", "supports conditional creates"),
        ("301 Moved Permanently", "PermanentRedirect", "check region"),
        ("403 Forbidden", "SomethingNew", "SomethingNew: no"),
    ] {
        let server = serve(move |_| code(status, name, "no.")).await;
        let parts = if status.starts_with('3') { vec![advice] } else { vec![name, advice] };
        cannot_be_used(&format!("http://{server}"), &parts).await;
    }
}

#[tokio::test]
async fn an_unknown_host_name_is_reported_at_once() {
    // A reserved name, so no host has it.
    let error = refusal_or_wait("http://bucket.invalid:9000").await;
    if error.to_string().contains("the DNS lookup of") {
        return; // This machine has no DNS, which is waited for.
    }
    cannot_be_used(
        "http://bucket.invalid:9000",
        &["no host is named bucket.invalid:9000; check the option endpoint"],
    )
    .await;
}

/// How a short probe fails.
async fn refusal_or_wait(endpoint: &str) -> ProbeError {
    let short = Probe { deadline: Duration::from_secs(1), ..Probe::new(1) };
    probe(&at(endpoint), &short).await.expect_err(endpoint)
}

#[tokio::test]
async fn a_port_that_refuses_is_waited_for_and_then_reported() {
    let error = refusal_or_wait("http://127.0.0.1:1").await;
    assert!(matches!(error, ProbeError::Unreachable { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the store gave no clear answer within 1s: connection refused at 127.0.0.1:1; check that the server runs, and the \
         host and port in the option endpoint"
    );
}

#[tokio::test]
async fn a_running_host_waits_where_a_start_would_give_up() {
    let server = serve(|_| code("403 Forbidden", "ExpiredToken", "no")).await;
    let (store, never) = (at(&format!("http://{server}")), CancellationToken::new());
    let patience = Patience { budget: Some(Duration::from_secs(1)), ..Patience::forever() };
    let start = Instant::now();
    let gave_up = get_until(&*store, "a", patience, &never).await.expect_err("it refuses");
    assert!(start.elapsed() >= Duration::from_secs(1), "it waits all its time");
    assert!(matches!(gave_up, GaveUp::Spent { last: Some(Error::Denied { .. }) }), "{gave_up:?}");
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_unfit() {
    for faults in [
        Faults { ignores_range: true, ..Faults::default() },
        Faults { shifts_range: true, ..Faults::default() },
    ] {
        let error = refusal(&format!("http://{}", s3(faults).await)).await;
        assert!(
            matches!(error, ProbeError::Broken { promise: Promise::ExactRange, .. }),
            "{error}"
        );
        assert_eq!(
            error.to_string(),
            "this store is unfit: a ranged read must return exactly the bytes asked for, but the whole object, or a \
             different part of it, was sent; connect without the gateway or proxy that changes the store's answers"
        );
    }
}

#[tokio::test]
async fn a_condition_that_is_dropped_for_large_bodies_is_detected() {
    for above in [100, 64 << 10, 1 << 20, 5 << 20] {
        let faults = Faults { ignores_condition_above: Some(above), ..Faults::default() };
        let error = refusal(&format!("http://{}", s3(faults).await)).await;
        assert!(
            matches!(error, ProbeError::Broken { promise: Promise::CreateIfAbsent, .. }),
            "{above}: {error}"
        );
    }
    let honest = s3(Faults::default()).await;
    let report = probe(&at(&format!("http://{honest}")), &Probe::new(1)).await;
    report.expect("without faults it is fit");
}

#[tokio::test]
async fn a_proxy_that_refuses_large_bodies_is_reported() {
    let faults = Faults { takes_at_most: Some(1 << 20), ..Faults::default() };
    let error = refusal(&format!("http://{}", s3(faults).await)).await;
    assert!(matches!(error, ProbeError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("client_max_body_size"), "{error}");
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_reported_at_once() {
    // A server without TLS answers a TLS handshake with "bad request".
    let plain = serve(|_| text("400 Bad Request", "text/plain", "no")).await;
    let answers = bad_requests().await;
    for server in [plain, answers] {
        let error = refusal_or_wait(&format!("https://{server}")).await;
        let said = error.to_string();
        if matches!(error, ProbeError::Refused { .. }) {
            assert!(
                said.contains("answers without TLS; if it has none, set endpoint to http://"),
                "{said}"
            );
        } else {
            // The server gave no answer, so the cause is unknown.
            assert!(
                said.contains("gave no clear answer") || said.contains("did not answer"),
                "{said}"
            );
        }
    }
    let go = serve(|_| {
        text("400 Bad Request", "text/plain", "Client sent an HTTP request to an HTTPS server.\n")
    })
    .await;
    cannot_be_used(&format!("http://{go}"), &["the server expects TLS; set endpoint to https://"])
        .await;
}

/// Answers every request with "bad request".
async fn bad_requests() -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 1_024];
            if stream.read(&mut bytes).await.is_ok() {
                drop(
                    stream
                        .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                        .await,
                );
            }
        }
    });
    address
}

/// `openssl s_server` with a self-signed certificate; ends when dropped.
struct Tls {
    process: Child,
    at: String,
    _folder: tempfile::TempDir,
}

impl Tls {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .status()
            .expect("openssl is there, as scripts/ci.sh says");
        assert!(made.success());
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("loopback has a port")
            .port();
        let process = Command::new("openssl")
            .args([
                "s_server",
                "-quiet",
                "-www",
                "-cert",
                "cert.pem",
                "-key",
                "key.pem",
                "-accept",
                &port.to_string(),
            ])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl can serve");
        let at = format!("127.0.0.1:{port}");
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(&at).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { process, at, _folder: folder }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn an_untrusted_certificate_and_missing_tls_are_reported() {
    let server = Tls::start().await;
    let named = format!("the certificate of {} isn't trusted", server.at);
    cannot_be_used(&format!("https://{}", server.at), &[&named, "SSL_CERT_FILE"]).await;
    // Some servers close the connection, which may have any cause, so this is reported only at the deadline.
    let error = refusal_or_wait(&format!("http://{}", server.at)).await.to_string();
    assert!(
        error.contains(&format!("if it expects TLS, set endpoint to https://{}", server.at)),
        "{error}"
    );
}
