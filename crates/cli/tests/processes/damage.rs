//! `scrub` and `gc` on the store of a real cluster: clean while hosts run under load and after they were killed, and every
//! damage made by hand is found.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use holocron::{Audit, audit::ScrubReport};
use holocron_protocol::{
    audit::finding::Damage, control::hints::LeaderHint, epoch::record::EpochRecord, format::keys,
    ids::Nonce,
};
use rustix::process::Signal;
use serde_json::Value;

use super::support::{Host, Place, add_to_all, all_served, run, text, turn, until};

/// Small settings, so that journals are checkpointed and trimmed within a test.
const SMALL: [&str; 6] = ["--checkpoint-batches", "8", "--segment-len", "4", "--slots", "64"];
/// The exit code of a scrub that found damage.
const DAMAGED: i32 = 8;

fn counters(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

async fn scrub(url: &str) -> ScrubReport {
    Audit::new(holocron_store::open(url, &[]).unwrap()).scrub().await.unwrap()
}

/// Two hosts whose journals have been checkpointed and trimmed.
async fn worked(place: &Place) -> [Host; 2] {
    let hosts = [place.host("h1", &SMALL).await, place.host("h2", &SMALL).await];
    let client = place.client().await;
    all_served(place, &[&hosts[0], &hosts[1]]).await;
    let store = place.store();
    until("both journals are trimmed and have packs", async || {
        add_to_all(&client, &counters(40)).await;
        let listed = store.list("sessions").await.unwrap();
        let sessions_with = |part: &str| {
            let with = listed.iter().filter_map(|object| Some(object.key.split_once(part)?.0));
            with.collect::<std::collections::BTreeSet<_>>().len()
        };
        (sessions_with("/trims/") >= 2 && sessions_with("/packs/") >= 2).then_some(())
    })
    .await;
    hosts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_sound_while_hosts_work_and_after_they_were_killed() {
    let _turn = turn().await;
    let place = Place::new();
    let [one, two] = worked(&place).await;
    let client = place.client().await;
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, caller) = (Arc::clone(&stop), client.clone());
    let load = tokio::spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            add_to_all(&caller, &counters(40)).await;
        }
    });
    let before = one.status().await.unwrap().progress.committed.get();
    let mut scrubs = 0;
    until("many batches were committed and trimmed meanwhile", async || {
        let report = scrub(&place.url()).await;
        assert_eq!(report.findings, [], "while both hosts work");
        assert_eq!(report.sessions_open, 2);
        assert!(report.records > 0 && report.epochs >= 2, "{report:?}");
        scrubs += 1;
        let committed = one.status().await?.progress.committed.get();
        (scrubs >= 20 && committed > before + 60).then_some(())
    })
    .await;
    two.signal(Signal::KILL);
    let mut forgotten = 0;
    until("the killed host's session is collected", async || {
        let report = scrub(&place.url()).await;
        assert_eq!(report.findings, [], "during and after the takeover");
        forgotten = report.sessions_forgotten + report.sessions_detached;
        (forgotten == 1).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    one.signal(Signal::KILL);
    drop((one, two));
    assert_eq!(scrub(&place.url()).await.findings, [], "no host runs");
    let url = place.url();
    let scrubbed = run(&["scrub", "--store", &url]).await;
    assert_eq!(scrubbed.status.code(), Some(0), "{}", text(&scrubbed.stderr));
    assert!(text(&scrubbed.stdout).contains("no damage found"), "{}", text(&scrubbed.stdout));
    let shown = run(&["gc", "--dry-run", "--json", "--store", &url]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let objects = shown["objects"].as_array().unwrap();
    let fates: Vec<&str> = objects.iter().map(|row| row["fate"].as_str().unwrap()).collect();
    assert!(fates.contains(&"needed") && fates.contains(&"permanent"), "{shown:#}");
    assert!(!fates.contains(&"stray") && !fates.contains(&"foreign"), "{shown:#}");
    let without = run(&["gc", "--store", &url]).await;
    assert_eq!(without.status.code(), Some(2), "it never deletes, so it says that it would not");
}

/// A damage: its name, what does it below a store's root, what a scrub calls it, and a part of the key it names.
struct Case {
    name: &'static str,
    damage: fn(&Files),
    called: Damage,
    key: &'static str,
}

/// The objects of a store in a directory.
struct Files {
    root: PathBuf,
    /// A session of a host that ran at the end.
    open: PathBuf,
    /// The session of the host that was killed before.
    collected: PathBuf,
}

impl Files {
    /// The files in a folder of the open session, or of the root, in order.
    fn all(folder: &Path) -> Vec<PathBuf> {
        let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn last(folder: &Path) -> PathBuf {
        Self::all(folder).pop().expect("it has files")
    }

    fn epoch(&self, number: u64) -> PathBuf {
        self.root.join(format!("epochs/{number:020}"))
    }

    /// Flips a bit; `at` counts from the end if it is negative.
    fn flip(file: &Path, at: isize) {
        let mut bytes = fs::read(file).unwrap();
        let at = usize::try_from(at).unwrap_or_else(|_| bytes.len() - at.unsigned_abs());
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
    }

    fn remove(file: &Path) {
        fs::remove_file(file).unwrap();
    }
}

/// Where no session is.
const UNKNOWN: &str = "sessions/0000000000000000000000000000000a";

const CASES: [Case; 18] = [
    Case {
        name: "an epoch in the middle is deleted",
        damage: |files| Files::remove(&files.epoch(2)),
        called: Damage::EpochMissing,
        key: "epochs/00000000000000000002",
    },
    Case {
        name: "the newest epoch is deleted",
        damage: |files| Files::remove(&Files::last(&files.root.join("epochs"))),
        called: Damage::EpochMissing,
        key: "epochs/",
    },
    Case {
        name: "a bit of an epoch is flipped",
        damage: |files| Files::flip(&files.epoch(2), -40),
        called: Damage::Undecodable,
        key: "epochs/00000000000000000002",
    },
    Case {
        name: "another record stands at an epoch",
        damage: |files| {
            let stored = fs::read(files.epoch(2)).unwrap();
            let mut record = EpochRecord::decode("epochs/00000000000000000002", &stored).unwrap();
            record.reason = "forged".to_owned();
            fs::write(files.epoch(2), record.encode(Nonce::new(6))).unwrap();
        },
        called: Damage::ChainBroken,
        key: "epochs/00000000000000000002",
    },
    Case {
        name: "the cluster object is deleted",
        damage: |files| Files::remove(&files.root.join("cluster")),
        called: Damage::ClusterMissing,
        key: "cluster",
    },
    Case {
        name: "an epoch mark too many",
        damage: |files| {
            fs::create_dir_all(files.root.join("epoch-marks")).unwrap();
            let mark = files.collected.join("trims/end");
            fs::copy(mark, files.root.join(format!("epoch-marks/{:020}", 0))).unwrap();
        },
        called: Damage::MarkAhead,
        key: "epoch-marks/",
    },
    Case {
        name: "a bit of a batch is flipped",
        damage: |files| Files::flip(&Files::last(&files.open.join("journal")), 50),
        called: Damage::Undecodable,
        key: "/journal/",
    },
    Case {
        name: "a batch in the middle is deleted",
        damage: |files| {
            let journal = Files::all(&files.open.join("journal"));
            Files::remove(&journal[journal.len() - 2]);
        },
        called: Damage::BatchMissing,
        key: "/journal/",
    },
    Case {
        name: "a bit of a record in a pack is flipped",
        damage: |files| Files::flip(&Files::last(&files.open.join("packs")), 60),
        called: Damage::PackRecordDamaged,
        key: "/packs/",
    },
    Case {
        name: "a bit of a pack's index is flipped",
        damage: |files| Files::flip(&Files::last(&files.open.join("packs")), -20),
        called: Damage::PackIndexDamaged,
        key: "/packs/",
    },
    Case {
        name: "a bit of a pack's header is flipped",
        damage: |files| Files::flip(&Files::last(&files.open.join("packs")), 9),
        called: Damage::PackDiffers,
        key: "/packs/",
    },
    Case {
        name: "a pack is cut short",
        damage: |files| {
            let pack = Files::last(&files.open.join("packs"));
            let bytes = fs::read(&pack).unwrap();
            fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
        },
        called: Damage::PackDiffers,
        key: "/packs/",
    },
    Case {
        name: "a pack is deleted",
        damage: |files| Files::remove(&Files::last(&files.open.join("packs"))),
        called: Damage::PackMissing,
        key: "/packs/",
    },
    Case {
        name: "a seal is deleted",
        damage: |files| Files::remove(&Files::last(&files.collected.join("journal"))),
        called: Damage::SealMissing,
        key: "/journal/",
    },
    Case {
        name: "a trim mark is deleted",
        damage: |files| Files::remove(&Files::all(&files.open.join("trims"))[0]),
        called: Damage::MarkMissing,
        key: "/trims/",
    },
    Case {
        name: "a trim mark too many",
        damage: |files| {
            let mark = files.collected.join("trims/end");
            fs::copy(mark, files.open.join(format!("trims/{:020}", 900))).unwrap();
        },
        called: Damage::MarkAhead,
        key: "/trims/00000000000000000900",
    },
    Case {
        name: "an end mark of a session that is needed",
        damage: |files| {
            let mark = files.collected.join("trims/end");
            fs::copy(mark, files.open.join("trims/end")).unwrap();
        },
        called: Damage::EndMarkAhead,
        key: "/trims/end",
    },
    Case {
        name: "a session that no record lists",
        damage: |files| copy_tree(&files.open, &files.root.join(UNKNOWN)),
        called: Damage::UnknownSession,
        key: UNKNOWN,
    },
];

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A store after work, a kill and a takeover; no host runs. With the session that is open in its newest record, and the
/// one that was collected.
async fn left_behind(place: &Place) -> (String, String) {
    let [one, two] = worked(place).await;
    let (open, collected) =
        (place.session_of(&one.name).await.unwrap(), place.session_of(&two.name).await.unwrap());
    two.kill().await;
    let store = place.store();
    until("the killed host's session is collected", async || {
        let left = store.list(&format!("sessions/{collected}/journal")).await.unwrap();
        (left.len() == 1).then_some(())
    })
    .await;
    // A few batches above the newest checkpoint.
    let client = place.client().await;
    until("the newest checkpoint is some batches old", async || {
        add_to_all(&client, &counters(1)).await;
        let progress = one.status().await?.progress;
        let above = progress.committed.get() - progress.checkpoint_at.get();
        ((3..=5).contains(&above)).then_some(())
    })
    .await;
    until("the leader's hint is of the newest epoch", async || {
        let hint = store.get(keys::LEADER_HINT).await.unwrap()?;
        let hint = LeaderHint::decode(keys::LEADER_HINT, &hint).unwrap();
        (hint.epoch == place.record().await?.epoch).then_some(())
    })
    .await;
    one.kill().await;
    (open.to_string(), collected.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_made_by_hand_is_found() {
    let _turn = turn().await;
    let place = Place::new();
    let (open, collected) = left_behind(&place).await;
    assert_eq!(scrub(&place.url()).await.findings, [], "before any damage");
    let copies = tempfile::tempdir().unwrap();
    for (number, case) in CASES.iter().enumerate() {
        let root = copies.path().join(number.to_string());
        copy_tree(&place.path(), &root);
        let sessions = root.join("sessions");
        let files = Files {
            open: sessions.join(&open),
            collected: sessions.join(&collected),
            root: root.clone(),
        };
        (case.damage)(&files);
        let report = scrub(&format!("file://{}", root.display())).await;
        let found = report
            .findings
            .iter()
            .any(|finding| finding.damage == case.called && finding.key.contains(case.key));
        assert!(found, "{}: {:#?}", case.name, report.findings);
    }
    // As an operator sees it.
    let url = format!("file://{}", copies.path().join("12").display());
    let shown = run(&["scrub", "--store", &url]).await;
    assert_eq!(shown.status.code(), Some(DAMAGED), "{}", text(&shown.stderr));
    let (out, err) = (text(&shown.stdout), text(&shown.stderr));
    for words in ["pack-missing", "/packs/", "this means:", "what to do:"] {
        assert!(out.contains(words), "{words:?} is not in {out}");
    }
    assert!(err.contains("the store is damaged: 1 finding"), "{err}");
    let shown = run(&["scrub", "--json", "--store", &url]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["sound"], false);
    assert_eq!(shown["findings"][0]["damage"], "pack-missing", "{shown:#}");
    let nothing = copies.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let empty = run(&["scrub", "--store", &format!("file://{}", nothing.display())]).await;
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty.stderr).contains("there is no cluster"), "{}", text(&empty.stderr));
}
