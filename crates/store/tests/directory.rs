//! The directory store across processes, with kill -9, and when its root is removed.
//!
//! The child processes are this test binary, started with a job in the environment.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use holocron_store::{Directory, Error, OpenError, Store, open, open_or_make};

/// The variables for a child: its job, the root, its name.
const JOB: &str = "HOLOCRON_STORE_TEST_JOB";
const ROOT: &str = "HOLOCRON_STORE_TEST_ROOT";
const NAME: &str = "HOLOCRON_STORE_TEST_NAME";

const RACERS: usize = 6;
const RACES: usize = 150;
const BODY_LEN: usize = 20_000;

fn directory(root: &Path) -> Arc<dyn Store> {
    Arc::new(Directory::open(root).expect("a directory for tests can be opened"))
}

fn start(job: &str, root: &Path, name: usize) -> Child {
    Command::new(std::env::current_exe().expect("a test knows its binary"))
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(JOB, job)
        .env(ROOT, root)
        .env(NAME, name.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a test can start its own binary")
}

/// The lines that a child prints, without the test harness's output.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let stdout = child.stdout.take().expect("it is piped");
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("said ").map(str::to_owned))
}

/// A body that shows its writer and whether it is complete.
fn body(name: &str, number: usize) -> Bytes {
    let line = format!("{name} {number}\n");
    Bytes::from(line.repeat(BODY_LEN / line.len()))
}

#[tokio::test]
#[ignore = "the body of child processes"]
async fn child() {
    let (Ok(job), Ok(root), Ok(name)) =
        (std::env::var(JOB), std::env::var(ROOT), std::env::var(NAME))
    else {
        panic!("only other tests of this file start this one");
    };
    let url = format!("file://{root}");
    match job.as_str() {
        "open" => {
            return println!("said {}", refusal(open(&url, &[])).split_once("opened: ").unwrap().1);
        }
        "make" => {
            return println!(
                "said {}",
                refusal(open_or_make(&url, &[])).split_once("opened: ").unwrap().1
            );
        }
        _ => {}
    }
    let store = directory(Path::new(&root));
    match job.as_str() {
        "create" => {
            let error =
                store.create("a/b", Bytes::from_static(b"x")).await.expect_err("it isn't ours");
            assert!(matches!(error, Error::Denied { .. }), "{error:?}");
            println!("said {}", holocron_store::explain(&error));
        }
        "race" => {
            for race in 0..RACES {
                if store.create(&format!("race/{race}"), body(&name, race)).await.is_ok() {
                    println!("said {race}");
                }
            }
        }
        "fill" => {
            for number in 0.. {
                let key = format!("fill/{name}/{number}");
                store
                    .create(&key, body(&name, number))
                    .await
                    .expect("no other process creates this key");
                println!("said {number}");
            }
        }
        job => panic!("no such job: {job}"),
    }
}

#[tokio::test]
async fn processes_that_race_have_one_winner_per_key() {
    let root = tempfile::tempdir().unwrap();
    let mut racers: Vec<_> = (0..RACERS).map(|name| start("race", root.path(), name)).collect();
    let mut winners = vec![Vec::new(); RACES];
    for (name, racer) in racers.iter_mut().enumerate() {
        for race in lines(racer) {
            winners[race.parse::<usize>().unwrap()].push(name);
        }
        assert!(racer.wait().unwrap().success());
    }
    let store = directory(root.path());
    for (race, winners) in winners.iter().enumerate() {
        assert_eq!(winners.len(), 1, "race {race} was won by {winners:?}");
        let stands = store.get(&format!("race/{race}")).await.unwrap().unwrap();
        assert_eq!(stands, body(&winners[0].to_string(), race), "the winner's bytes stand, whole");
    }
    let who: BTreeSet<_> = winners.into_iter().flatten().collect();
    assert!(who.len() > 1, "it was a race: {who:?}");
    assert_eq!(staging_files(root.path()), 0);
}

#[tokio::test]
async fn objects_confirmed_to_a_killed_process_exist_and_all_objects_are_complete() {
    let root = tempfile::tempdir().unwrap();
    const LIVES: usize = 8;
    for life in 0..LIVES {
        let mut filler = start("fill", root.path(), life);
        let mut told = 0;
        // A different moment in each round.
        for number in lines(&mut filler).take(10 + 7 * life) {
            told = number.parse::<usize>().unwrap() + 1;
        }
        filler.kill().unwrap();
        filler.wait().unwrap();
        let store = directory(root.path());
        let listed = store.list(&format!("fill/{life}")).await.unwrap();
        assert!(told > 0 && listed.len() >= told, "{} stand of {told} told", listed.len());
        for number in 0..listed.len() {
            let stands = store.get(&format!("fill/{life}/{number}")).await.unwrap().unwrap();
            assert_eq!(stands, body(&life.to_string(), number), "whole");
        }
    }
    // Leftover staging files are never listed.
    assert_eq!(directory(root.path()).list("").await.unwrap().len(), files(root.path()));
}

