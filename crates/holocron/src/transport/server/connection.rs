//! One connection of a server.

use core::time::Duration;
use std::{io, sync::Arc};

use holocron_protocol::ids::{CommitNumber, Epoch};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Host, STOP_GRACE,
    writing::{BUFFER_LEN, Writing},
};
use crate::{
    api::call::{Answer, Call, Outcome, ReplyTo},
    transport::{
        audit::{self, Origin},
        frame::{self, Broken, Frame, FrameReader, Kind, Received, Refusal, Versions, Welcome},
        net::{Arrival, Stream},
        peer::{PeerMessage, PeerReply},
        permit,
    },
};

/// How long the first frame of a connection may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last bytes of a connection may take to be written.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a connection is checked for silence. It is closed after at most two intervals without bytes: a live peer
/// pings much more often.
const SILENCE_CHECK: Duration = Duration::from_secs(30);
/// Frames other than answers that may wait to be written; when there are more, their senders wait.
const NOTICES_LEN_MAX: usize = 16;

type Reads = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writes = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection after the handshake.
pub(super) struct Connection {
    reader: FrameReader<Reads>,
    writes: Writes,
    /// What it calls itself.
    who: String,
    origin: Origin,
}

/// Why a connection isn't served.
pub(super) enum NotServed {
    /// It was closed before its hello or before our welcome: by a client that ended, or a health check.
    HungUp,
    /// It is refused, and why.
    TurnedAway(String),
}

impl NotServed {
    /// Because it couldn't be opened.
    #[expect(clippy::needless_pass_by_value, reason = "what `map_err` passes")]
    fn unopened(error: io::Error) -> Self {
        // Closed in the middle of a handshake, as by a process that ends or a health check.
        if frame::is_hang_up(&error) || error.kind() == io::ErrorKind::UnexpectedEof {
            Self::HungUp
        } else {
            Self::TurnedAway(error.to_string())
        }
    }
}

impl From<&str> for NotServed {
    fn from(why: &str) -> Self {
        Self::TurnedAway(why.to_owned())
    }
}

