//! Handshakes with peers of other versions of the wire, as bytes where the peer is from before there were ranges.

use holocron_protocol::epoch::{shards::DeclaredShards, versions::KindVersions};
use holocron_protocol::ids::{HostName, SessionId};

use super::*;
use crate::transport::{
    frame::{NEWEST, OLDEST, Refusal, Versions, put_message},
    net::Listener,
};

/// The hello of a peer from before there were ranges: id 0 in its header, one version, an unknown cluster, `x` as its name.
fn hello_before_ranges(version: u16) -> Vec<u8> {
    let body = [&b"HLCN"[..], &version.to_le_bytes(), &[0, 1, b'x']].concat();
    [header(body.len(), Kind::Hello, 0), body].concat()
}

fn join() -> PeerMessage {
    PeerMessage::Join(crate::transport::peer::JoinRequest {
        name: HostName::new("h1").unwrap(),
        address: "b".into(),
        session: SessionId::new(7),
        weight: 100,
        zone: None,
        shards: DeclaredShards::default(),
        versions: KindVersions::default(),
    })
}

async fn welcome(raw: &mut RawPeer) -> Welcome {
    match raw.read().await {
        Some(Received::Frame(Frame::Welcome(welcome))) => welcome,
        other => panic!("{other:?}"),
    }
}

async fn refusal(raw: &mut RawPeer) -> Refusal {
    match raw.read().await {
        Some(Received::Frame(Frame::Refusal(refusal))) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_opener_from_before_ranges_is_answered_in_its_version() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    for version in OLDEST..=NEWEST {
        let mut raw = RawPeer::connect(&network, "a").await;
        raw.write_bytes(&hello_before_ranges(version)).await;
        assert_eq!(welcome(&mut raw).await.version, version);
        raw.reader.speak(version);
        let mut bytes = Vec::new();
        put_message(&mut bytes, 1, &join(), version).unwrap();
        frame::put(&mut bytes, &Frame::Peer(2, PeerMessage::View)).unwrap();
        raw.write_bytes(&bytes).await;
        // A request to join that can't be read would be refused first.
        let reply = raw.read().await;
        let noted = Some(Received::Frame(Frame::PeerReply(2, PeerReply::Noted)));
        assert_eq!(format!("{reply:?}"), format!("{noted:?}"), "version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_opener_gets_the_newest_version_that_both_speak() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    let mut raw = RawPeer::connect(&network, "a").await;
    let newer = Versions { oldest: NEWEST, newest: NEWEST + 5 };
    raw.write(&Frame::Hello(newer, Some(hello()))).await;
    assert_eq!(welcome(&mut raw).await.version, NEWEST);
}

#[tokio::test(start_paused = true)]
async fn an_opener_without_a_common_version_is_refused_with_advice() {
    let network = MemoryNetwork::default();
    let _served = Served::start(&network, "a").await;
    for version in [OLDEST - 1, NEWEST + 1] {
        let mut raw = RawPeer::connect(&network, "a").await;
        raw.write_bytes(&hello_before_ranges(version)).await;
        let refused = refusal(&mut raw).await;
        assert_eq!(refused.newest, NEWEST);
        let ours = Versions::spoken();
        assert!(refused.why.contains(&format!("speaks version {version} ")), "{}", refused.why);
        assert!(refused.why.contains(&format!("this host {ours}")), "{}", refused.why);
        assert!(raw.read().await.is_none(), "a refused connection is closed");
    }
}

/// Accepts one connection as a host from before there were ranges, of this version: returns the connection if the hello
/// has that version, else refuses it.
async fn accept_before_ranges(listener: &mut Box<dyn Listener>, version: u16) -> Option<RawPeer> {
    let (Stream { reads, writes }, _) = listener.accept().await.unwrap().open().await.unwrap();
    let mut raw = RawPeer { reader: FrameReader::new(reads), writes };
    let Some(Received::Frame(Frame::Hello(theirs, _))) = raw.read().await else {
        panic!("no hello");
    };
    if theirs.newest != version {
        let why = b"it speaks another version";
        raw.write_bytes(&[header(why.len(), Kind::Refusal, 0), why.to_vec()].concat()).await;
        return None;
    }
    let limits = [5, 5]; // calls_max, messages_max
    let body = [&[7][..], &limits].concat(); // the cluster first
    raw.write_bytes(&[header(body.len(), Kind::Welcome, 0), body].concat()).await;
    raw.reader.speak(version);
    Some(raw)
}

#[tokio::test(start_paused = true)]
async fn a_host_from_before_ranges_is_asked_in_each_version() {
    for version in OLDEST..=NEWEST {
        let network = MemoryNetwork::default();
        let mut listener = network.listen("a").await.unwrap();
        let host = tokio::spawn(async move {
            let mut refused = 0;
            loop {
                if let Some(raw) = accept_before_ranges(&mut listener, version).await {
                    return (raw, refused);
                }
                refused += 1;
            }
        });
        let link = Link::open(&network, "a", hello()).await.unwrap();
        assert_eq!(link.welcome().version, version);
        let (mut raw, refused) = host.await.unwrap();
        assert_eq!(refused, NEWEST - version);
        // What is sent is in the host's version.
        let sent = tokio::spawn(async move { link.message(join()).await });
        match raw.read().await {
            Some(Received::Frame(Frame::Peer(_, message))) => assert_eq!(message, join()),
            other => panic!("version {version}: {other:?}"),
        }
        sent.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_refuses_every_version_is_reported_with_its_reason() {
    let network = MemoryNetwork::default();
    let mut listener = network.listen("a").await.unwrap();
    let host = tokio::spawn(async move {
        let mut refused = 0;
        while accept_before_ranges(&mut listener, 99).await.is_none() {
            refused += 1;
            if refused == 1 + NEWEST - OLDEST {
                return;
            }
        }
    });
    match Link::open(&network, "a", hello()).await {
        Err(OpenError::Refused { why, .. }) => assert_eq!(why, "it speaks another version"),
        other => panic!("{other:?}"),
    }
    host.await.unwrap();
}
