//! A link: one connection to a host, shared by all callers in this process.
//!
//! Calls are appended to a buffer under a short lock. One task writes the whole buffer at once; another reads
//! answers, in any order, and passes each to its caller. So a thousand callers cost a few system calls, not
//! thousands.
//!
//! A host that stopped answering without closing the connection (a partition, a paused process) is noticed by pings:
//! while a request is in flight, silence is bounded by [`SILENCE_MAX`].
//!
//! Invariants:
//!
//! * A call that [`Room::call`] accepted is sent at most once. If the link is lost before the answer, the caller's
//!   receiver closes: the call may have run, or not.
//! * A refused call was not and will not be sent.
//! * Unanswered calls, abandoned ones included, never exceed the host's limit, so no ping waits behind them.

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

/// How long connecting and the handshake may take.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a ping may be unanswered before the link is closed.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Unwritten bytes above which callers wait. The call that exceeds it is still accepted.
const OUTGOING_LEN_MAX: usize = 16 << 20;
/// A write buffer that grew beyond this, in bytes, is freed after the write.
const BUFFER_CAPACITY_MAX: usize = 256 << 10;

/// Why a call wasn't sent. It has not run and will not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotSent {
    /// The link was lost.
    #[error("the connection was lost")]
    Lost,
    /// The call is larger than a frame.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// The link was lost before the reply came. The host may have acted on the message, or not.
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
    /// Bytes in the outgoing buffer, readable without its lock.
    backlog: AtomicUsize,
    /// The outgoing buffer has bytes to write.
    outgoing_ready: Notify,
    /// The outgoing buffer was taken.
    taken: Notify,
    calls: Semaphore,
    messages: Semaphore,
    /// Ends both tasks.
    end: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Callers by the id that they wait for. An abandoned call stays until its answer comes, because the host still
    /// works on it.
    waiting: BTreeMap<u64, Waiting>,
    last_id: u64,
    outgoing: Vec<u8>,
    /// Bytes ever appended to `outgoing`.
    sent: u64,
    /// Callers that wait for the next pong.
    probes: Vec<oneshot::Sender<()>>,
    lost: bool,
}

enum Waiting {
    Call(oneshot::Sender<Answer>),
    Message(oneshot::Sender<PeerReply>),
}

impl Link {
    /// Connects, sends a hello, and waits for the host's welcome.
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
            outgoing_ready: Notify::new(),
            taken: Notify::new(),
            end: CancellationToken::new(),
        });
        tokio::spawn(write(Arc::clone(&shared), opened.writes));
        tokio::spawn(Reading { shared: Arc::clone(&shared), pushed }.run(opened.reader));
        Ok(Self { shared, epochs })
    }

    /// The host's welcome: its cluster and limits.
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

    /// Sends a message and waits for the reply, until the link is lost. Dropping the future gives up waiting.
    ///
    /// # Errors
    ///
    /// [`LinkLost`]; also for a message too large to send, which is logged.
    pub async fn message(&self, message: PeerMessage) -> Result<PeerReply, LinkLost> {
        let permit = self.shared.messages.acquire().await.map_err(|_closed| LinkLost)?;
        self.shared.drained().await;
        let (sender, receiver) = oneshot::channel();
        let version = self.shared.welcome.version;
        let queued = self.shared.queue(Waiting::Message(sender), |out, id| {
            frame::put_message(out, id, &message, version)
        });
        if let Err(error) = queued {
            tracing::debug!(address = self.shared.address, %error, "message not sent");
            return Err(LinkLost);
        }
        permit.forget();
        receiver.await.map_err(|_closed| LinkLost)
    }

    /// Sends a ping and waits for the pong. Dropping the future gives up waiting.
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
            // Removes callers that gave up, so that they do not accumulate at a host that never answers.
            state.probes.retain(|probe| !probe.is_closed());
            state.probes.push(sender);
        }
        self.shared.ping();
        receiver.await.map_err(|_closed| LinkLost)
    }

    /// The newest epoch record that this host pushed (its number, and its bytes in the store), and every newer one;
    /// epoch zero before the first. Closes with the link.
    #[must_use]
    pub fn epochs(&self) -> watch::Receiver<(Epoch, Bytes)> {
        self.epochs.clone()
    }

    /// Whether the link is known to be lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.end.is_cancelled()
    }

    /// Waits until the link is lost.
    pub async fn lost(&self) {
        self.shared.end.cancelled().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.lose("closed by this process");
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
        // The permit comes back with the answer.
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
        // No code under this lock panics in the middle of a change, so a poisoned state is still consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the outgoing buffer has room.
    async fn drained(&self) {
        while self.backlog.load(Ordering::Acquire) >= OUTGOING_LEN_MAX {
            // Registered before the second check, so that a buffer taken in between is not missed.
            let taken = self.taken.notified();
            if self.backlog.load(Ordering::Acquire) >= OUTGOING_LEN_MAX {
                taken.await;
            }
        }
    }

    /// Appends a frame and registers the caller that waits for its id.
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
            self.outgoing_ready.notify_one();
        }
        Ok(())
    }

    fn ponged(&self) {
        let probes = core::mem::take(&mut self.state().probes);
        for probe in probes {
            // A caller that gave up needs no answer.
            let _gone = probe.send(());
        }
    }

    fn ping(&self) {
        let mut state = self.state();
        frame::put(&mut state.outgoing, &Frame::Ping).expect("a ping fits into a frame");
        drop(state);
        self.outgoing_ready.notify_one();
    }

    /// Ends the link: both tasks stop, and the requests in flight fail.
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
        // Closes the receivers of the callers, in the order of their requests.
        drop(waiting);
    }
}

/// Writes the outgoing buffer, each time all of it at once, until the link ends.
async fn write(shared: Arc<Shared>, mut writes: impl AsyncWrite + Unpin) {
    let mut buffer = Vec::new();
    loop {
        if buffer.capacity() > BUFFER_CAPACITY_MAX {
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
                shared.outgoing_ready.notified().await;
                // Callers that are ready to send now join the same write.
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
