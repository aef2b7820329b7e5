//! The network: connect and listen, and nothing else.
//!
//! A small trait, so that whole hosts run over a simulated network. TLS is another implementation of the same two
//! verbs, not another code path.
//!
//! Invariants:
//!
//! * A [`Stream`] is an ordered, reliable pair of byte streams; dropping both halves closes the connection.
//! * Timeouts are the callers': a connect here may hang as long as the operating system allows.

use core::{fmt, fmt::Debug, time::Duration};
use std::io;

use async_trait::async_trait;
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// A way to reach addresses and to be reached.
#[async_trait]
pub trait Network: Debug + Send + Sync + 'static {
    /// Opens a connection to an address such as `host:port`.
    ///
    /// # Errors
    ///
    /// The error of the operating system, when the address does not answer.
    async fn connect(&self, address: &str) -> io::Result<Stream>;

    /// Listens at an address; port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// When the address can't be bound.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;
}

/// Where connections arrive.
#[async_trait]
pub trait Listener: Debug + Send + Sync + 'static {
    /// The next connection, and where it comes from, for logs. Dropping the future loses no connection.
    ///
    /// # Errors
    ///
    /// When this connection couldn't be accepted; the next may be.
    async fn accept(&self) -> io::Result<(Stream, String)>;

    /// The address it listens at, its port resolved.
    fn local_address(&self) -> String;
}

/// An open connection, as its two halves: each is driven by a task of its own, so they share no lock.
pub struct Stream {
    /// What the other end sends.
    pub reads: Box<dyn AsyncRead + Send + Unpin>,
    /// What the other end gets.
    pub writes: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Stream {
    /// From the halves of some connection.
    #[must_use]
    pub fn new<R, W>(reads: R, writes: W) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        Self { reads: Box::new(reads), writes: Box::new(writes) }
    }
}

impl Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// How long a TCP connection may be silent before the operating system probes it. This finds peers that vanished
/// while no request was in flight; during a request the transport's own pings are quicker.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);

/// The machine's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        tcp(TcpStream::connect(address).await?)
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Box::new(TcpArrivals { listener, address }))
    }
}

#[derive(Debug)]
struct TcpArrivals {
    listener: TcpListener,
    address: String,
}

#[async_trait]
impl Listener for TcpArrivals {
    async fn accept(&self) -> io::Result<(Stream, String)> {
        let (stream, from) = self.listener.accept().await?;
        Ok((tcp(stream)?, from.to_string()))
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}

fn tcp(stream: TcpStream) -> io::Result<Stream> {
    // The transport coalesces writes; the delay of Nagle's algorithm would not help.
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    let (reads, writes) = stream.into_split();
    Ok(Stream::new(reads, writes))
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_AFTER)?;
    Ok(())
}
