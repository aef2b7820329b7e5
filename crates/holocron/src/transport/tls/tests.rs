//! Links and servers over TLS.

#![expect(
    clippy::disallowed_types,
    reason = "certificates begin and end at a time of the wall clock"
)]

use core::time::Duration;
use std::{path::PathBuf, sync::Arc, time::SystemTime};

use holocron_access::{
    Role, TlsFiles,
    issue::{Authority, Issued, Request},
};
use holocron_protocol::ids::HostName;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::*;
use crate::{
    api::call::{Call, Mode, Outcome},
    transport::{
        fake::{CLUSTER, NEXT_MAX, Served, answer, call},
        frame::Hello,
        link::{Link, OpenError},
        net::Tcp,
        peer::{PeerMessage, PeerReply},
        server::Limits,
    },
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const ADDRESS: &str = "127.0.0.1:0";

/// The certificates of a cluster.
struct Certificates {
    folder: TempDir,
    authority: Authority,
}

impl Certificates {
    fn new() -> Self {
        let (authority, issued) = Authority::found(SystemTime::now()).unwrap();
        let it = Self { folder: tempfile::tempdir().unwrap(), authority };
        it.write("ca", &issued);
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, stem: &str, issued: &Issued) {
        std::fs::write(self.path(&format!("{stem}.pem")), &issued.certificate).unwrap();
        std::fs::write(self.path(&format!("{stem}.key")), &issued.key).unwrap();
    }

    fn tls(&self, role: Role) -> Tls {
        let now = SystemTime::now();
        let request = Request { role, name: Some("n"), from: now - DAY, until: now + 90 * DAY };
        self.write(role.as_str(), &self.authority.issue(&request).unwrap());
        let files = TlsFiles {
            authority: self.path("ca.pem"),
            certificate: self.path(&format!("{role}.pem")),
            key: self.path(&format!("{role}.key")),
        };
        Tls::open(&files).unwrap()
    }

    async fn serve(&self) -> Served {
        Served::start_with(&self.tls(Role::Host), ADDRESS, Limits::default()).await
    }
}

fn hello() -> Hello {
    Hello { cluster: Some(CLUSTER), who: "a test".into() }
}

async fn open(network: &dyn Network, address: &str) -> Result<Link, OpenError> {
    Link::open(network, address, hello()).await
}

/// Why a connection can't be opened. Not that the process is gone: a leader would take that for its end.
async fn unreachable(network: &dyn Network, address: &str) -> String {
    match open(network, address).await {
        Err(OpenError::Unreachable { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// The host still serves.
async fn is_unharmed(certificates: &Certificates, served: &Served) {
    let link = open(&certificates.tls(Role::Client), &served.address).await.unwrap();
    assert_eq!(link.message(PeerMessage::View).await, Ok(PeerReply::Noted));
}

#[tokio::test]
async fn calls_travel_over_tls_in_any_size() {
    let certificates = Certificates::new();
    let mut served = certificates.serve().await;
    let link = open(&certificates.tls(Role::Client), &served.address).await.unwrap();
    for length in [0, 1, 20_000, 5 << 20] {
        let body = bytes::Bytes::from(vec![7; length]);
        let call = Call { body: body.clone(), ..call("") };
        let asked = link.room().await.unwrap().call(&call).unwrap();
        let arrived = served.answer(answer(1, 1, Outcome::Reply(body.clone()))).await;
        assert_eq!(arrived.body, body);
        assert_eq!(asked.await.unwrap().outcome, Outcome::Reply(body));
    }
    served.stop.cancel();
    timeout(NEXT_MAX, link.lost()).await.expect("it is told that the host stops");
}

#[tokio::test]
async fn a_message_is_refused_to_a_smaller_role_and_the_host_never_sees_it() {
    let certificates = Certificates::new();
    let served = certificates.serve().await;
    let seal = || PeerMessage::Seal(HostName::new("h1").unwrap());
    let link = open(&certificates.tls(Role::Client), &served.address).await.unwrap();
    for _ in 0..2 {
        let reply = link.message(seal()).await.unwrap();
        let PeerReply::Refused(why) = reply else { panic!("{reply:?}") };
        assert!(why.contains("the role operator; the one shown has client"), "{why}");
    }
    let tell = Call { mode: Mode::Tell, ..call("") };
    let refused = link.room().await.unwrap().call(&tell).unwrap().await.unwrap();
    assert!(matches!(&refused.outcome, Outcome::Rejected(why) if why.contains("the role host")));
    // The connection stays good.
    assert_eq!(link.message(PeerMessage::View).await, Ok(PeerReply::Noted));
    // The fake host never answers it, so it arrived.
    let link = open(&certificates.tls(Role::Operator), &served.address).await.unwrap();
    assert!(timeout(Duration::from_millis(300), link.message(seal())).await.is_err());
    let leave = PeerMessage::Leave(holocron_protocol::ids::SessionId::new(1));
    assert!(matches!(link.message(leave).await, Ok(PeerReply::Refused(_))));
}

#[tokio::test]
async fn a_peer_without_tls_and_one_with_it_find_each_other_out() {
    let certificates = Certificates::new();
    let served = certificates.serve().await;
    let why = unreachable(&Tcp, &served.address).await;
    assert_eq!(why, "the host requires TLS");
    is_unharmed(&certificates, &served).await;
    let plain = Served::start_with(&Tcp, ADDRESS, Limits::default()).await;
    let why = unreachable(&certificates.tls(Role::Client), &plain.address).await;
    assert!(why.contains("it may run without TLS"), "{why}");
    assert!(open(&Tcp, &plain.address).await.is_ok(), "the host is unharmed");
}

#[tokio::test]
async fn another_clusters_member_is_refused_by_name() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let served = ours.serve().await;
    let why = unreachable(&theirs.tls(Role::Host), &served.address).await;
    assert!(why.contains("its certificate is not from this cluster's authority"), "{why}");
    is_unharmed(&ours, &served).await;
}

#[tokio::test]
async fn garbage_harms_no_host() {
    let certificates = Certificates::new();
    let served = certificates.serve().await;
    let mut seed = 7_u64;
    for length in [1, 5, 100, 4_096, 70_000] {
        let mut garbage = vec![0_u8; length];
        for byte in &mut garbage {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = seed.to_be_bytes()[0];
        }
        for first in [garbage[0], 0x16, 0x15, 0x17] {
            garbage[0] = first;
            let mut stream = TcpStream::connect(&served.address).await.unwrap();
            // The host may close in the middle.
            drop(stream.write_all(&garbage).await);
        }
    }
    is_unharmed(&certificates, &served).await;
}

#[tokio::test]
async fn half_open_handshakes_keep_no_member_out() {
    let certificates = Certificates::new();
    let served = certificates.serve().await;
    let mut half = Vec::new();
    for number in 0..2_000 {
        let mut stream = TcpStream::connect(&served.address).await.unwrap();
        if number % 2 == 0 {
            // The beginning of a handshake.
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
        }
        half.push(stream);
    }
    let began = Instant::now();
    is_unharmed(&certificates, &served).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // The oldest made room for the newest.
    let mut byte = [0];
    let closed = timeout(NEXT_MAX, half[0].read(&mut byte)).await.expect("it is closed");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test]
async fn one_byte_at_a_time_is_given_up() {
    let certificates = Certificates::new();
    let served = certificates.serve().await;
    let mut slow = TcpStream::connect(&served.address).await.unwrap();
    let began = Instant::now();
    let mut sent = [0x16, 3, 1, 2, 0, 1].into_iter().chain(core::iter::repeat(0));
    let refused = async {
        loop {
            let byte = [sent.next().expect("endless")];
            if slow.write_all(&byte).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(NEXT_MAX, refused).await.expect("it is closed");
    assert!(began.elapsed() >= holocron_access::HANDSHAKE_TIMEOUT, "{:?}", began.elapsed());
    is_unharmed(&certificates, &served).await;
}

#[tokio::test]
async fn a_process_without_a_hosts_certificate_cant_listen() {
    let certificates = Certificates::new();
    let network: Arc<dyn Network> = Arc::new(certificates.tls(Role::Operator));
    let refused = network.listen(ADDRESS).await.unwrap_err();
    assert!(refused.to_string().contains("a host needs one with the role host"), "{refused}");
    assert!(!network.is_open());
}