fn staging_files(root: &Path) -> usize {
    std::fs::read_dir(root.join(".staging")).expect("staging can be read").count()
}

/// Files that are objects, counted without the store.
fn files(root: &Path) -> usize {
    let entries = std::fs::read_dir(root).expect("the tree can be read");
    entries
        .map(|entry| entry.expect("the tree stays"))
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 })
        .sum()
}

#[tokio::test]
async fn an_object_has_one_name_once_it_is_durable() {
    let root = tempfile::tempdir().unwrap();
    let store = directory(root.path());
    store.create("a/b", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(std::fs::metadata(root.path().join("a/b")).unwrap().nlink(), 1);
    // Like another process between link and sync: the object is visible.
    std::fs::write(root.path().join(".staging/other"), b"y").unwrap();
    std::fs::hard_link(root.path().join(".staging/other"), root.path().join("a/c")).unwrap();
    assert_eq!(store.get("a/c").await.unwrap().unwrap(), "y");
    assert_eq!(store.get_range("a/c", 0..1).await.unwrap().unwrap(), "y");
    assert_eq!(store.list("a").await.unwrap().len(), 2);
    assert!(matches!(store.create("a/c", "z".into()).await, Err(Error::Conflict { .. })));
}

#[tokio::test]
async fn a_missing_root_is_not_an_empty_store() {
    let above = tempfile::tempdir().unwrap();
    let (root, aside) = (above.path().join("root"), above.path().join("aside"));
    std::fs::create_dir(&root).unwrap();
    let store = directory(&root);
    store.create("epochs/1", Bytes::from_static(b"one")).await.unwrap();
    std::fs::rename(&root, &aside).unwrap();
    for replaced in [false, true] {
        if replaced {
            std::fs::create_dir(&root).unwrap();
        }
        for answer in [
            store.get("epochs/1").await.err(),
            store.get_range("epochs/1", 0..1).await.err(),
            store.list("epochs").await.err(),
            store.create("epochs/2", "two".into()).await.err(),
            store.put("hints/leader", "hint".into()).await.err(),
            store.delete("epochs/1").await.err(),
        ] {
            assert!(matches!(answer, Some(Error::Denied { .. })), "{answer:?}");
        }
    }
    std::fs::remove_dir(&root).unwrap();
    std::fs::rename(&aside, &root).unwrap();
    assert_eq!(store.get("epochs/1").await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn directories_removed_from_outside_are_created_again() {
    let root = tempfile::tempdir().unwrap();
    let store = directory(root.path());
    store.create("a/b/1", Bytes::from_static(b"x")).await.unwrap();
    std::fs::remove_dir_all(root.path().join("a")).unwrap();
    assert_eq!(store.get("a/b/1").await.unwrap(), None);
    store.create("a/b/2", Bytes::from_static(b"y")).await.unwrap();
    assert_eq!(store.get("a/b/2").await.unwrap().unwrap(), "y");
}

#[tokio::test]
async fn a_key_that_is_a_prefix_of_another_is_rejected() {
    let root = tempfile::tempdir().unwrap();
    let store = directory(root.path());
    store.create("a/b", Bytes::from_static(b"x")).await.unwrap();
    for key in ["a", "a/b/c"] {
        let answers =
            [store.create(key, "y".into()).await.err(), store.put(key, "y".into()).await.err()];
        for answer in answers {
            assert!(matches!(answer, Some(Error::Rejected { .. })), "{key}: {answer:?}");
        }
        assert_eq!(store.get(key).await.unwrap(), None);
        store.delete(key).await.unwrap();
    }
    assert_eq!(store.get("a/b").await.unwrap().unwrap(), "x");
    assert_eq!(staging_files(root.path()), 0);
}

#[tokio::test]
async fn names_of_others_are_ignored() {
    let root = tempfile::tempdir().unwrap();
    let store = directory(root.path());
    std::fs::write(root.path().join("a#1"), b"x").unwrap();
    std::fs::write(root.path().join(".hidden"), b"x").unwrap();
    std::fs::create_dir(root.path().join("lost+found")).unwrap();
    std::os::unix::fs::symlink("a#1", root.path().join("link")).unwrap();
    assert_eq!(store.list("").await.unwrap(), []);
}

fn refusal(opened: Result<Arc<dyn Store>, OpenError>) -> String {
    holocron_store::explain(&opened.expect_err("it can't be opened"))
}

#[test]
fn a_wrong_path_is_refused_with_its_wrong_part_and_what_to_do() {
    let above = tempfile::tempdir().unwrap();
    let at = |name: &str| above.path().join(name);
    std::fs::write(at("file"), b"x").unwrap();
    std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
    let absent = "; check the path, and that its file system is mounted. For a new store, make the directory first";
    for (name, sentence) in [
        ("file", format!("{} is a file, not a directory; name a directory", at("file").display())),
        (
            "file/below",
            format!("{} is a file, not a directory; name a directory", at("file").display()),
        ),
        ("missing", format!("{} doesn't exist{absent}", at("missing").display())),
        ("missing/below", format!("{} doesn't exist{absent}", at("missing").display())),
        (
            "dangling",
            format!(
                "{} is a symbolic link to nowhere, which can't be followed (No such file or directory (os error 2)); fix \
                 or remove the link",
                at("dangling").display()
            ),
        ),
    ] {
        let url = format!("file://{}", at(name).display());
        assert_eq!(refusal(open(&url, &[])), format!("{url}: can't be opened: {sentence}"));
    }
    for name in ["file", "file/below", "missing/below", "dangling", "dangling/below"] {
        let url = format!("file://{}", at(name).display());
        let part = at(name.split('/').next().unwrap()).display().to_string();
        let said = refusal(open_or_make(&url, &[]));
        assert!(said.starts_with(&format!("{url}: can't be opened: {part} ")), "{said}");
    }
    let said = refusal(open_or_make(&format!("file://{}", at("missing/below").display()), &[]));
    assert!(
        said.ends_with(
            "itself would be created: create the directory above it, or mount its file system"
        ),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(above.path()).unwrap().count(), 2, "nothing was made");
}

#[tokio::test]
async fn opening_and_reading_create_nothing_and_open_or_make_one_directory() {
    let above = tempfile::tempdir().unwrap();
    let url = format!("file://{}/store", above.path().display());
    let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert!(open(&url, &[]).is_err());
    assert_eq!(count(above.path()), 0);
    drop(open_or_make(&url, &[]).unwrap());
    let store = open(&url, &[]).unwrap();
    assert_eq!(store.get("a/b").await.unwrap(), None);
    assert_eq!(store.get_range("a/b", 0..1).await.unwrap(), None);
    assert_eq!(store.list("").await.unwrap(), []);
    store.delete("a/b").await.unwrap();
    assert_eq!(count(&above.path().join("store")), 0, "no .staging either");
    store.create("a/b", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(staging_files(&above.path().join("store")), 0);
    // The staging directory is removed from outside.
    std::fs::remove_dir(above.path().join("store/.staging")).unwrap();
    store.create("a/c", Bytes::from_static(b"y")).await.unwrap();
}

/// The directory of another user, opened by a process without rights: this test binary as user 65534.
#[tokio::test]
async fn a_directory_of_another_user_is_refused_with_its_owner() {
    let above = tempfile::tempdir().unwrap();
    let is_root = std::fs::metadata(above.path()).unwrap().uid() == 0;
    if !is_root {
        return; // Only root can become another user.
    }
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(above.path(), 0o755);
    for (name, mode) in [("unreadable", 0o700), ("unwritable", 0o755)] {
        let path = above.path().join(name);
        std::fs::create_dir(&path).unwrap();
        set(&path, mode);
    }
    // A copy that every user may run: the build directory may be below a home directory.
    let copy = above.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    set(&copy, 0o755);
    for (name, verb) in [("unreadable", "open"), ("unwritable", "create"), ("new", "make")] {
        let root = above.path().join(name);
        let output = Command::new(&copy)
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(JOB, verb)
            .env(ROOT, &root)
            .env(NAME, "0")
            .current_dir("/")
            .uid(65_534)
            .gid(65_534)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let owner = "belongs to uid 0, gid 0 with mode 7";
        let us = "this process is uid 65534, gid 65534: use chown or chmod, or run as another user";
        assert!(
            said.contains(&format!("said {}", root.display())) || verb == "create",
            "{verb}: {said}"
        );
        let (path, owner_at) = (root.display(), said.find(owner));
        assert!(
            said.contains(&path.to_string()) && owner_at.is_some() && said.contains(us),
            "{verb}: {said}"
        );
    }
}
