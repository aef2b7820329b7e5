//! TCP with mutual TLS: the network of a cluster whose machines aren't all trusted.
//!
//! Why no address is verified, and what a role is: `docs/design/0027-security.md`.

use std::io;

use async_trait::async_trait;
use holocron_access::{Reads, Tls};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use super::net::{Arrival, Identity, Listener, Network, Stream, tuned};

#[async_trait]
impl Network for Tls {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let stream = tuned(TcpStream::connect(address).await?)?;
        Ok(halves(Self::connect(self, stream).await?))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.check_may_listen()?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Box::new(TlsArrivals { tls: self.clone(), listener, address }))
    }
}

#[derive(Debug)]
struct TlsArrivals {
    tls: Tls,
    listener: TcpListener,
    address: String,
}

#[async_trait]
impl Listener for TlsArrivals {
    async fn accept(&self) -> io::Result<Arrival> {
        let (stream, from) = self.listener.accept().await?;
        let (stream, tls) = (tuned(stream)?, self.tls.clone());
        Ok(Arrival::to_open(from.to_string(), async move {
            let (stream, certified) = tls.accept(stream).await?;
            Ok((halves(stream), Identity::Certified(certified)))
        }))
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}

fn halves(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Stream {
    let (reads, writes) = tokio::io::split(stream);
    Stream::new(Reads(reads), writes)
}

#[cfg(test)]
mod tests;
