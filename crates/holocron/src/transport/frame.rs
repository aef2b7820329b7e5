//! Frames: the encoding of calls, answers and messages on the wire.
//!
//! A frame is a header of 13 bytes and a body: the body's length (`u32`), the frame's kind (`u8`) and an id (`u64`:
//! of the call or message, the number of an epoch record, else zero), little-endian. The length is outside everything
//! else, so a body that is too large or can't be decoded is skipped: its sender gets an error and the connection
//! stays open. Only an invalid header ends the connection, because the start of the next frame is then unknown.
//!
//! Calls and answers are encoded by hand: they are most of the traffic, and their bodies stay slices of the bytes
//! read. Everything else is bincode behind the codec module.
//!
//! Invariants:
//!
//! * No input makes a reader panic, or buffer more than about twice what has arrived. Decoding a message takes no
//!   more memory than `codec::from_bincode` promises.
//! * A call or an answer has one encoding: what was decoded encodes to the same bytes.
//! * The first frame of each direction is readable by every version: its magic and version come first.

mod older;
mod read;
mod version;
mod write;

use std::io;

use bytes::Bytes;
use holocron_protocol::{
    format::codec::Malformed,
    ids::{ClusterId, Epoch},
};
use serde::{Deserialize, Serialize};

#[cfg(debug_assertions)]
pub use self::version::speak_only;
pub(crate) use self::write::{put_answer, put_call, put_message};
pub use self::{
    read::FrameReader,
    version::{NEWEST, OLDEST, Versions},
    write::put,
};
use crate::{
    api::call::{Answer, Call},
    transport::peer::{PeerMessage, PeerReply},
};

/// Largest body of a frame, in bytes.
pub const FRAME_LEN_MAX: usize = 16 << 20;
/// Largest command, query or reply that always fits into a frame beside its names, in bytes.
pub const PAYLOAD_LEN_MAX: usize = FRAME_LEN_MAX - 4096;
/// Largest body of a connection's first frame, in bytes: an unknown peer gets no more memory than this.
pub const HELLO_LEN_MAX: usize = 4096;
/// Bytes of a frame's header.
const HEADER_LEN: usize = 13;

const MAGIC: [u8; 4] = *b"HLCN";

/// The first frame of the side that opens a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster that it looks for; `None` when it does not know it yet.
    pub cluster: Option<ClusterId>,
    /// Who it is, for logs; a few words.
    pub who: String,
}

/// A host's answer to a [`Hello`] that it accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Calls in flight from one connection before the host stops reading it. A client that stays below this never
    /// waits behind its own calls.
    pub calls_max: u32,
    /// Other messages in flight from one connection; more are refused.
    pub messages_max: u32,
    /// The version that both ends speak from now on; 0 of a host from before there were ranges, which speaks that of the
    /// hello. It travels in the header.
    #[serde(skip)]
    pub version: u16,
}

/// A host's answer to a [`Hello`] that it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub why: String,
    /// The newest version that the host speaks; 0 of a host from before there were ranges. It travels in the header.
    pub newest: u16,
}

/// One frame.
#[derive(Clone, Debug)]
pub enum Frame {
    /// The opener's first frame, with the versions that it speaks. The rest is absent when none of them is ours.
    Hello(Versions, Option<Hello>),
    /// The host's first frame, when it accepts the connection.
    Welcome(Welcome),
    /// The host's first and last frame, when it refuses the connection.
    Refusal(Refusal),
    /// One attempt of one request.
    Call(u64, Call),
    /// The answer to the call of that id.
    Answer(u64, Answer),
    /// A message to the host.
    Peer(u64, PeerMessage),
    /// The reply to the message of that id.
    PeerReply(u64, PeerReply),
    /// The newest epoch record: its number, and its bytes in the store. Sent by hosts without a request.
    Epoch(Epoch, Bytes),
    /// Asks for a [`Frame::Pong`].
    Ping,
    /// The answer to a [`Frame::Ping`].
    Pong,
}

/// What was read.
#[derive(Debug)]
pub enum Received {
    /// A frame.
    Frame(Frame),
    /// A frame with a valid header and an unusable body: only the call or message of its id fails.
    Unusable {
        /// The kind in its header.
        kind: Kind,
        /// The id in its header.
        id: u64,
        /// Why, in a few words.
        why: String,
    },
}

/// Why no more frames can be read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Failed(#[from] io::Error),
    /// The connection ended in the middle of a frame.
    #[error("the connection ended inside a frame")]
    CutShort,
    /// A header is invalid.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl Broken {
    /// Whether the other end closed the connection while bytes from us were in flight, as a client that ends does.
    pub(crate) fn is_hang_up(&self) -> bool {
        match self {
            Self::Failed(error) => is_hang_up(error),
            Self::CutShort | Self::Malformed(_) => false,
        }
    }
}

/// Whether the operating system reports with this error that the other end closed the connection.
pub(crate) fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

/// A body that doesn't fit into a frame; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes; at most {FRAME_LEN_MAX} fit into a frame")]
pub struct TooLarge(pub usize);

/// The kind of a frame, as in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Frame::Hello`].
    Hello = 1,
    /// [`Frame::Welcome`].
    Welcome = 2,
    /// [`Frame::Refusal`].
    Refusal = 3,
    /// [`Frame::Call`].
    Call = 4,
    /// [`Frame::Answer`].
    Answer = 5,
    /// [`Frame::Peer`].
    Peer = 6,
    /// [`Frame::PeerReply`].
    PeerReply = 7,
    /// [`Frame::Epoch`].
    Epoch = 8,
    /// [`Frame::Ping`].
    Ping = 9,
    /// [`Frame::Pong`].
    Pong = 10,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Refusal,
            4 => Self::Call,
            5 => Self::Answer,
            6 => Self::Peer,
            7 => Self::PeerReply,
            8 => Self::Epoch,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
