//! Secrets appear nowhere: not in what processes print and log, not in the store, not in help, not in errors.

use std::{collections::BTreeSet, fs::File, path::Path, process::Output};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
    time::timeout,
};

use super::certificates::Certificates;
use super::support::{PATIENCE, Place, holocron, run, text, turn, until};

/// Secrets that are given to the processes, each by another way. Letters that occur nowhere else.
const OF_OPTION: &str = "xqzOptionSecretxqz0123456789";
const OF_VARIABLE: &str = "xqzVariableSecretxqz012345678";
const OF_SESSION: &str = "xqzSessionSecretxqz0123456789";
const OF_USER: &str = "xqzUserSecretxqz";
const OF_QUERY: &str = "xqzQuerySecretxqz";

/// A server that refuses everything, as a bucket does when the credentials are wrong.
async fn refusing_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 8192];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    let body =
                        "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
                    let answer = format!(
                        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// All bytes of all files below a folder.
fn everything_below(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(path.display().to_string().into_bytes());
        if path.is_dir() {
            all.extend(everything_below(&path));
        } else if let Ok(contents) = std::fs::read(&path) {
            all.extend(contents);
        }
    }
    all
}

/// Fails if one of the secrets is in there. In text and in hex: a body that is logged may be.
fn has_none(of: &str, all: &[u8], secrets: &BTreeSet<String>) {
    for secret in secrets {
        let in_hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for needle in [secret.as_str(), &in_hex] {
            let found = all.windows(needle.len()).position(|window| window == needle.as_bytes());
            if let Some(at) = found {
                let near = String::from_utf8_lossy(&all[at.saturating_sub(200)..at]).into_owned();
                panic!("{of} has the secret {secret}, behind: {near}");
            }
        }
    }
}

fn said(Output { stdout, stderr, .. }: Output) -> Vec<u8> {
    [stdout, stderr].concat()
}

/// Certificates of a host and an operator, whose keys are among the secrets, and a token.
async fn with_secrets() -> (Certificates, BTreeSet<String>) {
    let certificates = Certificates::new().await;
    certificates.issue("host", "h1").await;
    certificates.issue("operator", "alice").await;
    let token = text(&run(&["token", "new", "shop", "--scope", "read", "--json"]).await.stdout);
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    let given = [OF_OPTION, OF_VARIABLE, OF_SESSION, token["token"].as_str().unwrap()];
    let mut secrets: BTreeSet<String> = given.map(ToOwned::to_owned).into();
    for key in ["ca.key", "host-h1.key", "operator-alice.key"] {
        let key = std::fs::read_to_string(certificates.path(key)).unwrap();
        // Each line of the key by itself.
        secrets.extend(key.lines().filter(|line| !line.contains('-')).map(ToOwned::to_owned));
    }
    (certificates, secrets)
}

/// A host that logs everything, with a domain that is refused.
async fn talkative_host(place: &Place, certificates: &Certificates) -> Command {
    let endpoint = format!("acme.endpoint=http://{}", refusing_server().await);
    let (id, key) =
        (format!("acme.access_key_id={OF_OPTION}"), format!("acme.secret_access_key={OF_OPTION}"));
    let mut host = holocron(&["host", "--end-with-parent", "--json", "--name", "h1"]);
    host.args(["--store", &place.url(), "--domain", "acme=s3://bucket/acme"]);
    for option in [&endpoint, &id, &key, "acme.allow_http=true"] {
        host.args(["--domain-option", option]);
    }
    host.args(certificates.arguments("host-h1"))
        .env("RUST_LOG", "trace")
        .env("AWS_SECRET_ACCESS_KEY", OF_VARIABLE)
        .env("HOLOCRON_DOMAIN_ACME_AWS_SESSION_TOKEN", OF_SESSION);
    host
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_output_logs_or_the_store_at_the_highest_level_of_logging() {
    let _turn = turn().await;
    let (certificates, secrets) = with_secrets().await;
    let place = Place::new();
    let (out, log) = (certificates.path("out"), certificates.path("log"));
    let mut host = talkative_host(&place, &certificates).await;
    host.stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
    let mut host = host.spawn().unwrap();
    let logged = || std::fs::read(&log).unwrap();
    until("it has tried the domain", async || {
        text(&logged()).contains("not served as configured").then_some(())
    })
    .await;
    let url = place.url();
    for arguments in [
        &["call", "counter", "a", "add", "1"][..],
        &["status"],
        &["seal", "h1"],
        &["domain", "list"],
        &["seal", "h9"],
    ] {
        let mut command = holocron(arguments);
        command.args(["--store", &url]).args(certificates.arguments("operator-alice"));
        command.env("RUST_LOG", "trace").env("AWS_SECRET_ACCESS_KEY", OF_VARIABLE);
        let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        has_none(&format!("{arguments:?}"), &said(output), &secrets);
    }
    host.kill().await.unwrap();
    assert!(text(&logged()).contains("TRACE"), "it logs everything");
    has_none("the host's log", &logged(), &secrets);
    has_none("standard output", &std::fs::read(out).unwrap(), &secrets);
    has_none("the store", &everything_below(&place.path()), &secrets);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_help_or_in_errors() {
    let _turn = turn().await;
    let secrets: BTreeSet<String> =
        [OF_OPTION, OF_VARIABLE, OF_SESSION, OF_USER, OF_QUERY].map(ToOwned::to_owned).into();
    let url = format!("s3://{OF_USER}@bucket/p?{OF_QUERY}");
    let key_as_file = format!("-----BEGIN PRIVATE KEY-----{OF_OPTION}");
    let with_key = format!("secret_access_key={OF_OPTION}");
    for arguments in [
        &["--help"][..],
        &["host", "--help"],
        &["call", "--help"],
        &["cert", "host", "--help"],
        &["token", "new", "--help"],
        &["status"],
        &["status", "--store", &url],
        &[
            "status",
            "--store",
            "s3://bucket/p",
            "--option",
            &with_key,
            "--option",
            "endpoint=nonsense",
        ],
        &["host", "--store", "file:///nowhere", "--option", &with_key],
        &["probe", &url],
        &["elect", "--store", &url, "name"],
        &["scrub", "--store", &url],
    ] {
        let mut command = holocron(arguments);
        command.env("RUST_LOG", "trace").env("HOLOCRON_STORE", &url);
        for variable in ["HOLOCRON_TLS_CA", "HOLOCRON_TLS_CERT"] {
            command.env(variable, "/nowhere/ca.pem");
        }
        // The key itself where the name of its file belongs: only its help must not show it, because the file that is missing is named.
        if arguments.contains(&"--help") {
            command.env("HOLOCRON_TLS_KEY", &key_as_file);
        }
        command.env("AWS_SECRET_ACCESS_KEY", OF_VARIABLE).env("AWS_SESSION_TOKEN", OF_SESSION);
        let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        has_none(&format!("{arguments:?}"), &said(output), &secrets);
    }
}
