//! `--kill drain` and `--kill rolling`: hosts that are stopped in order and started again under their names, under load.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::ids::HostName;
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    AFTERWARDS, Arguments, KillWith, Outcome,
    cluster::{Cluster, Place},
    end_load, failure,
    history::Faults,
    latency::Latency,
    progress::Progress,
};
use crate::{exit::Fail, table::thousands};

/// How long a host may take to hand over and exit after SIGTERM. It gives up after 30 s by itself.
const GONE_WITHIN: Duration = Duration::from_secs(40);
/// Time between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// One restart.
#[derive(Clone, Debug, Serialize)]
struct Restart {
    host: String,
    led: bool,
    /// Vnodes under load that it owned.
    vnodes: usize,
    /// From SIGTERM to the end of the process.
    stopped_ms: f64,
    /// From the start of the next process until every host serves its share.
    back_ms: f64,
    /// The calls that ended meanwhile.
    calls: Latency,
}

/// The results. Times in milliseconds.
#[derive(Clone, Debug, Serialize)]
struct Report {
    hosts: usize,
    vnodes: usize,
    restarts: Vec<Restart>,
    acknowledged: u64,
    queries: u64,
    lost: u64,
    doubled: u64,
    stale_reads: u64,
    failed_calls: u64,
    unclear_calls: u64,
    unread: usize,
    /// All calls that ended during a restart.
    calls: Latency,
}

/// The whole demo: hosts, load, restarts, final check.
pub(super) async fn play(arguments: &Arguments, place: &Place, run: &str) -> Result<Outcome, Fail> {
    eprintln!("{} hosts on {}", arguments.hosts, place.url);
    let mut cluster = Cluster::start(arguments, place, run).await?;
    let progress = Progress::begin();
    progress.say(&format!("{} vnodes, every slot is served", thousands(arguments.vnodes as u64)));
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let load = tokio::spawn(Arc::clone(&cluster.load).run(stop.clone()));
    let lines = tokio::spawn(progress.follow(Arc::clone(&cluster.load), cluster.client.clone()));

    sleep(Duration::from_millis(arguments.seconds * 500)).await;
    let mut restarts = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..arguments.rounds {
        let hosts: Vec<HostName> = match arguments.kill {
            KillWith::Rolling => cluster.processes.iter().map(|host| host.name.clone()).collect(),
            KillWith::Drain | KillWith::Sigkill | KillWith::Sigstop => {
                vec![failure::choose(&cluster, arguments.victim).await?]
            }
        };
        for host in hosts {
            let (restart, times) = restart(&mut cluster, &host, place, &progress).await?;
            restarts.push(restart);
            calls.extend(times);
        }
    }
    sleep(AFTERWARDS).await;
    end_load(load, &stop).await?;
    lines.abort();
    progress.say("the load ends; every vnode is read and checked");
    let unread = cluster.load.read_all().await;
    let faults = cluster.load.faults().await;
    cluster.all_live(None)?;
    let report = report(&cluster, restarts, faults, Latency::of(&mut calls));
    Ok(Report { unread, ..report }.outcome())
}

/// Stops a host with SIGTERM and starts it again. Also returns how long each call took meanwhile.
async fn restart(
    cluster: &mut Cluster,
    host: &HostName,
    place: &Place,
    progress: &Progress,
) -> Result<(Restart, Vec<Duration>), Fail> {
    let record = cluster.view().await?.record;
    let led = record.leader.host == *host;
    let vnodes = cluster.load.places_of(host, &record).len();
    drop(cluster.load.take_times());
    let at = Instant::now();
    cluster.process(host)?.signal(Signal::TERM)?;
    while cluster.process(host)?.ended().is_none() {
        if at.elapsed() > GONE_WITHIN {
            return Err(Fail::failed(format!(
                "{host} has not exited {GONE_WITHIN:?} after SIGTERM"
            )));
        }
        sleep(LOOK_EVERY).await;
    }
    let stopped_ms = millis(at.elapsed());
    let again = Instant::now();
    cluster.start_again(host, &place.common()).await?;
    cluster.all_served().await?;
    let back_ms = millis(again.elapsed());
    let mut times = cluster.load.take_times();
    let calls = Latency::of(&mut times);
    progress.say(&format!(
        "SIGTERM to {host}: gone after {stopped_ms:.0} ms, back and serving after {back_ms:.0} ms; longest call {:.0} ms",
        calls.longest_ms
    ));
    Ok((Restart { host: host.to_string(), led, vnodes, stopped_ms, back_ms, calls }, times))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn report(cluster: &Cluster, restarts: Vec<Restart>, faults: Faults, calls: Latency) -> Report {
    let tally = cluster.load.tally();
    if let Some(failure) = tally.newest_failure() {
        eprintln!("newest failed call: {failure}");
    }
    Report {
        hosts: cluster.processes.len(),
        vnodes: cluster.load.vnodes(),
        restarts,
        acknowledged: tally.acknowledged(),
        queries: tally.queries(),
        lost: faults.lost,
        doubled: faults.doubled,
        stale_reads: faults.stale,
        failed_calls: tally.failed(),
        unclear_calls: tally.unclear(),
        unread: 0,
        calls,
    }
}

impl Report {
    fn outcome(&self) -> Outcome {
        let broken = (self.lost + self.doubled + self.stale_reads > 0).then(|| {
            format!(
                "{} acknowledged commands lost, {} doubled, {} reads stale",
                self.lost, self.doubled, self.stale_reads
            )
        });
        Outcome {
            broken,
            unread: self.unread,
            json: serde_json::to_string(self).expect("a report is plain data"),
            text: self.as_text(),
        }
    }

    fn as_text(&self) -> String {
        let mut restarts: BTreeMap<&str, u32> = BTreeMap::new();
        for restart in &self.restarts {
            *restarts.entry(&restart.host).or_default() += 1;
        }
        let restarted: Vec<String> =
            restarts.iter().map(|(host, count)| format!("{host} {count} times")).collect();
        let longest = |time: fn(&Restart) -> f64| {
            let longest = self.restarts.iter().map(time).fold(0.0, f64::max);
            format!("{longest:.0} ms at most")
        };
        let Latency { count, p50_ms, p99_ms, longest_ms } = self.calls;
        let rows = [
            ("restarted", restarted.join(", ")),
            ("gone after SIGTERM", longest(|restart| restart.stopped_ms)),
            ("back and serving after", longest(|restart| restart.back_ms)),
            ("calls meanwhile", thousands(count)),
            ("p50, p99, longest", format!("{p50_ms:.1}, {p99_ms:.1}, {longest_ms:.1} ms")),
            ("acknowledged", format!("{} commands", thousands(self.acknowledged))),
            ("lost", thousands(self.lost)),
            ("doubled", thousands(self.doubled)),
            (
                "stale reads",
                format!("{} of {}", thousands(self.stale_reads), thousands(self.queries)),
            ),
            (
                "failed calls",
                format!(
                    "{} ({} unclear)",
                    thousands(self.failed_calls),
                    thousands(self.unclear_calls)
                ),
            ),
        ];
        rows.into_iter().map(|(name, value)| format!("{name:<24}  {value}\n")).collect()
    }
}
