//! `holocron demo`: a failover to watch. It starts some hosts and a load, makes one host fail in the middle, and
//! reports what moved, how long callers waited, and whether every acknowledged command took effect exactly once.

mod alarm;
mod clean_up;
mod cluster;
mod failure;
mod history;
mod latency;
mod load;
mod network;
mod pinned;
mod process;
mod progress;
mod report;
mod restart;
mod target;
mod totals;

use core::time::Duration;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use holocron_protocol::ids::HostName;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{
    alarm::Alarm,
    cluster::{Cluster, Place, fresh_word},
    failure::{FailedHost, TakenOver},
    network::Cuttable,
    pinned::PinnedCaller,
    progress::Progress,
    report::Report,
    totals::Totals,
};
use crate::{
    exit::{self, Fail, Failure},
    signals::Signals,
    store::StoreOptions,
    table::thousands,
};

/// Time between two cuts of the callers' connections, before the failure. Commands in flight are then sent again, and
/// must not take effect twice.
const CUT_EVERY: Duration = Duration::from_millis(700);
/// How long the load continues at least after every vnode is served again.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// How long the last calls of the load may take: their deadline and some slack.
const LAST_CALLS_WITHIN: Duration = Duration::from_secs(15);

/// Run a cluster under load, kill a host, and check every command
///
/// Starts hosts as processes on one directory, and load on thousands of vnodes. One host is sealed by mistake, and
/// later another is killed. In the end every vnode is read and compared with the replies: no acknowledged command may
/// be missing, and no command may have taken effect twice.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
Fails with exit code 3 if a command was lost or doubled or a read was stale. Fails with exit code 1 if the failure could
not be made hard enough: when it fails, the victim must own a quarter of the vnodes, with 100 commands in flight and 2
packs.

Examples:
  holocron demo
  holocron demo --victim leader --kill sigstop --json
  holocron demo --kill rolling --rounds 20
  holocron demo --store s3://bucket/prefix --option endpoint=http://127.0.0.1:9000 --option allow_http=true"))]
pub(crate) struct Arguments {
    /// Host processes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number_in::<2, 16>)]
    hosts: usize,
    /// Vnodes under load.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = number_in::<500, 1_000_000>)]
    vnodes: usize,
    /// Seconds of load; the failure comes in the middle.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=3_600))]
    seconds: u64,
    /// How the victim fails, or is restarted.
    #[arg(long, value_enum, default_value_t = KillWith::Sigkill)]
    kill: KillWith,
    /// How often, with --kill drain or rolling.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Which host fails; not with --kill rolling.
    #[arg(long, value_enum, default_value_t = VictimKind::Any)]
    victim: VictimKind,
    /// Use this store, below a new prefix, instead of a temporary directory.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    options: StoreOptions,
    /// Keep the store and the hosts' logs. They are always kept if something was lost, doubled or stale.
    #[arg(long)]
    keep: bool,
    /// Print a JSON object instead of a table at the end.
    #[arg(long)]
    json: bool,
}

/// How the victim fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KillWith {
    /// The process ends at once.
    Sigkill,
    /// The process is stopped, fenced, and continued later.
    Sigstop,
    /// SIGTERM: the host hands over its slots and exits, and is started again under its name.
    Drain,
    /// The same with every host in turn.
    Rolling,
}

/// Which host fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VictimKind {
    /// A host that doesn't lead.
    Any,
    /// The leader.
    Leader,
}

