//! Members of an election as processes: killed, stopped and told to resign.

use core::time::Duration;
use std::path::PathBuf;

use holocron_protocol::epoch::election_record::ElectionRecord;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::{sleep, timeout},
};

use super::support::{PATIENCE, Place, holocron, run, text, turn, until};

const LEASE: &str = "1s";

/// A member as a process.
struct Member {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Member {
    fn start(place: &Place, name: &str, arguments: &[&str]) -> Self {
        Self::with_lease(LEASE, place, name, arguments)
    }

    fn with_lease(lease: &str, place: &Place, name: &str, arguments: &[&str]) -> Self {
        let url = place.url();
        let mut command = holocron(&["elect", "job", "--json", "--lease", lease]);
        command.args(["--store", &url, "--name", name]).args(arguments);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it was not waited for");
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits for a line with this role; returns it.
    async fn says(&mut self, role: &str) -> Value {
        let line = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it runs");
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["role"] == role {
                    return line;
                }
            }
        };
        timeout(PATIENCE, line).await.unwrap_or_else(|_| panic!("it never says {role}"))
    }

    async fn leads(&mut self) -> u64 {
        self.says("leading").await["token"].as_u64().unwrap()
    }

    /// Waits until it ends by itself; returns its exit code.
    async fn ends(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").unwrap().code()
    }
}

/// Every record of the election, oldest first.
async fn records(place: &Place) -> Vec<ElectionRecord> {
    let store = holocron_store::Below::new(place.store(), "elections/job");
    let store: &dyn holocron_store::Store = &store;
    let mut keys: Vec<String> =
        store.list("epochs").await.unwrap().into_iter().map(|object| object.key).collect();
    keys.sort();
    let mut records = Vec::new();
    for key in keys {
        let stored = store.get(&key).await.unwrap().unwrap();
        records.push(ElectionRecord::decode(&key, &stored).unwrap());
    }
    records
}

