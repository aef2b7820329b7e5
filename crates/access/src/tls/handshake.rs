//! The handshake itself, bounded in time, and the stream that comes of it.

use core::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use std::{io, sync::Arc};

use rustls::{ClientConfig, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::{
    HANDSHAKE_TIMEOUT,
    explain::{End, explained, of_open},
};
use crate::role::Role;

/// How long, and for how many bytes, a refused connection is still read. If it were closed with bytes unread, the operating system would
/// reset it, and the other end could lose the alert that says why.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_LEN_MAX: u64 = 64 << 10;

pub(super) async fn connect<S>(
    config: Arc<ClientConfig>,
    stream: S,
) -> io::Result<client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connecting = TlsConnector::from(config).connect(Role::Host.server_name(), stream);
    match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| explained(End::Opener, &error)),
        Err(_elapsed) => Err(too_slow()),
    }
}

pub(super) async fn accept<S>(
    config: Arc<ServerConfig>,
    stream: S,
) -> io::Result<server::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepting = TlsAcceptor::from(config).accept(stream).into_fallible();
    match timeout(HANDSHAKE_TIMEOUT, accepting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, stream))) => {
            linger(stream).await;
            Err(explained(End::Acceptor, &error))
        }
        Err(_elapsed) => Err(too_slow()),
    }
}

fn too_slow() -> io::Error {
    let why = format!("the TLS handshake was not complete within {HANDSHAKE_TIMEOUT:?}");
    io::Error::new(io::ErrorKind::TimedOut, why)
}

/// Reads on until the other end closes, so that it gets the alert. Its outcome doesn't matter: the connection is over.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let lingering = async {
        stream.shutdown().await?;
        let mut rest = stream.take(LINGER_LEN_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    drop(timeout(LINGER, lingering).await);
}

/// The reading side of an open connection. Its end is an end, with `close_notify` or without: what is read has lengths, so a cut is
/// noticed by them.
#[derive(Debug)]
pub struct Reads<R>(pub R);

impl<R: AsyncRead + Unpin> AsyncRead for Reads<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(context, buffer)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(of_open(error))),
            Ok(()) => Poll::Ready(Ok(())),
        }
    }
}
