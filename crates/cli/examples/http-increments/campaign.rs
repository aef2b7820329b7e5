//! The campaign: hosts as processes, workers that post, and a victim.
//!
//! Two of three keys begin at a gateway that survives, the third at the victim's. What isn't answered is sent again, under the
//! same key, to the next gateway.

use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::{
    error::Error,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Workers, each of which posts one increment after the other.
const WORKERS: usize = 16;
/// Counters that they add to.
const COUNTERS: usize = 100;
/// How long the victim stays stopped: long enough to be suspected and sealed.
const STOPPED: Duration = Duration::from_secs(3);
/// The place of the victim among the gateways.
const VICTIM: usize = 2;
/// Time of load between two failures.
const BETWEEN: Duration = Duration::from_secs(2);
/// How long one request may take before its key is sent to the next gateway: longer than a takeover, shorter than a stop.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before a key is sent again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a cluster may take to begin, or to be whole again.
const SOON: Duration = Duration::from_secs(60);

/// What to do.
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) kills: u32,
    pub(crate) stops: u32,
}

/// What came of it.
pub(crate) struct Report {
    pub(crate) keys: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Requests beyond the first of a key.
    pub(crate) retries: u64,
    /// From the first request of a key to its outcome, in microseconds, in order: of keys that began at a survivor.
    pub(crate) at_survivors: Vec<u64>,
    /// The same, of keys that began at the victim.
    pub(crate) at_victim: Vec<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, lost, doubled, retries, at_survivors, at_victim } = self;
        writeln!(f, "{keys} keys, {lost} lost, {doubled} doubled, {retries} retries")?;
        writeln!(f, "keys that began at a survivor: {}", Spread(at_survivors))?;
        write!(f, "keys that began at the victim: {}", Spread(at_victim))
    }
}

/// Times in order, for people.
struct Spread<'a>(&'a [u64]);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent: usize| {
            let at = self.0.len().saturating_sub(1) * percent / 100;
            Duration::from_micros(self.0.get(at).copied().unwrap_or(0))
        };
        write!(f, "p50 {:.1?}, p99 {:.1?}, worst gap {:.1?}", at(50), at(99), at(100))
    }
}

/// A host process.
struct Node {
    process: Child,
    http: String,
}

impl Node {
    fn start(program: &Path, folder: &Path, (name, http): (&str, &str)) -> Outcome<Self> {
        let mut process = Command::new(program)
            .args(["host", "--json", "--end-with-parent", "--http", http, "--name", name])
            .args(["--store", &format!("file://{}", folder.display())])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let said: serde_json::Value = serde_json::from_str(&line)?;
        let http = said["http"].as_str().ok_or("it serves no HTTP")?.to_owned();
        Ok(Self { process, http })
    }

    fn signal(&self, signal: Signal) -> Outcome<()> {
        Ok(kill_process(Pid::from_child(&self.process), signal)?)
    }

    fn kill(&mut self) -> Outcome<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.kill());
    }
}

/// What the workers share.
struct Work {
    /// The victim's is the last.
    gateways: [String; 3],
    ends: AtomicBool,
    retries: AtomicU64,
}

