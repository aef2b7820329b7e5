//! A load tool: many client processes add to one counter at one host.
//!
//! It starts a host on a directory store below the temporary directory, then as many processes of itself as asked, each
//! a client that adds 1 repeatedly, one command at a time. It prints the throughput, the latencies and the fewest
//! commands of any client, and checks that the counter equals the acknowledged commands.
//!
//! ```text
//! many-clients HOLOCRON [CLIENTS,CLIENTS,... [SECONDS]]
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{
    error::Error,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command as Process, Stdio},
};

use holocron::{CallError, Client};
use holocron_kinds::{Counter, CounterClient as _, CounterQuery};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The key of the counter.
const KEY: &str = "hot";
/// How long one command may take before it counts as unclear.
const DEADLINE: Duration = Duration::from_secs(60);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["client", url, seconds] => in_runtime(client(url, seconds.parse()?)),
        [holocron] => measure(holocron, "1,30,100,400,1000", "5"),
        [holocron, clients] => measure(holocron, clients, "5"),
        [holocron, clients, seconds] => measure(holocron, clients, seconds),
        _ => Err("usage: many-clients HOLOCRON [CLIENTS,CLIENTS,... [SECONDS]]".into()),
    }
}

/// Runs `work` on one thread: a thousand processes share this machine.
fn in_runtime<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A client process: prints that it is connected, waits for a line, adds for `seconds`, and prints how many commands
/// ended unclear and how many microseconds each other command took.
async fn client(url: &str, seconds: u64) -> Outcome<()> {
    let client = Client::connect(url).await?.with_deadline(DEADLINE);
    let counter = client.get::<Counter>(KEY);
    // Opens the connection.
    counter.local_as::<i64>(CounterQuery::value()).await?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let (began, mut unclear, mut took) = (Instant::now(), 0, Vec::new());
    while began.elapsed() < Duration::from_secs(seconds) {
        let sent = Instant::now();
        match counter.add(1).await {
            Ok(_) => took.push(sent.elapsed().as_micros()),
            Err(CallError::Unclear) => unclear += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let took: Vec<String> = took.iter().map(ToString::to_string).collect();
    println!("{unclear} {}", took.join(" "));
    Ok(())
}

fn measure(holocron: &str, clients: &str, seconds: &str) -> Outcome<()> {
    println!("clients  commands/s  p50 ms  p99 ms  slowest ms  slowest/p50  fewest  counter");
    for clients in clients.split(',') {
        let folder = tempfile::tempdir()?;
        let mut host = start_host(holocron, folder.path())?;
        let measured = one_run(&url(folder.path()), clients.parse()?, seconds);
        host.kill()?;
        host.wait()?;
        println!("{}", measured?);
    }
    Ok(())
}

fn url(folder: &Path) -> String {
    format!("file://{}/store", folder.display())
}

fn start_host(holocron: &str, folder: &Path) -> Outcome<Child> {
    std::fs::create_dir(folder.join("store"))?;
    let mut host = Process::new(holocron)
        .args(["host", "--end-with-parent", "--name", "h1", "--store", &url(folder)])
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = host.stdout.take().ok_or("its output is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(host)
}

/// Runs this many clients. Returns a line of figures.
fn one_run(url: &str, clients: usize, seconds: &str) -> Outcome<String> {
    let mut children = Vec::new();
    for _ in 0..clients {
        let mut child = Process::new(std::env::current_exe()?)
            .args(["client", url, seconds])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("its output is piped")?);
        children.push((child, lines));
    }
    for (_, lines) in &mut children {
        let mut line = String::new();
        lines.read_line(&mut line)?;
    }
    for (child, _) in &mut children {
        child.stdin.as_mut().ok_or("its input is piped")?.write_all(b"go\n")?;
    }
    let (mut all, mut unclear, mut fewest) = (Vec::new(), 0, usize::MAX);
    for (mut child, mut lines) in children {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        unclear += words.next().ok_or("a client failed")?.parse::<usize>()?;
        let took = words.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        fewest = fewest.min(took.len());
        all.extend(took);
        child.wait()?;
    }
    all.sort_unstable();
    let counted =
        in_runtime(async { Ok(Client::connect(url).await?.get::<Counter>(KEY).value().await?) })?;
    let counted = usize::try_from(counted)?;
    let exact = (all.len()..=all.len() + unclear).contains(&counted);
    let counter = if exact { "exact".into() } else { format!("WRONG: {counted} of {}", all.len()) };
    let at = |share: usize| all.get(all.len() * share / 1000).copied().unwrap_or_default();
    let (p50, p99, slowest) = (at(500), at(990), all.last().copied().unwrap_or_default());
    Ok(format!(
        "{clients:>7}  {:>10}  {:>6}  {:>6}  {:>10}  {:>11}  {fewest:>6}  {counter}",
        all.len() as u64 / seconds.parse::<u64>()?.max(1),
        milliseconds(p50),
        milliseconds(p99),
        milliseconds(slowest),
        tenths(slowest, p50),
    ))
}

fn milliseconds(micros: u64) -> String {
    tenths(micros, 1_000)
}

fn tenths(number: u64, of: u64) -> String {
    let tenths = number * 10 / of.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}
