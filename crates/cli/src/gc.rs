//! `holocron gc --dry-run`: what no host needs, what is about to be deleted, and why the rest stays.

use clap::Args;
use holocron::{Clock, SystemClock, audit::GarbageReport};
use holocron_protocol::{
    audit::garbage::{Fate, Judged, Total},
    epoch::domain::HOME_NAME,
};
use serde_json::{Value, json};

use crate::{
    domains::DomainArguments,
    exit::{self, Fail},
    scrub::{RequestArguments, left_out_as_text, not_given, size, with_progress},
    store::StoreArguments,
    table::{render, thousands},
};

/// Show which objects will be deleted, and why the others stay
///
/// Counts the store's objects by what becomes of them: needed, permanent (seals and marks), going (no host needs them and a
/// host deletes them), or kept (they look like garbage, but must not go yet). Changes nothing: running hosts delete.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron gc --dry-run --store file:///tmp/h
  holocron gc --dry-run --store file:///tmp/h --json | jq '.objects[] | select(.fate == \"goes\")'"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    domains: DomainArguments,
    /// Only show. Required: this command never deletes.
    #[arg(long, required = true)]
    dry_run: bool,
    /// Print a JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    requests: RequestArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    assert!(arguments.dry_run, "the option is required");
    let audits = arguments.requests.audits(&arguments.store, &arguments.domains).await?;
    let given: Vec<String> = audits.iter().map(|(name, _)| name.clone()).collect();
    let (mut json, mut further, mut left_out) = (Value::Null, Vec::new(), Vec::new());
    for (name, audit) in audits {
        let judging = audit.garbage(SystemClock.wall_ms());
        let report = with_progress("gc", audit.progress(), judging).await?;
        left_out = not_given(&report.domains, &given);
        match (arguments.json, name == HOME_NAME) {
            (true, true) => json = as_json(&report),
            (true, false) => {
                let mut report = as_json(&report);
                report["domain"] = json!(name);
                further.push(report);
            }
            (false, true) => print!("{}", as_text(&report)),
            (false, false) => print!("\ndomain {name}, {}", as_text(&report)),
        }
    }
    if arguments.json {
        json["domains"] = json!(further);
        json["domains_left_out"] = json!(left_out);
        println!("{json:#}");
    } else {
        print!("{}", left_out_as_text(&left_out));
    }
    Ok(())
}

/// What becomes of objects, in the order of the report.
const FATES: [(Fate, &str); 6] = [
    (Fate::Goes, "no host needs them; a host deletes them:"),
    (Fate::Kept, "they look like garbage, but stay for now:"),
    (Fate::Stray, "no host needs them, and no host looks for them any more:"),
    (Fate::Permanent, "they stay for ever:"),
    (Fate::Needed, "a host may need them:"),
    (Fate::Foreign, "not of Holocron, never deleted:"),
];

fn with(report: &GarbageReport, fate: Fate) -> Vec<(&Judged, &Total)> {
    report.totals.iter().filter(|(judged, _)| judged.fate == fate).collect()
}

fn as_text(report: &GarbageReport) -> String {
    let mut out = format!("epoch {}\n", report.epoch.get());
    for (fate, title) in FATES {
        let rows: Vec<Vec<String>> = with(report, fate)
            .into_iter()
            .map(|(judged, total)| {
                let (objects, bytes) = (thousands(total.objects), size(total.bytes));
                vec![judged.what.to_owned(), objects, bytes, judged.why.to_owned()]
            })
            .collect();
        if !rows.is_empty() {
            let table = render(&["what", "objects", "size", "why"], &rows);
            out.push_str(&format!("\n{title}\n{table}"));
        } else if fate == Fate::Goes {
            out.push_str("\nnothing is waiting to be deleted\n");
        }
    }
    if !report.complete {
        out.push_str(
            "\ntoo many objects for one list: sessions that no record lists are left out\n",
        );
    }
    out
}

fn as_json(report: &GarbageReport) -> Value {
    let objects: Vec<Value> = report
        .totals
        .iter()
        .map(|(judged, total)| {
            json!({
                "what": judged.what,
                "fate": judged.fate.name(),
                "why": judged.why,
                "objects": total.objects,
                "bytes": total.bytes,
                "example": total.example,
            })
        })
        .collect();
    json!({ "epoch": report.epoch.get(), "complete": report.complete, "objects": objects })
}
