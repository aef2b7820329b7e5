//! A link: one connection to a host, shared by everybody in this process who asks that host something.
//!
//! Calls are appended to a buffer under a short lock; one task writes whatever has gathered, another reads answers and
//! hands each to its caller, in whatever order they come. So a thousand callers cost a few system calls, not thousands.
//!
//! A host that stopped answering without closing the connection (a partition, a paused process) is noticed by pings:
//! while anything waits, silence is bounded by [`SILENCE_MAX`].
//!
//! Invariants:
//!
//! * A call that [`Room::call`] took was handed to the connection at most once. If the link is lost before the answer,
//!   the caller's receiver closes: the call may have run, or not.
//! * A call that it refused was not and will not be sent.
//! * Calls unanswered never exceed what the host said it takes, given-up ones included, so no ping waits behind them.

mod open;
mod reading;

use core::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use holocron_protocol::ids::Epoch;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Notify, Semaphore, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

pub use self::open::OpenError;
use self::reading::Reading;
use crate::{
    api::call::{Answer, Call},
    transport::{
        frame::{self, Frame, Hello, TooLarge, Welcome},
        net::Network,
        peer::{PeerMessage, PeerReply},
    },
};

/// How long connecting and the first frames may take.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a host may leave a ping unanswered before the link is given up.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Bytes that may wait to be written before callers wait too. The last call over it still fits.
const OUTGOING_LEN_MAX: usize = 16 << 20;
/// A buffer grown beyond this, in bytes, is given back once it is written.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// Why a call wasn't sent. It has not run and will not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotSent {
    /// The link is gone.
    #[error("the connection is gone")]
    Lost,
    /// The call is larger than a frame.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// The link broke before the reply came. The message may have been acted on, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection was lost before the reply came")]
pub struct LinkLost;

/// An open connection to a host. Dropping it closes the connection.
pub struct Link {
    shared: Arc<Shared>,
    epochs: watch::Receiver<(Epoch, Bytes)>,
}

struct Shared {
    address: String,
    welcome: Welcome,
    state: Mutex<State>,
    /// Bytes in the outgoing buffer, to be looked at without its lock.
    backlog: AtomicUsize,
    /// Something is there to be written.
    written: Notify,
    /// The outgoing buffer was taken.
    taken: Notify,
    calls: Semaphore,
    messages: Semaphore,
    /// Ends both tasks.
    end: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Who waits for the answer of which id. Those who gave up stay until it comes, because the host still works on it.
    waiting: BTreeMap<u64, Waiting>,
    last_id: u64,
    outgoing: Vec<u8>,
    /// Bytes ever appended to `outgoing`.
    sent: u64,
    /// Who waits for the next pong.
    probes: Vec<oneshot::Sender<()>>,
    lost: bool,
}

enum Waiting {
    Call(oneshot::Sender<Answer>),
    Message(oneshot::Sender<PeerReply>),
}

impl Link {
    /// Connects, says hello, and waits for the host's welcome.
    ///
    /// # Errors
    ///
    /// [`OpenError`], within [`OPEN_TIMEOUT`].
    pub async fn open(
        network: &dyn Network,
        address: &str,
        hello: Hello,
    ) -> Result<Self, OpenError> {
        let opened = open::open(network, address, hello).await?;
        let welcome = opened.welcome;
        let (pushed, epochs) = watch::channel((Epoch::ZERO, Bytes::new()));
        let shared = Arc::new(Shared {
            address: address.into(),
            calls: Semaphore::new(welcome.calls_max as usize),
            messages: Semaphore::new(welcome.messages_max as usize),
            welcome,
            state: Mutex::default(),
            backlog: AtomicUsize::new(0),
            written: Notify::new(),
            taken: Notify::new(),
            end: CancellationToken::new(),
        });
        tokio::spawn(write(Arc::clone(&shared), opened.writes));
        tokio::spawn(Reading { shared: Arc::clone(&shared), pushed }.run(opened.reader));
        Ok(Self { shared, epochs })
    }

