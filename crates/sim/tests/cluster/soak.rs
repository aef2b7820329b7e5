//! A soak: work, crashes, leaves and pauses for a long simulated time, on a store with all faults, at tiny thresholds. What
//! is deleted at all stays bounded; only seals, marks and the like grow. All the time the store is scrubbed beside the hosts,
//! and no scrub finds damage.
//!
//! `HOLOCRON_SOAK_MINUTES` sets the simulated time, `HOLOCRON_SOAK_SVG` the file to draw the counts into.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use holocron::{Audit, Client, Settings};
use holocron_protocol::{
    audit::finding::Finding,
    epoch::log::Retention,
    format::keys::{self, Key},
};
use holocron_sim::{Cluster, StoreFaults};
use holocron_store::Store;

use crate::tally::{Tally, key, kinds, tiny};

const MINUTES_DEFAULT: u64 = 3;
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Something happens to a host after this many samples, during the first ten minutes of each half hour. What goes by its
/// age needs a leader that lives for ten minutes.
const STRIKE_EVERY: u64 = 4;
const STRIKES_FOR: u64 = 10 * 60;
const CYCLE: u64 = 30 * 60;
const HOSTS: [&str; 3] = ["a", "b", "c"];
const VNODES: u64 = 24;

/// Kinds of objects that are deleted at some time, with the most that may exist.
///
/// Per host's session: two checkpoints' batches and two segments; small packs up to their merge; what a dead session leaves
/// until its slots are copied. Epochs: 16 and two segments. Objects of probes stay for up to 15 minutes of one leader.
const BOUNDED: [(&str, usize); 5] =
    [("batches", 120), ("packs", 30), ("epochs", 40), ("hints", 6), ("probe objects", 80)];
/// Kinds that stay.
const PERMANENT: [&str; 4] = ["seals and openings", "trim marks", "end marks", "epoch marks"];

