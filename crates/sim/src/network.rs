//! A simulated network: connections with latency, one-way partitions, resets when a process crashes.
//!
//! Bytes are delivered by the world's tick, so the order of delivery depends only on the seed. A partition holds bytes
//! back as a real one does: the connection stays open and silent, and continues when the partition heals.

mod listener;

use core::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use holocron::net::{Listener, Network, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};

use self::listener::SimListener;
use crate::{chance::Chance, trace::Trace, watch::Watch};

/// The usual time of a message from one node to another.
const LATENCY: Duration = Duration::from_millis(1);
/// How long a killed process takes to disappear: its connections break first; new connections are still accepted
/// meanwhile, and then reset. Observed on Linux after SIGKILL; an immediate reconnect is often that early.
const GOING: Duration = Duration::from_millis(5);
/// Bytes in flight in one direction of a connection before its writer must wait.
const PIPE_LEN_MAX: usize = 4 << 20;

/// The network between all nodes.
#[derive(Clone, Debug)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: Duration,
    chance: Chance,
    trace: Trace,
    watch: Watch,
    listeners: BTreeMap<String, Listening>,
    /// Nodes whose process is disappearing, and when it is gone.
    going: BTreeMap<String, Duration>,
    pipes: BTreeMap<u64, Pipe>,
    /// The pipes with bytes in flight.
    busy: BTreeSet<u64>,
    next_pipe: u64,
    next_port: u16,
    /// Partitions: from which node to which.
    cut: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Listening {
    node: String,
    arrivals: mpsc::UnboundedSender<(u64, u64, String)>,
}

/// One direction of a connection.
#[derive(Debug)]
struct Pipe {
    from: String,
    to: String,
    /// Bytes in flight, each with its earliest arrival; an empty chunk is the end of the stream.
    under_way: VecDeque<(Duration, Vec<u8>)>,
    under_way_len: usize,
    arrived: VecDeque<u8>,
    ended: bool,
    /// The other process crashed.
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Wire {
    pub(crate) fn new(chance: Chance, trace: Trace, watch: Watch) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            chance,
            trace,
            watch,
            listeners: BTreeMap::new(),
            going: BTreeMap::new(),
            pipes: BTreeMap::new(),
            busy: BTreeSet::new(),
            next_pipe: 0,
            next_port: 1_000,
            cut: BTreeSet::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under the network's lock")
    }

    pub(crate) fn of(&self, node: &str) -> SimNetwork {
        SimNetwork { wire: self.clone(), node: node.to_owned() }
    }

