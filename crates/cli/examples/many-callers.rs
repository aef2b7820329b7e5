//! A load tool: one client process with many callers, on many vnodes of three hosts.
//!
//! It starts three hosts on a directory store below the temporary directory, waits until each serves slots, and lets the
//! callers add 1 to counters for some seconds, one command at a time each. It prints durable commands per second and
//! latencies, the median time to open a connection, and checks that the counters show what was acknowledged. Several programs,
//! such as two builds to compare, take turns; one behind `tls:` runs with TLS.
//!
//! ```text
//! many-callers ROUNDS HOLOCRON... tls:HOLOCRON...
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{
    error::Error,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    sync::Arc,
};

use holocron::{
    CallError, Client, Tls, TlsFiles,
    frame::Hello,
    link::Link,
    net::{Network, Tcp},
};
use holocron_kinds::{Counter, CounterClient as _};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
const CALLERS: u64 = 512;
const VNODES: u64 = 1_000;
/// Seconds of load before anything is counted.
const WARM_UP: u64 = 2;
/// Seconds of load that are counted.
const SECONDS: u64 = 6;
/// How long one command may take before it counts as unclear.
const DEADLINE: Duration = Duration::from_secs(30);

/// Connections that are opened to measure how long it takes.
const CONNECTIONS: usize = 200;
/// How a program is marked that is to run with TLS.
const WITH_TLS: &str = "tls:";

/// What one caller did.
#[derive(Default)]
struct Done {
    /// Microseconds of each command that was counted.
    took: Vec<u64>,
    acknowledged: u64,
    unclear: u64,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, programs @ ..] = arguments.as_slice() else {
        return Err("usage: many-callers ROUNDS HOLOCRON... tls:HOLOCRON...".into());
    };
    println!("commands/s  p50 ms  p99 ms  connect ms  counters  program");
    for _ in 0..rounds.parse::<u32>()? {
        for program in programs {
            println!("{}  {program}", measure(program)?);
        }
    }
    Ok(())
}

fn measure(program: &str) -> Outcome<String> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("store"))?;
    let tls = match program.strip_prefix(WITH_TLS) {
        Some(program) => Some(certificates(program, folder.path())?),
        None => None,
    };
    let program = program.strip_prefix(WITH_TLS).unwrap_or(program);
    let mut hosts = Vec::new();
    for name in HOSTS {
        hosts.push(start_host(program, folder.path(), name, tls.as_ref())?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(load(url(folder.path()), tls));
    for host in &mut hosts {
        host.kill()?;
        host.wait()?;
    }
    measured
}

fn url(folder: &Path) -> String {
    format!("file://{}/store", folder.display())
}

/// Makes certificates: one for every host, which the client uses too.
fn certificates(program: &str, folder: &Path) -> Outcome<TlsFiles> {
    let tls = folder.join("tls");
    for action in ["init", "host"] {
        let made = Process::new(program)
            .args(["cert", action])
            .arg(&tls)
            .stdout(Stdio::null())
            .status()?;
        if !made.success() {
            return Err(format!("cert {action} failed").into());
        }
    }
    let path = |file: &str| -> PathBuf { tls.join(file) };
    Ok(TlsFiles { authority: path("ca.pem"), certificate: path("host.pem"), key: path("host.key") })
}

fn start_host(program: &str, folder: &Path, name: &str, tls: Option<&TlsFiles>) -> Outcome<Child> {
    let mut host = Process::new(program);
    if let Some(files) = tls {
        host.arg("host").arg("--tls-ca").arg(&files.authority);
        host.arg("--tls-cert").arg(&files.certificate).arg("--tls-key").arg(&files.key);
    } else {
        host.arg("host");
    }
    let mut host = host
        .args(["--end-with-parent", "--name", name, "--store", &url(folder)])
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = host.stdout.take().ok_or("its output is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(host)
}

fn key(number: u64) -> String {
    format!("counter-{}", number % VNODES)
}

/// Puts load on the hosts. Returns a line of figures.
async fn load(url: String, tls: Option<TlsFiles>) -> Outcome<String> {
    let network: Arc<dyn Network> = match tls {
        Some(files) => Arc::new(Tls::open(&files)?),
        None => Arc::new(Tcp),
    };
    let client = Client::builder(&url).network(Arc::clone(&network)).connect().await?;
    let client = client.with_deadline(DEADLINE);
    // Every vnode is active and the slots are where they will stay.
    for number in 0..VNODES {
        client.get::<Counter>(&key(number)).value().await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let connect = connect_time(&client).await?;
    let callers: Vec<_> =
        (0..CALLERS).map(|caller| tokio::spawn(call(client.clone(), caller))).collect();
    let (mut took, mut acknowledged, mut unclear) = (Vec::new(), 0, 0);
    for caller in callers {
        let done = caller.await??;
        took.extend(done.took);
        acknowledged += done.acknowledged;
        unclear += done.unclear;
    }
    let mut counted = 0;
    for number in 0..VNODES {
        counted += client.get::<Counter>(&key(number)).value().await?;
    }
    let counted = u64::try_from(counted)?;
    let exact = (acknowledged..=acknowledged + unclear).contains(&counted);
    let counters = if exact { "exact" } else { "WRONG" };
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 1000).copied().unwrap_or_default();
    let rate = took.len() as u64 / SECONDS;
    Ok(format!(
        "{rate:>10}  {:>6}  {:>6}  {:>10.2}  {counters:>8}",
        tenths(at(500)),
        tenths(at(990)),
        connect.as_secs_f64() * 1_000.0
    ))
}

/// The median time to open a connection to a host, its hello included.
async fn connect_time(client: &Client) -> Outcome<Duration> {
    let record = client.ready().await?.record;
    let mut took = Vec::new();
    for _ in 0..CONNECTIONS {
        let began = Instant::now();
        let hello = Hello { cluster: None, who: "a load tool".to_owned() };
        let link = Link::open(&**client.network(), &record.leader.address, hello).await?;
        took.push(began.elapsed());
        drop(link);
    }
    took.sort_unstable();
    Ok(took[took.len() / 2])
}

/// Adds to one counter after the other.
async fn call(client: Client, caller: u64) -> Result<Done, CallError> {
    let (began, mut done) = (Instant::now(), Done::default());
    let (warm, end) = (Duration::from_secs(WARM_UP), Duration::from_secs(WARM_UP + SECONDS));
    let mut number = caller * 7;
    while began.elapsed() < end {
        number += 13;
        let sent = Instant::now();
        match client.get::<Counter>(&key(number)).add(1).await {
            Ok(_) => done.acknowledged += 1,
            Err(CallError::Unclear) => done.unclear += 1,
            Err(error) => return Err(error),
        }
        if began.elapsed() > warm {
            done.took.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
    Ok(done)
}

/// Milliseconds with one decimal.
fn tenths(micros: u64) -> String {
    format!("{}.{}", micros / 1_000, micros % 1_000 / 100)
}
