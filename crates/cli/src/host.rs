//! `holocron host`: a host with the built-in kinds, until it is told to leave.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::Args;
use holocron::{Founding, Host, HostBuilder, Settings, Stopped};
use serde_json::json;

use crate::{
    exit::{self, Fail, Failure},
    kinds,
    signals::Signals,
    store::{STORE_WITHIN, StoreArguments},
};

/// Run a host with the built-in kinds
///
/// Prints one line with its address once it listens, then logs to standard error.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
SIGTERM or SIGINT: hands its slots over to other hosts, leaves the cluster, and ends. A second one: ends at once, as a
crash would; nothing acknowledged is lost. RUST_LOG sets what is logged, for example RUST_LOG=holocron=debug.

Examples:
  mkdir /tmp/h; holocron host --store file:///tmp/h --name h1
  holocron host --store s3://bucket/prefix --listen 10.0.0.7:7400 --allow-remote"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Its stable name; a random one if not given. Of two hosts with one name, the later ends the earlier.
    #[arg(long)]
    name: Option<String>,
    /// Where to listen; port 0 is any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Where others reach it, if that isn't where it listens.
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// Listen beyond loopback. There is no TLS yet and no authentication: whoever reaches the address can read and change
    /// everything, so only do this in a network you trust.
    #[arg(long)]
    allow_remote: bool,
    /// Its share of the slots relative to the other hosts'.
    #[arg(long, default_value_t = holocron_protocol::epoch::record::WEIGHT_DEFAULT)]
    weight: u32,
    #[command(flatten)]
    founding: Found,
    #[command(flatten)]
    tuning: Tuning,
    /// One JSON object instead of a line once it listens.
    #[arg(long)]
    json: bool,
    /// End at once when the process that started this one ends, however that ends.
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// What an operator says about founding a cluster.
#[derive(Debug, Args)]
struct Found {
    /// Join an existing cluster, and fail where there is none. A host that is restarted with this never takes an emptied
    /// store for a new one.
    #[arg(long, conflicts_with = "found_anew")]
    join: bool,
    /// Found a cluster even if hosts and sessions of an earlier one remain under the prefix, and make the directory if it
    /// is missing. Look first: what remains is given up, and a missing directory may be one that isn't mounted.
    #[arg(long)]
    found_anew: bool,
}

impl Found {
    fn word(&self) -> Founding {
        match (self.join, self.found_anew) {
            (true, _) => Founding::Never,
            (false, true) => Founding::Anew,
            (false, false) => Founding::IfEmpty,
        }
    }
}

/// The few settings that are offered here; the library has them all.
#[derive(Debug, Args)]
struct Tuning {
    /// Batches after which a checkpoint is due. More means longer recovery and fewer packs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_batches: Option<u64>,
    /// Milliseconds a batch waits for company. More means fewer requests and slower acknowledgements.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    linger_ms: Option<u64>,
    /// Milliseconds between the leader's questions to each host; four without an answer are suspicion enough. Less is
    /// quicker and wrong more often, and a wrong suspicion costs one host one session.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    heartbeat_ms: Option<u64>,
    /// Slots of the cluster, if this host creates it. Fixed for ever then.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    slots: Option<u16>,
    /// Positions of a journal that are trimmed as one, if this host creates the cluster. Fixed for ever then.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    segment_len: Option<u32>,
}

impl Tuning {
    fn settings(&self) -> Settings {
        let mut settings = Settings { store_start_timeout: STORE_WITHIN, ..Settings::default() };
        if let Some(batches) = self.checkpoint_batches {
            settings.checkpoint_batches = batches;
        }
        if let Some(linger) = self.linger_ms {
            settings.linger = Duration::from_millis(linger);
        }
        if let Some(heartbeat) = self.heartbeat_ms {
            settings.heartbeat = Duration::from_millis(heartbeat);
        }
        if let Some(slots) = self.slots {
            settings.slots = slots;
        }
        if let Some(segment_len) = self.segment_len {
            settings.segment_len = segment_len;
        }
        settings
    }
}

impl Arguments {
    /// What must be done before the process has a second thread.
    pub(crate) fn prepare(&self) {
        if !self.end_with_parent {
            return;
        }
        let kill = Some(rustix::process::Signal::KILL);
        if let Err(error) = rustix::process::set_parent_process_death_signal(kill) {
            tracing::warn!(%error, "will not end with its parent");
        }
    }

    fn builder(&self) -> HostBuilder {
        let mut builder = kinds::register(Host::builder(&self.store.url))
            .listen(&self.listen)
            .weight(self.weight)
            .founding(self.founding.word())
            .settings(self.tuning.settings());
        for (key, value) in &self.store.options.pairs {
            builder = builder.option(key, value);
        }
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(address) = &self.advertise {
            builder = builder.advertise(address);
        }
        builder
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    if !arguments.allow_remote {
        refuse_remote(&arguments.listen).await?;
    }
    let mut signals = Signals::new()?;
    let host = tokio::select! {
        biased;
        // Nothing is held yet that others would wait for.
        () = signals.next() => return Ok(()),
        started = arguments.builder().start() => started?,
    };
    if arguments.json {
        println!("{}", json!({ "host": host.name().as_str(), "address": host.address() }));
    } else {
        println!("{} listens at {}", host.name(), host.address());
    }
    serve(host, signals).await
}

/// Serves until the host stops by itself, or a signal tells it to.
async fn serve(mut host: Host, mut signals: Signals) -> Result<(), Fail> {
    let told = tokio::select! {
        biased;
        () = signals.next() => None,
        stopped = host.stopped() => Some(stopped),
    };
    if let Some(stopped) = told {
        return ended(&stopped);
    }
    tracing::info!(host = %host.name(), "leaves; a second signal ends it at once");
    tokio::select! {
        biased;
        // Dropping the host stops it as a crash would.
        () = signals.next() => {
            tracing::warn!("ends at once");
            Ok(())
        }
        stopped = host.leave() => ended(&stopped),
    }
}

fn ended(stopped: &Stopped) -> Result<(), Fail> {
    match stopped {
        Stopped::Told | Stopped::Left => Ok(()),
        Stopped::Replaced(_) | Stopped::Failed(_) => Err(Fail::failed(stopped.to_string())),
        Stopped::StoreLost(_) => Err(Fail::new(Failure::Unfit, stopped.to_string())),
    }
}

/// Refuses to listen where strangers might reach it.
async fn refuse_remote(listen: &str) -> Result<(), Fail> {
    let addresses: Vec<SocketAddr> = match tokio::net::lookup_host(listen).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return Err(Fail::new(Failure::Usage, format!("can't listen at {listen}: {error}")));
        }
    };
    match addresses.iter().map(SocketAddr::ip).find(|ip| !is_loopback(*ip)) {
        None => Ok(()),
        Some(ip) => Err(Fail::new(
            Failure::Usage,
            format!(
                "{listen} ({ip}) is reachable from other machines, and there is no TLS and no authentication yet: use \
                 127.0.0.1, or say --allow-remote if you trust everybody in that network"
            ),
        )),
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_listened_at_unless_told_otherwise() {
        for near in ["127.0.0.1:0", "127.8.9.1:7400", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(refuse_remote(near).await.is_ok(), "{near}");
        }
        for far in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:192.0.2.1]:80", "nonsense"] {
            let fail = refuse_remote(far).await.unwrap_err();
            assert_eq!(fail.failure(), Failure::Usage, "{far}");
        }
    }
}
