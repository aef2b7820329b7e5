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
    latency::Latency,
    progress::Progress,
    totals::Totals,
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
    #[serde(flatten)]
    totals: Totals,
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
    let report = Report {
        hosts: cluster.processes.len(),
        vnodes: cluster.load.vnodes(),
        restarts,
        totals: Totals::of(cluster.load.tally(), &faults, unread),
        calls: Latency::of(&mut calls),
    };
    Ok(report.totals.outcome(&report, report.rows()))
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

impl Report {
    fn rows(&self) -> Vec<(&'static str, String)> {
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
        vec![
            ("restarted", restarted.join(", ")),
            ("gone after SIGTERM", longest(|restart| restart.stopped_ms)),
            ("back and serving after", longest(|restart| restart.back_ms)),
            ("calls meanwhile", thousands(count)),
            ("p50, p99, longest", format!("{p50_ms:.1}, {p99_ms:.1}, {longest_ms:.1} ms")),
        ]
    }
}