impl Connection {
    /// Opens it, reads the first frame and answers it. A refused opener is told why.
    pub(super) async fn handshake(host: &Host, arrival: Arrival) -> Result<Self, NotServed> {
        let from = arrival.from.clone();
        let opened = tokio::select! {
            biased;
            () = host.stop.cancelled() => return Err("stopping".into()),
            opened = arrival.open() => opened,
        };
        let (Stream { reads, mut writes }, identity) = opened.map_err(NotServed::unopened)?;
        let mut reader = FrameReader::new(reads);
        let first = tokio::select! {
            biased;
            () = host.stop.cancelled() => return Err("stopping".into()),
            first = timeout(HELLO_TIMEOUT, reader.next()) => first,
        };
        let (answer, accepted) = match first {
            Ok(Ok(Some(Received::Frame(Frame::Hello(theirs, hello))))) => {
                match judge(host, theirs, hello) {
                    Ok((welcome, who)) => {
                        let version = welcome.version;
                        (Frame::Welcome(welcome), Ok((who, version)))
                    }
                    Err(why) => {
                        let newest = Versions::spoken().newest;
                        (Frame::Refusal(Refusal { why: why.clone(), newest }), Err(why))
                    }
                }
            }
            // Not answered: a peer that sends no hello can't read our frames either.
            Ok(Ok(Some(_))) => return Err("its first frame is not a hello".into()),
            Ok(Ok(None)) => return Err(NotServed::HungUp),
            Ok(Err(broken)) if broken.is_hang_up() && !reader.is_inside_frame() => {
                return Err(NotServed::HungUp);
            }
            Ok(Err(_)) if reader.is_tls() => {
                return Err("it speaks TLS, and this host runs without TLS".into());
            }
            Ok(Err(broken)) => return Err(NotServed::TurnedAway(broken.to_string())),
            Err(_elapsed) => return Err("it sent no hello in time".into()),
        };
        let mut out = Vec::new();
        frame::put(&mut out, &answer).expect("a welcome and a refusal fit into a frame");
        let written = timeout(HELLO_TIMEOUT, async {
            writes.write_all(&out).await?;
            writes.flush().await
        });
        let written = written.await;
        // A refusal is returned whether or not the peer received it.
        let (who, version) = accepted.map_err(NotServed::TurnedAway)?;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) if frame::is_hang_up(&error) => return Err(NotServed::HungUp),
            Ok(Err(error)) => return Err(NotServed::TurnedAway(error.to_string())),
            Err(_elapsed) => return Err("it did not take the welcome in time".into()),
        }
        reader.speak(version);
        Ok(Self { reader, writes, who, origin: Origin { from, identity } })
    }

    /// Serves it until it ends.
    pub(super) async fn run(self, host: &Arc<Host>) {
        let (who, origin) = (self.who, Arc::new(self.origin));
        let from = origin.from.as_str();
        tracing::debug!(from, who, identity = %origin.identity, "connection opens");
        let calls = Arc::new(Semaphore::new(host.limits.calls_max as usize));
        let (answers, outgoing) = mpsc::unbounded_channel();
        let (notices, noticed) = mpsc::channel(NOTICES_LEN_MAX);
        let writing = Writing {
            newest: Arc::clone(&host.newest),
            calls: Arc::clone(&calls),
            answers: outgoing,
            notices: noticed,
            buffer: Vec::with_capacity(BUFFER_LEN),
        };
        let messages = Arc::new(Semaphore::new(host.limits.messages_max as usize));
        let origin = Arc::clone(&origin);
        let reading = Reading { host, calls, messages, answers, notices, origin, told: false };
        let in_flight = Arc::clone(&reading.calls);
        let mut writer = tokio::spawn(writing.run(self.writes));
        tokio::select! {
            biased;
            written = &mut writer => tracing::debug!(from, who, ?written, "connection ends"),
            read = reading.run(self.reader) => match read {
                Ok(()) => tracing::debug!(from, who, "connection ends"),
                Err(broken) if broken.is_hang_up() => {
                    tracing::debug!(from, who, %broken, "connection ends");
                }
                Err(broken) => tracing::warn!(from, who, %broken, "connection closed"),
            },
            in_time = answered(host, &in_flight) => if !in_time {
                tracing::warn!(from, who, "server stopped; connection closed before its last answers");
            }
        }
        // The reader has ended: a writer with nothing left to write ends by itself.
        if !writer.is_finished() && timeout(LAST_WRITE_TIMEOUT, &mut writer).await.is_err() {
            writer.abort();
        }
    }
}

/// After the server has stopped, waits until every accepted call is answered; false if that takes longer than
/// [`STOP_GRACE`].
async fn answered(host: &Host, in_flight: &Semaphore) -> bool {
    host.stop.cancelled().await;
    timeout(STOP_GRACE, in_flight.acquire_many(host.limits.calls_max)).await.is_ok()
}

/// Accepts the opener, or says why it is refused.
fn judge(
    host: &Host,
    theirs: Versions,
    hello: Option<frame::Hello>,
) -> Result<(Welcome, String), String> {
    let ours = Versions::spoken();
    let (Some(version), Some(hello)) = (ours.shared_with(theirs), hello) else {
        return Err(format!(
            "it speaks {theirs} of the transport and this host {ours}: upgrade release by release"
        ));
    };
    let cluster = host.serve.cluster();
    if let Some(meant) = hello.cluster
        && meant != cluster
    {
        return Err(format!("it looks for cluster {meant}; this host belongs to {cluster}"));
    }
    let limits = host.limits;
    let welcome = Welcome {
        cluster,
        calls_max: limits.calls_max,
        messages_max: limits.messages_max,
        version,
    };
    Ok((welcome, hello.who))
}

struct Reading<'a> {
    host: &'a Host,
    calls: Arc<Semaphore>,
    messages: Arc<Semaphore>,
    answers: mpsc::UnboundedSender<(u64, Answer)>,
    notices: mpsc::Sender<Frame>,
    origin: Arc<Origin>,
    /// Whether a message without the needed role was logged.
    told: bool,
}

