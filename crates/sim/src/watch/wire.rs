//! Listening in: what hosts and clients say to each other, frame by frame, at the moment it is written.

use core::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use bytes::{Buf, BytesMut};
use holocron::{
    Answer, Call, Mode, PeerMessage, PeerReply,
    frame::{Frame, FrameReader, Received},
};
use holocron_protocol::{ids::Epoch, request::window::RequestId};
use tokio::io::{AsyncRead, ReadBuf};

/// All connections that are listened to, by the number of each direction's pipe.
#[derive(Debug, Default)]
pub(super) struct Connections {
    taps: BTreeMap<u64, Tap>,
    /// Every request that was sent while the store was there.
    requests: BTreeSet<RequestId>,
    store_is_lost: bool,
}

/// One direction of a connection.
#[derive(Debug)]
struct Tap {
    /// The other direction.
    back: u64,
    reads: FrameReader<Heard>,
    heard: Heard,
    /// Calls said here that weren't answered yet.
    calls: BTreeMap<u64, (Call, Came)>,
}

/// When a call's request was first sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// While the store was there.
    BeforeLoss,
    /// When it was lost already.
    AfterLoss,
}

/// Something said that is worth a check.
#[derive(Debug)]
pub(super) enum Said {
    /// An answer to a call.
    Answer(Call, Answer, Came),
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
            self.taps.insert(pipe, Tap { back, reads, heard, calls: BTreeMap::new() });
        }
    }

    /// Nothing more is said there.
    pub(super) fn closed(&mut self, pipe: u64) {
        self.taps.remove(&pipe);
    }

    /// The store is lost: from now on it matters when a request was first sent.
    pub(super) fn lost(&mut self) {
        self.store_is_lost = true;
    }

    fn came(&mut self, call: &Call) -> Came {
        if !self.store_is_lost {
            if call.mode == Mode::Command {
                self.requests.insert(call.request.id);
            }
            return Came::BeforeLoss;
        }
        // A command that is sent again may get the answer that was recorded then.
        let known = call.mode == Mode::Command && self.requests.contains(&call.request.id);
        if known { Came::BeforeLoss } else { Came::AfterLoss }
    }

    /// Bytes were written. What they say as far as frames are complete.
    pub(super) fn wrote(&mut self, pipe: u64, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        let Some(tap) = self.taps.get_mut(&pipe) else { return said };
        tap.heard.0.lock().expect("a buffer's lock").extend_from_slice(bytes);
        loop {
            let Some(tap) = self.taps.get_mut(&pipe) else { return said };
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
        match frame {
            Frame::Call(id, call) => {
                let came = self.came(&call);
                self.taps.get_mut(&pipe)?.calls.insert(id, (call, came));
                None
            }
            Frame::Answer(id, answer) => {
                let back = self.taps.get(&pipe)?.back;
                let (call, came) = self.taps.get_mut(&back)?.calls.remove(&id)?;
                Some(Said::Answer(call, answer, came))
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
