//! Decodes the traffic between hosts and clients, frame by frame, when it is written.

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

/// All connections, by the numbers of their pipes.
#[derive(Debug, Default)]
pub(super) struct Connections {
    taps: BTreeMap<u64, Tap>,
    /// Every request sent before the store was lost.
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
    /// Calls in this direction without an answer yet.
    calls: BTreeMap<u64, (Call, Came)>,
}

/// Whether a call's request was first sent before or after the loss of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// Before the loss.
    BeforeLoss,
    /// After the loss.
    AfterLoss,
}

/// A message to check.
#[derive(Debug)]
pub(super) enum Said {
    /// An answer to a call.
    Answer(Call, Answer, Came),
    /// The sender knows this epoch.
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

    /// A direction has ended.
    pub(super) fn closed(&mut self, pipe: u64) {
        self.taps.remove(&pipe);
    }

    /// The store is lost: from now on, the first sending of a request matters.
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
        // A retried command may get an answer that was recorded before the loss.
        let known = call.mode == Mode::Command && self.requests.contains(&call.request.id);
        if known { Came::BeforeLoss } else { Came::AfterLoss }
    }

    /// Bytes were written. Returns the messages of all complete frames.
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
                // These aren't frames: the sender is neither host nor client.
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

/// Bytes that are not decoded yet.
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
            // The next write polls again.
            return Poll::Pending;
        }
        let length = out.remaining().min(heard.len());
        out.put_slice(&heard[..length]);
        heard.advance(length);
        Poll::Ready(Ok(()))
    }
}
