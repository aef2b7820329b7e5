//! A host in this process, its text, and what documents and files say of it.

use std::collections::{BTreeMap, BTreeSet};

use holocron::{Context, Host, Settings, Vnode};
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Default, Serialize, Deserialize)]
struct Sum(i64);

impl Vnode for Sum {
    const KIND: &'static str = "sum";
    type Command = i64;
    type Reply = i64;
    type Query = ();
    type Answer = i64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, amount: i64) -> i64 {
        assert_ne!(amount, i64::MIN, "a handler that panics");
        self.0 += amount;
        self.0
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> i64 {
        self.0
    }
}

/// The text of a host that did something of each kind.
async fn text() -> String {
    let settings = Settings { checkpoint_batches: 1, ..Settings::default() };
    let host = Host::builder("memory://").settings(settings).vnode::<Sum>().start().await.unwrap();
    let exporter = Exporter::new(host.meter(), Prices::S3_STANDARD);
    let client = host.client();
    let sum = client.get::<Sum>("a");
    for amount in 1..=20 {
        sum.command(amount).await.unwrap();
    }
    assert_eq!(sum.query(()).await, Ok(210));
    sum.command(i64::MIN).await.unwrap_err();
    let text = loop {
        let text = exporter.text();
        if value(&text, "holocron_checkpoint_duration_seconds_count") > 0.0 {
            break text;
        }
        tokio::time::sleep(core::time::Duration::from_millis(5)).await;
    };
    drop((client, sum));
    host.leave().await;
    // Its last tasks end on their own.
    while exporter.text() != "# EOF\n" {
        tokio::time::sleep(core::time::Duration::from_millis(5)).await;
    }
    text
}

/// The value of a line, by its name and labels.
fn value(text: &str, line: &str) -> f64 {
    let found = text.lines().find_map(|each| each.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {line} in:\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn a_host_says_what_it_did() {
    let text = text().await;
    let of = |line: &str| value(&text, line);
    let calls = |mode: &str, outcome: &str| {
        of(&format!("holocron_calls_total{{kind=\"sum\",mode=\"{mode}\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!(calls("command", "ok"), 20.0);
    assert_eq!(calls("query", "ok"), 1.0);
    assert_eq!(calls("command", "panicked"), 1.0);
    let count = "holocron_call_duration_seconds_count{kind=\"sum\",mode=\"command\"}";
    assert_eq!(of(count), 21.0);
    assert!(of(&count.replace("count", "sum")) > 0.0);
    let bucket = |name: &str, le: &str| of(&format!("{name}_bucket{{le=\"{le}\"}}"));
    assert_eq!(
        bucket("holocron_commit_duration_seconds", "+Inf"),
        of("holocron_commit_duration_seconds_count")
    );
    assert!(
        of("holocron_commit_duration_seconds_count") >= 20.0,
        "one caller: a batch per command"
    );
    assert!(of("holocron_batch_answers_sum") >= 20.0);
    assert!(of("holocron_takeover_duration_seconds_count{phase=\"recover\"}") >= 1.0);
    assert_eq!(of("holocron_leader"), 1.0);
    assert_eq!(of("holocron_slots{state=\"serving\"}"), 4096.0);
    assert_eq!(of("holocron_vnodes{state=\"known\"}"), 1.0);
    assert_eq!(of("holocron_calls_in_flight"), 0.0);
    let creates = of("holocron_store_requests_total{verb=\"create\",purpose=\"journal\"}");
    assert!(creates >= 20.0);
    assert!(of("holocron_store_cost_dollars_total") >= creates * 5e-6);
    assert!(text.ends_with("# EOF\n"));
}

/// By name, what is said of each metric.
fn families(text: &str) -> BTreeMap<&str, (&str, &str)> {
    let mut families = BTreeMap::<&str, (&str, &str)>::new();
    for line in text.lines() {
        if let Some((name, help)) =
            line.strip_prefix("# HELP ").and_then(|line| line.split_once(' '))
        {
            families.entry(name).or_default().0 = help.trim_end_matches('.');
        }
        if let Some((name, of)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            families.entry(name).or_default().1 = of;
        }
    }
    families
}

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
const BEGIN: &str = "<!-- metrics: begin -->\n";
const END: &str = "<!-- metrics: end -->\n";

/// The labels of a metric, as they appear in the text.
fn labels(text: &str, name: &str) -> BTreeSet<String> {
    let of = |line: &str| -> Option<Vec<String>> {
        let rest = line.strip_prefix(name)?;
        let labels = rest.split_once('{')?.1.split_once('}')?.0;
        let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        Some(names.filter(|label| label != "le").collect())
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(of).flatten().collect()
}

#[tokio::test]
async fn the_docs_list_all_metrics() {
    let text = text().await;
    let mut table =
        "| metric | type | labels | what it says |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, (help, of)) in families(&text) {
        let labels = labels(&text, name).into_iter().collect::<Vec<_>>().join(", ");
        let total = if of == "counter" { "_total" } else { "" };
        table.push_str(&format!("| `{name}{total}` | {of} | {labels} | {help} |\n"));
    }
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (told, after) = rest.split_once(END).unwrap();
    if std::env::var("HOLOCRON_RECORD").is_ok() {
        return std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    }
    assert_eq!(told, table, "write the table again with HOLOCRON_RECORD=1, and review it");
}

/// All names of metrics in a file of another program.
fn names(file: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = file.split(|c: char| !is_part(c));
    let own = |word: &&str| word.starts_with("holocron_") || word.starts_with("process_");
    words.filter(own).map(str::to_owned).collect()
}

#[tokio::test]
async fn dashboard_and_alerts_use_metrics_that_exist() {
    let text = text().await;
    let exists = |wanted: &str| {
        text.lines()
            .any(|line| line.strip_prefix(wanted).is_some_and(|rest| rest.starts_with([' ', '{'])))
    };
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    for file in ["grafana/holocron.json", "prometheus/alerts.yml"] {
        let names = names(&std::fs::read_to_string(format!("{deploy}/{file}")).unwrap());
        assert!(names.len() > 8, "{file} names {names:?}");
        for name in names {
            assert!(exists(&name), "{file} uses {name}, which no host exports");
        }
    }
}
