//! Serving a gateway: connections, their number, and what one of them may take.
//!
//! A connection is a stream that someone has accepted ([`Streams`]): TCP here, or TLS of an embedding service. Its handshake is
//! part of the connection's own task, so a slow one delays nobody.

mod streams;

use core::{convert::Infallible, time::Duration};
use std::{io, sync::Arc};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

pub use self::streams::{Accepted, Stream, Streams};
use crate::{access::Peer, gateway::Gateway, problem::MEDIA_TYPE, problem::ProblemKind};

/// The pause after a connection couldn't be accepted, for example for lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Connections at a time that are told that there are too many; others are closed without a word.
const REFUSALS_MAX: usize = 64;
/// Headers that hyper allows if it is told nothing.
const HEADERS_MAX_OF_HYPER: usize = 100;
/// How long such a one may take to read that.
const REFUSAL_WITHIN: Duration = Duration::from_secs(1);

/// What connections may take.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Connections at a time; further ones are refused.
    pub connections_max: usize,
    /// Bytes of a request's head; a longer one is answered 431, without a body.
    pub head_len_max: usize,
    /// Headers of a request; more are answered 431, without a body.
    pub headers_max: usize,
    /// How long a connection may take to send a request's head, from the moment it is waited for: an idle one is closed too.
    /// Higher: fewer new connections of calm clients, more slow ones at a time.
    pub head_within: Duration,
    /// How long requests may take to end after the gateway was told to; later ones are cut off.
    pub end_within: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_len_max: 32 << 10,
            headers_max: HEADERS_MAX_OF_HYPER,
            head_within: Duration::from_secs(10),
            end_within: Duration::from_secs(5),
        }
    }
}

/// Serves a gateway until `ends` completes. Then it accepts nothing more, closes idle connections, and returns when the
/// requests under way are answered, or after [`ServeSettings::end_within`].
pub async fn serve(
    mut streams: impl Streams,
    gateway: Gateway,
    settings: ServeSettings,
    ends: impl Future<Output = ()>,
) {
    let server = Server {
        router: gateway.router().merge(gateway.dashboard()),
        http: http(&settings),
        room: Arc::new(Semaphore::new(settings.connections_max)),
        refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        graceful: GracefulShutdown::new(),
        cut_off: CancellationToken::new(),
        head_within: settings.head_within,
    };
    tokio::pin!(ends);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut ends => break,
            accepted = streams.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => server.take(accepted),
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted; trying again");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(streams);
    gateway.leave();
    let Server { graceful, cut_off, .. } = server;
    if timeout(settings.end_within, graceful.shutdown()).await.is_err() {
        tracing::warn!(after = ?settings.end_within, "HTTP requests did not end in time; cutting them off");
    }
    cut_off.cancel();
}

fn http(settings: &ServeSettings) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(settings.head_within)
        .max_header_size(settings.head_len_max)
        // hyper refuses less than 8 KiB.
        .max_buf_size(settings.head_len_max.max(8 << 10));
    // Set even to its default, hyper takes memory for it with each request.
    if settings.headers_max != HEADERS_MAX_OF_HYPER {
        http.max_headers(settings.headers_max);
    }
    http
}

struct Server {
    router: Router,
    http: http1::Builder,
    /// Permits of connections.
    room: Arc<Semaphore>,
    /// Permits of connections that are refused.
    refusals: Arc<Semaphore>,
    graceful: GracefulShutdown,
    /// Cancelled when connections must end at once.
    cut_off: CancellationToken,
    head_within: Duration,
}

impl Server {
    fn take(&self, accepted: Accepted) {
        match Arc::clone(&self.room).try_acquire_owned() {
            Ok(permit) => self.serve(accepted, permit),
            Err(_full) => self.refuse(accepted),
        }
    }

    fn serve(&self, accepted: Accepted, permit: OwnedSemaphorePermit) {
        let Accepted { peer, opening } = accepted;
        let (http, router) = (self.http.clone(), self.router.clone());
        let (watcher, cut_off, within) =
            (self.graceful.watcher(), self.cut_off.clone(), self.head_within);
        tokio::spawn(async move {
            let _permit = permit;
            let Ok(Ok(stream)) = timeout(within, opening).await else {
                return tracing::debug!(%peer, "an HTTP connection did not open");
            };
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let (mut router, mut request) = (router.clone(), request.map(Body::new));
                request.extensions_mut().insert(Peer(peer));
                async move {
                    Ok::<_, Infallible>(
                        router.call(request).await.unwrap_or_else(|never| match never {}),
                    )
                }
            });
            let connection = watcher.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                biased;
                () = cut_off.cancelled() => {}
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "an HTTP connection ended early");
                },
            }
        });
    }

    /// Says that there are too many connections, and closes this one.
    fn refuse(&self, accepted: Accepted) {
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _permit = permit;
            let telling = async {
                let mut stream = accepted.opening.await?;
                stream.write_all(&too_many_connections()).await?;
                stream.shutdown().await?;
                // Until the other end has read it: a close with unread bytes could take the answer back.
                let mut rest = [0; 1_024];
                while stream.read(&mut rest).await? > 0 {}
                Ok::<_, io::Error>(())
            };
            drop(timeout(REFUSAL_WITHIN, telling).await);
        });
    }
}

fn too_many_connections() -> Vec<u8> {
    let problem =
        ProblemKind::TooManyConnections.with("this gateway has as many connections as it may");
    let body = problem.body();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
