//! The gateway of `holocron host` with TLS and tokens, as `curl` sees it.

use serde_json::Value;
use tokio::process::Command;

use super::certificates::Certificates;
use super::support::{Host, Place, all_served, run, text, turn};

/// The name in the certificate that the gateway shows.
const SITE: &str = "host.holocron.internal";

/// A host with a gateway, and what its callers know.
struct Site {
    _place: Place,
    certificates: Certificates,
    host: Host,
    port: u16,
}

impl Site {
    async fn start(tokens: &str) -> Self {
        let (place, certificates) = (Place::new(), Certificates::new().await);
        certificates.issue("host", "site").await;
        let file = certificates.path("tokens.toml");
        std::fs::write(&file, tokens).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let path = |name: &str| certificates.path(name).display().to_string();
        let http = format!("127.0.0.1:{port}");
        let arguments = [
            ["--http", &http],
            ["--http-cert", &path("host-site.pem")],
            ["--http-key", &path("host-site.key")],
            ["--tokens", &path("tokens.toml")],
        ];
        let host = place.host("h1", arguments.as_flattened()).await;
        all_served(&place, &[&host]).await;
        Self { _place: place, certificates, host, port }
    }

    /// The status and the body that `curl` gets.
    async fn curl(&self, token: Option<&str>, path: &str, more: &[&str]) -> (u16, String) {
        let (port, authority) = (self.port, self.certificates.path("ca.pem"));
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}", "--cacert"])
            .arg(authority)
            .args(["--resolve", &format!("{SITE}:{port}:127.0.0.1")]);
        if let Some(token) = token {
            curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        let said = curl.args(more).arg(format!("https://{SITE}:{port}{path}")).output().await;
        let said = text(&said.unwrap().stdout);
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

/// A new token and its entry.
async fn token(name: &str, more: &[&str]) -> (String, String) {
    let mut arguments = vec!["token", "new", name, "--json"];
    arguments.extend(more);
    let said: Value = serde_json::from_str(&text(&run(&arguments).await.stdout)).unwrap();
    let of = |field: &str| said[field].as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
    (of("token"), of("entry"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_refuses_by_name_what_a_token_does_not_allow() {
    let _turn = turn().await;
    let shop = ["--scope", "read", "--scope", "write", "--kind", "counter", "--key-prefix", "eu-"];
    let (shop, shop_entry) = token("shop", &shop).await;
    let (watcher, watcher_entry) = token("watcher", &["--scope", "read"]).await;
    let (operator, operator_entry) = token("operator", &["--scope", "admin"]).await;
    let site = Site::start(&[&*shop_entry, &watcher_entry, &operator_entry].join("\n")).await;

    let (add, of_eu) = (&["--json", r#"{"amount":5}"#][..], "/v1/vnodes/counter/eu-1");
    let (status, body) = site.curl(Some(&shop), &format!("{of_eu}/add"), add).await;
    assert_eq!((status, body.trim()), (200, "5"));
    let (status, body) = site.curl(Some(&watcher), &format!("{of_eu}/value"), &[]).await;
    assert_eq!((status, body.trim()), (200, "5"));

    let refused = [
        (None, format!("{of_eu}/value"), &[][..], 401, "unauthenticated"),
        (Some("made-up"), format!("{of_eu}/value"), &[], 401, "unauthenticated"),
        (Some(&*watcher), format!("{of_eu}/add"), add, 403, "forbidden"),
        (Some(&shop), "/v1/vnodes/counter/us-1/add".to_owned(), add, 403, "forbidden"),
        (Some(&shop), "/v1/vnodes/kv/eu-1/all".to_owned(), &[], 403, "forbidden"),
        (Some(&shop), "/v1/vnodes/counter?prefix=us-".to_owned(), &[], 403, "forbidden"),
        (Some(&shop), "/v1/vnodes/counter".to_owned(), &[], 403, "forbidden"),
        (Some(&shop), "/v1/hosts".to_owned(), &[], 403, "forbidden"),
        (Some(&watcher), "/metrics".to_owned(), &[], 403, "forbidden"),
        (Some(&operator), format!("{of_eu}/value"), &[], 403, "forbidden"),
        (Some(&watcher), of_eu.to_owned(), &["-X", "DELETE"], 403, "forbidden"),
    ];
    for (token, path, more, wanted, name) in refused {
        let (status, body) = site.curl(token, &path, more).await;
        assert_eq!(status, wanted, "{path}: {body}");
        assert!(body.contains(&format!("urn:holocron:problem:{name}")), "{path}: {body}");
        for secret in [&shop, &watcher, &operator] {
            assert!(!body.contains(&**secret), "{path}: {body}");
        }
    }
    let (status, body) = site.curl(Some(&shop), "/v1/vnodes/counter?prefix=eu-", &[]).await;
    assert!(status == 200 && body.contains("eu-1"), "{body}");
    let (status, body) = site.curl(Some(&operator), "/metrics", &[]).await;
    assert!(status == 200 && body.contains("holocron_calls_total{kind=\"counter\""), "{body}");
    assert_eq!(site.curl(None, "/healthz", &[]).await.0, 200);
    assert_eq!(site.curl(None, "/readyz", &[]).await.0, 200);

    let (status, _) = site.curl(Some(&shop), of_eu, &["-X", "DELETE"]).await;
    assert_eq!(status, 204);
    let log = site.host.log();
    let audit = log.lines().find(|line| line.contains("holocron::audit")).expect("it was noted");
    assert!(audit.contains("shop") && audit.contains("counter/eu-1"), "{audit}");
    for secret in [&shop, &watcher, &operator] {
        assert!(!log.contains(&**secret), "a token is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_the_gateway_wants_tls_and_tokens() {
    let _turn = turn().await;
    let place = Place::new();
    let mut host = place.try_host("h1", &["--http", "0.0.0.0:0"]);
    assert_eq!(host.ended().await.code(), Some(2));
    let log = host.log();
    assert!(log.contains("--http-cert") && log.contains("--tokens"), "{log}");
    drop(place);
}