    /// Partitions two nodes in one direction.
    pub fn cut(&self, from: &str, to: &str) {
        let mut state = self.state();
        state.trace.note(format_args!("cut {from} -> {to}"));
        state.cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Heals a partition in one direction.
    pub fn mend(&self, from: &str, to: &str) {
        let mut state = self.state();
        if state.cut.remove(&(from.to_owned(), to.to_owned())) {
            state.trace.note(format_args!("mended {from} -> {to}"));
        }
    }

    /// Resets the connections between two nodes: bytes in flight are lost, and both ends get an error. Returns whether
    /// there was a connection.
    pub fn reset(&self, one: &str, other: &str) -> bool {
        let mut state = self.state();
        state.trace.note(format_args!("reset {one} - {other}"));
        let between = |pipe: &Pipe| {
            (pipe.from == one && pipe.to == other) || (pipe.from == other && pipe.to == one)
        };
        let before = state.pipes.len();
        for pipe in state.pipes.values_mut().filter(|pipe| between(pipe)) {
            pipe.wake();
        }
        state.pipes.retain(|_, pipe| !between(pipe));
        state.pipes.len() < before
    }

    /// Heals all partitions.
    pub fn heal(&self) {
        let mut state = self.state();
        if !state.cut.is_empty() {
            state.trace.note(format_args!("network heals"));
            state.cut.clear();
        }
    }

    /// A process starts to disappear: its listeners seem to accept connections, but don't.
    pub(crate) fn node_goes(&self, node: &str) {
        let mut state = self.state();
        let State { now, listeners, going, .. } = &mut *state;
        let its = listeners.extract_if(.., |_, listening| listening.node == node);
        going.retain(|_, gone_at| *gone_at > *now);
        going.extend(its.map(|(address, _)| (address, *now + GOING)));
    }

    /// A process is gone: its listeners are closed, and the other ends of its connections are reset.
    pub(crate) fn drop_node(&self, node: &str) {
        let mut state = self.state();
        let state = &mut *state;
        state.listeners.retain(|_, listening| listening.node != node);
        for (number, pipe) in &mut state.pipes {
            if pipe.from == node || pipe.to == node {
                pipe.reset = true;
                pipe.under_way.clear();
                pipe.wake();
                state.watch.closed(*number);
            }
        }
        state.pipes.retain(|_, pipe| pipe.from != node || pipe.to != node);
    }

    /// Delivers all bytes that are due.
    pub(crate) fn deliver(&self, now: Duration) {
        let mut state = self.state();
        let state = &mut *state;
        state.now = now;
        let (pipes, cut) = (&mut state.pipes, &state.cut);
        state.busy.retain(|id| {
            let Some(pipe) = pipes.get_mut(id) else { return false };
            if !cut.is_empty() && cut.contains(&(pipe.from.clone(), pipe.to.clone())) {
                return true;
            }
            let mut news = false;
            while let Some((_, chunk)) = pipe.under_way.pop_front_if(|(due, _)| *due <= now) {
                news = true;
                pipe.under_way_len -= chunk.len();
                pipe.ended |= chunk.is_empty();
                pipe.arrived.extend(chunk);
            }
            if news {
                pipe.wake();
            }
            !pipe.under_way.is_empty()
        });
    }
}

/// The network, for one node.
#[derive(Clone, Debug)]
pub struct SimNetwork {
    wire: Wire,
    node: String,
}

#[async_trait]
impl Network for SimNetwork {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let latency = {
            let state = self.wire.state();
            state.chance.between(LATENCY, LATENCY * 3)
        };
        tokio::time::sleep(latency).await;
        let target = address.split(':').next().unwrap_or(address).to_owned();
        loop {
            {
                let state = self.wire.state();
                let there = (self.node.clone(), target.clone());
                let back = (target.clone(), self.node.clone());
                if !state.cut.contains(&there) && !state.cut.contains(&back) {
                    break;
                }
            }
            // The first packet is lost and sent again, as long as the caller waits.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let mut state = self.wire.state();
        if state.going.get(address).is_some_and(|&gone_at| state.now < gone_at) {
            return Err(End::reset());
        }
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listening = state.listeners.get(address).ok_or_else(refused)?;
        let arrivals = listening.arrivals.clone();
        let to = listening.node.clone();
        let (there, back) = (state.pipe(&self.node, &to), state.pipe(&to, &self.node));
        state.watch.connected(there, back);
        arrivals.send((there, back, self.node.clone())).map_err(|_gone| refused())?;
        drop(state);
        Ok(Stream::new(
            End { wire: self.wire.clone(), pipe: back },
            End { wire: self.wire.clone(), pipe: there },
        ))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let mut state = self.wire.state();
        let address = match address.rsplit_once(':') {
            Some((_, "0")) | None => {
                state.next_port += 1;
                format!("{}:{}", self.node, state.next_port)
            }
            Some(_) => address.to_owned(),
        };
        let (arrivals, accepts) = mpsc::unbounded_channel();
        state.listeners.insert(address.clone(), Listening { node: self.node.clone(), arrivals });
        drop(state);
        Ok(Box::new(SimListener {
            wire: self.wire.clone(),
            address,
            accepts: tokio::sync::Mutex::new(accepts),
        }))
    }
}

impl State {
    fn pipe(&mut self, from: &str, to: &str) -> u64 {
        self.next_pipe += 1;
        let pipe = Pipe {
            from: from.to_owned(),
            to: to.to_owned(),
            under_way: VecDeque::new(),
            under_way_len: 0,
            arrived: VecDeque::new(),
            ended: false,
            reset: false,
            reader: None,
            writer: None,
        };
        self.pipes.insert(self.next_pipe, pipe);
        self.next_pipe
    }
}

/// One end of a pipe: the reader or the writer.
struct End {
    wire: Wire,
    pipe: u64,
}

impl End {
    fn reset() -> io::Error {
        io::Error::from(io::ErrorKind::ConnectionReset)
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.wire.state();
        let Some(pipe) = state.pipes.get_mut(&self.pipe) else {
            return Poll::Ready(Err(Self::reset()));
        };
        if pipe.reset {
            return Poll::Ready(Err(Self::reset()));
        }
        if pipe.arrived.is_empty() {
            if pipe.ended {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let take = out.remaining().min(pipe.arrived.len());
        let (front, back) = pipe.arrived.as_slices();
        let from_front = take.min(front.len());
        out.put_slice(&front[..from_front]);
        out.put_slice(&back[..take - from_front]);
        pipe.arrived.drain(..take);
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.wire.state();
        let State { now, chance, pipes, busy, watch, .. } = &mut *state;
        let Some(pipe) = pipes.get_mut(&self.pipe).filter(|pipe| !pipe.reset) else {
            return Poll::Ready(Err(Self::reset()));
        };
        if pipe.under_way_len + pipe.arrived.len() >= PIPE_LEN_MAX {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let due = *now + chance.latency(LATENCY);
        // Bytes of one connection keep their order.
        let due = pipe.under_way.back().map_or(due, |(last, _)| due.max(*last));
        pipe.under_way.push_back((due, bytes.to_vec()));
        pipe.under_way_len += bytes.len();
        busy.insert(self.pipe);
        watch.wrote(&pipe.from, self.pipe, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}

impl End {
    /// Ends the stream.
    fn finish(&self) {
        let mut state = self.wire.state();
        let State { now, pipes, busy, .. } = &mut *state;
        if let Some(pipe) = pipes.get_mut(&self.pipe) {
            let due = pipe.under_way.back().map_or(*now + LATENCY, |(last, _)| *last);
            pipe.under_way.push_back((due, Vec::new()));
            busy.insert(self.pipe);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // A dropped reader ends the pipe like a dropped writer.
        self.finish();
    }
}
