//! `holocron host`: runs a host with the built-in kinds until a signal stops it.

mod http;
mod prices;

use core::time::Duration;

use clap::Args;
use holocron::{Founding, Host, HostBuilder, Settings, Stopped};
use holocron_protocol::epoch::log::EPOCHS_KEPT_MIN;
use serde_json::json;

use self::{
    http::{Http, HttpArguments, Reach},
    prices::PriceArguments,
};
use crate::{
    domains::DomainArguments,
    exit::{self, Fail, Failure},
    signals::Signals,
    store::{ClusterArguments, STORE_WITHIN},
};

/// Run a host with the built-in kinds
///
/// Prints one line with its address once it listens, then logs to standard error.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
SIGTERM or SIGINT: hands off the host's slots, leaves the cluster and exits. A second signal: exits at once, like a
crash; no acknowledged command is lost. RUST_LOG sets what is logged, for example RUST_LOG=holocron=debug.

Examples:
  mkdir /tmp/h; holocron host --store file:///tmp/h --name h1
  holocron host --store s3://bucket/prefix --listen 10.0.0.7:7400 \
    --tls-ca tls/ca.pem --tls-cert tls/host-h1.pem --tls-key tls/host-h1.key
  holocron host --store file:///tmp/h --config domains.toml --domain acme=s3://acme-data/holocron"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    domains: DomainArguments,
    /// Stable name of the host; random if not given. A second host with the same name replaces the first, which stops.
    #[arg(long)]
    name: Option<String>,
    /// Address to listen at; port 0 means any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Address at which hosts and clients reach it, if that differs from the listen address.
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    #[command(flatten)]
    http: HttpArguments,
    #[command(flatten)]
    prices: PriceArguments,
    /// Listen beyond loopback without TLS: any process that reaches the address can then read and change everything. Only for
    /// a network in which you trust every machine. With TLS it isn't needed.
    #[arg(long)]
    allow_remote: bool,
    /// Share of the slots, relative to the weights of the other hosts.
    #[arg(long, default_value_t = holocron_protocol::epoch::record::WEIGHT_DEFAULT)]
    weight: u32,
    /// Zone, such as a rack or an availability zone: what is left over after every host got its whole share of the slots is
    /// spread evenly over zones.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    #[command(flatten)]
    founding: Found,
    #[command(flatten)]
    tuning: Tuning,
    #[command(flatten)]
    _printed: Printed,
    /// Once it listens, print a JSON object instead of a line of text.
    #[arg(long)]
    json: bool,
    /// Exit at once when the parent process ends, for whatever reason.
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// Asked for instead of a host; `settings_file.rs` answers it.
#[derive(Debug, Args)]
struct Printed {
    /// Print the settings that are in force, and where each comes from, as a file for --config; then exit. Secrets are left out.
    #[arg(long = "print-config")]
    _print_config: bool,
}

/// Whether the host may found a cluster.
#[derive(Debug, Args)]
struct Found {
    /// Join an existing cluster; fail if there is none. Use it for every restart: the host then never founds a new
    /// cluster in a store that was emptied.
    #[arg(long, conflicts_with = "found_anew")]
    join: bool,
    /// Found a cluster even if hints and sessions of an earlier cluster remain below the prefix, and create the
    /// directory if it is missing. Check the store first: the remaining data is given up, and a missing directory may
    /// just not be mounted.
    #[arg(long)]
    found_anew: bool,
}

impl Found {
    fn mode(&self) -> Founding {
        match (self.join, self.found_anew) {
            (true, _) => Founding::Never,
            (false, true) => Founding::Anew,
            (false, false) => Founding::IfEmpty,
        }
    }
}

