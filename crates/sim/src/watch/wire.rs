//! Listening in: what hosts and clients say to each other, frame by frame, at the moment it is written.

use core::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use bytes::{Buf, BytesMut};
use holocron::{
    Answer, Call, PeerMessage, PeerReply,
    frame::{Frame, FrameReader, Received},
};
use holocron_protocol::ids::Epoch;
use tokio::io::{AsyncRead, ReadBuf};

/// All connections that are listened to, by the number of each direction's pipe.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<u64, Tap>);

/// One direction of a connection.
#[derive(Debug)]
struct Tap {
    /// The other direction.
    back: u64,
    reads: FrameReader<Heard>,
    heard: Heard,
    /// Calls said here that weren't answered yet.
    calls: BTreeMap<u64, Call>,
}

/// Something said that is worth a check.
#[derive(Debug)]
pub(super) enum Said {
    /// An answer to a call.
    Answer(Call, Answer),
    /// The speaker knows this epoch.
    Epoch(Epoch),
}

impl Connections {
    /// A connection was opened.
    pub(super) fn opened(&mut self, there: u64, back: u64) {
        for (pipe, back) in [(there, back), (back, there)] {
            let heard = Heard::default();
            let mut reads = FrameReader::new(heard.clone());
            reads.trust();
            self.0.insert(pipe, Tap { back, reads, heard, calls: BTreeMap::new() });
        }
    }

    /// Nothing more is said there.
    pub(super) fn closed(&mut self, pipe: u64) {
        self.0.remove(&pipe);
    }

    /// Bytes were written. What they say as far as frames are complete.
    pub(super) fn wrote(&mut self, pipe: u64, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        let Some(tap) = self.0.get_mut(&pipe) else { return said };
        tap.heard.0.lock().expect("a buffer's lock").extend_from_slice(bytes);
        loop {
            let Some(tap) = self.0.get_mut(&pipe) else { return said };
            let next = pin!(tap.reads.next()).poll(&mut Context::from_waker(Waker::noop()));
            match next {
                Poll::Ready(Ok(Some(Received::Frame(frame)))) => {
                    said.extend(self.frame(pipe, frame));
                }
                Poll::Ready(Ok(Some(Received::Unusable { .. }))) => {}
                Poll::Pending => return said,
                // These aren't frames: whoever speaks so isn't one of us.
                Poll::Ready(Ok(None) | Err(_)) => self.closed(pipe),
            }
        }
    }

    fn frame(&mut self, pipe: u64, frame: Frame) -> Option<Said> {
        let tap = self.0.get_mut(&pipe)?;
        match frame {
            Frame::Call(id, call) => {
                tap.calls.insert(id, call);
                None
            }
            Frame::Answer(id, answer) => {
                let back = tap.back;
                let call = self.0.get_mut(&back)?.calls.remove(&id)?;
                Some(Said::Answer(call, answer))
            }
            Frame::Peer(_, PeerMessage::Heartbeat { epoch, .. }) => Some(Said::Epoch(epoch)),
            Frame::PeerReply(_, PeerReply::Health(health)) => Some(Said::Epoch(health.epoch)),
            Frame::Hello(..)
            | Frame::Welcome(_)
            | Frame::Refusal(_)
            | Frame::Peer(..)
            | Frame::PeerReply(..)
            | Frame::Epoch(..)
            | Frame::Ping
            | Frame::Pong => None,
        }
    }
}

/// Bytes that were said and not yet understood.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<BytesMut>>);

impl AsyncRead for Heard {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut heard = self.0.lock().expect("a buffer's lock");
        if heard.is_empty() {
            // Whoever writes more asks again.
            return Poll::Pending;
        }
        let length = out.remaining().min(heard.len());
        out.put_slice(&heard[..length]);
        heard.advance(length);
        Poll::Ready(Ok(()))
    }
}
