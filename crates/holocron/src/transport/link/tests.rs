//! Links and servers, tested together: over a network in memory, and over TCP.

mod versions;

use holocron_protocol::ids::ClusterId;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::{
    api::call::Outcome,
    transport::fake::{
        CLUSTER, MemoryNetwork, NEXT_MAX, Served, answer, body, call, reply, view, view_after,
    },
    transport::{
        frame::{FRAME_LEN_MAX, FrameReader, Kind, Received, Versions},
        net::{Stream, Tcp},
        server::{Limits, STOP_GRACE},
    },
};

fn hello() -> Hello {
    Hello { cluster: Some(CLUSTER), who: "a test".into() }
}

async fn link(network: &dyn Network, address: &str) -> Link {
    Link::open(network, address, hello()).await.unwrap()
}

async fn send(link: &Link, text: &'static str) -> oneshot::Receiver<Answer> {
    link.room().await.unwrap().call(&call(text)).unwrap()
}

/// The next record pushed.
async fn next(epochs: &mut watch::Receiver<(Epoch, Bytes)>) -> (Epoch, Bytes) {
    timeout(NEXT_MAX, epochs.changed()).await.expect("no record arrived").unwrap();
    epochs.borrow_and_update().clone()
}

/// A peer that writes any bytes.
struct RawPeer {
    reader: FrameReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    writes: Box<dyn AsyncWrite + Send + Unpin>,
}

impl RawPeer {
    async fn connect(network: &dyn Network, address: &str) -> Self {
        let Stream { reads, writes } = network.connect(address).await.unwrap();
        Self { reader: FrameReader::new(reads), writes }
    }