/// Lines of a file that a command writes, once there are that many.
async fn written(file: &PathBuf, count: usize) -> Vec<String> {
    until("the command has written", async || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

/// A script that writes a line with its token and process, and runs until it is told to end.
const RECORDS: &str =
    r#"echo "$HOLOCRON_TOKEN $$ $HOLOCRON_ELECTION $HOLOCRON_MEMBER" >> "$0"; exec sleep 1000"#;

fn is_alive(process: &str) -> bool {
    let id = Pid::from_raw(process.parse().unwrap()).unwrap();
    // A killed process whose parent is gone may wait a moment for init.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    test_kill_process(id).is_ok() && !state.contains(") Z ")
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_are_killed_and_stopped_are_replaced_and_tokens_grow() {
    let _turn = turn().await;
    let place = Place::new();
    let mut leader = Member::start(&place, "m0", &[]);
    let mut token = leader.leads().await;
    let mut other = Member::start(&place, "m1", &[]);
    for round in 0..6 {
        other.says("following").await;
        let victim = &leader;
        victim.signal(if round % 2 == 0 { Signal::KILL } else { Signal::STOP });
        let next = other.leads().await;
        assert!(next > token, "round {round}: token {next} after {token}");
        token = next;
        let victim = core::mem::replace(&mut leader, other);
        if round % 2 == 0 {
            other = Member::start(&place, &format!("m{}", round + 2), &[]);
        } else {
            victim.signal(Signal::CONT);
            other = victim;
        }
    }
    let records = records(&place).await;
    let epochs: Vec<u64> = records.iter().map(|record| record.epoch.get()).collect();
    assert_eq!(epochs, (1..=token).collect::<Vec<_>>(), "one record per epoch");
    assert!(records.iter().skip(1).all(|record| record.reason.ends_with("was silent")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_end_resigns_and_the_next_leads_at_once() {
    let _turn = turn().await;
    let place = Place::new();
    let start = |name, arguments: &[&str]| Member::with_lease("20s", &place, name, arguments);
    let mut leader = start("m0", &[]);
    leader.leads().await;
    let mut other = start("m1", &["--address", "10.0.0.7:80"]);
    other.says("following").await;
    let began = tokio::time::Instant::now();
    leader.signal(Signal::TERM);
    assert_eq!(leader.ends().await, Some(0));
    assert_eq!(other.leads().await, 3, "epoch 2 is the resignation");
    assert!(began.elapsed() < Duration::from_secs(10), "silence takes 20 s: {:?}", began.elapsed());
    let mut late = start("m2", &[]);
    let seen = late.says("following").await;
    assert_eq!((&seen["leader"], &seen["address"]), (&"m1".into(), &"10.0.0.7:80".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_under_each_leadership_with_its_token_and_ends_with_it() {
    let _turn = turn().await;
    let place = Place::new();
    let file = place.path().with_file_name("runs");
    let path = file.display().to_string();
    let with_command = ["--grace", "2s", "--", "sh", "-c", RECORDS, &path];
    let first = Member::start(&place, "m0", &with_command);
    let runs = written(&file, 1).await;
    let (token, process) = runs[0].split_once(' ').unwrap();
    let (process, named) = process.split_once(' ').unwrap();
    assert_eq!((token, named), ("1", "job m0"));
    let mut second = Member::start(&place, "m1", &with_command);
    sleep(Duration::from_millis(1_500)).await;
    assert!(is_alive(process), "a healthy leader's command runs on");

    // Stopped, it loses the leadership; when it goes on, it ends its command.
    first.signal(Signal::STOP);
    let runs = written(&file, 2).await;
    assert!(runs[1].starts_with("2 ") && runs[1].ends_with("m1"), "{runs:?}");
    first.signal(Signal::CONT);
    until("the first command has ended", async || (!is_alive(process)).then_some(())).await;

    // Killed, its command ends with it; the first runs its command again, with a new token.
    second.child.kill().await.unwrap();
    let killed = runs[1].split(' ').nth(1).unwrap();
    until("the second command has ended", async || (!is_alive(killed)).then_some(())).await;
    let runs = written(&file, 3).await;
    assert!(runs[2].starts_with("3 ") && runs[2].ends_with("m0"), "{runs:?}");

    // Told to end, it ends its command first, and resigns.
    let mut first = first;
    first.signal(Signal::TERM);
    assert_eq!(first.ends().await, Some(0));
    assert!(!is_alive(runs[2].split(' ').nth(1).unwrap()));
    let last = records(&place).await.pop().unwrap();
    assert_eq!(last.reason, "m0 resigns");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ignores_sigterm_is_killed_after_the_grace() {
    let _turn = turn().await;
    let place = Place::new();
    let file = place.path().with_file_name("runs");
    let path = file.display().to_string();
    let stubborn = r#"trap '' TERM; echo "1 $$" >> "$0"; while :; do sleep 0.1; done"#;
    let mut member =
        Member::start(&place, "m0", &["--grace", "300ms", "--", "sh", "-c", stubborn, &path]);
    let runs = written(&file, 1).await;
    member.signal(Signal::TERM);
    assert_eq!(member.ends().await, Some(0));
    assert!(!is_alive(runs[0].split(' ').nth(1).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_started_ends_before_the_member_resigns() {
    let _turn = turn().await;
    // A worker that ignores SIGTERM, below a shell that doesn't, or that ends by itself.
    let worker = r#"sh -c 'trap "" TERM; echo "1 $$" >> "$0"; while :; do sleep 0.1; done' "$0" &"#;
    for (script, is_told) in [
        (format!("{worker} wait"), true),
        (format!(r#"{worker} while [ ! -s "$0" ]; do sleep 0.05; done"#), false),
    ] {
        let place = Place::new();
        let file = place.path().with_file_name("runs");
        let path = file.display().to_string();
        let command = ["--grace", "300ms", "--", "sh", "-c", &script, &path];
        let mut member = Member::start(&place, "m0", &command);
        let runs = written(&file, 1).await;
        if is_told {
            member.signal(Signal::TERM);
        }
        assert_eq!(member.ends().await, Some(0), "{script}");
        assert!(!is_alive(runs[0].split(' ').nth(1).unwrap()), "{script}");
        assert_eq!(records(&place).await.pop().unwrap().reason, "m0 resigns");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ends_ends_the_member_which_resigns() {
    let _turn = turn().await;
    let place = Place::new();
    let url = place.url();
    for (script, code, words) in
        [("exit 0", 0, "resigned"), ("exit 3", 1, "exit status: 3"), ("nonsense-x", 1, "127")]
    {
        let options = ["elect", "job", "--lease", LEASE, "--store", &url, "--", "sh", "-c", script];
        let output = run(&options).await;
        assert_eq!(output.status.code(), Some(code), "{script}");
        let said = text(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
    let last = records(&place).await.pop().unwrap();
    assert!(last.reason.ends_with("resigns"), "{}", last.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_and_a_missing_directory_are_told() {
    let _turn = turn().await;
    let place = Place::new();
    let url = place.url();
    for (arguments, code, words) in [
        (vec!["job", "--store", &url, "--lease", "10"], 2, "write 10s"),
        (vec!["job", "--store", &url, "--lease", "1ms"], 2, "lease 1ms: use 250ms"),
        (vec!["job", "--store", &url, "--rotate", "2s"], 2, "at least 3.024s"),
        (vec!["Job", "--store", &url], 2, "Job"),
        (vec!["job", "--store", &url, "--contested"], 2, "--rotate"),
        (vec!["job", "--store", "file:///nowhere/at/all"], 1, "nowhere"),
    ] {
        let output = run(&[&["elect"], arguments.as_slice()].concat()).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_store_was_emptied_ends_with_7() {
    let _turn = turn().await;
    let place = Place::new();
    let mut member = Member::start(&place, "m0", &[]);
    member.leads().await;
    // At once: object by object, the member would put its hint in between.
    std::fs::rename(place.path().join("elections"), place.path().with_file_name("gone")).unwrap();
    assert_eq!(member.ends().await, Some(7));
    assert!(records(&place).await.is_empty(), "it founds nothing");
}
