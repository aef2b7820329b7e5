//! Watching over HTTP: events of commits, across hosts and gateways.

use core::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Node, SOON, ask, folder, post};

const ITEMS: &str = "/v1/vnodes/cart/alice/items";
const ADD: &str = "/v1/vnodes/cart/alice/add";

/// A stream of events.
struct Events(BufReader<TcpStream>);

/// An event: its id and its data.
type Event = (u64, String);

impl Events {
    async fn of(to: SocketAddr, last: Option<u64>) -> Self {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {ITEMS} HTTP/1.1\r\nhost: {to}\r\naccept: text/event-stream\r\n{last}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        let (mut id, mut data) = (None, None);
        loop {
            let mut line = String::new();
            let read = timeout(SOON, self.0.read_line(&mut line)).await.expect("an event comes");
            if read.unwrap() == 0 {
                return None;
            }
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.trim().parse().ok();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(text.trim().to_owned());
            }
            if let (Some(id), Some(data)) = (id, data.clone()) {
                return Some((id, data));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_commits_across_a_move_and_goes_on_at_another_gateway() {
    let folder = folder();
    let one = Node::start(&folder, "h1").await;
    assert_eq!(post(one.http, ADD, r#"["tea",1]"#).await.status, 200);
    let mut events = Events::of(one.http, None).await;
    let (first, data) = events.next().await.unwrap();
    assert_eq!(data, r#"{"tea":1}"#);
    // Half of the slots move to it.
    let mut other = Node::start(&folder, "h2").await;
    one.until_ready().await;
    assert_eq!(post(other.http, ADD, r#"["tea",1]"#).await.status, 200);
    let (second, data) = events.next().await.unwrap();
    assert!(second > first, "{second} after {first}");
    assert_eq!(data, r#"{"tea":2}"#);
    let mut resumed = Events::of(other.http, Some(first)).await;
    assert_eq!(resumed.next().await.unwrap(), (second, data));
    assert_eq!(post(one.http, ADD, r#"["tea",1]"#).await.status, 200);
    assert_eq!(resumed.next().await.unwrap().1, r#"{"tea":3}"#);
    // The host may have had the vnode: whoever has it then shows the next commit.
    other.crash().await;
    assert_eq!(post(one.http, ADD, r#"["tea",1]"#).await.status, 200);
    let mut last = events.next().await.unwrap();
    while last.1 != r#"{"tea":4}"# {
        last = events.next().await.unwrap();
    }
    one.end_http();
    assert_eq!(events.next().await, None, "the gateway ends its watches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_watch_is_said_by_a_status() {
    let folder = folder();
    let node = Node::start(&folder, "h1").await;
    let events = "accept: application/json;q=0.1, text/event-stream\r\n";
    let unknown = ask(node.http, "GET", "/v1/vnodes/cart/alice/nothing", events, "").await;
    assert_eq!(unknown.problem().0, "unknown-call");
    let missing = ask(node.http, "GET", "/v1/vnodes/cart/alice/count", events, "").await;
    assert_eq!(missing.problem().0, "rejected");
    let headers = format!("{events}last-event-id: x\r\n");
    let malformed = ask(node.http, "GET", ITEMS, &headers, "").await;
    assert_eq!(malformed.problem().0, "malformed");
}
