//! Hosts that are stopped, fenced and continued: they answer nothing, seal no session, and rejoin.

use core::time::Duration;

use bytes::Bytes;
use holocron::{
    Call, Format, Mode, Outcome, VnodeRef,
    frame::{self, Frame, FrameReader, Hello, Received, Versions},
    net::{Network as _, Stream, Tcp},
};
use holocron_kinds::{Counter, CounterClient as _, CounterCommand, CounterQuery};
use holocron_protocol::{
    format::{
        codec,
        keys::{self, Key},
    },
    ids::{ClientId, CommitNumber, Epoch, RequestNumber, VnodeName},
    journal::batch::{self, JournalObject},
    request::window::{Request, RequestId},
};
use rustix::process::Signal;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::support::{Host, PATIENCE, Place, add_to_all, all_served, turn, until, values_of};

/// A connection to one host, kept open in every case.
struct Wire {
    reader: FrameReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    writes: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    client: ClientId,
    sent: u64,
}

impl Wire {
    async fn open(host: &Host, client: u128) -> Self {
        let Stream { reads, mut writes } = Tcp.connect(&host.address).await.unwrap();
        let mut out = Vec::new();
        let hello = Hello { cluster: None, who: "a test".into() };
        frame::put(&mut out, &Frame::Hello(Versions::spoken(), Some(hello))).unwrap();
        writes.write_all(&out).await.unwrap();
        let mut reader = FrameReader::new(reads);
        let welcome = timeout(PATIENCE, reader.next()).await.expect("a welcome in time").unwrap();
        assert!(matches!(welcome, Some(Received::Frame(Frame::Welcome(_)))), "{welcome:?}");
        reader.trust();
        Self { reader, writes, client: ClientId::new(client), sent: 0 }
    }

    async fn send(&mut self, key: &str, mode: Mode) {
        self.sent += 1;
        let number = RequestNumber::new(self.sent);
        let mut body = Vec::new();
        if mode.is_command() {
            codec::to_bincode(&CounterCommand::add(100), &mut body);
        } else {
            codec::to_bincode(&CounterQuery::value(), &mut body);
        }
        let call = Call {
            name: VnodeName::new("counter", key).unwrap(),
            mode,
            request: Request {
                id: RequestId { client: self.client, number },
                lowest: RequestNumber::new(1),
                base: CommitNumber::ZERO,
            },
            format: Format::Bincode,
            epoch: Epoch::ZERO,
            body: Bytes::from(body),
        };
        let mut out = Vec::new();
        frame::put(&mut out, &Frame::Call(self.sent, call)).unwrap();
        self.writes.write_all(&out).await.unwrap();
    }

    /// The answers, until every call is answered or the host closes the connection.
    async fn answers(mut self) -> Vec<Outcome> {
        let mut answers = Vec::new();
        while answers.len() < usize::try_from(self.sent).unwrap() {
            let next = timeout(PATIENCE, self.reader.next()).await.expect("an answer in time");
            match next {
                Ok(Some(Received::Frame(Frame::Answer(_, answer)))) => answers.push(answer.outcome),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        answers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_host_answers_no_waiting_call_when_it_continues_and_rejoins() {
    let _turn = turn().await;
    let place = Place::new();
    let other = place.host("h1", &[]).await;
    let stopped = place.host("h2", &[]).await;
    let client = place.client().await;
    all_served(&place, &[&other, &stopped]).await;
    let before = place.session_of(&stopped.name).await.unwrap();
    let keys = place.keys_of(&stopped.name, 8).await;
    assert_eq!(add_to_all(&client, &keys).await, vec![1; keys.len()]);

    let mut wire = Wire::open(&stopped, 1).await;
    stopped.signal(Signal::STOP);
    // Before it is fenced.
    for key in &keys {
        wire.send(key, Mode::Command).await;
        wire.send(key, Mode::Query).await;
    }
    until("it is fenced", async || {
        (place.session_of(&stopped.name).await != Some(before)).then_some(())
    })
    .await;
    // The new owner has acknowledged more commands, so the stopped host's state is stale.
    assert_eq!(add_to_all(&client, &keys).await, vec![2; keys.len()]);
    for key in &keys {
        wire.send(key, Mode::Query).await;
        wire.send(key, Mode::Local).await;
        wire.send(key, Mode::Command).await;
    }
    let sent = wire.sent;
    stopped.signal(Signal::CONT);
    let answers = wire.answers().await;
    for answer in &answers {
        // A local query may be stale; nothing else may be answered.
        let stale = matches!(answer, Outcome::Reply(reply) if **reply == local_answer());
        let not_run = matches!(answer, Outcome::NotOwner | Outcome::Unclear);
        assert!(not_run || stale, "{answer:?} among {} answers to {sent} calls", answers.len());
    }
    let stale = answers.iter().filter(|answer| matches!(answer, Outcome::Reply(_))).count();
    assert!(stale <= keys.len(), "only local queries may be answered: {answers:?}");

    until("it is in again, with another session", async || {
        place.session_of(&stopped.name).await.filter(|&session| session != before)
    })
    .await;
    all_served(&place, &[&other, &stopped]).await;
    assert_eq!(values_of(&client, &keys).await, vec![2; keys.len()], "the queued adds never ran");
}

/// The value in the stopped host's memory: 1 was added before it was stopped.
fn local_answer() -> Vec<u8> {
    let mut reply = Vec::new();
    codec::to_bincode(&1_i64, &mut reply);
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_seals_no_session_when_it_continues() {
    let _turn = turn().await;
    let place = Place::new();
    let leader = place.host("h1", &[]).await;
    let (two, three) = (place.host("h2", &[]).await, place.host("h3", &[]).await);
    let client = place.client().await;
    all_served(&place, &[&leader, &two, &three]).await;
    assert_eq!(place.record().await.unwrap().leader.host, leader.name, "the first host leads");
    let before = place.session_of(&leader.name).await.unwrap();

    leader.signal(Signal::STOP);
    until("another leads", async || {
        place.record().await.filter(|record| record.leader.host != leader.name)
    })
    .await;
    let counter: VnodeRef<Counter> = client.get("c");
    assert_eq!(counter.add(1).await, Ok(1));
    leader.signal(Signal::CONT);
    until("it is in again, with another session", async || {
        place.session_of(&leader.name).await.filter(|&session| session != before)
    })
    .await;
    all_served(&place, &[&leader, &two, &three]).await;
    assert_eq!(counter.add(1).await, Ok(2));
    assert_ne!(place.record().await.unwrap().leader.host, leader.name, "it follows now");

    // No seal is by the host that was stopped.
    let mut seals = 0;
    let store = place.store();
    for object in store.list("sessions").await.unwrap() {
        let Some(Key::Journal(..)) = keys::parse(&object.key) else { continue };
        let body = store.get(&object.key).await.unwrap();
        let Some(body) = body else { continue };
        if let JournalObject::Seal(seal) = batch::decode(&object.key, &body).unwrap() {
            assert_ne!(seal.by, leader.name, "{}", object.key);
            seals += 1;
        }
    }
    assert!(seals >= 1, "its own session was sealed");
    // Long enough for it to act on old suspicions: it ticks at least this often.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_ne!(place.record().await.unwrap().leader.host, leader.name);
}
