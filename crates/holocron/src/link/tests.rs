//! Links and servers, tested together: over a network in memory, and over TCP.

use holocron_protocol::{
    ids::{ClientId, CommitNumber, RequestNumber, VnodeName},
    window::{Request, RequestId},
};
use tokio::{
    io::{AsyncReadExt, ReadHalf},
    time::{Instant, sleep},
};

use super::*;
use crate::{
    call::{Mode, Outcome},
    fake::{CLUSTER, MemoryNetwork, Served, answer, body, reply, view, view_after},
    frame::{FRAME_LEN_MAX, Kind, TRANSPORT_VERSION},
    net::Tcp,
    server::{Limits, STOP_GRACE},
};

fn hello() -> Hello {
    Hello { cluster: Some(CLUSTER), who: "a test".into() }
}

fn call(text: &'static str) -> Call {
    let id = RequestId { client: ClientId::new(1), number: RequestNumber::new(1) };
    Call {
        name: VnodeName::new("kind", "key").unwrap(),
        mode: Mode::Command,
        request: Request { id, lowest: id.number, base: CommitNumber::ZERO },
        epoch: Epoch::ZERO,
        body: body(text),
    }
}

async fn link(network: &dyn Network, address: &str) -> Link {
    Link::open(network, address, hello()).await.unwrap()
}

async fn send(link: &Link, text: &'static str) -> oneshot::Receiver<Answer> {
    link.room().await.unwrap().call(&call(text)).unwrap()
}

