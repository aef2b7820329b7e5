//! An emulator of Google Cloud Storage for tests, on loopback: the part of the XML API that `object_store`'s client
//! uses.
//!
//! It is written from the client's source and Google's reference, not from Google's servers. So it shows that we
//! interpret the client's requests and the API's answers (conditions by generation, pages, ranges, errors) correctly.
//! It shows nothing about the real service: consistency, throttling, the check of tokens.
//!
//! Invariants:
//!
//! * A condition is checked and the write done under one lock: of many creates of one name exactly one wins.
//! * It refuses unknown requests with 501, so a client that starts to use more of the API is noticed.
//! * A lost answer is lost after the write took effect, and the connection is closed.

mod bucket;
mod dialect;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use bucket::Bucket;
use dialect::Answer;

/// The valid token. Requests without a token are accepted, as for a public bucket; other tokens are refused.
pub(crate) const TOKEN: &str = "emulator";

/// A server with one bucket. Dropping it closes the port and all connections.
#[derive(Debug)]
pub(crate) struct Emulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    bucket: Mutex<Bucket>,
    lose_every: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Emulator {
    /// Serves the empty bucket `name` at `port`; 0 means any free port.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub(crate) async fn start(name: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            bucket: Mutex::default(),
            lose_every: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        });
        let serving = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, serving })
    }

    /// The bucket's URL.
    pub(crate) fn url(&self) -> String {
        format!("gs://{}", self.shared.name)
    }

    /// The options for a client.
    pub(crate) fn options(&self) -> Vec<(String, String)> {
        [
            ("endpoint", format!("http://{}", self.address).as_str()),
            ("allow_http", "true"),
            ("bearer_token", TOKEN),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// From now on every `count`th write takes effect but its answer is lost; 0 loses none.
    pub(crate) fn lose_every(&self, count: u64) {
        self.shared.lose_every.store(count, Ordering::SeqCst);
    }

    /// From now on a write to a name that was written less than a second ago is answered with 429, like Google's limit.
    pub(crate) fn limit_writes(&self) {
        self.shared.bucket().limit_writes();
    }

    /// The number of reads (with listings) and of writes (with deletes) so far.
    pub(crate) fn requests(&self) -> (u64, u64) {
        (self.shared.reads.load(Ordering::SeqCst), self.shared.writes.load(Ordering::SeqCst))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request. Returns whether to lose its answer.
    fn count(&self, method: &Method) -> bool {
        if matches!(*method, Method::GET | Method::HEAD) {
            self.reads.fetch_add(1, Ordering::SeqCst);
            return false;
        }
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let every = self.lose_every.load(Ordering::SeqCst);
        every > 0 && number.is_multiple_of(every)
    }

    /// The answer; `None` if it is to be lost.
    async fn serve(&self, request: Request<Incoming>) -> Option<Answer> {
        let (head, body) = request.into_parts();
        // A truncated body is not a write.
        let body: Bytes = body.collect().await.ok()?.to_bytes();
        let lost = self.count(&head.method);
        let answer = dialect::answer(&self.name, &mut self.bucket(), &head, body);
        (!lost).then_some(answer)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Aborting this task drops it, and so closes all connections.
    let mut connections = JoinSet::new();
    loop {
        // For example out of file descriptors: the client sees it, and the next round may succeed.
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(converse(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        // An error makes the server close the connection without an answer.
        async move { shared.serve(request).await.ok_or(io::Error::other("the answer is lost")) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        // A lost answer, or a client that closed its connection.
        tracing::debug!(%error, "the connection ended");
    }
}
