//! A sharded key index on four hosts: 64 shards, each with files of its own in a store, while hosts are drained, killed and
//! stopped.
//!
//! `cargo run -p holocron-examples --example shard_owner` runs three rounds in a temporary directory; `-- --rounds 50` more.
//! It prints how long shards were closed, that no entry was lost, and that the late write of a host that woke up too late was
//! refused by its token.

#![expect(clippy::print_stdout, reason = "an example prints")]
#![expect(clippy::disallowed_methods, reason = "a demo measures time on the machine's clock")]

mod files;
mod hosts;
mod index;
mod load;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use holocron::{BoxError, Client};
use holocron_store::open_or_make;

use crate::{
    hosts::{Hosts, Members, SHARDS},
    load::Load,
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// How long a flush of a host pauses between its two writes: long enough to be stopped there.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a host is stopped: until others have its shards.
const STOPPED: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["host", name, cluster, files, pause] => {
            hosts::run(name, cluster, files, pause.parse()?).await
        }
        [] => demo(3).await,
        ["--rounds", rounds] => demo(rounds.parse()?).await,
        _ => Err("usage: shard_owner [--rounds NUMBER]".into()),
    }
}

/// How long shards were not open, by what was done to their host.
type Times = BTreeMap<&'static str, Vec<Duration>>;

async fn demo(rounds: usize) -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let (cluster, files) = (url(&folder, "cluster")?, url(&folder, "files")?);
    let mut hosts = Hosts::new(&cluster, &files);
    hosts.start(NAMES[0], PAUSE)?;
    let mut members = Members::find(&cluster).await?;
    until_open(&mut members, 1).await?;
    for name in &NAMES[1..] {
        hosts.start(name, PAUSE)?;
    }
    println!("{SHARDS} shards on {} hosts: {}", NAMES.len(), until_open(&mut members, 4).await?);
    let client = Client::connect(&cluster).await?.with_deadline(Duration::from_secs(60));
    let load = Load::start(&client);
    tokio::time::sleep(Duration::from_secs(2)).await;

    let mut times = Times::new();
    for round in 0..rounds {
        let name = NAMES[round % NAMES.len()];
        match round % 3 {
            0 => drain(&mut hosts, &mut members, name, &mut times).await?,
            1 => kill(&mut hosts, &mut members, name, &mut times).await?,
            _ => stop(&hosts, &mut members, name, &mut times).await?,
        }
        if !hosts.running.contains_key(name) {
            hosts.start(name, PAUSE)?;
        }
        println!("  all back: {}", until_open(&mut members, 4).await?);
    }

    let totals = load.check(&client).await?;
    println!(
        "{} puts, {} failed, {} keys read back, {} lost; longest put {:.1?}",
        totals.puts, totals.failed, totals.keys, totals.lost, totals.longest
    );
    for (what, mut took) in times {
        took.sort();
        let (half, worst) = (took[took.len() / 2], took[took.len() - 1]);
        println!("{what}: {} times, median {half:.1?}, worst {worst:.1?}", took.len());
    }
    let refused = hosts.refused.lock().expect("a list's lock").len();
    let (manifests, tokens) = check_chains(&files).await?;
    println!(
        "{refused} late writes were refused; {manifests} manifests under {tokens} tokens, none of two hosts"
    );
    if totals.lost > 0 { Err("entries were lost".into()) } else { Ok(()) }
}

fn url(folder: &tempfile::TempDir, name: &str) -> Result<String, std::io::Error> {
    let path = folder.path().join(name);
    std::fs::create_dir(&path)?;
    Ok(format!("file://{}", path.display()))
}

