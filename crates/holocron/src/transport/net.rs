//! The network: connect and listen, and nothing else.
//!
//! A small trait, so that whole hosts run over a simulated network. TLS is another implementation of the same two
//! verbs, not another code path.
//!
//! Invariants:
//!
//! * A [`Stream`] is an ordered, reliable pair of byte streams; dropping both halves closes the connection.
//! * Accepting never waits for the other end: what a connection needs before it is open happens in [`Arrival::open`].
//! * Timeouts are the callers': a connect here may hang as long as the operating system allows.

use core::{fmt, fmt::Debug, pin::Pin, time::Duration};
use std::io;

use async_trait::async_trait;
use holocron_access::Certified;
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

    /// Whether any process that reaches an address may act as a member of the cluster. A host then listens on loopback, unless it
    /// is told otherwise.
    fn is_open(&self) -> bool {
        false
    }
}

/// Where connections arrive.
#[async_trait]
pub trait Listener: Debug + Send + Sync + 'static {
    /// The next connection. Dropping the future loses no connection.
    ///
    /// # Errors
    ///
    /// When this connection couldn't be accepted; the next may be.
    async fn accept(&self) -> io::Result<Arrival>;

    /// The address it listens at, its port resolved.
    fn local_address(&self) -> String;
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The network proves nothing, as plain TCP. Who listens on it trusts it, so the other end may do everything.
    Trusted,
    /// What a certificate of the cluster's authority says.
    Certified(Certified),
}

/// For logs.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted => f.write_str("unauthenticated"),
            Self::Certified(certified) => fmt::Display::fmt(certified, f),
        }
    }
}

type Opening = Pin<Box<dyn Future<Output = io::Result<(Stream, Identity)>> + Send>>;

/// A connection that has arrived, and may need a handshake before it is open.
pub struct Arrival {
    /// Where it comes from, for logs.
    pub from: String,
    opening: Opening,
}

impl Arrival {
    /// One that is open, over a network that proves nothing.
    #[must_use]
    pub fn open_already(from: String, stream: Stream) -> Self {
        Self::to_open(from, core::future::ready(Ok((stream, Identity::Trusted))))
    }

    /// One that is open once that future, which must bound its time, is ready.
    #[must_use]
    pub fn to_open(
        from: String,
        opening: impl Future<Output = io::Result<(Stream, Identity)>> + Send + 'static,
    ) -> Self {
        Self { from, opening: Box::pin(opening) }
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// When the other end doesn't do, or can't prove, what the network demands; the text says which.
    pub async fn open(self) -> io::Result<(Stream, Identity)> {
        self.opening.await
    }
}

impl Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival").field("from", &self.from).finish_non_exhaustive()
    }
}

/// An open connection, as its two halves: each is driven by a task of its own.
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
        Ok(halves(tuned(TcpStream::connect(address).await?)?))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Box::new(TcpArrivals { listener, address }))
    }

    fn is_open(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct TcpArrivals {
    listener: TcpListener,
    address: String,
}

#[async_trait]
impl Listener for TcpArrivals {
    async fn accept(&self) -> io::Result<Arrival> {
        let (stream, from) = self.listener.accept().await?;
        Ok(Arrival::open_already(from.to_string(), halves(tuned(stream)?)))
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}

fn halves(stream: TcpStream) -> Stream {
    let (reads, writes) = stream.into_split();
    Stream::new(reads, writes)
}

/// A TCP connection with the options of this transport.
pub(super) fn tuned(stream: TcpStream) -> io::Result<TcpStream> {
    // The transport coalesces writes; the delay of Nagle's algorithm would not help.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE_AFTER)?;
    Ok(stream)
}
