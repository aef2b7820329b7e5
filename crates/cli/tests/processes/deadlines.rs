//! A deadline bounds a whole command, connecting included, with any fault of the store or the hosts.

use core::{net::SocketAddr, time::Duration};

use rustix::process::Signal;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::support::{Place, all_served, run, text, turn};

/// Allowed beyond the deadline of 1 s: the start and end of a process on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// Each subcommand that has a deadline, on a store, with 1 s.
fn commands(url: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["call", "--deadline=1", "--store", url, "counter", "c", "add", "1"],
        vec!["call", "--deadline=1", "--store", url, "counter", "c", "value"],
        vec!["status", "--deadline=1", "--store", url],
        vec!["seal", "--deadline=1", "--store", url, "h1"],
        vec!["probe", "--deadline=1", url],
        vec!["history", "--deadline=1", "--store", url],
        vec!["explain", "--deadline=1", "--store", url, "counter", "c"],
    ]
}

/// Runs a command with a deadline of 1 s. Returns its exit code and output.
async fn in_time(arguments: &[&str]) -> (Option<i32>, String) {
    let started = Instant::now();
    let output = run(arguments).await;
    let took = started.elapsed();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(took < Duration::from_secs(1) + SLACK, "{arguments:?} took {took:?}: {said}");
    (output.status.code(), said)
}

/// Every command on a store at this endpoint ends in time with exit code 5.
async fn all_in_time(endpoint: &str) {
    let endpoint = format!("--option=endpoint={endpoint}");
    let options = [
        &endpoint,
        "--option=allow_http=true",
        "--option=region=nowhere",
        "--option=access_key_id=x",
        "--option=secret_access_key=x",
    ];
    for mut arguments in commands("s3://bucket/prefix") {
        arguments.extend(options);
        let (code, said) = in_time(&arguments).await;
        assert_eq!(code, Some(5), "{arguments:?}: {said}");
        assert!(said.contains("within 1s"), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_store_that_refuses_connections_keep_the_deadline() {
    let _turn = turn().await;
    // No server listens at port 1.
    all_in_time("http://127.0.0.1:1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_store_that_never_answers_keep_the_deadline() {
    let _turn = turn().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taking = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    all_in_time(&format!("http://{address}")).await;
    // The same with TLS.
    all_in_time(&format!("https://{address}")).await;
    taking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_store_whose_packets_are_dropped_keep_the_deadline() {
    let _turn = turn().await;
    let hole = BlackHole::open().await;
    all_in_time(&format!("http://{}", hole.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_to_hosts_that_do_not_answer_keep_the_deadline() {
    let _turn = turn().await;
    let place = Place::new();
    let host = place.host("h1", &[]).await;
    all_served(&place, &[&host]).await;
    host.signal(Signal::STOP);
    let url = place.url();
    for (arguments, code) in commands(&url).into_iter().zip([5, 5, 0, 5, 0, 0, 0]) {
        let (ended, said) = in_time(&arguments).await;
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        if arguments[0] == "status" {
            assert!(said.contains("h1 did not answer"), "{said}");
        }
        if arguments[0] == "explain" {
            assert!(said.contains("unknown: the owner gives no answer"), "{said}");
        }
    }
    host.signal(Signal::CONT);
}

/// An address that neither accepts nor refuses connections: its queue is full, so the kernel drops packets.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(connected) =
            timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            queue.push(connected.unwrap());
        }
        Self { address, _listener: listener, _queue: queue }
    }
}
