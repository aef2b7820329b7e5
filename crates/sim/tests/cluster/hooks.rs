//! What vnodes hold outside their state: opened before the first call runs, closed before the slot leaves, one at a time.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use holocron::{
    Activation, BoxError, CallError, Context, Epoch, HostBuilder, Kind, Lifecycle, Settings, Vnode,
};
use holocron_sim::Cluster;
use serde::{Deserialize, Serialize};

use crate::tally::{kinds, tiny};

/// How long a close takes: longer than the flush of a slot without hooks may.
const CLOSE_TAKES: Duration = Duration::from_millis(1_500);

/// A door is open at one host at a time. What opens it can be made to fail, and to hang.
#[derive(Debug, Default)]
pub(crate) struct Street {
    doors: Mutex<BTreeMap<String, Door>>,
    locked: AtomicBool,
    hangs: AtomicBool,
    closes_hang: AtomicBool,
    pub(crate) closes_fast: AtomicBool,
}

#[derive(Debug, Default)]
struct Door {
    /// Where it is open, or being opened or closed, and the token.
    held: Option<(String, Epoch)>,
    /// What happened, in order.
    story: Vec<String>,
}

impl Street {
    fn story(&self, key: &str) -> Vec<String> {
        self.doors.lock().unwrap().get(key).map(|door| door.story.clone()).unwrap_or_default()
    }

    /// The nodes that hold doors, each with how many.
    pub(crate) fn holders(&self) -> BTreeMap<String, usize> {
        let mut holders = BTreeMap::new();
        for door in self.doors.lock().unwrap().values() {
            if let Some((node, _)) = &door.held {
                *holders.entry(node.clone()).or_insert(0) += 1;
            }
        }
        holders
    }

    fn note(&self, key: &str, what: String) {
        self.doors.lock().unwrap().entry(key.to_owned()).or_default().story.push(what);
    }
}

/// The hooks of one host.
pub(crate) struct Keys {
    node: String,
    street: Arc<Street>,
}

/// An open door; dropped when it is closed or given up.
pub(crate) struct Opened {
    key: String,
    node: String,
    epoch: Epoch,
    street: Arc<Street>,
    visitors: u64,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut doors = self.street.doors.lock().unwrap();
        let door = doors.get_mut(&self.key).expect("it was opened");
        if door.held == Some((self.node.clone(), self.epoch)) {
            door.held = None;
        }
    }
}

impl Lifecycle<Guest> for Keys {
    type Resource = Opened;

    async fn open(&self, activation: &Activation) -> Result<Opened, BoxError> {
        let (key, epoch) = (activation.key().to_owned(), activation.epoch());
        {
            let mut doors = self.street.doors.lock().unwrap();
            let door = doors.entry(key.clone()).or_default();
            assert_eq!(door.held, None, "{key} is opened at {} while it is held", self.node);
            door.held = Some((self.node.clone(), epoch));
        }
        let (node, street) = (self.node.clone(), Arc::clone(&self.street));
        let opened = Opened { key, node, epoch, street, visitors: 0 };
        tokio::time::sleep(Duration::from_millis(30)).await;
        if self.street.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.street.locked.load(Ordering::Relaxed) {
            return Err("the door is locked".into());
        }
        self.street.note(&opened.key, format!("opened at {}", self.node));
        Ok(opened)
    }