/// Counts of objects by kind, at one time.
type Sample = (Duration, BTreeMap<&'static str, usize>);

fn settings() -> Settings {
    Settings {
        epoch_segment_len: 10,
        history: Retention { epochs: 16, age: Duration::ZERO },
        collect_again_after: Duration::from_secs(10),
        checkpoint_batches: 12,
        ..tiny()
    }
}

/// Adds to one vnode again and again, with pauses, and takes errors as they come.
async fn work(client: Client, number: u64) {
    let vnode = client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(20));
    loop {
        drop(vnode.command(1).await);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

/// Scrubs the store again and again; ends only with findings.
async fn scrub(audit: impl Fn() -> Audit, scrubs: Arc<AtomicU64>) -> Vec<Finding> {
    loop {
        let report = audit().scrub().await.expect("the store answers in the end");
        if !report.findings.is_empty() {
            return report.findings;
        }
        scrubs.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Counts what is in the store. A session with an end mark has only its seal left, or is being collected.
fn sample(cluster: &Cluster) -> Sample {
    let all = cluster.world.shelf.keys("");
    let parsed: Vec<Option<Key>> = all.iter().map(|key| keys::parse(key)).collect();
    let ended: BTreeSet<_> = parsed
        .iter()
        .filter_map(|key| match key {
            Some(Key::EndMark(session)) => Some(*session),
            _ => None,
        })
        .collect();
    let mut counts = BTreeMap::new();
    for key in parsed {
        let kind = match key {
            Some(Key::Cluster | Key::Domain | Key::Kind(..)) => continue,
            Some(Key::Epoch(_)) => "epochs",
            Some(Key::EpochMark(_)) => "epoch marks",
            Some(Key::LeaderHint | Key::HostHint(_)) => "hints",
            Some(Key::Journal(session, _)) if ended.contains(&session) => "seals and openings",
            Some(Key::Journal(_, position)) if position.get() == 0 => "seals and openings",
            Some(Key::Journal(..)) => "batches",
            Some(Key::TrimMark(..)) => "trim marks",
            Some(Key::EndMark(_)) => "end marks",
            Some(Key::Pack(..)) => "packs",
            None => "probe objects",
        };
        *counts.entry(kind).or_default() += 1;
    }
    (cluster.world.now(), counts)
}

/// Crashes, pauses or stops a host; it comes back before the next strike.
fn strike(cluster: &mut Cluster, number: u64) {
    let host = HOSTS[usize::try_from(number % 3).expect("below three")];
    match number / 3 % 3 {
        0 => {
            cluster.world.crash(host);
            cluster.world.run(Duration::from_secs(2));
            cluster.start(host);
        }
        1 => cluster.world.pause(host, Duration::from_secs(3)),
        _ => {
            cluster.leave(host);
            cluster.world.run(Duration::from_secs(4));
            cluster.start(host);
        }
    }
}

fn soak(minutes: u64) -> Vec<Sample> {
    let mut cluster = Cluster::new(77, settings(), kinds);
    cluster.start_all(&HOSTS);
    cluster.world.shelf.set_faults(StoreFaults::all());
    let working = cluster.client("client", |client| async move {
        let all: Vec<_> =
            (0..VNODES).map(|vnode| tokio::spawn(work(client.clone(), vnode))).collect();
        for one in all {
            drop(one.await);
        }
    });
    let (store, scrubs) = (Arc::new(cluster.world.store("auditor")), Arc::<AtomicU64>::default());
    let audit = move || Audit::new(Arc::clone(&store) as Arc<dyn Store>);
    let scrubbing = cluster.world.start("auditor", scrub(audit, Arc::clone(&scrubs)));
    let mut samples = vec![sample(&cluster)];
    let until = cluster.world.now() + Duration::from_secs(minutes * 60);
    for number in 0.. {
        if cluster.world.now() >= until {
            break;
        }
        cluster.world.run(SAMPLE_EVERY);
        samples.push(sample(&cluster));
        let strikes = cluster.world.now().as_secs() % CYCLE < STRIKES_FOR;
        if strikes && number % STRIKE_EVERY == 0 {
            strike(&mut cluster, number / STRIKE_EVERY);
        }
        assert_eq!(cluster.world.trace.violations(), Vec::<String>::new());
        if scrubbing.is_finished() {
            panic!("a scrub finds damage: {:#?}", cluster.world.result(scrubbing));
        }
    }
    let scrubs = scrubs.load(Ordering::Relaxed);
    println!("{scrubs} scrubs beside running hosts");
    assert!(scrubs >= minutes * 20, "only {scrubs} scrubs");
    assert!(!working.is_finished(), "the work goes on to the end");
    samples
}

fn of(sample: &Sample, kind: &str) -> usize {
    sample.1.get(kind).copied().unwrap_or(0)
}

fn table(samples: &[Sample]) -> String {
    let kinds: Vec<&str> = BOUNDED.iter().map(|(kind, _)| *kind).chain(PERMANENT).collect();
    let mut out = format!("{:>8}", "seconds");
    for kind in &kinds {
        out.push_str(&format!("  {kind:>18}"));
    }
    let step = samples.len().div_ceil(24).max(1);
    for sample in samples.iter().step_by(step).chain(samples.last()) {
        out.push_str(&format!("\n{:>8}", sample.0.as_secs()));
        for kind in &kinds {
            out.push_str(&format!("  {:>18}", of(sample, kind)));
        }
    }
    out
}

#[test]
fn only_seals_and_marks_grow() {
    let minutes = std::env::var("HOLOCRON_SOAK_MINUTES").ok();
    let minutes = minutes.map_or(MINUTES_DEFAULT, |text| text.parse().expect("minutes"));
    let samples = soak(minutes);
    println!("{}", table(&samples));
    if let Ok(file) = std::env::var("HOLOCRON_SOAK_SVG") {
        std::fs::write(file, super::plot::svg(&panels(&samples))).expect("it can be written");
    }
    for (kind, most) in BOUNDED {
        let worst = samples.iter().map(|sample| of(sample, kind)).max().unwrap_or(0);
        assert!(worst <= most, "{worst} {kind}, more than {most}");
        assert!(worst > 0, "there were {kind} at some time");
    }
    let last = samples.last().expect("there are samples");
    assert!(of(last, "end marks") > 0 && of(last, "trim marks") > 0, "sessions were collected");
}

/// What is drawn: the kinds that are deleted, and below the kinds that stay.
fn panels(samples: &[Sample]) -> Vec<super::plot::Panel> {
    let line = |kind: &'static str| {
        let points = samples.iter().map(|sample| (sample.0.as_secs_f64() / 60.0, of(sample, kind)));
        (kind, points.collect())
    };
    vec![
        super::plot::Panel {
            title: "objects that are deleted",
            lines: BOUNDED.iter().map(|(kind, _)| line(kind)).collect(),
        },
        super::plot::Panel { title: "objects that stay", lines: PERMANENT.map(line).to_vec() },
    ]
}
