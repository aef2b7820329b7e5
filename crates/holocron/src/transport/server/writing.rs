//! The writing side of a connection: answers, replies and newer views, in as few writes as possible.

use std::{io, sync::Arc};

use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, mpsc},
};

use super::{Newest, connection::Writes};
use crate::{
    api::call::{Answer, Outcome},
    transport::{
        frame::{self, Frame},
        peer::PeerReply,
    },
};

/// Answers written in one piece, at most.
const ANSWERS_AT_ONCE: usize = 1024;
/// Bytes collected before they are written.
pub(super) const BUFFER_LEN: usize = 64 << 10;

/// What a connection's writer needs.
pub(super) struct Writing {
    pub(super) newest: Arc<Newest>,
    pub(super) calls: Arc<Semaphore>,
    pub(super) answers: mpsc::UnboundedReceiver<(u64, Answer)>,
    pub(super) notices: mpsc::Receiver<Frame>,
    pub(super) buffer: Vec<u8>,
}

impl Writing {
    /// Writes until all senders are gone.
    pub(super) async fn run(mut self, mut writes: Writes) -> io::Result<()> {
        let newest = Arc::clone(&self.newest);
        let mut changed = Box::pin(newest.changed());
        let mut batch = Vec::new();
        let mut open = true;
        self.push_newest();
        while open {
            let mut answers = 0;
            if self.buffer.is_empty() {
                tokio::select! {
                    biased;
                    () = &mut changed => {
                        // Registered before the read, so that a change in between is not missed.
                        changed.set(newest.changed());
                        self.push_newest();
                    }
                    Some(frame) = self.notices.recv() => self.put(&frame),
                    taken = self.answers.recv_many(&mut batch, ANSWERS_AT_ONCE) => {
                        open = taken > 0;
                        answers = taken;
                        batch.drain(..).for_each(|(id, answer)| self.put_answer(id, &answer));
                    }
                }
                // Answers that are ready now join the same write.
                tokio::task::yield_now().await;
            }
            answers += self.gather();
            writes.write_all(&self.buffer).await?;
            writes.flush().await?;
            self.calls.add_permits(answers);
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_LEN);
        }
        writes.shutdown().await
    }

    /// Takes the frames that are ready, up to about [`BUFFER_LEN`]; returns how many are answers.
    fn gather(&mut self) -> usize {
        let mut answers = 0;
        while self.buffer.len() < BUFFER_LEN {
            if let Ok(frame) = self.notices.try_recv() {
                self.put(&frame);
            } else if let Ok((id, answer)) = self.answers.try_recv() {
                self.put_answer(id, &answer);
                answers += 1;
            } else {
                break;
            }
        }
        answers
    }

    fn push_newest(&mut self) {
        if let Some(view) = self.newest.get() {
            self.put(&Frame::Epoch(view.record.epoch, view.stored));
        }
    }

    fn put_answer(&mut self, id: u64, answer: &Answer) {
        if let Err(error) = frame::put_answer(&mut self.buffer, id, answer) {
            // It did run, so a refusal would be false.
            tracing::warn!(id, %error, "reply doesn't fit into a frame; its caller gets Unclear");
            let unclear = Answer { outcome: Outcome::Unclear, ..answer.clone() };
            frame::put_answer(&mut self.buffer, id, &unclear).expect("small");
        }
    }

    fn put(&mut self, frame: &Frame) {
        if let Err(error) = frame::put(&mut self.buffer, frame) {
            tracing::warn!(%error, "frame is too large; not sent");
            if let Frame::PeerReply(id, _) = frame {
                let refused = Frame::PeerReply(
                    *id,
                    PeerReply::Refused("the reply doesn't fit into a frame".into()),
                );
                frame::put(&mut self.buffer, &refused).expect("small");
            }
        }
    }
}
