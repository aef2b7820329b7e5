//! Measures calls over loopback TCP to a host that answers at once. Run by hand:
//! `cargo test --release -p holocron -- --ignored --nocapture speed`.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    api::call::{Answer, Call, Format, Outcome, ReplyTo},
    transport::fake::{CLUSTER, answer, body, view},
    transport::{
        net::Tcp,
        peer::{PeerMessage, PeerReply},
        server::{self, Limits},
    },
};

const CALLS: usize = 1_000_000;

/// Answers every call with its own body.
#[derive(Debug)]
struct Echo(watch::Sender<Option<View>>);

#[async_trait]
impl Serve for Echo {
    fn cluster(&self) -> ClusterId {
        CLUSTER
    }

    fn call(&self, call: Call, reply: ReplyTo) {
        reply.send(Answer { ..answer(1, 1, Outcome::Reply(call.body)) });
    }

    async fn peer(&self, _: PeerMessage) -> PeerReply {
        PeerReply::Noted
    }

    fn views(&self) -> watch::Receiver<Option<View>> {
        self.0.subscribe()
    }
}

#[ignore = "measures; says nothing right or wrong"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed() {
    let listener = Tcp.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    let view = view(&[("a", &address)], "a");
    let echo = Arc::new(Echo(watch::channel(Some(view)).0));
    let stop = CancellationToken::new();
    tokio::spawn(server::run(listener, echo, Limits::default(), stop));
    let client = Client::new(ClientParts {
        network: Arc::new(Tcp),
        seeds: vec![address],
        views: None,
        local: None,
        cluster: None,
        random: Random::from_seed(1),
        in_flight_max: IN_FLIGHT_MAX_DEFAULT,
    });
    client.ready().await.unwrap();
    for mode in [Mode::Command, Mode::Query] {
        for callers in [1, 64, 512, 4096] {
            let calls = if callers == 1 { CALLS / 50 } else { CALLS } / callers;
            let started = Instant::now();
            let tasks: Vec<_> = (0..callers)
                .map(|caller| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        let name = VnodeName::new("kind", &format!("key {caller}")).unwrap();
                        for _ in 0..calls {
                            let bytes = body("twenty-four bytes, yes!!");
                            let body = Body { format: Format::Bincode, bytes };
                            client.call(&name, mode, body, DEADLINE_DEFAULT).await.unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let taken = started.elapsed();
            let rate = (calls * callers) as f64 / taken.as_secs_f64();
            println!("{mode:?}, {callers} callers: {rate:.0} calls/s");
        }
    }
}
