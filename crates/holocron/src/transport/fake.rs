//! For tests of the transport and the client: fake hosts, a network in memory, and views.

use core::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use holocron_protocol::{
    epoch::{
        draft::Draft,
        record::{EpochRecord, HostEntry, HostState, Leader, RecordDigest, WEIGHT_DEFAULT},
    },
    format::cluster::Cluster,
    ids::{
        ClientId, ClusterId, CommitNumber, DomainId, Epoch, HostName, Nonce, RequestNumber,
        SessionId, Slot, VnodeName,
    },
    request::window::{Request, RequestId},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    api::call::{Answer, Call, Format, Mode, Outcome, ReplyTo},
    transport::{
        net::{Arrival, Listener, Network, Stream},
        peer::{PeerMessage, PeerReply},
        serve::{Serve, View},
        server::{self, Limits},
    },
};

pub(crate) const CLUSTER: ClusterId = ClusterId::new(7);
/// How long a test waits for an event before it fails.
pub(crate) const NEXT_MAX: Duration = Duration::from_secs(60);

/// An answer of a host that knows that epoch.
pub(crate) fn answer(epoch: u64, commit: u64, outcome: Outcome) -> Answer {
    Answer { epoch: Epoch::new(epoch), commit: CommitNumber::new(commit), outcome }
}

/// A reply with that text.
pub(crate) fn reply(text: &'static str) -> Answer {
    answer(1, 1, Outcome::Reply(Bytes::from_static(text.as_bytes())))
}

/// The bytes of a text.
pub(crate) fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// A command with that text.
pub(crate) fn call(text: &'static str) -> Call {
    let id = RequestId { client: ClientId::new(1), number: RequestNumber::new(1) };
    Call {
        name: VnodeName::new("kind", "key").unwrap(),
        mode: Mode::Command,
        request: Request { id, lowest: id.number, base: CommitNumber::ZERO },
        format: Format::Bincode,
        epoch: Epoch::ZERO,
        body: body(text),
    }
}

// ---- Hosts --------------------------------------------------------------------------------------------------------

/// A host as transport and clients see it; the test answers its calls.
#[derive(Debug)]
pub(crate) struct FakeHost {
    pub(crate) cluster: ClusterId,
    pub(crate) views: watch::Sender<Option<View>>,
    calls: mpsc::UnboundedSender<(Call, ReplyTo)>,
}

/// The calls that arrived at a [`FakeHost`].
pub(crate) type Calls = mpsc::UnboundedReceiver<(Call, ReplyTo)>;

impl FakeHost {
    pub(crate) fn new() -> (Arc<Self>, Calls) {
        let (calls, arrived) = mpsc::unbounded_channel();
        (Arc::new(Self { cluster: CLUSTER, views: watch::channel(None).0, calls }), arrived)
    }
}

#[async_trait]
impl Serve for FakeHost {
    fn cluster(&self) -> ClusterId {
        self.cluster
    }

    fn call(&self, call: Call, reply: ReplyTo) {
        drop(self.calls.send((call, reply)));
    }

    async fn peer(&self, message: PeerMessage) -> PeerReply {
        // Anything else stays unanswered, for tests that need a message in flight.
        if message == PeerMessage::View { PeerReply::Noted } else { core::future::pending().await }
    }

    fn views(&self) -> watch::Receiver<Option<View>> {
        self.views.subscribe()
    }
}

/// A [`FakeHost`] behind a server at an address of a [`MemoryNetwork`].
pub(crate) struct Served {
    pub(crate) address: String,
    pub(crate) host: Arc<FakeHost>,
    pub(crate) calls: Calls,
    pub(crate) stop: CancellationToken,
    pub(crate) server: tokio::task::JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(network: &MemoryNetwork, address: &str) -> Self {
        Self::start_with(network, address, Limits::default()).await
    }

    pub(crate) async fn start_with(network: &dyn Network, address: &str, limits: Limits) -> Self {
        let (host, calls) = FakeHost::new();
        let stop = CancellationToken::new();
        let listener = network.listen(address).await.unwrap();
        let address = listener.local_address();
        let serve = Arc::clone(&host) as Arc<dyn Serve>;
        let server = tokio::spawn(server::run(listener, serve, limits, stop.clone()));
        Self { address, host, calls, stop, server }
    }

    /// The next call.
    pub(crate) async fn next(&mut self) -> (Call, ReplyTo) {
        let next = timeout(NEXT_MAX, self.calls.recv());
        next.await.expect("no call arrived").expect("the host lives as long as the test")
    }

    /// Answers the next call and returns it.
    pub(crate) async fn answer(&mut self, answer: Answer) -> Call {
        let (call, reply) = self.next().await;
        reply.send(answer);
        call
    }

    pub(crate) fn show(&self, view: &View) {
        drop(self.host.views.send_replace(Some(view.clone())));
    }
}

// ---- Views --------------------------------------------------------------------------------------------------------