/// The settings that have a flag; the library has all settings.
#[derive(Debug, Args)]
struct Tuning {
    /// Batches between two checkpoints. Higher: longer recovery, fewer packs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_batches: Option<u64>,
    /// Milliseconds a batch waits for further changes. Higher: fewer requests, slower acknowledgements.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    linger_ms: Option<u64>,
    /// Milliseconds between the leader's heartbeats to each host; after four without an answer the host is suspected.
    /// Lower: faster failover, more false suspicions. A false suspicion costs one host its session.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    heartbeat_ms: Option<u64>,
    /// How many of the newest epochs are kept for `holocron history`. Higher: history reaches further back, and a few
    /// kilobytes of storage per epoch. Epochs are deleted 1,000 at a time, by the leader's setting: give all hosts the
    /// same. Default: 1000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(EPOCHS_KEPT_MIN..))]
    history_epochs: Option<u64>,
    /// Younger epochs than this are kept even if there are more, for example 7d or 12h. Higher and lower: as with
    /// --history-epochs. Default: 7d.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    history_age: Option<Duration>,
    /// Number of slots, if this host founds the cluster. It can't be changed later.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    slots: Option<u16>,
    /// Journal positions per segment (segments are trimmed as a whole), if this host founds the cluster. It can't be
    /// changed later.
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
        if let Some(epochs) = self.history_epochs {
            settings.history.epochs = epochs;
        }
        if let Some(age) = self.history_age {
            settings.history.age = age;
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
    /// Setup that must happen before the process has a second thread.
    pub(crate) fn prepare(&self) {
        if !self.end_with_parent {
            return;
        }
        let kill = Some(rustix::process::Signal::KILL);
        if let Err(error) = rustix::process::set_parent_process_death_signal(kill) {
            tracing::warn!(%error, "--end-with-parent failed; the host will not stop with its parent");
        }
    }

    fn builder(&self) -> Result<HostBuilder, Fail> {
        let configured = self.domains.load()?;
        let host = Host::builder(&self.cluster.store.url);
        let mut builder = holocron_gateway::register(holocron_kinds::register(host))
            .listen(&self.listen)
            .network(self.cluster.tls.network()?)
            .weight(self.weight)
            .founding(self.founding.mode())
            .settings(self.tuning.settings());
        for (key, value) in &self.cluster.store.options.pairs {
            builder = builder.option(key, value);
        }
        if self.allow_remote {
            builder = builder.allow_remote();
        }
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if let Some(zone) = &self.zone {
            builder = builder.zone(zone);
        }
        if let Some(address) = &self.advertise {
            builder = builder.advertise(address);
        }
        builder = builder.home_rules(configured.home_rules);
        for domain in configured.domains {
            builder = builder.domain(domain.for_host());
        }
        Ok(builder)
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let builder = arguments.builder()?;
    let reach = if arguments.allow_remote { Reach::Anywhere } else { Reach::Loopback };
    let http = arguments.http.prepare(reach).await?;
    let mut signals = Signals::new()?;
    let host = tokio::select! {
        biased;
        // The host owns no slots yet, so there is nothing to hand off.
        () = signals.next() => return Ok(()),
        started = builder.start() => started?,
    };
    let prices = arguments.prices.of_store(&arguments.cluster.store.url);
    let http = http.map(|prepared| prepared.serve(&host, prices));
    announce(&host, http.as_ref(), &arguments);
    serve(host, http, signals).await
}

/// Says where it listens.
fn announce(host: &Host, http: Option<&Http>, arguments: &Arguments) {
    if arguments.json {
        let mut said = json!({ "host": host.name().as_str(), "address": host.address() });
        if let Some(http) = http {
            said["http"] = json!(http.address.to_string());
        }
        println!("{said}");
    } else {
        let http = http.map(|http| format!(", HTTP at {}", http.url));
        println!("{} listens at {}{}", host.name(), host.address(), http.unwrap_or_default());
    }
}

/// Serves until the host stops by itself or on a signal.
async fn serve(mut host: Host, http: Option<Http>, mut signals: Signals) -> Result<(), Fail> {
    let told = tokio::select! {
        biased;
        () = signals.next() => None,
        stopped = host.stopped() => Some(stopped),
    };
    if let Some(stopped) = told {
        return ended(&stopped);
    }
    tracing::info!(host = %host.name(), "leaving; a second signal stops it at once");
    let leaving = async {
        // The host still serves the requests under way.
        if let Some(http) = http {
            http.end().await;
        }
        host.leave().await
    };
    tokio::select! {
        biased;
        // Dropping the host stops it like a crash.
        () = signals.next() => {
            tracing::warn!("second signal; stopping without handoff");
            Ok(())
        }
        stopped = leaving => ended(&stopped),
    }
}

fn ended(stopped: &Stopped) -> Result<(), Fail> {
    match stopped {
        Stopped::Told | Stopped::Left => Ok(()),
        Stopped::Replaced(_) | Stopped::Failed(_) => Err(Fail::failed(stopped.to_string())),
        Stopped::StoreLost(_) => Err(Fail::new(Failure::Unfit, stopped.to_string())),
    }
}