    /// One that has been welcomed.
    async fn welcomed(network: &dyn Network, address: &str) -> Self {
        let mut raw = Self::connect(network, address).await;
        raw.write(&Frame::Hello(Versions::spoken(), Some(hello()))).await;
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
        timeout(NEXT_MAX * 2, self.reader.next()).await.expect("no frame arrived").unwrap()
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
async fn an_address_without_a_listener_is_reported_over_tcp() {
    let address = {
        let listener = Tcp.listen("127.0.0.1:0").await.unwrap();
        listener.local_address()
    };
    let opened = Link::open(&Tcp, &address, hello()).await;
    assert!(matches!(opened, Err(OpenError::NotListening { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_large_body_arrives_complete_over_tcp() {
    let mut served = Served::start_with(&Tcp, "127.0.0.1:0", Limits::default()).await;
    let link = link(&Tcp, &served.address).await;
    let large: Bytes =
        (0..5 << 20).map(|byte: u32| byte.to_le_bytes()[0]).collect::<Vec<_>>().into();
    let asked = link.room().await.unwrap().call(&Call { body: large.clone(), ..call("") }).unwrap();
    let small = send(&link, "small").await;
    let arrived = served.answer(answer(1, 1, Outcome::Reply(large.clone()))).await;
    assert_eq!(arrived.body, large);
    served.answer(reply("small too")).await;
    assert_eq!(asked.await.unwrap().outcome, Outcome::Reply(large));
    assert_eq!(small.await.unwrap(), reply("small too"));
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_refused_by_name() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    let foreign = Hello { cluster: Some(ClusterId::new(8)), who: "a test".into() };
    match Link::open(&network, "a", foreign).await {
        Err(OpenError::Refused { why, .. }) => assert!(why.contains("cluster"), "{why}"),
        other => panic!("{other:?}"),
    }
    // A peer that doesn't know its cluster yet learns it.
    let without_cluster = Hello { cluster: None, who: "a test".into() };
    let link = Link::open(&network, "a", without_cluster).await.unwrap();
    assert_eq!(link.welcome().cluster, CLUSTER);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_hello_is_closed_and_the_host_goes_on() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let mut silent = RawPeer::connect(&network, "a").await;
    let mut http = RawPeer::connect(&network, "a").await;
    http.write_bytes(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut early = RawPeer::connect(&network, "a").await;
    early.write(&Frame::Call(1, call("too early"))).await;
    for raw in [&mut silent, &mut http, &mut early] {
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
    let mut raw = RawPeer::welcomed(&network, "a").await;
    raw.write(&Frame::Call(1, call("before"))).await;
    let (_, reply_before) = served.next().await;
    // Undecodable.
    raw.write_bytes(&[header(2, Kind::Call, 2), vec![9, 9]].concat()).await;
    let (id, outcome) = raw.outcome().await;
    assert!(id == 2 && matches!(outcome, Outcome::Undecodable(_)), "{outcome:?}");
    // Too large; answered while the body still arrives.
    raw.write_bytes(&header(FRAME_LEN_MAX + 1, Kind::Call, 3)).await;
    let (id, outcome) = raw.outcome().await;
    assert!(
        id == 3 && matches!(&outcome, Outcome::Undecodable(why) if why.contains("at most")),
        "{outcome:?}"
    );
    for _ in 0..1024 {
        raw.write_bytes(&[0; FRAME_LEN_MAX / 1024]).await;
    }
    raw.write_bytes(&[0]).await;
    // A message that no release knows.
    raw.write_bytes(&[header(1, Kind::Peer, 4), vec![250]].concat()).await;
    let refused = raw.read().await;
    assert!(
        matches!(refused, Some(Received::Frame(Frame::PeerReply(4, PeerReply::Refused(_))))),
        "{refused:?}"
    );
    // The connection stays open, and the call in flight on it is still answered.
    reply_before.send(reply("still here"));
    assert_eq!(raw.outcome().await, (1, Outcome::Reply(body("still here"))));
    raw.write(&Frame::Call(5, call("after"))).await;
    served.answer(reply("fine")).await;
    assert_eq!(raw.outcome().await, (5, Outcome::Reply(body("fine"))));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_header_costs_that_connection_only() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let other = link(&network, "a").await;
    let mut raw = RawPeer::welcomed(&network, "a").await;
    raw.write(&Frame::Call(1, call("in flight"))).await;
    let (_, unanswered) = served.next().await;
    raw.write_bytes(&[0xff; 13]).await;
    assert!(raw.read().await.is_none());
    unanswered.send(reply("unread"));
    let asked = send(&other, "well").await;
    served.answer(reply("fine")).await;
    assert_eq!(asked.await.unwrap(), reply("fine"));
}

#[tokio::test(start_paused = true)]
async fn a_call_too_large_to_send_is_refused_here_and_the_link_goes_on() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    let large = Call { body: vec![0; FRAME_LEN_MAX].into(), ..call("") };
    let refused = link.room().await.unwrap().call(&large);
    assert!(matches!(refused, Err(NotSent::TooLarge(_))), "{refused:?}");
    let asked = send(&link, "small").await;
    served.answer(reply("fine")).await;
    assert_eq!(asked.await.unwrap(), reply("fine"));
}

#[tokio::test(start_paused = true)]
async fn a_reply_too_large_to_send_is_unclear_and_the_link_goes_on() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    let asked = send(&link, "much").await;
    served.answer(answer(3, 2, Outcome::Reply(vec![0; FRAME_LEN_MAX].into()))).await;
    assert_eq!(asked.await.unwrap(), answer(3, 2, Outcome::Unclear));
    let asked = send(&link, "little").await;
    served.answer(reply("fine")).await;
    assert_eq!(asked.await.unwrap(), reply("fine"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_its_host_drops_is_unclear() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    let asked = send(&link, "x").await;
    drop(served.next().await);
    assert_eq!(asked.await.unwrap().outcome, Outcome::Unclear);
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_closes_every_receiver() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    let (first, second) = (send(&link, "1").await, send(&link, "2").await);
    let _in_flight = (served.next().await, served.next().await);
    network.kill("a");
    assert!(first.await.is_err() && second.await.is_err());
    link.lost().await;
    assert!(link.is_lost());
    assert!(matches!(link.room().await, Err(NotSent::Lost)));
    assert_eq!(link.message(PeerMessage::View).await, Err(LinkLost));
    assert_eq!(link.probe().await, Err(LinkLost));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_host_is_noticed_while_a_call_is_in_flight() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    network.freeze("a");
    let started = Instant::now();
    let asked = send(&link, "x").await;
    assert!(asked.await.is_err());
    let taken = started.elapsed();
    assert!((SILENCE_MAX..SILENCE_MAX * 2).contains(&taken), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_host_is_noticed_when_idle_too_but_later() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    network.freeze("a");
    let started = Instant::now();
    link.lost().await;
    let taken = started.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(13)).contains(&taken), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_of_a_live_host_is_waited_for() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    let asked = send(&link, "x").await;
    let (_, reply_to) = served.next().await;
    sleep(Duration::from_secs(600)).await;
    reply_to.send(reply("at last"));
    assert_eq!(asked.await.unwrap(), reply("at last"));
    // So is one of a host that was idle for long.
    sleep(Duration::from_secs(600)).await;
    assert!(!link.is_lost());
    link.probe().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn opening_a_link_to_a_frozen_host_times_out() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    network.freeze("a");
    let started = Instant::now();
    let opened = Link::open(&network, "a", hello()).await;
    assert!(matches!(opened, Err(OpenError::Unreachable { .. })), "{opened:?}");
    assert_eq!(started.elapsed(), OPEN_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_bounded_and_abandoned_ones_count() {
    let network = MemoryNetwork::default();
    let limits = Limits { calls_max: 2, ..Limits::default() };
    let mut served = Served::start_with(&network, "a", limits).await;
    let link = link(&network, "a").await;
    drop(send(&link, "given up").await);
    let second = send(&link, "waits").await;
    // Two are in flight: the third waits here, and pings still pass.
    assert!(timeout(Duration::from_secs(5), link.room()).await.is_err());
    link.probe().await.unwrap();
    served.answer(reply("unread")).await;
    let third = send(&link, "third").await;
    served.answer(reply("2")).await;
    served.answer(reply("3")).await;
    assert_eq!((second.await.unwrap(), third.await.unwrap()), (reply("2"), reply("3")));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_ignores_the_limit_is_no_longer_read() {
    let network = MemoryNetwork::default();
    let limits = Limits { calls_max: 2, ..Limits::default() };
    let mut served = Served::start_with(&network, "a", limits).await;
    let mut raw = RawPeer::welcomed(&network, "a").await;
    for id in 1..=5 {
        raw.write(&Frame::Call(id, call("flood"))).await;
    }
    let (first, second) = (served.next().await, served.next().await);
    sleep(Duration::from_secs(1)).await;
    assert!(served.calls.is_empty(), "a third call was taken in");
    first.1.send(reply("1"));
    served.next().await.1.send(reply("3"));
    drop(second);
    for _ in 0..2 {
        served.answer(reply("more")).await;
    }
    for _ in 1..=5 {
        raw.outcome().await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_beyond_the_bound_are_refused() {
    let network = MemoryNetwork::default();
    let limits = Limits { messages_max: 1, ..Limits::default() };
    let _served = Served::start_with(&network, "a", limits).await;
    let mut raw = RawPeer::welcomed(&network, "a").await;
    // The fake host never answers this one.
    raw.write(&Frame::Peer(1, PeerMessage::Status)).await;
    raw.write(&Frame::Peer(2, PeerMessage::View)).await;
    let refused = raw.read().await;
    assert!(
        matches!(refused, Some(Received::Frame(Frame::PeerReply(2, PeerReply::Refused(_))))),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_bound_are_closed() {
    let network = MemoryNetwork::default();
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let _served = Served::start_with(&network, "a", limits).await;
    let first = link(&network, "a").await;
    let second = Link::open(&network, "a", hello()).await;
    assert!(matches!(second, Err(OpenError::Unreachable { .. })), "{second:?}");
    drop(first);
    // Its permit is free as soon as the host sees it close.
    sleep(Duration::from_millis(1)).await;
    link(&network, "a").await;
}

#[tokio::test(start_paused = true)]
async fn every_view_is_pushed() {
    let network = MemoryNetwork::default();
    let served = Served::start(&network, "a").await;
    let early = link(&network, "a").await;
    let mut early_epochs = early.epochs();
    assert_eq!(early_epochs.borrow().0, Epoch::ZERO);
    let first = view(&[("a", "a"), ("b", "b")], "a");
    served.show(&first);
    assert_eq!(next(&mut early_epochs).await, (Epoch::new(1), first.stored.clone()));
    let second = view_after(&first, &[("b", "b")], "b");
    served.show(&second);
    assert_eq!(next(&mut early_epochs).await, (Epoch::new(2), second.stored.clone()));
    // A later link gets the newest at once.
    let late = link(&network, "a").await;
    assert_eq!(next(&mut late.epochs()).await, (Epoch::new(2), second.stored));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_server_answers_accepted_calls_and_refuses_new_ones() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    let asked = send(&link, "before").await;
    let (_, reply_to) = served.next().await;
    served.stop.cancel();
    sleep(Duration::from_secs(1)).await;
    let after = send(&link, "after").await;
    assert_eq!(after.await.unwrap().outcome, Outcome::NotOwner);
    // A slow answer is still awaited.
    sleep(Duration::from_secs(3)).await;
    reply_to.send(reply("done"));
    assert_eq!(asked.await.unwrap(), reply("done"));
    assert!(served.calls.is_empty(), "a call was taken in after the stop");
    link.lost().await;
    served.server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_server_waits_for_answers_for_a_limited_time() {
    let network = MemoryNetwork::default();
    let mut served = Served::start(&network, "a").await;
    let link = link(&network, "a").await;
    let asked = send(&link, "never answered").await;
    let _in_flight = served.next().await;
    let started = Instant::now();
    served.stop.cancel();
    served.server.await.unwrap();
    let taken = started.elapsed();
    assert!((STOP_GRACE..STOP_GRACE * 2).contains(&taken), "{taken:?}");
    assert!(asked.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_connection_of_a_vanished_peer_is_closed() {
    let network = MemoryNetwork::default();
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let _served = Served::start_with(&network, "a", limits).await;
    // It never pings, as a link would.
    let _raw = RawPeer::welcomed(&network, "a").await;
    sleep(Duration::from_secs(70)).await;
    link(&network, "a").await;
}