/// Waits until every shard is open, on so many hosts, and their numbers differ by one at most. Says how they are spread.
async fn until_open(members: &mut Members, hosts: usize) -> Result<String, BoxError> {
    let began = Instant::now();
    loop {
        let open = members.open_shards().await?;
        let (least, most) = (open.values().min().copied(), open.values().max().copied());
        let is_spread = most <= least.map(|least| least + 1);
        if open.len() == hosts && open.values().sum::<u32>() == u32::from(SHARDS) && is_spread {
            let told: Vec<String> =
                open.iter().map(|(name, open)| format!("{name} {open}")).collect();
            return Ok(told.join(", "));
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err(format!("shards are not open or not spread: {open:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a record lists the host no more; then until all shards are open at the others. Says how long each took.
async fn until_elsewhere(
    members: &mut Members,
    name: &str,
) -> Result<(Duration, Duration), BoxError> {
    let began = Instant::now();
    while members.lists(name).await? {
        if began.elapsed() > Duration::from_secs(60) {
            return Err(format!("{name} was not noticed").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let noticed = Instant::now();
    loop {
        let open: u32 = members.open_shards().await?.values().sum();
        if open == u32::from(SHARDS) {
            return Ok((noticed - began, noticed.elapsed()));
        }
        if noticed.elapsed() > Duration::from_secs(60) {
            return Err(format!("only {open} shards are open").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Drains a host: it closes its shards, hands them over and leaves.
async fn drain(
    hosts: &mut Hosts,
    members: &mut Members,
    name: &str,
    times: &mut Times,
) -> Result<(), BoxError> {
    println!("{name} is told to leave");
    hosts.signal(name, "TERM")?;
    let (left, opened) = until_elsewhere(members, name).await?;
    println!(
        "  it left after {left:.1?}; its shards were open elsewhere by then, or {opened:.1?} later"
    );
    times.entry("drained, until it had left").or_default().push(left);
    hosts.wait(name)
}

/// Kills a host.
async fn kill(
    hosts: &mut Hosts,
    members: &mut Members,
    name: &str,
    times: &mut Times,
) -> Result<(), BoxError> {
    println!("{name} is killed");
    hosts.signal(name, "KILL")?;
    hosts.wait(name)?;
    let (noticed, opened) = until_elsewhere(members, name).await?;
    println!("  noticed after {noticed:.1?}; its shards were open elsewhere {opened:.1?} later");
    times.entry("killed, from its detection until all shards were open").or_default().push(opened);
    Ok(())
}

/// Stops a host in the middle of its writes, until others have its shards; then it goes on writing.
async fn stop(
    hosts: &Hosts,
    members: &mut Members,
    name: &str,
    times: &mut Times,
) -> Result<(), BoxError> {
    println!("{name} is stopped");
    hosts.signal(name, "STOP")?;
    let (noticed, opened) = until_elsewhere(members, name).await?;
    println!("  noticed after {noticed:.1?}; its shards were open elsewhere {opened:.1?} later");
    times.entry("stopped, from its detection until all shards were open").or_default().push(opened);
    tokio::time::sleep(STOPPED.saturating_sub(noticed + opened)).await;
    println!("{name} goes on");
    hosts.signal(name, "CONT")
}

/// Checks the chain of each shard: tokens never go down, and no two processes wrote under one token. Returns how many
/// manifests and tokens there were.
async fn check_chains(url: &str) -> Result<(usize, usize), BoxError> {
    let store = open_or_make(url, &[])?;
    let (mut count, mut tokens) = (0, BTreeSet::new());
    for shard in 0..SHARDS {
        let chain = files::manifests(&store, &shard.to_string()).await?;
        for pair in chain.windows(2) {
            let [before, after] = pair else { continue };
            if after.number != before.number + 1 || after.token < before.token {
                return Err(format!("shard {shard}: {after:?} after {before:?}").into());
            }
            if after.token == before.token && after.writer != before.writer {
                return Err(format!(
                    "shard {shard}: two writers under one token: {before:?}, {after:?}"
                )
                .into());
            }
        }
        count += chain.len();
        tokens.extend(chain.iter().map(|manifest| manifest.token));
    }
    Ok((count, tokens.len()))
}
