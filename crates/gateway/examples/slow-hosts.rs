//! Hosts on a slow store with a price, in one process: for pictures of the dashboard and for trying it out without a bucket.
//!
//! ```text
//! slow-hosts URL LATENCY_MS NAME...      the first host has a gateway; its address is printed
//! ```
//!
//! Every request to the store takes so many milliseconds longer, as to a bucket; the status tells what they would cost at S3's
//! list price. End it with a signal: for its cluster that is a crash of all its hosts.
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{error::Error, sync::Arc};

use holocron::Host;
use holocron_gateway::{Gateway, ServeSettings, register, serve};
use holocron_metrics::Prices;
use holocron_store::Latency;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, latency, names @ ..] = &arguments[..] else {
        return Err("slow-hosts URL LATENCY_MS NAME...".into());
    };
    let latency = Duration::from_millis(latency.parse()?);
    let mut hosts = Vec::new();
    for name in names {
        let store = Latency::new(holocron_store::open_or_make(url, &[])?, latency);
        let builder = register(holocron_kinds::register(Host::builder(url)));
        hosts.push(builder.store(Arc::new(store)).name(name).start().await?);
    }
    let first = hosts.first().ok_or("name a host")?;
    let cost = Arc::new(|requests: &_| Prices::S3_STANDARD.of_verbs(requests));
    let gateway = Gateway::of_host(first).cost(cost).build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{{\"http\":\"{}\"}}", listener.local_addr()?);
    serve(listener, gateway, ServeSettings::default(), std::future::pending()).await;
    Ok(())
}
