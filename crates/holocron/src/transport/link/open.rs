//! Opening a link: connect, hello, welcome.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::OPEN_TIMEOUT;
use crate::transport::{
    frame::{self, Frame, FrameReader, Hello, Received, Refusal, Versions, Welcome},
    net::{Network, Stream},
};

/// Why a link couldn't be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The host did not answer, or not in time. A retry may help.
    #[error("{address}: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// The error of the network.
        why: String,
    },
    /// The machine answered that no process listens there. A process that listened there has ended.
    #[error("{address}: no process listens there")]
    NotListening {
        /// Where.
        address: String,
    },
    /// The host refused the connection: it is of another cluster, or another version. A retry won't help.
    #[error("{address} refuses: {why}")]
    Refused {
        /// Where.
        address: String,
        /// Its reason.
        why: String,
    },
}

/// A connection that the host has accepted.
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
    let spoken = Versions::spoken();
    let attempts = async {
        let mut newest = spoken.newest;
        loop {
            let offered = Versions { newest, ..spoken };
            match handshake(network, &address, offered, hello.clone()).await {
                // A host from before there were ranges speaks one version, and accepts no hello of another.
                Err(HandshakeError::RefusedBeforeRanges(_)) if newest > spoken.oldest => {
                    newest -= 1;
                }
                ended => return ended,
            }
        }
    };
    match timeout(OPEN_TIMEOUT, attempts).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(HandshakeError::NotListening)) => Err(OpenError::NotListening { address }),
        Ok(Err(HandshakeError::Failed(why))) => Err(OpenError::Unreachable { address, why }),
        Ok(Err(HandshakeError::Refused(why) | HandshakeError::RefusedBeforeRanges(why))) => {
            Err(OpenError::Refused { address, why })
        }
        Err(_elapsed) => {
            let why = format!("no answer within {OPEN_TIMEOUT:?}");
            Err(OpenError::Unreachable { address, why })
        }
    }
}

enum HandshakeError {
    NotListening,
    Failed(String),
    Refused(String),
    /// By a host that doesn't know ranges: perhaps because of the version.
    RefusedBeforeRanges(String),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

async fn handshake(
    network: &dyn Network,
    address: &str,
    offered: Versions,
    hello: Hello,
) -> Result<Opened, HandshakeError> {
    let Stream { reads, mut writes } = network.connect(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            HandshakeError::NotListening
        } else {
            error.into()
        }
    })?;
    let mut first = Vec::new();
    frame::put(&mut first, &Frame::Hello(offered, Some(hello)))
        .map_err(|error| HandshakeError::Failed(error.to_string()))?;
    // If the host refuses us it may have closed the connection already. It said why before, so what it sent is read all the same.
    let sent = match writes.write_all(&first).await {
        Ok(()) => writes.flush().await,
        failed => failed,
    };
    let mut reader = FrameReader::new(reads);
    let answer = match reader.next().await {
        Ok(answer) => answer,
        Err(_) if reader.is_tls() => {
            return Err(HandshakeError::Failed("the host requires TLS".to_owned()));
        }
        Err(broken) => return Err(HandshakeError::Failed(broken.to_string())),
    };
    match answer {
        Some(Received::Frame(Frame::Welcome(welcome))) => {
            let welcome = agreed(offered, welcome)?;
            reader.speak(welcome.version);
            Ok(Opened { reader, writes, welcome })
        }
        Some(Received::Frame(Frame::Refusal(Refusal { why, newest: 0 }))) => {
            Err(HandshakeError::RefusedBeforeRanges(why))
        }
        Some(Received::Frame(Frame::Refusal(Refusal { why, .. }))) => {
            Err(HandshakeError::Refused(why))
        }
        Some(other) => Err(HandshakeError::Failed(format!("unexpected first frame: {other:?}"))),
        None => {
            sent?;
            Err(HandshakeError::Failed("the host closed the connection before its welcome".into()))
        }
    }
}

/// The welcome with the version that both ends speak.
fn agreed(offered: Versions, welcome: Welcome) -> Result<Welcome, HandshakeError> {
    match welcome.version {
        0 => Ok(Welcome { version: offered.newest, ..welcome }),
        version if offered.has(version) => Ok(welcome),
        version => {
            let why = format!("the host chose version {version}, and was offered {offered}");
            Err(HandshakeError::Failed(why))
        }
    }
}