    /// What the host said of itself.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.shared.welcome
    }

    /// Waits until one more call may be in flight. Dropping the future is harmless.
    ///
    /// # Errors
    ///
    /// [`NotSent::Lost`].
    pub async fn room(&self) -> Result<Room<'_>, NotSent> {
        let permit = self.shared.calls.acquire().await.map_err(|_closed| NotSent::Lost)?;
        self.shared.drained().await;
        Ok(Room { shared: &self.shared, permit })
    }

    /// Sends a message and waits for the reply, for as long as the link lives. Dropping the future gives up waiting.
    ///
    /// # Errors
    ///
    /// [`LinkLost`]; also for a message too large to send, which is logged.
    pub async fn message(&self, message: PeerMessage) -> Result<PeerReply, LinkLost> {
        let permit = self.shared.messages.acquire().await.map_err(|_closed| LinkLost)?;
        self.shared.drained().await;
        let (sender, receiver) = oneshot::channel();
        let queued = self
            .shared
            .queue(Waiting::Message(sender), |out, id| frame::put(out, &Frame::Peer(id, message)));
        if let Err(error) = queued {
            tracing::debug!(address = self.shared.address, %error, "message not sent");
            return Err(LinkLost);
        }
        permit.forget();
        receiver.await.map_err(|_closed| LinkLost)
    }

    /// Asks whether the host is still there, and waits until it says so. Dropping the future gives up waiting.
    ///
    /// # Errors
    ///
    /// [`LinkLost`], soon after [`SILENCE_MAX`].
    pub async fn probe(&self) -> Result<(), LinkLost> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if state.lost {
                return Err(LinkLost);
            }
            // Those who gave up go now, so that a host which never answers doesn't let them pile up.
            state.probes.retain(|probe| !probe.is_closed());
            state.probes.push(sender);
        }
        self.shared.ping();
        receiver.await.map_err(|_closed| LinkLost)
    }

    /// The newest epoch record that this host pushed, its number and as it stands in the store, and every newer one; epoch
    /// zero before the first. Closes with the link.
    #[must_use]
    pub fn epochs(&self) -> watch::Receiver<(Epoch, Bytes)> {
        self.epochs.clone()
    }

    /// Whether it is known to be gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.end.is_cancelled()
    }

    /// Waits until it is gone.
    pub async fn lost(&self) {
        self.shared.end.cancelled().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.lose("closed here");
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

/// Room for one call on a link.
#[derive(Debug)]
pub struct Room<'a> {
    shared: &'a Shared,
    permit: tokio::sync::SemaphorePermit<'a>,
}

impl Room<'_> {
    /// Sends a call. The receiver gets the answer, or closes when the link is lost: then it may have run, or not.
    /// Dropping the receiver gives up waiting.
    ///
    /// # Errors
    ///
    /// [`NotSent`]: it has not run and will not.
    pub fn call(self, call: &Call) -> Result<oneshot::Receiver<Answer>, NotSent> {
        let (sender, receiver) = oneshot::channel();
        self.shared.queue(Waiting::Call(sender), |out, id| frame::put_call(out, id, call))?;
        // It comes back with the answer.
        self.permit.forget();
        Ok(receiver)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way, so a poisoned one is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the outgoing buffer isn't too full.
    async fn drained(&self) {
        while self.backlog.load(Ordering::Acquire) >= OUTGOING_LEN_MAX {
            // Made before looking again, so that a buffer taken in between isn't missed.
            let taken = self.taken.notified();
            if self.backlog.load(Ordering::Acquire) >= OUTGOING_LEN_MAX {
                taken.await;
            }
        }
    }

    /// Appends a frame and remembers who waits for its id.
    fn queue(
        &self,
        waiting: Waiting,
        put: impl FnOnce(&mut Vec<u8>, u64) -> Result<(), TooLarge>,
    ) -> Result<(), NotSent> {
        let mut state = self.state();
        if state.lost {
            return Err(NotSent::Lost);
        }
        let (before, id) = (state.outgoing.len(), state.last_id + 1);
        put(&mut state.outgoing, id)?;
        state.last_id = id;
        state.sent += (state.outgoing.len() - before) as u64;
        self.backlog.store(state.outgoing.len(), Ordering::Release);
        state.waiting.insert(id, waiting);
        drop(state);
        if before == 0 {
            self.written.notify_one();
        }
        Ok(())
    }

    fn ponged(&self) {
        let probes = core::mem::take(&mut self.state().probes);
        for probe in probes {
            // Who gave up needs no answer.
            let _gone = probe.send(());
        }
    }

    fn ping(&self) {
        let mut state = self.state();
        frame::put(&mut state.outgoing, &Frame::Ping).expect("a ping fits into a frame");
        drop(state);
        self.written.notify_one();
    }

    /// Ends the link: both tasks stop, and whoever waits hears of it.
    fn lose(&self, why: &str) {
        let waiting = {
            let mut state = self.state();
            if state.lost {
                return;
            }
            state.lost = true;
            state.outgoing = Vec::new();
            state.probes = Vec::new();
            core::mem::take(&mut state.waiting)
        };
        tracing::debug!(address = self.address, why, waiting = waiting.len(), "link ends");
        self.backlog.store(0, Ordering::Release);
        self.end.cancel();
        self.calls.close();
        self.messages.close();
        self.taken.notify_waiters();
        // Their receivers close, in the order they asked.
        drop(waiting);
    }
}

/// Writes whatever has gathered, in one piece, until the link ends.
async fn write(shared: Arc<Shared>, mut writes: impl AsyncWrite + Unpin) {
    let mut buffer = Vec::new();
    loop {
        if buffer.capacity() > BUFFER_KEPT_MAX {
            buffer = Vec::new();
        }
        buffer.clear();
        {
            let mut state = shared.state();
            core::mem::swap(&mut buffer, &mut state.outgoing);
            shared.backlog.store(0, Ordering::Release);
        }
        shared.taken.notify_waiters();
        let written = async {
            if buffer.is_empty() {
                shared.written.notified().await;
                // Whoever else is ready to ask now gets onto the same write.
                tokio::task::yield_now().await;
                return Ok(());
            }
            writes.write_all(&buffer).await?;
            writes.flush().await
        };
        tokio::select! {
            biased;
            () = shared.end.cancelled() => return,
            written = written => if let Err(error) = written {
                return shared.lose(&error.to_string());
            },
        }
    }
}

#[cfg(test)]
mod tests;
