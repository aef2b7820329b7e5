//! A load tool: durable commands through a gateway, beside a bare axum echo with the same clients, in turns.
//!
//! One process has the host on a directory, its gateway, the echo and the clients, so both are measured on what is left of the
//! machine.
//!
//! ```text
//! gateway-load [CONNECTIONS SECONDS ROUNDS]      512 5 3 if not given
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::{error::Error, sync::Arc};

use axum::{Router, routing::post};
use bytes::Bytes;
use holocron::Host;
use holocron_gateway::{Gateway, ServeSettings, register, serve};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Vnodes that the commands go to.
const VNODES: u64 = 1_000;
/// Load before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[holocron::vnode(kind = "counter")]
impl Counter {
    #[command]
    fn add(&mut self, n: u64) -> u64 {
        self.value += n;
        self.value
    }
}

/// What the clients do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// A post that comes back.
    Echo,
    /// A command.
    Command,
    /// A command under a key of its own.
    Keyed,
}

impl Load {
    fn request(self, client: usize, number: u64) -> String {
        let body = r#"{"n":1}"#;
        let vnode = (client as u64 * 7_919 + number) % VNODES;
        let path = match self {
            Self::Echo => "/echo".to_owned(),
            Self::Command | Self::Keyed => format!("/v1/vnodes/counter/v{vnode}/add"),
        };
        let key = match self {
            Self::Keyed => format!("idempotency-key: {client}-{number}\r\n"),
            Self::Echo | Self::Command => String::new(),
        };
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{key}content-length: {length}\r\n\r\n{body}"
        )
    }
}

/// What came of a load.
struct Rate {
    per_second: u64,
    p50_micros: u64,
    p99_micros: u64,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<u64> =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let (connections, seconds, rounds) = match arguments.as_slice() {
        [] => (512, 5, 3),
        [connections, seconds, rounds] => (*connections, *seconds, *rounds),
        _ => return Err("usage: gateway-load [CONNECTIONS SECONDS ROUNDS]".into()),
    };
    let connections = usize::try_from(connections)?;
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().display());
    let host = register(Host::builder(&url).vnode::<Counter>()).start().await?;
    let (gateway, echo) = (bind().await?, bind().await?);
    let (gateway_at, echo_at) = (gateway.local_addr()?, echo.local_addr()?);
    let built = Gateway::of_host(&host).build();
    tokio::spawn(serve(gateway, built, ServeSettings::default(), core::future::pending()));
    let app = Router::new().route("/echo", post(|body: Bytes| async { body }));
    tokio::spawn(async move { axum::serve(echo, app).await });
    while host.client().view().is_none() || host.status().slots_serving == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    let span = Duration::from_secs(seconds);
    println!("load      connections  requests/s   p50 ms   p99 ms  commits  of echo");
    for _ in 0..rounds {
        let mut bare = 0;
        for (name, load, to) in [
            ("echo", Load::Echo, echo_at),
            ("commands", Load::Command, gateway_at),
            ("keyed", Load::Keyed, gateway_at),
        ] {
            let before = host.status().progress.committed.get();
            let rate = measure(load, to, connections, span).await?;
            let commits = host.status().progress.committed.get() - before;
            if load == Load::Echo {
                bare = rate.per_second;
            }
            println!(
                "{name:<9} {connections:>11} {:>11} {:>8.2} {:>8.2} {commits:>8} {:>8.2}",
                rate.per_second,
                in_millis(rate.p50_micros),
                in_millis(rate.p99_micros),
                ratio(rate.per_second, bare)
            );
        }
    }
    let alone = measure(Load::Command, gateway_at, 1, span).await?;
    let keyed = measure(Load::Keyed, gateway_at, 1, span).await?;
    println!(
        "one connection: p50 {:.2} ms without a key, {:.2} ms with one",
        in_millis(alone.p50_micros),
        in_millis(keyed.p50_micros)
    );
    host.leave().await;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn in_millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ratio(rate: u64, of: u64) -> f64 {
    rate as f64 / of.max(1) as f64
}

async fn bind() -> Outcome<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

/// Runs one load for a while.
async fn measure(load: Load, to: SocketAddr, connections: usize, span: Duration) -> Outcome<Rate> {
    let (counts, ends) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let done = Arc::new(AtomicU64::new(0));
    // Keys of one run are not those of another.
    let first = u64::from(std::process::id()) << 32 | u64::from(rand_part());
    let clients: Vec<_> = (0..connections)
        .map(|client| {
            let (counts, ends, done) = (Arc::clone(&counts), Arc::clone(&ends), Arc::clone(&done));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(to).await?;
                stream.set_nodelay(true)?;
                let (mut took, mut buffer, mut number) = (Vec::new(), vec![0; 4_096], first);
                while !ends.load(Ordering::Relaxed) {
                    number += 1;
                    let began = Instant::now();
                    stream.write_all(load.request(client, number).as_bytes()).await?;
                    read_answer(&mut stream, &mut buffer).await?;
                    if counts.load(Ordering::Relaxed) {
                        done.fetch_add(1, Ordering::Relaxed);
                        took.push(u64::try_from(began.elapsed().as_micros())?);
                    }
                }
                Outcome::Ok(took)
            })
        })
        .collect();
    sleep(WARM_UP).await;
    counts.store(true, Ordering::Relaxed);
    let began = Instant::now();
    sleep(span).await;
    let millis = u64::try_from(began.elapsed().as_millis())?;
    let per_second = done.load(Ordering::Relaxed) * 1_000 / millis.max(1);
    ends.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await??);
    }
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(0);
    Ok(Rate { per_second, p50_micros: at(50), p99_micros: at(99) })
}

/// A number that differs from run to run of this process.
fn rand_part() -> u32 {
    static NEXT: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1 << 24, Ordering::Relaxed)
}

/// Reads one answer, which must be a success with a length.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Outcome<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("the connection was closed".into());
        }
        filled += read;
        let text = core::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(Ok(0), |(_, length)| length.parse::<usize>())?;
        if body.len() >= length {
            if !head.starts_with("HTTP/1.1 200") {
                return Err(text.to_owned().into());
            }
            return Ok(());
        }
    }
}
