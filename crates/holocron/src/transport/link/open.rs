//! How a link begins: connect, say hello, be welcomed.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::OPEN_TIMEOUT;
use crate::transport::{
    frame::{self, Frame, FrameReader, Hello, Received, Welcome},
    net::{Network, Stream},
};

/// Why a link couldn't be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody answered there, or not in time. Trying again may help.
    #[error("{address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why, as the network says it.
        why: String,
    },
    /// The machine answered: nobody listens there. A process that was there is gone.
    #[error("{address}: nobody listens there")]
    NotListening {
        /// Where.
        address: String,
    },
    /// A host answered and doesn't want this connection: another cluster, or another version. Trying again won't help.
    #[error("{address} refuses: {why}")]
    Refused {
        /// Where.
        address: String,
        /// Its reason.
        why: String,
    },
}

/// A connection whose host welcomes us.
pub(super) struct Opened {
    pub(super) reader: FrameReader<Box<dyn AsyncRead + Send + Unpin>>,
    pub(super) writes: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) welcome: Welcome,
}

pub(super) async fn open(
    network: &dyn Network,
    address: &str,
    hello: Hello,
) -> Result<Opened, OpenError> {
    let address = address.to_owned();
    match timeout(OPEN_TIMEOUT, greet(network, &address, hello)).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(Unwelcome::NotListening)) => Err(OpenError::NotListening { address }),
        Ok(Err(Unwelcome::Failed(why))) => Err(OpenError::Unreachable { address, why }),
        Ok(Err(Unwelcome::Refused(why))) => Err(OpenError::Refused { address, why }),
        Err(_elapsed) => {
            let why = format!("no answer within {OPEN_TIMEOUT:?}");
            Err(OpenError::Unreachable { address, why })
        }
    }
}

enum Unwelcome {
    NotListening,
    Failed(String),
    Refused(String),
}

impl From<io::Error> for Unwelcome {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

async fn greet(network: &dyn Network, address: &str, hello: Hello) -> Result<Opened, Unwelcome> {
    let Stream { reads, mut writes } = network.connect(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Unwelcome::NotListening
        } else {
            error.into()
        }
    })?;
    let mut first = Vec::new();
    frame::put(&mut first, &Frame::Hello(frame::TRANSPORT_VERSION, Some(hello)))
        .map_err(|error| Unwelcome::Failed(error.to_string()))?;
    writes.write_all(&first).await?;
    writes.flush().await?;
    let mut reader = FrameReader::new(reads);
    let answer = reader.next().await.map_err(|broken| Unwelcome::Failed(broken.to_string()))?;
    match answer {
        Some(Received::Frame(Frame::Welcome(welcome))) => {
            reader.trust();
            Ok(Opened { reader, writes, welcome })
        }
        Some(Received::Frame(Frame::Refusal(why))) => Err(Unwelcome::Refused(why)),
        Some(other) => Err(Unwelcome::Failed(format!("unexpected first frame: {other:?}"))),
        None => Err(Unwelcome::Failed("closed before its welcome".into())),
    }
}