/// A peer that writes frames as it likes.
struct Raw {
    reader: FrameReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    writes: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Raw {
    async fn connect(network: &dyn Network, address: &str) -> Self {
        let Stream { reads, writes } = network.connect(address).await.unwrap();
        Self { reader: FrameReader::new(reads), writes }
    }

    /// One that has been welcomed.
    async fn welcomed(network: &dyn Network, address: &str) -> Self {
        let mut raw = Self::connect(network, address).await;
        raw.write(&Frame::Hello(TRANSPORT_VERSION, Some(hello()))).await;
        assert!(matches!(raw.read().await, Some(Received::Frame(Frame::Welcome(_)))));
        raw.reader.trust();
        raw
    }

    async fn write(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame::put(&mut bytes, frame).unwrap();
        self.write_bytes(&bytes).await;
    }

    async fn write_bytes(&mut self, bytes: &[u8]) {
        self.writes.write_all(bytes).await.unwrap();
        self.writes.flush().await.unwrap();
    }

    async fn read(&mut self) -> Option<Received> {
        self.reader.next().await.unwrap()
    }

    async fn outcome(&mut self) -> (u64, Outcome) {
        match self.read().await {
            Some(Received::Frame(Frame::Answer(id, answer))) => (id, answer.outcome),
            other => panic!("{other:?}"),
        }
    }
}

fn header(length: usize, kind: Kind, id: u64) -> Vec<u8> {
    let length = u32::try_from(length).unwrap();
    [&length.to_le_bytes()[..], &[kind as u8], &id.to_le_bytes()].concat()
}

async fn answers_come_in_any_order(network: &dyn Network, address: &str) {
    let mut served = Served::start_with(network, address, Limits::default()).await;
    let link = link(network, &served.address).await;
    let (first, second) = (send(&link, "first").await, send(&link, "second").await);
    let (one, reply_to_one) = served.next().await;
    let (two, reply_to_two) = served.next().await;
    assert_eq!((one.body, two.body), (body("first"), body("second")));
    reply_to_two.send(reply("2"));
    assert_eq!(second.await.unwrap(), reply("2"));
    reply_to_one.send(reply("1"));
    assert_eq!(first.await.unwrap(), reply("1"));
    let reply = link.message(PeerMessage::View).await;
    assert_eq!(reply, Ok(PeerReply::Noted));
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_any_order_in_memory() {
    answers_come_in_any_order(&MemoryNetwork::default(), "a").await;
}

#[tokio::test]
async fn answers_come_in_any_order_over_tcp() {
    answers_come_in_any_order(&Tcp, "127.0.0.1:0").await;
}

#[tokio::test]
async fn nobody_listens_over_tcp() {
    let address = {
        let listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        listener.local_address()
    };
    let opened = Link::open(&Tcp, &address, hello()).await;
    assert!(matches!(opened, Err(OpenError::NotListening { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_large_body_comes_through_whole_over_tcp() {
    let mut served = Served::start_with(&Tcp, "127.0.0.1:0", Limits::default()).await;
    let link = link(&Tcp, &served.address).await;
    let large: Bytes = (0..5 << 20).map(|byte: u32| byte.to_le_bytes()[0]).collect::<Vec<_>>().into();
    let asked = link.room().await.unwrap().call(&Call { body: large.clone(), ..call("") }).unwrap();
    let small = send(&link, "small").await;
    let came = served.answer(answer(1, 1, Outcome::Reply(large.clone()))).await;
    assert_eq!(came.body, large);
    served.answer(reply("small too")).await;
    assert_eq!(asked.await.unwrap().outcome, Outcome::Reply(large));
    assert_eq!(small.await.unwrap(), reply("small too"));
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_refused_by_name() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    let stranger = Hello { cluster: Some(ClusterId::new(8)), who: "a test".into() };
    match Link::open(&network, "a", stranger).await {
        Err(OpenError::Refused { why, .. }) => assert!(why.contains("cluster"), "{why}"),
        other => panic!("{other:?}"),
    }
    // Who doesn't know its cluster yet learns it.
    let unknowing = Hello { cluster: None, who: "a test".into() };
    let link = Link::open(&network, "a", unknowing).await.unwrap();
    assert_eq!(link.welcome().cluster, CLUSTER);
}

#[tokio::test(start_paused = true)]
async fn another_version_is_refused_with_advice() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    let mut raw = Raw::connect(&network, "a").await;
    let mut bytes = Vec::new();
    frame::put(&mut bytes, &Frame::Hello(TRANSPORT_VERSION, Some(hello()))).unwrap();
    // The version stands after the header and the magic.
    bytes[13 + 4] = 99;
    raw.write_bytes(&bytes).await;
    match raw.read().await {
        Some(Received::Frame(Frame::Refusal(why))) => assert!(why.contains("version 99"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(raw.read().await.is_none(), "a refused connection is closed");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_something_else_is_closed_and_the_host_goes_on() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let mut silent = Raw::connect(&network, "a").await;
    let mut rude = Raw::connect(&network, "a").await;
    rude.write_bytes(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut hasty = Raw::connect(&network, "a").await;
    hasty.write(&Frame::Call(1, call("too early"))).await;
    for raw in [&mut silent, &mut rude, &mut hasty] {
        assert!(raw.read().await.is_none());
    }
    let link = link(&network, "a").await;
    let asked = send(&link, "well").await;
    served.answer(reply("fine")).await;
    assert_eq!(asked.await.unwrap(), reply("fine"));
}

#[tokio::test(start_paused = true)]
async fn a_bad_body_costs_its_caller_an_error_and_nothing_else() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let mut raw = Raw::welcomed(&network, "a").await;
    raw.write(&Frame::Call(1, call("before"))).await;
    let (_, reply_before) = served.next().await;
    // Undecodable.
    raw.write_bytes(&[header(2, Kind::Call, 2), vec![9, 9]].concat()).await;
    let (id, outcome) = raw.outcome().await;
    assert!(id == 2 && matches!(outcome, Outcome::Undecodable(_)), "{outcome:?}");
    // Too large; answered while it still comes.
    raw.write_bytes(&header(FRAME_LEN_MAX + 1, Kind::Call, 3)).await;
    let (id, outcome) = raw.outcome().await;
    assert!(id == 3 && matches!(&outcome, Outcome::Undecodable(why) if why.contains("at most")), "{outcome:?}");
    for _ in 0..1025 {
        raw.write_bytes(&[0; FRAME_LEN_MAX / 1024][..(FRAME_LEN_MAX + 1).min(16384)]).await;
    }
}
