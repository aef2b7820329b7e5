//! A campaign: two members of an election as processes, whose leader is killed and stopped again and again.
//!
//! It starts two `holocron elect` processes on a store, and in each round ends the leadership of the one that leads: with SIGKILL
//! in the first half of the rounds (a new process takes its place), with SIGSTOP in the second half (it goes on when the
//! other leads). It measures how long it takes from the signal to the line by which the other member says that it leads. It
//! checks that no two members ever said that they lead the same epoch, that every token is larger than the one before, and
//! that the store holds one record of each epoch, each with the digest of the one before.
//!
//! ```text
//! elect-rounds ROUNDS LEASE URL HOLOCRON      for example 50 2s file:///tmp/e target/debug/holocron
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{collections::BTreeMap, error::Error, process::Stdio};

use holocron_protocol::epoch::{election_record::ElectionRecord, record::RecordDigest};
use holocron_store::{Below, Store};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// A member leads undisturbed for up to this many leases before its round begins, at random: so signals hit every phase.
const CALM_LEASES_MAX: f64 = 1.2;

/// A line of a member.
struct Said {
    at: Instant,
    member: usize,
    role: String,
    token: u64,
}

struct Campaign {
    program: String,
    url: String,
    lease: String,
    /// By number of its start.
    members: BTreeMap<usize, Child>,
    started: usize,
    said: mpsc::UnboundedReceiver<Said>,
    says: mpsc::UnboundedSender<Said>,
    /// Who said that it leads an epoch.
    leaders: BTreeMap<u64, usize>,
    /// The last role that each member said.
    roles: BTreeMap<usize, String>,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, lease, url, program] = arguments.as_slice() else {
        return Err("usage: elect-rounds ROUNDS LEASE URL HOLOCRON".into());
    };
    let calm = humantime::parse_duration(lease)?.mul_f64(CALM_LEASES_MAX);
    let (says, said) = mpsc::unbounded_channel();
    let mut campaign = Campaign {
        program: program.clone(),
        url: url.clone(),
        lease: lease.clone(),
        members: BTreeMap::new(),
        started: 0,
        said,
        says,
        leaders: BTreeMap::new(),
        roles: BTreeMap::new(),
    };
    campaign.start()?;
    campaign.start()?;
    let mut leader = campaign.next_leader(None).await?;
    for signal in [Signal::KILL, Signal::STOP] {
        let mut took = Vec::new();
        for _ in 0..rounds.parse::<u32>()? {
            campaign.other_follows(leader.0).await?;
            sleep(calm.mul_f64(rand::random())).await;
            let (next, span) = campaign.round(signal, leader).await?;
            took.push(span);
            leader = next;
        }
        took.sort();
        let (middle, worst) = (took[took.len() / 2], took[took.len() - 1]);
        let name = if signal == Signal::KILL { "SIGKILL" } else { "SIGSTOP" };
        println!(
            "{name}: {} rounds, next leader after p50 {} ms, worst {} ms (lease {lease})",
            took.len(),
            middle.as_millis(),
            worst.as_millis()
        );
    }
    let epochs = check_records(url).await?;
    println!(
        "{epochs} epochs, each with one leader and one record; every token larger than before"
    );
    Ok(())
}

impl Campaign {
    fn start(&mut self) -> Outcome<()> {
        let member = self.started;
        self.started += 1;
        let mut child = Command::new(&self.program)
            .args(["elect", "rounds", "--json", "--store", &self.url, "--lease", &self.lease])
            .args(["--name", &format!("m{member}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let says = self.says.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let at = Instant::now();
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                let role = line["role"].as_str().unwrap_or_default().to_owned();
                let token = line["token"].as_u64().unwrap_or_default();
                if says.send(Said { at, member, role, token }).is_err() {
                    return;
                }
            }
        });
        self.members.insert(member, child);
        Ok(())
    }

    /// Ends the leader's leadership; returns the next leader, with its token, and how long it took.
    async fn round(
        &mut self,
        signal: Signal,
        leader: (usize, u64),
    ) -> Outcome<((usize, u64), Duration)> {
        let began = Instant::now();
        self.signal(leader.0, signal)?;
        let (next, at) = self.next_leader_after(leader).await?;
        if signal == Signal::KILL {
            let mut killed = self.members.remove(&leader.0).expect("it was started");
            killed.wait().await?;
            self.roles.remove(&leader.0);
            self.start()?;
        } else {
            self.roles.remove(&leader.0);
            self.signal(leader.0, Signal::CONT)?;
        }
        Ok((next, at - began))
    }

    fn signal(&self, member: usize, signal: Signal) -> Outcome<()> {
        let id = self.members[&member].id().ok_or("a member has ended by itself")?;
        let id = Pid::from_raw(i32::try_from(id)?).ok_or("not a process id")?;
        Ok(kill_process(id, signal)?)
    }

    async fn next_leader(&mut self, before: Option<u64>) -> Outcome<(usize, u64)> {
        let none = (usize::MAX, before.unwrap_or_default());
        Ok(self.next_leader_after(none).await?.0)
    }

    async fn next_leader_after(
        &mut self,
        before: (usize, u64),
    ) -> Outcome<((usize, u64), Instant)> {
        loop {
            let said = self.hear().await?;
            if said.role == "leading" && said.member != before.0 {
                if said.token <= before.1 {
                    return Err(format!("token {} after {}", said.token, before.1).into());
                }
                return Ok(((said.member, said.token), said.at));
            }
        }
    }

    /// Waits until a member says that it follows the leader: else it might just be starting.
    async fn other_follows(&mut self, leader: usize) -> Outcome<()> {
        while !self.roles.iter().any(|(member, role)| *member != leader && role == "following") {
            self.hear().await?;
        }
        Ok(())
    }

    /// The next line; checks that an epoch has one leader.
    async fn hear(&mut self) -> Outcome<Said> {
        let said = timeout(PATIENCE, self.said.recv()).await?.ok_or("every member has ended")?;
        if said.role == "leading" {
            let first = *self.leaders.entry(said.token).or_insert(said.member);
            if first != said.member {
                return Err(
                    format!("m{first} and m{} lead epoch {}", said.member, said.token).into()
                );
            }
        }
        self.roles.insert(said.member, said.role.clone());
        Ok(said)
    }
}

/// Checks that the log is one chain; returns the number of its epochs.
async fn check_records(url: &str) -> Outcome<usize> {
    let store = Below::new(holocron_store::open(url, &[])?, "elections/rounds");
    let mut keys: Vec<String> =
        store.list("epochs").await?.into_iter().map(|object| object.key).collect();
    keys.sort();
    let mut digest = None;
    for (number, key) in (1..).zip(&keys) {
        let stored = store.get(key).await?.ok_or("a record has gone")?;
        let record = ElectionRecord::decode(key, &stored)?;
        if record.epoch.get() != number || record.previous != digest {
            return Err(format!("{key} doesn't continue the log").into());
        }
        digest = Some(RecordDigest::of(&stored));
    }
    Ok(keys.len())
}
