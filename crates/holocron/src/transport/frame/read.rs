//! Reading frames: splits a byte stream and decodes its frames.

use bytes::{Bytes, BytesMut};
use holocron_protocol::{
    format::codec::{self, Malformed},
    ids::{ClientId, CommitNumber, Epoch, RequestNumber, VnodeName},
    request::window::{Request, RequestId},
};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    Broken, FRAME_LEN_MAX, Frame, HEADER_LEN, HELLO_LEN_MAX, Kind, MAGIC, NEWEST, Received,
    Refusal, TooLarge, Versions, Welcome, older,
};
use crate::api::call::{Answer, Call, Format, Mode, Outcome};

/// Largest body that is skipped, in bytes. A header that claims more is invalid.
pub(super) const SKIP_LEN_MAX: usize = 256 << 20;
/// How much is read at once, in bytes.
const READ_LEN: usize = 32 << 10;

/// Splits a byte stream into frames. For users without a [`Link`](crate::transport::link::Link): tests and tools.
#[derive(Debug)]
pub struct FrameReader<R> {
    reads: R,
    buffer: BytesMut,
    /// Bytes of a skipped body that have not arrived yet.
    skip: usize,
    /// Largest body that is accepted, in bytes.
    length_max: usize,
    /// The version in which messages are read.
    version: u16,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// For the connection of an unknown peer: accepts bodies up to [`HELLO_LEN_MAX`] until [`FrameReader::trust`].
    #[must_use]
    pub fn new(reads: R) -> Self {
        Self { reads, buffer: BytesMut::new(), skip: 0, length_max: HELLO_LEN_MAX, version: NEWEST }
    }

    /// From now on accepts bodies up to [`FRAME_LEN_MAX`].
    pub fn trust(&mut self) {
        self.length_max = FRAME_LEN_MAX;
    }

    /// After the handshake: like [`FrameReader::trust`], and what follows is in this version.
    pub(crate) fn speak(&mut self, version: u16) {
        self.version = version;
        self.trust();
    }