/// The session of the fake host with that name.
fn session(name: &str) -> SessionId {
    SessionId::new(name.bytes().fold(1, |bits, byte| bits << 8 | u128::from(byte)))
}

/// The first view: those hosts, by name and address, and who owns the only slot.
pub(crate) fn view(hosts: &[(&str, &str)], owner: &str) -> View {
    let draft = Draft::first(&Cluster { slots: 1, ..Cluster::new(CLUSTER) });
    finish(draft, hosts, owner)
}

/// The view after another.
pub(crate) fn view_after(before: &View, hosts: &[(&str, &str)], owner: &str) -> View {
    let mut draft = Draft::after(&before.record, RecordDigest::of(&before.stored));
    for name in before.record.hosts.keys() {
        if hosts.iter().all(|(host, _)| *host != name.as_str()) {
            draft.remove(session(name.as_str()));
        }
    }
    finish(draft, hosts, owner)
}

fn finish(mut draft: Draft, hosts: &[(&str, &str)], owner: &str) -> View {
    for (name, address) in hosts {
        let entry = HostEntry {
            address: (*address).into(),
            sessions: [(DomainId::HOME, session(name))].into(),
            state: HostState::Active,
            weight: WEIGHT_DEFAULT,
            zone: None,
        };
        draft.join(&HostName::new(name).unwrap(), entry).unwrap();
    }
    draft.move_slot(DomainId::HOME, Slot(0), &HostName::new(owner).unwrap()).unwrap();
    let leader = Leader {
        host: HostName::new(owner).unwrap(),
        session: session(owner),
        address: owner.into(),
    };
    let record = draft.finish(leader, "a test", 0);
    let stored = EpochRecord::encode(&record, Nonce::new(1));
    View { record: Arc::new(record), stored }
}

// ---- Network ------------------------------------------------------------------------------------------------------

/// A network in memory: addresses are any text. Hosts can be cut off, or frozen.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryNetwork(Arc<Mutex<BTreeMap<String, Place>>>);

#[derive(Clone, Debug)]
struct Place {
    arrivals: mpsc::UnboundedSender<Stream>,
    cut: CancellationToken,
    frozen: Arc<AtomicBool>,
}

impl MemoryNetwork {
    /// The host there dies: its connections break and new ones are refused.
    pub(crate) fn kill(&self, address: &str) {
        self.0.lock().unwrap().remove(address).expect("a host listens there").cut.cancel();
    }

    /// The host there stops: its connections stay open and it reads and writes nothing.
    pub(crate) fn freeze(&self, address: &str) {
        self.0.lock().unwrap()[address].frozen.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Network for MemoryNetwork {
    async fn connect(&self, address: &str) -> io::Result<Stream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let place = self.0.lock().unwrap().get(address).cloned().ok_or_else(refused)?;
        let (near, far) = tokio::io::duplex(64 << 10);
        let wires = Wire::pair(near, &place.cut, &Arc::default());
        let far = Wire::pair(far, &place.cut, &place.frozen);
        place.arrivals.send(far).map_err(|_gone| refused())?;
        Ok(wires)
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let place = Place { arrivals, cut: CancellationToken::new(), frozen: Arc::default() };
        self.0.lock().unwrap().insert(address.into(), place);
        let arriving = tokio::sync::Mutex::new(arriving);
        Ok(Box::new(Arrivals { address: address.into(), arriving }))
    }
}

#[derive(Debug)]
struct Arrivals {
    address: String,
    arriving: tokio::sync::Mutex<mpsc::UnboundedReceiver<Stream>>,
}

#[async_trait]
impl Listener for Arrivals {
    async fn accept(&self) -> io::Result<Arrival> {
        match self.arriving.lock().await.recv().await {
            Some(stream) => Ok(Arrival::open_already("memory".into(), stream)),
            None => core::future::pending().await,
        }
    }

    fn local_address(&self) -> String {
        self.address.clone()
    }
}

/// One half of a connection that can be cut or frozen.
struct Wire<S> {
    half: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    frozen: Arc<AtomicBool>,
}

impl Wire<()> {
    fn pair(end: DuplexStream, cut: &CancellationToken, frozen: &Arc<AtomicBool>) -> Stream {
        let (reads, writes) = tokio::io::split(end);
        Stream::new(Wire::new(reads, cut, frozen), Wire::new(writes, cut, frozen))
    }
}

impl<S> Wire<S> {
    fn new(half: S, cut: &CancellationToken, frozen: &Arc<AtomicBool>) -> Self {
        Self { half, cut: Box::pin(cut.clone().cancelled_owned()), frozen: Arc::clone(frozen) }
    }

    /// The half, unless the connection is cut or frozen.
    fn usable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut S>>>
    where
        S: Unpin,
    {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.frozen.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(Pin::new(&mut self.half)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        core::task::ready!(self.usable(context))?.poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        core::task::ready!(self.usable(context))?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        core::task::ready!(self.usable(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        core::task::ready!(self.usable(context))?.poll_shutdown(context)
    }
}
