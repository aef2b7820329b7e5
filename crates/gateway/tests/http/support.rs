//! A cluster with gateways, and a client that knows nothing but HTTP.

use core::{net::SocketAddr, time::Duration};
use std::{collections::BTreeMap, sync::Arc};

use holocron::{Host, Settings};
use holocron_gateway::{Gateway, GatewayBuilder, ServeSettings, register, serve};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long anything may take that must happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A cart, with a handler for everything that can go wrong.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cart {
    items: BTreeMap<String, u32>,
}

/// A part of a tree: what is recursive must be described too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tree {
    label: String,
    parts: Vec<Self>,
}

/// Why a cart refuses.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// There are so many already.
    TooMany { max: u32 },
}

#[holocron::vnode(kind = "cart")]
impl Cart {
    /// Adds so many; returns how many there are.
    #[command]
    fn add(&mut self, sku: &str, n: u32) -> Result<u32, Refusal> {
        let have = self.items.entry(sku.to_owned()).or_default();
        if *have + n > 1_000_000 {
            return Err(Refusal::TooMany { max: 1_000_000 });
        }
        *have += n;
        Ok(*have)
    }

    #[command]
    fn clear(&mut self) {
        self.items.clear();
    }

    #[command]
    fn panics(&mut self) {
        panic!("as asked");
    }

    #[command]
    fn grow(&mut self, len: usize) {
        self.items.insert("x".repeat(len), 1);
    }

    #[command]
    fn long_reply(&mut self, len: usize) -> String {
        *self.items.entry("long".to_owned()).or_default() += 1;
        "x".repeat(len)
    }

    #[command]
    fn plant(&mut self, tree: Option<Tree>) -> Option<Tree> {
        tree
    }

    #[query]
    fn items(&self) -> BTreeMap<String, u32> {
        self.items.clone()
    }

    #[query]
    fn count(&self, sku: &str) -> u32 {
        self.items.get(sku).copied().unwrap_or_default()
    }
}

/// A host with a gateway.
pub(crate) struct Node {
    pub(crate) host: Option<Host>,
    pub(crate) http: SocketAddr,
    pub(crate) gateway: Gateway,
    ends: CancellationToken,
}

impl Node {
    /// Starts a host on a directory, and its gateway.
    pub(crate) async fn start(folder: &TempDir, name: &str) -> Self {
        Self::start_with(folder, name, |builder| builder, ServeSettings::default()).await
    }

    /// The same, with another gateway.
    pub(crate) async fn start_with(
        folder: &TempDir,
        name: &str,
        set_up: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
        settings: ServeSettings,
    ) -> Self {
        let host = start_host(folder, name).await;
        let gateway = set_up(Gateway::of_host(&host)).build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let ends = CancellationToken::new();
        let (served, told) = (gateway.clone(), ends.clone());
        tokio::spawn(async move { serve(listener, served, settings, told.cancelled()).await });
        let node = Self { host: Some(host), http, gateway, ends };
        node.until_ready().await;
        node
    }

    /// Waits until it serves its share.
    pub(crate) async fn until_ready(&self) {
        let began = Instant::now();
        loop {
            let answer = get(self.http, "/readyz").await;
            if answer.status == 200 {
                return;
            }
            assert!(began.elapsed() < SOON, "not ready: {}", answer.text);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the host like a crash. Its gateway stays, and has nothing to call.
    pub(crate) async fn crash(&mut self) {
        self.end_http();
        self.host.take().expect("it runs").stop().await;
    }

    /// Ends its gateway.
    pub(crate) fn end_http(&self) {
        self.ends.cancel();
    }
}

/// A host with carts.
pub(crate) async fn start_host(folder: &TempDir, name: &str) -> Host {
    let settings =
        Settings { slots: 64, heartbeat: Duration::from_millis(100), ..Settings::default() };
    let url = format!("file://{}", folder.path().display());
    let builder = register(Host::builder(&url).vnode::<Cart>());
    builder.name(name).settings(settings).start().await.unwrap()
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) text: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), text: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The name of the problem, if it is one, and whether the call ran.
    pub(crate) fn problem(&self) -> (String, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        (text("type").replace("urn:holocron:problem:", ""), text("ran"))
    }
}

/// One request on a connection of its own, as it is written.
pub(crate) async fn raw(to: SocketAddr, request: &[u8]) -> Answer {
    let asking = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // The other end may answer and close before it has read everything.
        drop(stream.write_all(request).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        Answer::read(&answer)
    };
    timeout(SOON, asking).await.expect("it is answered, or closed")
}

/// One request.
pub(crate) async fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    raw(to, request.as_bytes()).await
}

pub(crate) async fn get(to: SocketAddr, path: &str) -> Answer {
    ask(to, "GET", path, "", "").await
}

const JSON: &str = "content-type: application/json\r\n";

pub(crate) async fn post(to: SocketAddr, path: &str, body: &str) -> Answer {
    ask(to, "POST", path, JSON, body).await
}

/// A command under an idempotency key.
pub(crate) async fn post_keyed(to: SocketAddr, key: &str, path: &str, body: &str) -> Answer {
    let headers = format!("{JSON}idempotency-key: {key}\r\nrequest-timeout: 20\r\n");
    ask(to, "POST", path, &headers, body).await
}

pub(crate) fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}
