//! The reading side of a link: passes answers to their callers, and notices a host that is silent.

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

/// How often a link checks for silence; a ping is sent after this much silence while a request is in flight.
const PING_AFTER: Duration = Duration::from_millis(250);
/// After this many silent checks without a request in flight, a ping keeps the connection alive: 10 seconds.
const IDLE_CHECKS_MAX: u32 = 40;
/// The lowest speed of a connection that is not given up, in bytes a second: the bytes sent since the host was last
/// heard extend [`SILENCE_MAX`] by the time they take at this speed.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

pub(super) struct Reading {
    pub(super) shared: Arc<Shared>,
    pub(super) pushed: watch::Sender<(Epoch, Bytes)>,
}

impl Reading {
    /// Passes answers to their callers and checks for silence, until the link ends.
    pub(super) async fn run<R: AsyncRead + Unpin>(self, mut reader: FrameReader<R>) {
        let mut silence = Silence::default();
        let mut checks = interval(PING_AFTER);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = self.shared.end.clone();
        // More frames may have arrived with the welcome.
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
                now = checks.tick() => self.check_silence(&mut silence, now),
            };
        }
        if let Err(why) = step {
            self.shared.lose(&why);
        }
    }

    /// Handles every frame that has arrived.
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
                    tracing::warn!(
                        address = self.shared.address,
                        ?kind,
                        id,
                        why,
                        "frame can't be read; its caller gets no answer"
                    );
                    self.fail(kind, id);
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
                // A caller that gave up needs no answer.
                Waiting::Call(sender) => drop(sender.send(answer)),
                Waiting::Message(_) => {
                    tracing::warn!(
                        address = self.shared.address,
                        "answer to a call has the id of a message; ignored"
                    );
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

    /// Handles an unreadable answer: its caller's receiver closes, as if the link were lost.
    fn fail(&self, kind: Kind, id: u64) {
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

    fn check_silence(&self, silence: &mut Silence, now: Instant) -> Result<(), String> {
        let (in_flight, sent) = {
            let state = self.shared.state();
            (!state.waiting.is_empty() || !state.probes.is_empty(), state.sent)
        };
        match silence.check(now, in_flight, sent) {
            Verdict::Fine => Ok(()),
            Verdict::Ping => {
                self.shared.ping();
                Ok(())
            }
            Verdict::Gone => Err("the host no longer answers pings".into()),
        }
    }
}

/// How long the host has been silent, updated by each check.
#[derive(Default)]
struct Silence {
    /// Whether bytes came in since the last check.
    heard: bool,
    /// Checks since bytes last came in.
    checks: u32,
    /// Bytes sent up to the last check that found new bytes.
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
    fn check(&mut self, now: Instant, in_flight: bool, sent: u64) -> Verdict {
        if self.heard {
            *self = Self { sent, ..Self::default() };
            return Verdict::Fine;
        }
        self.checks += 1;
        let Some(pinged) = self.pinged else {
            if !in_flight && self.checks < IDLE_CHECKS_MAX {
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
