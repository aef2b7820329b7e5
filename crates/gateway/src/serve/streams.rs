//! Where connections come from.

use core::{fmt, net::SocketAddr};
use std::io;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

/// A connection's bytes.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that was accepted, and may have to open first.
pub struct Accepted {
    /// The address of the other end.
    pub peer: SocketAddr,
    /// Completes when it is open: after the handshake of TLS, for example.
    pub opening: BoxFuture<'static, io::Result<Box<dyn Stream>>>,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Accepted").field(&self.peer).finish()
    }
}

/// Accepts connections.
#[async_trait]
pub trait Streams: Send + 'static {
    /// The next connection. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// When this one couldn't be accepted; the next may be.
    async fn accept(&mut self) -> io::Result<Accepted>;
}

#[async_trait]
impl Streams for TcpListener {
    async fn accept(&mut self) -> io::Result<Accepted> {
        let (stream, peer) = Self::accept(self).await?;
        // Answers are written as a whole.
        stream.set_nodelay(true)?;
        let opening = async { Ok(Box::new(stream) as Box<dyn Stream>) };
        Ok(Accepted { peer, opening: Box::pin(opening) })
    }
}
