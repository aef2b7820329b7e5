//! `holocron scrub`: whether a store is sound.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use clap::Args;
use holocron::{
    Audit,
    audit::{AuditError, Progress, ScrubReport},
};
use holocron_protocol::{
    audit::finding::{Damage, Finding},
    epoch::domain::HOME_NAME,
};
use holocron_store::explain;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    deadline::Deadline,
    domains::DomainArguments,
    exit::{self, Fail, Failure},
    store::StoreArguments,
    table::thousands,
};

/// How often progress is printed.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Check that everything a host may need exists in the store and can be read
///
/// Reads the epoch log, the journals above their checkpoints, and every pack, and checks that they agree. Hosts may run
/// meanwhile, or not. Changes nothing. Each finding names the object, what is wrong, what that means and what to do.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron scrub --store file:///tmp/h
  holocron scrub --store file:///tmp/h --json | jq '.findings[].key'"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    domains: DomainArguments,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    requests: RequestArguments,
}

/// How long a command that reads a whole store waits for each answer.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RequestArguments {
    /// Seconds after which a request that got no answer is given up, and the command with it. Longer: survives longer
    /// outages of the store.
    #[arg(
        long = "request-timeout",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    seconds: u64,
}

impl RequestArguments {
    /// An audit of the home domain's store, and one of each further domain's store, by its name.
    pub(crate) async fn audits(
        self,
        store: &StoreArguments,
        domains: &DomainArguments,
    ) -> Result<Vec<(String, Audit)>, Fail> {
        let timeout = Duration::from_secs(self.seconds);
        let home = Deadline::within(timeout).open(&store.url, &store.options).await?;
        let mut audits = vec![(HOME_NAME.to_owned(), Audit::new(Arc::clone(&home)))];
        for domain in domains.load()?.domains {
            let opened = domain.open(Deadline::within(timeout)).await?;
            let audit = Audit::of_domain(Arc::clone(&home), &domain.name, opened);
            audits.push((domain.name, audit));
        }
        let bounded = |(name, audit): (String, Audit)| (name, audit.request_timeout(timeout));
        Ok(audits.into_iter().map(bounded).collect())
    }
}

