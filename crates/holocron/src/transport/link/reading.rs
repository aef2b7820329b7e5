//! The reading side of a link: answers to their callers, and whether the host is still there.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::ids::Epoch;
use tokio::{
    io::AsyncRead,
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{SILENCE_MAX, Shared, Waiting};
use crate::{
    api::call::Answer,
    transport::{
        frame::{Broken, Frame, FrameReader, Kind, Received},
        peer::PeerReply,
    },
};

/// How often a link looks whether it should ping: after so much silence while something waits.
const PING_AFTER: Duration = Duration::from_millis(250);
/// After so many looks in silence with nothing waiting, a ping keeps the connection alive: 10 seconds.
const IDLE_LOOKS_MAX: u32 = 40;
/// The slowest connection that is still waited for, in bytes a second: what was sent since the host was last heard
/// extends [`SILENCE_MAX`] by the time it takes at this speed.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

pub(super) struct Reading {
    pub(super) shared: Arc<Shared>,
    pub(super) pushed: watch::Sender<(Epoch, Bytes)>,
}

impl Reading {
    /// Hands answers to their callers and watches for silence, until the link ends.
    pub(super) async fn run<R: AsyncRead + Unpin>(self, mut reader: FrameReader<R>) {
        let mut silence = Silence::default();
        let mut looks = interval(PING_AFTER);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = self.shared.end.clone();
        // The welcome may have brought more in its wake.
        let mut step = self.take(&mut reader);
        while let Ok(()) = step {
            step = tokio::select! {
                biased;
                () = end.cancelled() => return,
                filled = reader.fill() => match filled {
                    Ok(true) => {
                        silence.heard = true;
                        self.take(&mut reader)
                    }
                    Ok(false) => Err("closed by the host".into()),
                    Err(broken) => Err(broken.to_string()),
                },
                now = looks.tick() => self.look(&mut silence, now),
            };
        }
        if let Err(why) = step {
            self.shared.lose(&why);
        }
    }

    /// Takes every frame that has arrived.
    fn take<R: AsyncRead + Unpin>(&self, reader: &mut FrameReader<R>) -> Result<(), String> {
        let mut answers = Vec::new();
        let end = loop {
            match reader.buffered().map_err(Broken::from) {
                Ok(None) => break Ok(()),
                Ok(Some(Received::Frame(Frame::Answer(id, answer)))) => answers.push((id, answer)),
                Ok(Some(Received::Frame(Frame::PeerReply(id, reply)))) => {
                    self.reply(id, Some(reply));
                }
                Ok(Some(Received::Frame(Frame::Epoch(epoch, stored)))) => {
                    drop(self.pushed.send((epoch, stored)));
                }
                Ok(Some(Received::Frame(Frame::Pong))) => self.shared.ponged(),
                Ok(Some(Received::Unusable { kind, id, why })) => {
                    tracing::warn!(address = self.shared.address, ?kind, id, why, "unusable frame");
                    self.forget(kind, id);
                }
                Ok(Some(Received::Frame(other))) => {
                    break Err(format!("unexpected frame {other:?}"));
                }
                Err(broken) => break Err(broken.to_string()),
            }
        };
        self.answer(answers);
        end
    }

    fn answer(&self, answers: Vec<(u64, Answer)>) {
        if answers.is_empty() {
            return;
        }
        let mut state = self.shared.state();
        let found: Vec<_> = answers
            .into_iter()
            .filter_map(|(id, answer)| Some((state.waiting.remove(&id)?, answer)))
            .collect();
        drop(state);
        self.shared.calls.add_permits(found.len());
        for (waiting, answer) in found {
            match waiting {
                // Who gave up needs no answer.
                Waiting::Call(sender) => drop(sender.send(answer)),
                Waiting::Message(_) => {
                    tracing::warn!(address = self.shared.address, "a message got a call's answer");
                }
            }
        }
    }

    fn reply(&self, id: u64, reply: Option<PeerReply>) {
        let waiting = self.shared.state().waiting.remove(&id);
        if let Some(Waiting::Message(sender)) = waiting {
            self.shared.messages.add_permits(1);
            if let Some(reply) = reply {
                drop(sender.send(reply));
            }
        }
    }

    /// An answer that can't be read: its caller's receiver closes, as if the link were lost.
    fn forget(&self, kind: Kind, id: u64) {
        match kind {
            Kind::PeerReply => self.reply(id, None),
            Kind::Answer => {
                if self.shared.state().waiting.remove(&id).is_some() {
                    self.shared.calls.add_permits(1);
                }
            }
            Kind::Hello
            | Kind::Welcome
            | Kind::Refusal
            | Kind::Call
            | Kind::Peer
            | Kind::Epoch
            | Kind::Ping
            | Kind::Pong => {}
        }
    }

    fn look(&self, silence: &mut Silence, now: Instant) -> Result<(), String> {
        let (waits, sent) = {
            let state = self.shared.state();
            (!state.waiting.is_empty() || !state.probes.is_empty(), state.sent)
        };
        match silence.look(now, waits, sent) {
            Verdict::Fine => Ok(()),
            Verdict::Ping => {
                self.shared.ping();
                Ok(())
            }
            Verdict::Gone => Err("it no longer answers pings".into()),
        }
    }
}

/// How long the host has been silent, judged at each look.
#[derive(Default)]
struct Silence {
    /// Whether it was heard since the last look.
    heard: bool,
    /// Looks since it was last heard.
    looks: u32,
    /// Bytes sent up to the last look at which it had been heard.
    sent: u64,
    /// Since when a ping is unanswered.
    pinged: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Ping,
    Gone,
}

impl Silence {
    fn look(&mut self, now: Instant, waits: bool, sent: u64) -> Verdict {
        if self.heard {
            *self = Self { sent, ..Self::default() };
            return Verdict::Fine;
        }
        self.looks += 1;
        let Some(pinged) = self.pinged else {
            if !waits && self.looks < IDLE_LOOKS_MAX {
                return Verdict::Fine;
            }
            self.pinged = Some(now);
            return Verdict::Ping;
        };
        let transfer = Duration::from_secs((sent - self.sent) / BYTES_PER_SECOND_MIN);
        if now.duration_since(pinged) < SILENCE_MAX + transfer {
            return Verdict::Fine;
        }
        Verdict::Gone
    }
}