fn number_in<const MIN: usize, const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (MIN..=MAX).contains(&number) => Ok(number),
        _ => Err(format!("a number from {MIN} to {MAX}")),
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let mut signals = Signals::new()?;
    let run = fresh_word();
    let mut place = Place::new(&arguments, &run)?;
    // Dropping the future ends the hosts.
    let played = tokio::select! {
        biased;
        () = signals.next() => Err(Fail::failed("interrupted")),
        played = outcome(&arguments, &place, &run) => played,
    };
    if played.as_ref().is_ok_and(|outcome| outcome.broken.is_some()) {
        // The store and the logs are needed to investigate.
        place.keep();
    }
    if let Some((url, logs)) = place.kept() {
        eprintln!("kept: {url}, logs in {}", logs.display());
    }
    // The verdict first: a failing clean-up doesn't change it.
    let verdict = played.and_then(|outcome| tell(&arguments, &outcome));
    tokio::select! {
        biased;
        () = signals.next() => eprintln!("interrupted: {} is not cleaned up", place.url),
        () = place.clean_up() => {}
    }
    verdict
}

/// What came of the demo.
struct Outcome {
    /// Which acknowledged commands are missing or took effect twice, or which reads were stale.
    broken: Option<String>,
    /// Vnodes that could not be read at the end.
    unread: usize,
    json: String,
    text: String,
}

async fn outcome(arguments: &Arguments, place: &Place, run: &str) -> Result<Outcome, Fail> {
    match arguments.kill {
        KillWith::Sigkill | KillWith::Sigstop => {
            Box::pin(play(arguments, place, run)).await.map(|report| report.outcome())
        }
        KillWith::Drain | KillWith::Rolling => Box::pin(restart::play(arguments, place, run)).await,
    }
}

/// Prints the report and returns the verdict.
fn tell(arguments: &Arguments, outcome: &Outcome) -> Result<(), Fail> {
    if arguments.json {
        println!("{}", outcome.json);
    } else {
        print!("\n{}", outcome.text);
    }
    if let Some(broken) = &outcome.broken {
        return Err(Fail::new(Failure::Broken, broken.clone()));
    }
    if outcome.unread > 0 {
        return Err(Fail::failed(format!(
            "{} vnodes could not be read at the end",
            outcome.unread
        )));
    }
    Ok(())
}

/// The whole demo: hosts, load, false alarm, failure, takeover, final check.
async fn play(arguments: &Arguments, place: &Place, run: &str) -> Result<Report, Fail> {
    eprintln!("{} hosts on {}", arguments.hosts, place.url);
    let mut cluster = Cluster::start(arguments, place, run).await?;
    let progress = Progress::begin();
    progress.say(&format!("{} vnodes, every slot is served", thousands(arguments.vnodes as u64)));
    let stop = CancellationToken::new();
    // The load ends with the demo, also on an error.
    let _ends = stop.clone().drop_guard();
    let load = tokio::spawn(Arc::clone(&cluster.load).run(stop.clone()));
    let lines = tokio::spawn(progress.follow(Arc::clone(&cluster.load), cluster.client.clone()));

    let half = Duration::from_millis(arguments.seconds * 500);
    cut_now_and_then(&cluster.network, half / 2).await;
    let alarm = alarm::raise(&mut cluster, arguments.victim, run, &progress).await?;
    cut_now_and_then(&cluster.network, half.saturating_sub(progress.elapsed())).await;
    cluster.all_served().await?;
    let victim = failure::choose(&cluster, arguments.victim).await?;
    let (failed_host, taken, rejoined) =
        fail(arguments, &mut cluster, &victim, run, &progress).await?;

    let rest = Duration::from_secs(arguments.seconds).saturating_sub(progress.elapsed());
    sleep(rest.max(AFTERWARDS)).await;
    end_load(load, &stop).await?;
    lines.abort();
    progress.say("the load ends; every vnode is read and checked");
    let mut unread = cluster.load.read_all().await;
    let mut faults = cluster.load.faults().await;
    let mut rejoined_ms = None;
    if let Some(Rejoined { ms, caller }) = rejoined {
        let (found, not_read) = caller.check().await;
        faults += found;
        unread += not_read;
        rejoined_ms = Some(ms);
    }
    let mut alarm_back_ms = None;
    if let Some(Alarm { back_ms, caller }) = alarm {
        let (found, not_read) = caller.check().await;
        faults += found;
        unread += not_read;
        alarm_back_ms = back_ms;
    }
    cluster.all_live((arguments.kill == KillWith::Sigkill).then_some(&victim))?;
    let totals = Totals::of(cluster.load.tally(), &faults, unread);
    let mut report = report(arguments, &failed_host, &taken, totals);
    report.rejoined_ms = rejoined_ms;
    report.alarm_back_ms = alarm_back_ms;
    Ok(report)
}

