//! Timers, messages and effects, deletion and spawned work, through failovers and outages.

use core::time::Duration;

use holocron::{
    Amendment, CallError, Client, Context, DeferredItem, DeferredKind, DeferredLimits, Done,
    Effect, Finished, HostBuilder, Retry, Settings, Vnode, VnodeRef,
};
use holocron_sim::Cluster;
use serde::{Deserialize, Serialize};

use crate::tally::tiny;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Shows everything that happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Diary {
    lines: Vec<String>,
    closed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Command {
    Write(String),
    /// Write it later, so many times, each under a name of its own.
    Later {
        line: String,
        delay: Duration,
        times: u32,
    },
    /// Write it again and again.
    Always {
        line: String,
        period: Duration,
    },
    Cancel(String),
    /// Write it in another diary, and the answer here.
    Tell {
        key: String,
        line: String,
    },
    /// The same, without an answer.
    Whisper {
        key: String,
        line: String,
    },
    /// Do it outside; the effect succeeds at the third attempt.
    Outside(String),
    /// Write it when a task beside the vnode is done.
    Beside {
        line: String,
        takes: Duration,
    },
    /// Writing panics from now on, or no longer.
    Close(bool),
    Expire(Duration),
    Delete,
}

impl Vnode for Diary {
    const KIND: &'static str = "diary";
    type Command = Command;
    type Reply = usize;
    type Query = ();
    type Answer = Self;
    type Env = ();

    fn command(&mut self, context: &mut Context<'_, Self>, command: Command) -> usize {
        match command {
            Command::Write(line) => {
                assert!(!self.closed, "the diary is closed, as the test asked for");
                self.lines.push(line);
            }
            Command::Later { line, delay, times } => {
                for time in 0..times {
                    let line = format!("{line}{time}");
                    context.after(&line, delay * (time + 1), Command::Write(line.clone()));
                }
            }
            Command::Always { line, period } => {
                context.every("always", period, Command::Write(line));
            }
            Command::Cancel(name) => context.cancel(&name),
            Command::Tell { key, line } => {
                context.ask::<Self>(&key, Command::Write(line), "told");
            }
            Command::Whisper { key, line } => context.send::<Self>(&key, Command::Write(line)),
            Command::Outside(line) => context.effect(&line, Some("outside")),
            Command::Beside { line, takes } => context.spawn(async move {
                tokio::time::sleep(takes).await;
                Command::Write(line)
            }),
            Command::Close(closed) => self.closed = closed,
            Command::Expire(delay) => context.expire_after(delay),
            Command::Delete => context.delete(),
        }
        self.lines.len()
    }

    fn finished(&mut self, _: &mut Context<'_, Self>, finished: Finished<'_>) {
        let line = match finished.tag() {
            "told" => match finished.read::<usize>() {
                Ok(lines) => format!("told {lines}"),
                Err(failed) => format!("told nobody: {failed}"),
            },
            _ => finished.read::<String>().unwrap(),
        };
        self.lines.push(line);
    }

    async fn effect((): &(), effect: Effect) -> Result<Done, Retry> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if effect.tries() < 2 {
            return Err(Retry::because("not yet"));
        }
        let line: String = effect.read()?;
        effect.done(&format!("{line} {}", effect.id().number()))
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> Self {
        self.clone()
    }
}

fn cluster_of(seed: u64, settings: Settings, hosts: &[&str]) -> Cluster {
    let kinds = |builder: HostBuilder| builder.vnode::<Diary>();
    let mut cluster = Cluster::new(seed, settings, kinds);
    cluster.start_all(hosts);
    cluster
}

fn diary(client: &Client, key: &str) -> VnodeRef<Diary> {
    client.get::<Diary>(key).with_deadline(MINUTE)
}

/// Gives commands to diaries.
fn give(cluster: &mut Cluster, commands: Vec<(&'static str, Command)>) {
    let giving = cluster.client("giver", |client| async move {
        for (key, command) in commands {
            // After panics a vnode rests, and refuses its callers.
            while let Err(refused) = diary(&client, key).command(command.clone()).await {
                assert!(refused.to_string().contains("quarantined"), "{refused}");
                tokio::time::sleep(SECOND).await;
            }
        }
    });
    cluster.finish(giving, 3 * MINUTE);
}

fn lines(cluster: &mut Cluster, key: &'static str) -> Vec<String> {
    let reading = cluster.client("reader", move |client| async move {
        diary(&client, key).query(()).await.unwrap().lines
    });
    cluster.finish(reading, MINUTE)
}

#[test]
fn timers_through_twenty_kills_fire_once_each() {
    let settings = Settings { idle_after: SECOND, ..tiny() };
    let mut cluster = cluster_of(31, settings, &["a", "b", "c"]);
    let later = |line: &str| Command::Later {
        line: line.into(),
        delay: Duration::from_millis(370),
        times: 150,
    };
    let keys = ["d0", "d1", "d2", "d3"];
    give(&mut cluster, keys.iter().map(|key| (*key, later("x"))).collect());
    for round in 0..20 {
        let victim = ["a", "b", "c"][round % 3];
        cluster.world.run(Duration::from_millis(900));
        if round % 2 == 0 {
            cluster.world.crash(victim);
        } else {
            cluster.leave(victim);
        }
        cluster.world.run(Duration::from_millis(1_200));
        cluster.start(victim);
        cluster.world.run(SECOND);
    }
    cluster.world.run(MINUTE);
    for key in keys {
        let mut lines = lines(&mut cluster, key);
        lines.sort();
        let mut wanted: Vec<String> = (0..150).map(|time| format!("x{time}")).collect();
        wanted.sort();
        assert_eq!(lines, wanted, "{key}");
    }
}

#[test]
fn a_timer_due_during_an_outage_fires_once_after_it_and_a_recurring_one_keeps_its_rhythm() {
    let mut cluster = cluster_of(32, tiny(), &["a", "b"]);
    let always = Command::Always { line: "beat".into(), period: 10 * SECOND };
    let once = Command::Later { line: "once".into(), delay: 30 * SECOND, times: 1 };
    give(&mut cluster, vec![("d0", always), ("d1", once)]);
    cluster.world.run(25 * SECOND);
    assert_eq!(lines(&mut cluster, "d0").len(), 2);
    cluster.world.crash("a");
    cluster.world.crash("b");
    cluster.world.run(10 * MINUTE);
    cluster.start_all(&["a", "b"]);
    cluster.world.run(5 * SECOND);
    let late = lines(&mut cluster, "d0").len();
    assert!((3..=4).contains(&late), "{late} beats: 60 were missed, and one makes up for them");
    assert_eq!(lines(&mut cluster, "d1"), ["once0"]);
    cluster.world.run(60 * SECOND);
    let beats = lines(&mut cluster, "d0").len();
    assert!((late + 5..=late + 7).contains(&beats), "{late}, then {beats} beats");
    give(&mut cluster, vec![("d0", Command::Cancel("always".into()))]);
    let last = lines(&mut cluster, "d0").len();
    cluster.world.run(30 * SECOND);
    assert_eq!(lines(&mut cluster, "d0").len(), last, "it was cancelled");
}

#[test]
fn a_message_runs_once_with_its_answer_and_an_effect_until_it_succeeds() {
    let mut cluster = cluster_of(33, tiny(), &["a", "b"]);
    let tell = |line: &str| Command::Tell { key: "d1".into(), line: line.into() };
    give(&mut cluster, vec![("d0", tell("one")), ("d0", tell("two"))]);
    give(&mut cluster, vec![("d0", Command::Outside("paid".into()))]);
    cluster.world.run(5 * SECOND);
    assert_eq!(lines(&mut cluster, "d1"), ["one", "two"]);
    assert_eq!(lines(&mut cluster, "d0"), ["told 1", "told 2", "paid 3"]);
    // To itself.
    let own = Command::Tell { key: "d0".into(), line: "own".into() };
    give(&mut cluster, vec![("d0", own)]);
    cluster.world.run(5 * SECOND);
    assert_eq!(lines(&mut cluster, "d0")[3..], ["own", "told 4"]);
    // When all is acknowledged, nothing is left to do.
    let left = cluster.client("left", |client| async move {
        diary(&client, "d0").deferred().await.unwrap().items
    });
    assert_eq!(cluster.finish(left, MINUTE), []);
}

#[test]
fn a_poison_message_is_set_aside_and_an_operator_retries_or_drops_it() {
    let mut cluster = cluster_of(34, tiny(), &["a", "b"]);
    let whisper = |line: &str| Command::Whisper { key: "d1".into(), line: line.into() };
    let tell = Command::Tell { key: "d1".into(), line: "three".into() };
    give(&mut cluster, vec![("d1", Command::Close(true))]);
    let asked = vec![("d0", whisper("one")), ("d0", whisper("two")), ("d0", tell)];
    give(&mut cluster, asked);
    cluster.world.run(5 * SECOND);
    let told = lines(&mut cluster, "d0");
    assert_eq!(told, ["told nobody: its command panicked there"], "later ones don't wait");
    give(&mut cluster, vec![("d1", Command::Close(false))]);
    let amending = cluster.client("operator", |client| async move {
        let vnode = diary(&client, "d0");
        let items = vnode.deferred().await.unwrap().items;
        let aside = |number| DeferredItem {
            what: DeferredKind::Message { number, to: "diary/d1".into() },
            due_ms: 0,
            tries: 24,
            set_aside: true,
            why: Some("its command panicked there".into()),
        };
        assert_eq!(items, [aside(1), aside(2)]);
        let name = holocron_protocol::ids::VnodeName::new("diary", "d0").unwrap();
        client.amend(&name, Amendment::Retry(2)).await.unwrap();
        client.amend(&name, Amendment::Discard(1)).await.unwrap();
        let again = client.amend(&name, Amendment::Discard(1)).await;
        assert!(matches!(again, Err(CallError::Rejected { .. })), "{again:?}");
    });
    cluster.finish(amending, MINUTE);
    cluster.world.run(5 * SECOND);
    assert_eq!(lines(&mut cluster, "d1"), ["two"]);
}

#[test]
fn a_timer_whose_command_panics_is_tried_again_and_others_go_on() {
    let mut cluster = cluster_of(35, tiny(), &["a", "b"]);
    let later = Command::Later { line: "x".into(), delay: SECOND, times: 1 };
    give(&mut cluster, vec![("d0", later), ("d0", Command::Close(true))]);
    cluster.world.run(20 * SECOND);
    assert_eq!(lines(&mut cluster, "d0"), [""; 0]);
    give(&mut cluster, vec![("d0", Command::Close(false))]);
    cluster.world.run(2 * MINUTE);
    assert_eq!(lines(&mut cluster, "d0"), ["x0"]);
}

#[test]
fn a_deleted_vnode_begins_anew_and_what_it_has_sent_is_delivered() {
    let mut cluster = cluster_of(36, tiny(), &["a", "b"]);
    let whisper = Command::Whisper { key: "d1".into(), line: "last words".into() };
    let later = Command::Later { line: "never".into(), delay: SECOND, times: 1 };
    let told = vec![("d0", Command::Write("one".into())), ("d0", later), ("d0", whisper)];
    give(&mut cluster, told);
    let deleting = cluster.client("deleter", |client| async move {
        let vnode = diary(&client, "d0");
        assert!(vnode.exists().await.unwrap());
        assert!(!diary(&client, "nobody").exists().await.unwrap());
        vnode.delete().await.unwrap();
        assert!(!vnode.exists().await.unwrap());
    });
    cluster.finish(deleting, MINUTE);
    cluster.world.run(5 * SECOND);
    assert_eq!(lines(&mut cluster, "d1"), ["last words"]);
    // A takeover recovers that it is deleted.
    for host in ["a", "b"] {
        cluster.world.crash(host);
        cluster.world.run(5 * SECOND);
        cluster.start(host);
        cluster.world.run(5 * SECOND);
    }
    assert_eq!(lines(&mut cluster, "d0"), [""; 0]);
    give(&mut cluster, vec![("d0", Command::Write("two".into()))]);
    assert_eq!(lines(&mut cluster, "d0"), ["two"]);
    // By its own command, and by its time to live.
    give(&mut cluster, vec![("d0", Command::Delete), ("d1", Command::Expire(3 * SECOND))]);
    cluster.world.run(5 * SECOND);
    let gone = cluster.client("gone", |client| async move {
        assert!(!diary(&client, "d0").exists().await.unwrap());
        assert!(!diary(&client, "d1").exists().await.unwrap());
    });
    cluster.finish(gone, MINUTE);
}

#[test]
fn spawned_work_comes_back_as_a_command_and_is_dropped_when_the_slot_leaves() {
    let mut cluster = cluster_of(37, tiny(), &["a"]);
    let beside = |line: &str, takes| Command::Beside { line: line.into(), takes };
    give(&mut cluster, vec![("d0", beside("soon", SECOND)), ("d0", beside("late", 20 * SECOND))]);
    cluster.world.run(3 * SECOND);
    assert_eq!(lines(&mut cluster, "d0"), ["soon"]);
    cluster.start("b");
    cluster.world.run(5 * SECOND);
    cluster.leave("a");
    cluster.world.run(40 * SECOND);
    assert_eq!(lines(&mut cluster, "d0"), ["soon"]);
}

#[test]
fn a_command_that_asks_for_too_much_is_rejected_and_leaves_nothing() {
    let deferred = DeferredLimits { timers: 3, ..DeferredLimits::default() };
    let mut cluster = cluster_of(38, Settings { deferred, ..tiny() }, &["a"]);
    let asking = cluster.client("asker", |client| async move {
        let later = |times| Command::Later { line: "x".into(), delay: SECOND, times };
        let vnode = diary(&client, "d0");
        let refused = vnode.command(later(4)).await.unwrap_err();
        let why = "it would leave 4 timers; at most 3 are allowed".to_owned();
        assert_eq!(refused, CallError::Rejected { why });
        let long = Command::Cancel("n".repeat(65));
        let refused = vnode.command(long).await.unwrap_err();
        assert!(refused.to_string().contains("name of a timer: use 1 to 64 bytes"), "{refused}");
        vnode.command(later(3)).await.unwrap();
    });
    cluster.finish(asking, MINUTE);
    cluster.world.run(10 * SECOND);
    assert_eq!(lines(&mut cluster, "d0"), ["x0", "x1", "x2"]);
}

#[test]
fn many_timers_that_are_due_at_once_cost_few_requests() {
    let settings = Settings { idle_after: SECOND, vnodes_active_max: 500, ..tiny() };
    let mut cluster = cluster_of(39, settings, &["a"]);
    let many = 3_000;
    let asking = cluster.client("asker", move |client| async move {
        let mut asked = Vec::new();
        for number in 0..many {
            let later = Command::Later { line: "x".into(), delay: MINUTE, times: 1 };
            let vnode = diary(&client, &format!("m{number}"));
            asked.push(tokio::spawn(async move { vnode.command(later).await.unwrap() }));
        }
        for one in asked {
            one.await.unwrap();
        }
    });
    cluster.finish(asking, MINUTE);
    let requests = |cluster: &Cluster| -> u64 { cluster.world.shelf.counts().values().sum() };
    cluster.world.run(20 * SECOND);
    let before = requests(&cluster);
    cluster.world.run(20 * SECOND);
    let idle = requests(&cluster) - before;
    cluster.world.run(40 * SECOND);
    let after = requests(&cluster) - before - idle;
    println!("{idle} requests in 20 s before, {after} in 40 s with {many} timers");
    let due = after.saturating_sub(2 * idle);
    let reading = cluster.client("reader", move |client| async move {
        for number in [0, 7, many / 2, many - 1] {
            let read = diary(&client, &format!("m{number}")).query(()).await.unwrap();
            assert_eq!(read.lines, ["x0"], "m{number}");
        }
    });
    cluster.finish(reading, MINUTE);
    assert!(due < many / 4, "{due} requests for {many} timers");
}