    async fn close(&self, opened: Opened, activation: &Activation) {
        assert!(!activation.cancelled().is_cancelled(), "it is closed before it is cancelled");
        self.street.note(&opened.key, format!("closes with {} visitors", opened.visitors));
        if !self.street.closes_fast.load(Ordering::Relaxed) {
            tokio::time::sleep(CLOSE_TAKES).await;
        }
        if self.street.closes_hang.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.street.note(&opened.key, "closed".into());
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Guest(u64);

impl Vnode for Guest {
    const KIND: &'static str = "guest";
    type Command = bool;
    type Reply = (u64, u64);
    type Query = ();
    type Answer = u64;
    type Env = Keys;

    /// Counts in the state and in what is held; panics if told so.
    fn command(&mut self, context: &mut Context<'_, Self>, panics: bool) -> (u64, u64) {
        self.0 += 1;
        context.resource_mut().visitors += 1;
        assert_eq!(context.resource().epoch, context.epoch());
        assert!(!panics, "it panics because the test asked for it");
        (self.0, context.resource().visitors)
    }

    fn query(&self, context: &Context<'_, Self>, (): ()) -> u64 {
        context.resource().visitors
    }
}

fn street(seed: u64, settings: Settings) -> (Cluster, Arc<Street>) {
    street_of(seed, settings, |kind| kind)
}

pub(crate) fn street_of(
    seed: u64,
    settings: Settings,
    declare: fn(Kind<Guest>) -> Kind<Guest>,
) -> (Cluster, Arc<Street>) {
    let mut cluster = Cluster::new(seed, settings, kinds);
    let street = Arc::<Street>::default();
    let on = Arc::clone(&street);
    cluster.equip(move |node, builder: HostBuilder| builder.kind(declare(guests(node, &on))));
    (cluster, street)
}

/// The kind, at a node.
pub(crate) fn guests(node: &str, street: &Arc<Street>) -> Kind<Guest> {
    Kind::new(Keys { node: node.to_owned(), street: Arc::clone(street) })
}

fn visit(cluster: &mut Cluster, key: &'static str) -> Result<(u64, u64), CallError> {
    let visiting = cluster.client("client", move |client| async move {
        client.get::<Guest>(key).with_deadline(Duration::from_secs(20)).command(false).await
    });
    cluster.finish(visiting, Duration::from_secs(30))
}

#[test]
fn a_slot_that_moves_waits_for_the_close_and_no_call_fails() {
    let (mut cluster, street) = street(41, tiny());
    cluster.start_all(&["a", "b"]);
    for count in 1..=3 {
        assert_eq!(visit(&mut cluster, "g"), Ok((count, count)));
    }
    let holder = street.story("g")[0].clone();
    let (from, to) = if holder == "opened at a" { ("a", "b") } else { ("b", "a") };
    cluster.leave(from);
    cluster.world.run(Duration::from_millis(400));
    // The call waits for the new owner, which waits for the Release, which waits for the close.
    assert_eq!(visit(&mut cluster, "g"), Ok((4, 1)));
    let expected = [
        format!("opened at {from}"),
        "closes with 3 visitors".into(),
        "closed".into(),
        format!("opened at {to}"),
    ];
    assert_eq!(street.story("g"), expected);
}

#[test]
fn a_close_that_hangs_is_dropped_at_its_deadline() {
    let (mut cluster, street) = street(42, tiny());
    cluster.start_all(&["a", "b"]);
    assert_eq!(visit(&mut cluster, "g"), Ok((1, 1)));
    let from = if street.story("g")[0] == "opened at a" { "a" } else { "b" };
    street.closes_hang.store(true, Ordering::Relaxed);
    cluster.leave(from);
    cluster.until("it leaves", Duration::from_secs(20), |cluster| cluster.stopped(from).is_some());
    assert_eq!(cluster.stopped(from).as_deref(), Some("left the cluster"));
    assert_eq!(visit(&mut cluster, "g"), Ok((2, 1)));
    assert_eq!(street.story("g").len(), 3, "it didn't close: {:?}", street.story("g"));
}

#[test]
fn an_open_that_fails_is_tried_again_and_one_that_hangs_is_dropped_at_its_deadline() {
    let settings = Settings { open_timeout: Duration::from_secs(2), ..tiny() };
    let (mut cluster, street) = street(43, settings);
    cluster.start_all(&["a"]);
    street.locked.store(true, Ordering::Relaxed);
    let visiting = cluster.client("client", |client| async move {
        client.get::<Guest>("g").with_deadline(Duration::from_secs(30)).command(false).await
    });
    cluster.world.run(Duration::from_secs(3));
    assert!(street.story("g").is_empty(), "no call runs before it is open");
    street.hangs.store(true, Ordering::Relaxed);
    cluster.world.run(Duration::from_secs(3));
    street.hangs.store(false, Ordering::Relaxed);
    street.locked.store(false, Ordering::Relaxed);
    assert_eq!(cluster.finish(visiting, Duration::from_secs(20)), Ok((1, 1)));
}

#[test]
fn after_a_panic_it_is_opened_again_and_the_calls_since_the_hand_over_run_on_it() {
    let (mut cluster, street) = street(44, tiny());
    cluster.start_all(&["a"]);
    assert_eq!(visit(&mut cluster, "g"), Ok((1, 1)));
    let calls = cluster.client("client", |client| async move {
        let guest = client.get::<Guest>("g").with_deadline(Duration::from_secs(20));
        let calls = [false, false, true, false, false].map(|panics| {
            let guest = guest.clone();
            tokio::spawn(async move { guest.command(panics).await })
        });
        let mut results = Vec::new();
        for call in calls {
            results.push(call.await.expect("a call ends"));
        }
        results
    });
    let results = cluster.finish(calls, Duration::from_secs(20));
    assert_eq!(results[2], Err(CallError::Panicked));
    let mut counts: Vec<u64> =
        results.iter().filter_map(|result| result.as_ref().ok()).map(|(count, _)| *count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 3, 4, 5], "{results:?}");
    assert_eq!(street.story("g"), ["opened at a", "opened at a"], "dropped without its hook");
}

#[test]
fn an_idle_vnode_is_closed_and_a_call_during_the_close_has_it_opened_again() {
    let settings = Settings { idle_after: Duration::from_millis(200), ..tiny() };
    let (mut cluster, street) = street(45, settings);
    cluster.start_all(&["a"]);
    assert_eq!(visit(&mut cluster, "g"), Ok((1, 1)));
    let closes = |street: &Street| street.story("g").len() == 2;
    cluster.until("it is evicted", Duration::from_secs(5), |_| closes(&street));
    assert_eq!(visit(&mut cluster, "g"), Ok((2, 1)));
    let expected = ["opened at a", "closes with 1 visitors", "closed", "opened at a"];
    assert_eq!(street.story("g")[..4], expected);
    assert_eq!(cluster.status("a").unwrap().evictions, 0, "it stayed in memory");
}

#[test]
fn a_host_that_leaves_alone_closes_what_its_vnodes_hold() {
    let (mut cluster, street) = street(46, tiny());
    cluster.start_all(&["a"]);
    assert_eq!(visit(&mut cluster, "g"), Ok((1, 1)));
    cluster.leave("a");
    cluster.until("it leaves", Duration::from_secs(20), |cluster| cluster.stopped("a").is_some());
    assert_eq!(street.story("g"), ["opened at a", "closes with 1 visitors", "closed"]);
}