    /// The next frame; `None` when the other end closed the connection between two frames. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Broken`]: no more frames can be read.
    pub async fn next(&mut self) -> Result<Option<Received>, Broken> {
        loop {
            if let Some(received) = self.buffered()? {
                return Ok(Some(received));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads once; `false` when the other end closed the connection between two frames. Dropping the future loses
    /// nothing.
    pub(crate) async fn fill(&mut self) -> Result<bool, Broken> {
        // Grows by doubling, not to the length in the header: a peer that claims a false length gets memory only for
        // what it sends.
        self.buffer.reserve(self.buffer.len().max(READ_LEN));
        if self.reads.read_buf(&mut self.buffer).await? > 0 {
            return Ok(true);
        }
        if self.is_inside_frame() { Err(Broken::CutShort) } else { Ok(false) }
    }

    /// Whether a frame, or a skipped body, has arrived in part.
    pub(crate) fn is_inside_frame(&self) -> bool {
        !self.buffer.is_empty() || self.skip > 0
    }

    /// Whether the first bytes, of which no frame could be read, are those of TLS: a handshake, or the alert that answers what
    /// isn't one. No first frame begins like that, because its length would be above [`HELLO_LEN_MAX`].
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.buffer[..], [0x15 | 0x16, 3, 1..=4, ..])
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next frame that has arrived completely.
    pub(crate) fn buffered(&mut self) -> Result<Option<Received>, Malformed> {
        if self.skip > 0 {
            let skipped = self.skip.min(self.buffer.len());
            drop(self.buffer.split_to(skipped));
            self.skip -= skipped;
        }
        let Some(header) = self.buffer.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let fail = |why: String| Err(Malformed::new("frame", &why));
        let length = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
        let id = u64::from_le_bytes(header[5..].try_into().expect("eight bytes"));
        let Some(kind) = Kind::from_byte(header[4]) else {
            return fail(format!("unknown kind {}", header[4]));
        };
        if length > self.length_max {
            if length > SKIP_LEN_MAX || self.length_max < FRAME_LEN_MAX {
                return fail(format!("its header claims {length} bytes"));
            }
            drop(self.buffer.split_to(HEADER_LEN));
            self.skip = length;
            return Ok(Some(Received::Unusable { kind, id, why: TooLarge(length).to_string() }));
        }
        if self.buffer.len() < HEADER_LEN + length {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(HEADER_LEN + length).freeze();
        let body = body.split_off(HEADER_LEN);
        Ok(Some(match decode(kind, id, &body, self.version) {
            Ok(frame) => Received::Frame(frame),
            Err(malformed) => Received::Unusable { kind, id, why: malformed.why },
        }))
    }
}

/// Reads a frame's body.
fn decode(kind: Kind, id: u64, body: &Bytes, version: u16) -> Result<Frame, Malformed> {
    Ok(match kind {
        Kind::Hello => hello(id, body)?,
        Kind::Welcome => {
            let welcome: Welcome = codec::from_bincode("welcome", body)?;
            Frame::Welcome(Welcome { version: version_in(id)?, ..welcome })
        }
        Kind::Refusal => Frame::Refusal(Refusal { why: text(body)?, newest: version_in(id)? }),
        Kind::Call => Frame::Call(id, call(body)?),
        Kind::Answer => Frame::Answer(id, answer(body)?),
        Kind::Peer => Frame::Peer(id, older::message(body, version)?),
        Kind::PeerReply => Frame::PeerReply(id, codec::from_bincode("reply", body)?),
        Kind::Epoch => Frame::Epoch(Epoch::new(id), body.clone()),
        Kind::Ping => Frame::Ping,
        Kind::Pong => Frame::Pong,
    })
}

fn version_in(id: u64) -> Result<u16, Malformed> {
    u16::try_from(id).map_err(|_large| Malformed::new("frame", "its header has no version"))
}

fn hello(id: u64, body: &Bytes) -> Result<Frame, Malformed> {
    let mut fields = Fields(body);
    if fields.take::<4>()? != MAGIC {
        return Err(Malformed::new("hello", "this is not Holocron"));
    }
    let theirs = Versions::from_hello(u16::from_le_bytes(fields.take()?), id);
    let hello = match Versions::spoken().shared_with(theirs) {
        Some(_version) => Some(codec::from_bincode("hello", fields.0)?),
        None => None,
    };
    Ok(Frame::Hello(theirs, hello))
}

fn call(body: &Bytes) -> Result<Call, Malformed> {
    let mut fields = Fields(body);
    let mode = match fields.take::<1>()? {
        [0] => Mode::Command,
        [1] => Mode::Query,
        [2] => Mode::Local,
        [3] => Mode::Tell,
        [4] => Mode::Ask,
        [5] => Mode::Acknowledge,
        [6] => Mode::Delete,
        [7] => Mode::Exists,
        [8] => Mode::Deferred,
        [9] => Mode::Amend,
        [10] => Mode::Watch,
        [11] => Mode::State,
        [12] => Mode::Create,
        _ => return Err(Malformed::new("call", "unknown mode")),
    };
    let format = match fields.take::<1>()? {
        [0] => Format::Bincode,
        [1] => Format::Json,
        _ => return Err(Malformed::new("call", "unknown format")),
    };
    let client = ClientId::new(u128::from_le_bytes(fields.take()?));
    let number = RequestNumber::new(fields.number()?);
    let lowest = RequestNumber::new(fields.number()?);
    let base = CommitNumber::new(fields.number()?);
    let epoch = Epoch::new(fields.number()?);
    let [kind_len] = fields.take()?;
    let key_len = u16::from_le_bytes(fields.take()?);
    let kind = fields.text(kind_len.into())?;
    let key = fields.text(key_len.into())?;
    let name =
        VnodeName::new(kind, key).map_err(|error| Malformed::new("call", &error.to_string()))?;
    let request = Request { id: RequestId { client, number }, lowest, base };
    Ok(Call { name, mode, request, epoch, format, body: body.slice_ref(fields.0) })
}

fn answer(body: &Bytes) -> Result<Answer, Malformed> {
    let mut fields = Fields(body);
    let epoch = Epoch::new(fields.number()?);
    let commit = CommitNumber::new(fields.number()?);
    let [tag] = fields.take()?;
    let rest = body.slice_ref(fields.0);
    let outcome = match (tag, rest.len()) {
        (0, _) => Outcome::Reply(rest),
        (1, 0) => Outcome::Panicked,
        (2, _) => Outcome::Rejected(text(&rest)?),
        (3, 8) => Outcome::Rebase(CommitNumber::new(fields.number()?)),
        (4, 0) => Outcome::NotOwner,
        (5, 0) => Outcome::Busy,
        (6, 0) => Outcome::Quarantined,
        (7, 0) => Outcome::UnknownKind,
        (8, _) => Outcome::Undecodable(text(&rest)?),
        (9, _) => Outcome::Unreadable(text(&rest)?),
        (10, 0) => Outcome::Unclear,
        (11, _) => Outcome::UnknownCommand(text(&rest)?),
        (12, _) => Outcome::OtherArguments(text(&rest)?),
        _ => return Err(Malformed::new("answer", "unknown outcome")),
    };
    Ok(Answer { epoch, commit, outcome })
}

fn text(body: &Bytes) -> Result<String, Malformed> {
    let text = core::str::from_utf8(body)
        .map_err(|error| Malformed::new("frame", &format!("not text: {error}")))?;
    Ok(text.to_owned())
}

/// The unread rest of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut_short)?;
        self.0 = rest;
        core::str::from_utf8(taken)
            .map_err(|error| Malformed::new("frame", &format!("not text: {error}")))
    }
}

fn cut_short() -> Malformed {
    Malformed::new("frame", "cut short")
}
