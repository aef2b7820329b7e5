//! What a host logs about connections: nothing about our own tools, and the reason for unknown peers.

use holocron::frame::{self, Frame, Hello, Versions};
use holocron_protocol::ids::ClusterId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::support::{Place, all_served, run, text, turn, until};

/// The offset of the newest version in a hello: after a header of 13 bytes and a magic of 4.
const VERSION_AT: usize = 17;
/// The offset of the oldest version: in the header, after the length and the kind.
const OLDEST_AT: usize = 5;

/// The lines of a log about connections.
fn about_connections(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("connection")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_our_own_tools_are_not_logged() {
    let _turn = turn().await;
    let place = Place::new();
    let (one, two) = (place.host("h1", &[]).await, place.host("h2", &[]).await);
    all_served(&place, &[&one, &two]).await;
    let url = place.url();
    let mut commands: Vec<Vec<&str>> = Vec::new();
    for _ in 0..20 {
        commands.push(vec!["status", "--store", &url]);
    }
    for key in ["a", "b", "c", "d", "e"] {
        commands.push(vec!["call", "--store", &url, "counter", key, "add", "1"]);
        commands.push(vec!["call", "--store", &url, "counter", key, "value"]);
    }
    commands.push(vec!["seal", "--store", &url, "h2"]);
    commands.push(vec!["probe", &url]);
    commands.push(vec!["status", "--store", &url, "--json"]);
    for arguments in commands {
        let output = run(&arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }
    for host in [one, two] {
        assert_eq!(about_connections(&host.log()), Vec::<&str>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_peers_are_logged_with_the_reason() {
    let _turn = turn().await;
    let place = Place::new();
    let host = place.host("h1", &[]).await;
    let elsewhere =
        Hello { cluster: Some(ClusterId::new(7)), who: "a host of another cluster".to_owned() };
    let mut hello = Vec::new();
    frame::put(&mut hello, &Frame::Hello(Versions::spoken(), Some(elsewhere))).unwrap();
    let mut newer = hello.clone();
    (newer[OLDEST_AT], newer[VERSION_AT]) = (98, 99);
    for (said, why) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "frame: "),
        (b"HLC".to_vec(), "the connection ended inside a frame"),
        (hello, "this host belongs to"),
        (newer, "upgrade release by release"),
    ] {
        let mut stream = TcpStream::connect(&host.address).await.unwrap();
        stream.write_all(&said).await.unwrap();
        stream.shutdown().await.unwrap();
        // Until the host closes the connection.
        drop(stream.read_to_end(&mut Vec::new()).await);
        until("it is logged", async || {
            let log = host.log();
            let lines = about_connections(&log);
            lines
                .iter()
                .any(|line| line.contains("turned away") && line.contains(why))
                .then_some(())
        })
        .await;
    }
    let before = about_connections(&host.log()).len();
    // A connection that closes without sending anything is a client that ended, or a health check.
    let silent = TcpStream::connect(&host.address).await.unwrap();
    drop(silent);
    assert!(host.status().await.is_some(), "it was accepted after the silent one");
    assert_eq!(about_connections(&host.log()).len(), before, "{}", host.log());
}
