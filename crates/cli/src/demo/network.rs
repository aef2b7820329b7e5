//! A network whose connections can be cut, so that the demo's clients must resend what was in flight and exactly-once
//! is exercised.

use core::{
    pin::Pin,
    task::{Context, Poll},
};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use holocron::net::{Listener, Network, Stream, Tcp};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// TCP with connections that can be cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Cuttable {
    /// Cancelled when the connections opened under it are cut.
    open: Arc<Mutex<CancellationToken>>,
}

impl Cuttable {
    /// Cuts every open connection, in the middle of its traffic.
    pub(super) fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        core::mem::take(&mut *open).cancel();
    }
}

#[async_trait]
impl Network for Cuttable {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Stream { reads, writes } = Tcp.connect(address).await?;
        let cut = Box::pin(open.cancelled_owned());
        Ok(Stream { reads: Box::new(CutReads { reads, cut }), writes })
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Tcp.listen(address).await
    }
}

struct CutReads {
    reads: Box<dyn AsyncRead + Send + Unpin>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for CutReads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Checked first, so that nothing that arrived after the cut is delivered.
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "cut by the demo",
            )));
        }
        Pin::new(&mut self.reads).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_ends_open_connections_but_not_later_ones() {
        let network = Cuttable::default();
        let listener = network.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address();
        let mut before = network.connect(&address).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap().open().await.unwrap();
        network.cut();
        peer.writes.write_all(b"late").await.unwrap();
        let error = before.reads.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        let mut after = network.connect(&address).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap().open().await.unwrap();
        peer.writes.write_all(b"x").await.unwrap();
        assert_eq!(after.reads.read_u8().await.unwrap(), b'x');
    }
}