impl From<AuditError> for Fail {
    fn from(error: AuditError) -> Self {
        let failure = match &error {
            AuditError::Store(_) => Failure::Later,
            AuditError::NoCluster | AuditError::Domain { .. } => Failure::Failed,
            AuditError::Cluster(_) => Failure::Damaged,
        };
        Self::new(failure, explain(&error))
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let audits = arguments.requests.audits(&arguments.store, &arguments.domains).await?;
    let given: Vec<String> = audits.iter().map(|(name, _)| name.clone()).collect();
    let (mut findings, mut json, mut further, mut left_out) =
        (0, Value::Null, Vec::new(), Vec::new());
    for (name, audit) in audits {
        let begun = Instant::now();
        let report = with_progress("scrub", audit.progress(), audit.scrub()).await?;
        findings += report.findings.len();
        left_out = not_given(&report.domains, &given);
        match (arguments.json, name == HOME_NAME) {
            (true, true) => json = as_json(&report, begun.elapsed()),
            (true, false) => {
                let mut report = as_json(&report, begun.elapsed());
                report["domain"] = json!(name);
                further.push(report);
            }
            (false, true) => print!("{}", as_text(&report, begun.elapsed())),
            (false, false) => {
                print!("\ndomain {name}\n{}", as_text(&report, begun.elapsed()));
            }
        }
    }
    if arguments.json {
        json["domains"] = json!(further);
        json["domains_left_out"] = json!(left_out);
        println!("{json:#}");
    } else {
        print!("{}", left_out_as_text(&left_out));
    }
    match findings {
        0 => Ok(()),
        1 => Err(Fail::new(Failure::Damaged, "the store is damaged: 1 finding")),
        count => {
            Err(Fail::new(Failure::Damaged, format!("the store is damaged: {count} findings")))
        }
    }
}

/// The domains of a cluster whose stores were not given.
pub(crate) fn not_given(domains: &[String], given: &[String]) -> Vec<String> {
    domains.iter().filter(|name| !given.contains(name)).cloned().collect()
}

/// Says which domains a command did not look into.
pub(crate) fn left_out_as_text(left_out: &[String]) -> String {
    let line = |name: &String| {
        format!("\ndomain {name} was not looked into: give its URL with --domain {name}=URL\n")
    };
    left_out.iter().map(line).collect()
}

/// Prints to standard error how far an audit has come, while it runs.
pub(crate) async fn with_progress<T>(
    command: &str,
    progress: Arc<Progress>,
    work: impl Future<Output = Result<T, AuditError>>,
) -> Result<T, Fail> {
    let tell = async {
        loop {
            tokio::time::sleep(PROGRESS_EVERY).await;
            let count = |number: &core::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
            eprintln!(
                "{command}: {} of {} sessions, {} objects and {} read",
                thousands(count(&progress.sessions)),
                thousands(count(&progress.sessions_known)),
                thousands(count(&progress.objects)),
                size(count(&progress.bytes)),
            );
        }
    };
    tokio::select! {
        biased;
        done = work => Ok(done?),
        () = tell => unreachable!("it tells until the work is done"),
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is rounded for people anyway")]
    let float = bytes as f64;
    match bytes {
        0..10_000 => format!("{} B", thousands(bytes)),
        10_000..10_000_000 => format!("{:.1} kB", float / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", float / 1e6),
        _ => format!("{:.1} GB", float / 1e9),
    }
}

fn as_text(report: &ScrubReport, took: Duration) -> String {
    let mut out = String::new();
    if let Some(cluster) = report.cluster {
        out.push_str(&format!("cluster {cluster}, epoch {}\n", report.epoch.get()));
    }
    let counts = [
        ("epoch records", report.epochs),
        ("sessions of hosts", report.sessions_open),
        ("sealed sessions that are still sources", report.sessions_sealed),
        ("detached sessions being deleted", report.sessions_detached),
        ("collected sessions: seal and marks only", report.sessions_forgotten),
        ("sessions that have not joined: opening only", report.sessions_never_joined),
        ("packs", report.packs),
        ("vnode records in packs", report.records),
        ("objects with foreign names, ignored", report.foreign),
    ];
    for (what, count) in counts {
        out.push_str(&format!("{:>9}  {what}\n", thousands(count)));
    }
    let (objects, bytes) = (thousands(report.objects), size(report.bytes));
    out.push_str(&format!("{objects} objects, {bytes} read in {:.1} s\n", took.as_secs_f64()));
    if !report.unlisted_checked {
        out.push_str(
            "too many objects for one list: sessions that no record lists were not checked\n",
        );
    }
    if report.findings.is_empty() {
        out.push_str("no damage found\n");
    }
    let mut by_damage: BTreeMap<Damage, Vec<&Finding>> = BTreeMap::new();
    for finding in &report.findings {
        by_damage.entry(finding.damage).or_default().push(finding);
    }
    for (damage, findings) in by_damage {
        out.push_str(&format!("\n{damage}\n"));
        for finding in findings {
            out.push_str(&format!("  {}\n    {}\n", finding.key, finding.why));
        }
        out.push_str(&format!("  this means: {}\n", damage.meaning()));
        out.push_str(&format!("  what to do: {}\n", damage.advice()));
    }
    out
}

fn as_json(report: &ScrubReport, took: Duration) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "key": finding.key,
            "damage": finding.damage.name(),
            "found": finding.why,
            "means": finding.damage.meaning(),
            "to_do": finding.damage.advice(),
        })
    };
    json!({
        "sound": report.findings.is_empty(),
        "cluster": report.cluster.map(|cluster| cluster.to_string()),
        "epoch": report.epoch.get(),
        "epochs": report.epochs,
        "sessions": {
            "open": report.sessions_open,
            "sealed": report.sessions_sealed,
            "detached": report.sessions_detached,
            "collected": report.sessions_forgotten,
            "never_joined": report.sessions_never_joined,
        },
        "packs": report.packs,
        "records": report.records,
        "foreign": report.foreign,
        "unlisted_checked": report.unlisted_checked,
        "objects_read": report.objects,
        "bytes_read": report.bytes,
        "elapsed_ms": took.as_secs_f64() * 1_000.0,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(9_999), "9,999 B");
        assert_eq!(size(12_345), "12.3 kB");
        assert_eq!(size(64 << 20), "67.1 MB");
        assert_eq!(size(12_345_678_901), "12.3 GB");
    }
}
