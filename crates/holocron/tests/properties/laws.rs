//! The laws of frames, for any input. The tests beside this file and a fuzz target share them.
//!
//! Reading a stream never panics, takes no more memory than its [`Bound`], and gives the same result however the
//! stream is split. A call, an answer and an epoch record have one encoding: they are written as the same bytes they
//! were read from. Other frames are not stored, so the law is weaker: what they are written as reads as the same
//! frame.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::FutureExt;
use holocron::frame::{Broken, Frame, FrameReader, Received, put};
use tokio::io::{AsyncRead, ReadBuf};

use crate::memory::{Bound, within};

/// Bytes of a frame's header.
const HEADER_LEN: usize = 13;
/// The read buffer doubles; a length in bincode may claim some bytes that are absent.
const STREAM: Bound = Bound { flat: 4 << 20, per_byte: 300 };

/// Whether the handshake is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    Stranger,
    Trusted,
}

/// A stream that arrives in pieces of `piece_len` bytes.
struct Pieces<'a> {
    left: &'a [u8],
    piece_len: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let len = self.left.len().min(self.piece_len).min(buffer.remaining());
        let (piece, left) = self.left.split_at(len);
        buffer.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

/// Every frame that the bytes hold, and how reading them ended.
pub(crate) fn read_all(
    bytes: &[u8],
    piece_len: usize,
    peer: Peer,
) -> (Vec<Received>, Result<(), Broken>) {
    let mut reader = FrameReader::new(Pieces { left: bytes, piece_len });
    if let Peer::Trusted = peer {
        reader.trust();
    }
    let mut frames = Vec::new();
    loop {
        match reader.next().now_or_never().expect("a slice is always ready") {
            Ok(Some(received)) => frames.push(received),
            Ok(None) => return (frames, Ok(())),
            Err(broken) => return (frames, Err(broken)),
        }
    }
}

/// Checks a stream of frames; returns how many of them are usable.
pub(crate) fn stream(bytes: &[u8], peer: Peer) -> usize {
    let read = within(STREAM, bytes.len(), || read_all(bytes, usize::MAX, peer));
    let pieces = read_all(bytes, 1 + bytes.len() % 7, peer);
    assert_eq!(format!("{pieces:?}"), format!("{read:?}"));
    let (mut begin, mut usable) = (0, 0);
    for received in &read.0 {
        let length = u32::from_le_bytes(bytes[begin..begin + 4].try_into().expect("four bytes"));
        let end = begin + HEADER_LEN + length as usize;
        if let Received::Frame(frame) = received {
            usable += 1;
            one(frame, &bytes[begin..end]);
        }
        begin = end;
    }
    usable
}

fn one(frame: &Frame, bytes: &[u8]) {
    match frame {
        // The law says nothing of its body, since the versions differ.
        Frame::Hello(_, None) => {}
        Frame::Call(..) | Frame::Answer(..) | Frame::Epoch(..) => {
            assert_eq!(written(frame), bytes);
        }
        Frame::Hello(..)
        | Frame::Welcome(_)
        | Frame::Refusal(_)
        | Frame::Peer(..)
        | Frame::PeerReply(..)
        | Frame::Ping
        | Frame::Pong => reads_back(frame),
    }
}

/// The frame as it goes out.
pub(crate) fn written(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    put(&mut out, frame).expect("it came out of a frame");
    out.into()
}

/// Checks that the frame, written and read, is the same.
pub(crate) fn reads_back(frame: &Frame) {
    let out = written(frame);
    let (frames, end) = read_all(&out, usize::MAX, Peer::Trusted);
    end.expect("a whole frame");
    let [Received::Frame(read)] = &frames[..] else { panic!("{frame:?} reads as {frames:?}") };
    assert_eq!(format!("{read:?}"), format!("{frame:?}"));
}