impl Reading<'_> {
    /// Reads until the peer closes the connection or goes silent.
    async fn run(mut self, mut reader: FrameReader<Reads>) -> Result<(), Broken> {
        let mut checks = interval(SILENCE_CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        loop {
            while let Some(received) = reader.buffered()? {
                self.take(received).await;
            }
            tokio::select! {
                biased;
                filled = reader.fill() => {
                    heard = true;
                    if !filled? {
                        return Ok(());
                    }
                }
                _ = checks.tick() => if !core::mem::replace(&mut heard, false) {
                    return Ok(());
                },
            }
        }
    }

    /// Handles one frame; waits while too many calls are in flight.
    async fn take(&mut self, received: Received) {
        match received {
            Received::Frame(Frame::Call(id, call)) => self.call(id, call).await,
            Received::Frame(Frame::Peer(id, message)) => self.message(id, message).await,
            Received::Frame(Frame::Ping) => self.notice(Frame::Pong).await,
            Received::Unusable { kind: Kind::Call, id, why } => self.undecodable(id, why).await,
            Received::Unusable { kind: Kind::Peer, id, why } => {
                self.notice(Frame::PeerReply(id, PeerReply::Refused(why))).await;
            }
            // No caller waits for an answer to any other frame.
            other @ (Received::Frame(_) | Received::Unusable { .. }) => {
                tracing::debug!(?other, "frame ignored");
            }
        }
    }

    async fn call(&mut self, id: u64, call: Call) {
        if let Err(why) = permit::check_call(&self.origin.identity, call.mode) {
            self.tell(&why);
            return self.notice(Frame::Answer(id, refusal(Outcome::Rejected(why)))).await;
        }
        if self.host.stop.is_cancelled() {
            return self.notice(Frame::Answer(id, refusal(Outcome::NotOwner))).await;
        }
        let reply = self.reply_to(id, &call);
        let permit = self.calls.acquire().await.expect("never closed");
        // The permit comes back when the answer is written.
        permit.forget();
        self.host.serve.call(call, reply);
    }

    /// Where the answer goes; that of an admin action also goes into the audit.
    fn reply_to(&self, id: u64, call: &Call) -> ReplyTo {
        let answers = self.answers.clone();
        let Some(action) = audit::of_call(call) else { return ReplyTo::link(id, answers) };
        let origin = Arc::clone(&self.origin);
        ReplyTo::then(move |answer| {
            origin.note(&action, audit::outcome_of_call(&answer.outcome));
            // A caller that has gone needs no answer.
            drop(answers.send((id, answer)));
        })
    }

    async fn undecodable(&self, id: u64, why: String) {
        let reply = ReplyTo::link(id, self.answers.clone());
        self.calls.acquire().await.expect("never closed").forget();
        reply.send(refusal(Outcome::Undecodable(why)));
    }

    /// Handles a message in its own task, because it may take a while.
    async fn message(&mut self, id: u64, message: PeerMessage) {
        let action = audit::of_message(&message);
        if let Err(why) = permit::check(&self.origin.identity, &message) {
            return self.refuse(id, action, why).await;
        }
        let Ok(permit) = Arc::clone(&self.messages).try_acquire_owned() else {
            let refused = PeerReply::Refused("too many messages are in flight".into());
            return self.notice(Frame::PeerReply(id, refused)).await;
        };
        let (serve, notices) = (Arc::clone(&self.host.serve), self.notices.clone());
        let origin = Arc::clone(&self.origin);
        tokio::spawn(async move {
            let reply = serve.peer(message).await;
            if let Some(action) = action {
                origin.note(&action, &audit::outcome_of(&reply));
            }
            // A connection that ended meanwhile needs no reply.
            drop(notices.send(Frame::PeerReply(id, reply)).await);
            drop(permit);
        });
    }

    /// Refuses a message that needs another role.
    async fn refuse(&mut self, id: u64, action: Option<String>, why: String) {
        let first = self.tell(&why);
        if let Some(action) = action.filter(|_| first) {
            self.origin.note(&action, &format!("refused: {why}"));
        }
        self.notice(Frame::PeerReply(id, PeerReply::Refused(why))).await;
    }

    /// Logs the first refusal: a peer that repeats it must not fill the log. Returns whether it is the first.
    fn tell(&mut self, why: &str) -> bool {
        if core::mem::replace(&mut self.told, true) {
            return false;
        }
        let Origin { from, identity } = &*self.origin;
        tracing::warn!(from, %identity, why, "message refused; logged once per connection");
        true
    }

    async fn notice(&self, frame: Frame) {
        // The writer ends only with the connection.
        drop(self.notices.send(frame).await);
    }
}

fn refusal(outcome: Outcome) -> Answer {
    Answer { epoch: Epoch::ZERO, commit: CommitNumber::ZERO, outcome }
}
