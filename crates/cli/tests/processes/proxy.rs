//! A faulty HTTP proxy on loopback: between a program and an S3 server, it drops answers or injects errors.
//!
//! Each connection carries one request, so the only part of HTTP it needs is where a request ends.

use core::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};
use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Largest head of a request, in bytes.
const HEAD_LEN_MAX: usize = 64 << 10;

/// The fault of the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// One request in this many is carried out, and the connection closed without an answer.
    DropsAnswers(u32),
    /// One request in this many is answered with 500; half of these are carried out.
    Answers500(u32),
    /// Every delete of an epoch record is answered with 500 and not carried out. (Other deletes must work, because the
    /// probe of a starting host deletes its objects.)
    RefusesEpochDeletes,
    /// A request to a bucket is answered with 403, unless it is signed with a key that was let in.
    ChecksKeys,
}

/// A running proxy; ends when dropped.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    faulty: Arc<Faulty>,
    serving: JoinHandle<()>,
}

struct Faulty {
    upstream: String,
    fault: Fault,
    dice: Mutex<StdRng>,
    injected: AtomicU64,
    injected_in_deletes: AtomicU64,
    /// The keys that are let in, each with its bucket.
    keys: Mutex<BTreeSet<(String, String)>>,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    DropAnswer,
    Fail,
    FailAfter,
    Deny,
}

impl Proxy {
    /// Starts a proxy in front of the server at `endpoint`, an `http://host:port`.
    pub(crate) async fn start(endpoint: &str, fault: Fault) -> Self {
        let upstream = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let faulty = Arc::new(Faulty {
            upstream,
            fault,
            dice: Mutex::new(StdRng::seed_from_u64(8)),
            injected: AtomicU64::new(0),
            injected_in_deletes: AtomicU64::new(0),
            keys: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&faulty)));
        Self { endpoint, faulty, serving }
    }

    /// Lets a key into a bucket.
    pub(crate) fn let_in(&self, key: &str, bucket: &str) {
        self.faulty.keys.lock().unwrap().insert((key.to_owned(), bucket.to_owned()));
    }

    /// Refuses a key from now on.
    pub(crate) fn revoke(&self, key: &str) {
        self.faulty.keys.lock().unwrap().retain(|(other, _)| other != key);
    }

    /// Faults so far.
    pub(crate) fn injected(&self) -> u64 {
        self.faulty.injected.load(Ordering::Relaxed)
    }

    /// Of these, those that hit a delete.
    pub(crate) fn injected_in_deletes(&self) -> u64 {
        self.faulty.injected_in_deletes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, faulty: Arc<Faulty>) {
    while let Ok((stream, _)) = listener.accept().await {
        let faulty = Arc::clone(&faulty);
        // Errors of one connection don't matter here.
        tokio::spawn(async move { drop(faulty.one(stream).await) });
    }
}

impl Faulty {
    /// Handles one request.
    async fn one(&self, mut client: TcpStream) -> io::Result<()> {
        let Some(request) = read_request(&mut client).await? else { return Ok(()) };
        let line = String::from_utf8_lossy(request.split(|&byte| byte == b'\r').next().unwrap());
        let checks = matches!(self.fault, Fault::ChecksKeys);
        let fate = if checks && !self.is_let_in(&request) { Fate::Deny } else { self.fate(&line) };
        let answer = match fate {
            Fate::Fail | Fate::Deny => Vec::new(),
            Fate::Pass | Fate::DropAnswer | Fate::FailAfter => self.forward(&request).await?,
        };
        match fate {
            Fate::Pass => client.write_all(&closing(&answer)).await?,
            Fate::DropAnswer => return Ok(()),
            Fate::Deny => client.write_all(&denied()).await?,
            Fate::Fail | Fate::FailAfter => {
                client
                    .write_all(
                        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    )
                    .await?;
            }
        }
        client.shutdown().await
    }

    /// The fate of a request with this first line.
    fn fate(&self, line: &str) -> Fate {
        let is_delete = line.starts_with("DELETE ");
        let fate = {
            let mut dice = self.dice.lock().unwrap();
            match self.fault {
                Fault::DropsAnswers(of) if dice.random_ratio(1, of) => Fate::DropAnswer,
                Fault::Answers500(of) if dice.random_ratio(1, of) => {
                    if dice.random() {
                        Fate::Fail
                    } else {
                        Fate::FailAfter
                    }
                }
                Fault::RefusesEpochDeletes if is_delete && line.contains("/epochs/") => Fate::Fail,
                Fault::DropsAnswers(_)
                | Fault::Answers500(_)
                | Fault::RefusesEpochDeletes
                | Fault::ChecksKeys => Fate::Pass,
            }
        };
        if fate != Fate::Pass {
            self.injected.fetch_add(1, Ordering::Relaxed);
            self.injected_in_deletes.fetch_add(is_delete.into(), Ordering::Relaxed);
        }
        fate
    }

    /// Whether the key that signs a request was let into its bucket.
    fn is_let_in(&self, request: &[u8]) -> bool {
        let head = String::from_utf8_lossy(request);
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let bucket = path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
        let key = head.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
        let key = key.unwrap_or_default().to_owned();
        self.keys.lock().unwrap().contains(&(key, bucket.to_owned()))
    }

    /// Forwards a request and reads the whole answer.
    async fn forward(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(&self.upstream).await?;
        server.write_all(&closing(request)).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// Reads a request with its body; `None` if there is none.
async fn read_request(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let body_at = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        assert!(request.len() < HEAD_LEN_MAX, "a head without end");
        if client.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&request[..body_at]).to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "object_store sends lengths");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    while request.len() < body_at + length {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(request))
}

/// How S3 answers a key that is revoked.
fn denied() -> Vec<u8> {
    let body = "<Error><Code>AccessDenied</Code><Message>the key was revoked</Message></Error>";
    let length = body.len();
    format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The message with a header that closes the connection after it.
fn closing(message: &[u8]) -> Vec<u8> {
    let Some(at) = message.windows(2).position(|two| two == b"\r\n") else {
        return message.to_vec();
    };
    let (first, rest) = message.split_at(at + 2);
    [first, b"connection: close\r\n", rest].concat()
}

/// Makes a bucket at the server, unless it exists.
pub(crate) async fn make_bucket(endpoint: &str, bucket: &str) {
    let upstream = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut server = TcpStream::connect(&upstream).await.unwrap();
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nhost: {upstream}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    server.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.unwrap();
    let line = String::from_utf8_lossy(answer.split(|&byte| byte == b'\r').next().unwrap());
    assert!(line.contains(" 200") || line.contains(" 409"), "{line}");
}