/// Ends the load and waits for its last calls.
async fn end_load(load: JoinHandle<()>, stop: &CancellationToken) -> Result<(), Fail> {
    stop.cancel();
    match tokio::time::timeout(LAST_CALLS_WITHIN, load).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        Err(_elapsed) => Err(Fail::failed(format!(
            "the last calls of the load did not end within {LAST_CALLS_WITHIN:?}"
        ))),
    }
}

/// A victim that was stopped and continued, and the caller that stayed connected to it.
struct Rejoined {
    ms: f64,
    caller: PinnedCaller,
}

/// The failure, the takeover and, for SIGSTOP, the rejoin of the victim.
async fn fail(
    arguments: &Arguments,
    cluster: &mut Cluster,
    victim: &HostName,
    run: &str,
    progress: &Progress,
) -> Result<(FailedHost, TakenOver, Option<Rejoined>), Fail> {
    let mut caller = None;
    if arguments.kill == KillWith::Sigstop {
        let view = cluster.view().await?;
        caller = Some(PinnedCaller::start(&cluster.client, run, victim, &view.record).await?);
    }
    let failed_host = failure::make_fail(cluster, victim, arguments.kill).await?;
    progress.say(&format!(
        "{} to {victim}: {} vnodes, {} commands in flight, {} packs",
        name_of(arguments.kill),
        thousands(failed_host.places.len() as u64),
        thousands(failed_host.in_flight),
        failed_host.packs,
    ));
    let taken = failure::watch(cluster, &failed_host, progress).await?;
    let Some(caller) = caller else {
        return Ok((failed_host, taken, None));
    };
    caller.queue().await;
    progress.say(&format!("SIGCONT to {victim}, with commands waiting in it"));
    let ms = failure::continue_victim(cluster, &failed_host).await?;
    progress.say(&format!("{victim} rejoined after {ms:.0} ms"));
    Ok((failed_host, taken, Some(Rejoined { ms, caller })))
}

/// Cuts the callers' connections every [`CUT_EVERY`] for `span`.
async fn cut_now_and_then(network: &Cuttable, span: Duration) {
    let mut left = span;
    while left > CUT_EVERY {
        sleep(CUT_EVERY).await;
        network.cut();
        left -= CUT_EVERY;
    }
    // The last cut must be well before the failure, so that the two don't mix.
    sleep(left).await;
}

fn report(
    arguments: &Arguments,
    failed_host: &FailedHost,
    taken: &TakenOver,
    totals: Totals,
) -> Report {
    Report {
        hosts: arguments.hosts,
        vnodes: arguments.vnodes,
        kill: name_of(arguments.kill),
        victim: failed_host.victim.to_string(),
        victim_led: failed_host.led,
        victim_vnodes: failed_host.places.len(),
        victim_in_flight: failed_host.in_flight,
        victim_packs: failed_host.packs,
        totals,
        vnodes_failed_over: taken.vnodes,
        detect_ms: taken.detect_ms,
        first_served_ms: taken.first_served_ms,
        last_served_ms: taken.last_served_ms,
        takeover_requests: taken.requests,
        rejoined_ms: None,
        alarm_back_ms: None,
    }
}

fn name_of(kill: KillWith) -> &'static str {
    match kill {
        KillWith::Sigkill => "SIGKILL",
        KillWith::Sigstop => "SIGSTOP",
        KillWith::Drain | KillWith::Rolling => "SIGTERM",
    }
}
