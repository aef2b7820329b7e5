//! A load tool: creates counters on one host on a directory, and lists them.
//!
//! It lists them twice: right after they were created, and by a second host that has taken over and has nothing in memory. It
//! prints how long each listing took and how many store requests the host made meanwhile.
//!
//! ```text
//! list-vnodes 100000
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{collections::BTreeSet, error::Error};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use holocron::{Host, Vnode as _};
use holocron_kinds::{Counter, CounterClient as _};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Commands in flight while the counters are created.
const IN_FLIGHT: usize = 512;

#[tokio::main]
async fn main() -> Outcome<()> {
    let Some(count) = std::env::args().nth(1) else {
        return Err("usage: list-vnodes COUNT".into());
    };
    let count: u64 = count.parse()?;
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().display());

    let first = start(&url, "first").await?;
    let client = first.client().with_deadline(Duration::from_secs(60));
    let creates = (0..count).map(|number| {
        let counter = client.get::<Counter>(&format!("counter-{number:07}"));
        async move { counter.add(1).await }
    });
    stream::iter(creates).buffer_unordered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await?;
    list(&first, count).await?;
    first.leave().await;

    let second = start(&url, "second").await?;
    list(&second, count).await?;
    second.leave().await;
    Ok(())
}

async fn start(url: &str, name: &str) -> Outcome<Host> {
    Ok(Host::builder(url).name(name).vnode::<Counter>().start().await?)
}

/// Lists all counters, and checks that each is listed once.
async fn list(host: &Host, count: u64) -> Outcome<()> {
    let client = host.client().with_deadline(Duration::from_secs(60));
    // Waits until the slots are served.
    drop(client.list(Counter::KIND, "nothing begins with this").next_page().await?);
    let (before, began) = (host.status().requests, Instant::now());
    let (mut listing, mut pages, mut keys) = (client.list(Counter::KIND, ""), 0_u32, Vec::new());
    while let Some(page) = listing.next_page().await? {
        pages += 1;
        keys.extend(page);
    }
    let (took, requests) = (began.elapsed(), host.status().requests - before);
    let different: BTreeSet<&String> = keys.iter().collect();
    if keys.len() as u64 != count || different.len() != keys.len() {
        return Err(
            format!("{} keys, {} different; wanted {count}", keys.len(), different.len()).into()
        );
    }
    println!(
        "{}: {count} vnodes in {took:?}: {pages} pages, {requests} store requests",
        host.name()
    );
    Ok(())
}
