//! A load tool: one client process with many callers, on many vnodes of three hosts.
//!
//! It starts three hosts on a directory store below the temporary directory, waits until each serves slots, and lets the
//! callers add 1 to counters for some seconds, one command at a time each. It prints durable commands per second and
//! latencies, and checks that the counters show what was acknowledged. Several programs, such as two builds to compare,
//! take turns.
//!
//! ```text
//! many-callers ROUNDS HOLOCRON...
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{
    error::Error,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command as Process, Stdio},
};

use holocron::{CallError, Client};
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
        return Err("usage: many-callers ROUNDS HOLOCRON...".into());
    };
    println!("commands/s  p50 ms  p99 ms  counters  program");
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
    let mut hosts = Vec::new();
    for name in HOSTS {
        hosts.push(start_host(program, folder.path(), name)?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(load(url(folder.path())));
    for host in &mut hosts {
        host.kill()?;
        host.wait()?;
    }
    measured
}

fn url(folder: &Path) -> String {
    format!("file://{}/store", folder.display())
}

fn start_host(program: &str, folder: &Path, name: &str) -> Outcome<Child> {
    let mut host = Process::new(program)
        .args(["host", "--end-with-parent", "--name", name, "--store", &url(folder)])
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
async fn load(url: String) -> Outcome<String> {
    let client = Client::connect(&url).await?.with_deadline(DEADLINE);
    // Every vnode is active and the slots are where they will stay.
    for number in 0..VNODES {
        client.get::<Counter>(&key(number)).value().await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
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
    Ok(format!("{rate:>10}  {:>6}  {:>6}  {counters:>8}", tenths(at(500)), tenths(at(990))))
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