/// Runs the campaign.
pub(crate) async fn run(plan: &Plan) -> Outcome<Report> {
    let folder = tempfile::tempdir()?;
    let start = |name: &str, http: &str| Node::start(&plan.program, folder.path(), (name, http));
    let any = "127.0.0.1:0";
    let (one, other) = (start("h1", any)?, start("h2", any)?);
    let mut victim = start("h3", any)?;
    // Its clients find it at the same address after each start.
    let at = victim.http.clone();
    for node in [&one, &other, &victim] {
        until_ready(&node.http).await?;
    }
    let gateways = [one.http.clone(), other.http.clone(), at.clone()];
    let work = Arc::new(Work { gateways, ends: false.into(), retries: 0.into() });
    let workers: Vec<_> =
        (0..WORKERS).map(|worker| tokio::spawn(post_all(Arc::clone(&work), worker))).collect();
    sleep(BETWEEN).await;
    for round in 0..plan.kills.max(plan.stops) {
        if round < plan.kills {
            victim.kill()?;
            sleep(BETWEEN).await;
            victim = start("h3", &at)?;
            until_ready(&victim.http).await?;
            sleep(BETWEEN).await;
        }
        if round < plan.stops {
            victim.signal(Signal::STOP)?;
            sleep(STOPPED).await;
            victim.signal(Signal::CONT)?;
            until_ready(&victim.http).await?;
            sleep(BETWEEN).await;
        }
    }
    work.ends.store(true, Ordering::Relaxed);
    let (mut counted, mut at_survivors, mut at_victim) = ([0; COUNTERS], Vec::new(), Vec::new());
    for worker in workers {
        for Done { counter, gateway, micros } in worker.await?? {
            counted[counter] += 1;
            if gateway == VICTIM { &mut at_victim } else { &mut at_survivors }.push(micros);
        }
    }
    at_survivors.sort_unstable();
    at_victim.sort_unstable();
    let (mut lost, mut doubled) = (0, 0);
    for (counter, expected) in counted.iter().enumerate() {
        let value = value_of(&one.http, counter).await?;
        lost += u64::saturating_sub(*expected, value);
        doubled += value.saturating_sub(*expected);
    }
    let retries = work.retries.load(Ordering::Relaxed);
    let keys = (at_survivors.len() + at_victim.len()) as u64;
    Ok(Report { keys, lost, doubled, retries, at_survivors, at_victim })
}

/// An increment that has an outcome.
struct Done {
    counter: usize,
    /// Where it began.
    gateway: usize,
    micros: u64,
}

/// Posts one increment after the other.
async fn post_all(work: Arc<Work>, worker: usize) -> Outcome<Vec<Done>> {
    let mut done = Vec::new();
    let mut number = 0_usize;
    while !work.ends.load(Ordering::Relaxed) {
        number += 1;
        let counter = (worker * 31 + number) % COUNTERS;
        let head = format!(
            "POST /v1/vnodes/counter/c{counter}/add HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\nidempotency-key: {worker}-{number}\r\ncontent-length: 12\r\n\r\n{{\"amount\":1}}"
        );
        let began = Instant::now();
        let first = number % 3;
        let mut gateway = first;
        loop {
            match ask(&work.gateways[gateway], &head).await {
                Ok((200, _)) => break,
                Ok((status, body)) if status < 500 && status != 429 => {
                    return Err(format!("{status}: {body}").into());
                }
                Ok(_) | Err(_) => {}
            }
            // The same key, at the next gateway.
            work.retries.fetch_add(1, Ordering::Relaxed);
            gateway = (gateway + 1) % 3;
            sleep(AGAIN).await;
        }
        let micros = u64::try_from(began.elapsed().as_micros())?;
        done.push(Done { counter, gateway: first, micros });
    }
    Ok(done)
}

async fn value_of(gateway: &str, counter: usize) -> Outcome<u64> {
    let head = format!(
        "GET /v1/vnodes/counter/c{counter}/value HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    );
    let began = Instant::now();
    loop {
        match ask(gateway, &head).await {
            Ok((200, body)) => return Ok(body.parse()?),
            other if began.elapsed() > SOON => return Err(format!("{other:?}").into()),
            _ => sleep(AGAIN).await,
        }
    }
}

async fn until_ready(gateway: &str) -> Outcome<()> {
    let head = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let began = Instant::now();
    loop {
        match ask(gateway, head).await {
            Ok((200, _)) => return Ok(()),
            other if began.elapsed() > SOON => return Err(format!("{other:?}").into()),
            _ => sleep(AGAIN).await,
        }
    }
}

/// One request on a connection of its own: status and body.
async fn ask(gateway: &str, request: &str) -> Outcome<(u16, String)> {
    let asking = async {
        let mut stream = TcpStream::connect(gateway).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok((status, body.to_owned()))
    };
    timeout(TIMEOUT, asking).await?
}
