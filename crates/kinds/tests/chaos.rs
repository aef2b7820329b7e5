//! Leases and queues while hosts are killed, pause and lose their network, and the store fails.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures::future::join_all;
use holocron::Client;
use holocron_kinds::{
    Acquired, Counter, CounterClient as _, Kv, KvClient as _, Lease, LeaseClient as _, Queue,
    QueueClient as _, register,
};
use holocron_testing::Chaos;
use tokio::time::{Instant, sleep};

/// Longer than any takeover: every call ends with an answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// An acquire that was granted.
#[derive(Clone, Copy, Debug)]
struct Granted {
    who: usize,
    token: u64,
    asked: Instant,
    answered: Instant,
}

/// What a fencing token protects: it refuses tokens smaller than the largest it has seen.
#[derive(Default)]
struct Resource {
    token: u64,
    writer: Option<usize>,
}

impl Resource {
    /// Whether the write is accepted. One token must never be that of two writers.
    fn write(&mut self, who: usize, token: u64) -> bool {
        if token < self.token {
            return false;
        }
        assert!(token > self.token || self.writer == Some(who), "two holders have one token");
        (self.token, self.writer) = (token, Some(who));
        true
    }
}

#[test]
fn tokens_of_a_lease_are_unique_and_grow() {
    const HOLDERS: usize = 3;
    const ROUNDS: usize = 6;
    let scenario = |client: Client, seed: u64| async move {
        let (resource, granted) =
            (Mutex::new(Resource::default()), Mutex::new(Vec::<Granted>::new()));
        let hold = async |who: usize| {
            let lease = client.get::<Lease>("lock").with_deadline(PATIENCE);
            let name = format!("holder-{who}");
            let mut held = 0;
            while held < ROUNDS {
                let asked = Instant::now();
                let Ok(Acquired::Granted(grant)) =
                    lease.acquire(&name, 3_000, Some(5_000)).await.unwrap()
                else {
                    sleep(Duration::from_millis(200)).await;
                    continue;
                };
                held += 1;
                let answered = Instant::now();
                granted.lock().unwrap().push(Granted { who, token: grant.token, asked, answered });
                resource.lock().unwrap().write(who, grant.token);
                // Some holders take longer than they have the lease, and some never give it back.
                let pause = (seed + 7 * held as u64 + 3 * who as u64) % 5_000;
                sleep(Duration::from_millis(pause)).await;
                resource.lock().unwrap().write(who, grant.token);
                if !pause.is_multiple_of(3) {
                    drop(lease.release(&name, grant.token).await.unwrap());
                }
            }
        };
        join_all((0..HOLDERS).map(hold)).await;
        check_tokens(&granted.into_inner().unwrap());
    };
    Chaos::new(register).seeds(1..=8).run(scenario, |client| async move {
        let lease = client.get::<Lease>("lock").with_deadline(PATIENCE);
        let state = lease.state().await.unwrap();
        assert_eq!(state.grant, None, "its time is over, and timers have fired");
    });
}

fn check_tokens(granted: &[Granted]) {
    for one in granted {
        for other in granted {
            assert!(one.token != other.token || one.who == other.who, "{one:?} {other:?}");
            let is_before = one.answered < other.asked;
            assert!(!is_before || one.token <= other.token, "{one:?} is before {other:?}");
        }
    }
}

#[test]
fn every_acknowledged_push_is_consumed_and_none_after_its_ack() {
    const MESSAGES: u64 = 30;
    let scenario = |client: Client, seed: u64| async move {
        let acked = Arc::new(Mutex::new(BTreeMap::<u64, Instant>::new()));
        let queue = client.get::<Queue>("work").with_deadline(PATIENCE);
        queue.configure(1_000).await.unwrap().unwrap();
        let produce = async {
            let mut pushed = BTreeSet::new();
            for number in 0..MESSAGES {
                let key = (number % 3 == 0).then(|| "k".to_owned());
                let id = queue.push(number.to_string(), None, key).await.unwrap().unwrap();
                assert!(pushed.insert(id), "{id} was given twice");
                sleep(Duration::from_millis(100 + seed % 50)).await;
            }
            pushed
        };
        let consume = async |who: u64| {
            let queue = client.get::<Queue>("work").with_deadline(PATIENCE);
            while (acked.lock().unwrap().len() as u64) < MESSAGES {
                let asked = Instant::now();
                let deliveries = queue.pull(4, 2_000).await.unwrap().unwrap();
                if deliveries.is_empty() {
                    sleep(Duration::from_millis(300)).await;
                }
                for delivery in deliveries {
                    let before = acked.lock().unwrap().get(&delivery.id).copied();
                    assert!(
                        before.is_none_or(|acked| acked > asked),
                        "{} again after its ack",
                        delivery.id
                    );
                    // A consumer fails now and then, and forgets what it pulled.
                    if (delivery.receipt + who + seed).is_multiple_of(4) {
                        continue;
                    }
                    if queue.ack(delivery.id, delivery.receipt).await.unwrap().is_ok() {
                        acked.lock().unwrap().insert(delivery.id, Instant::now());
                    }
                }
            }
        };
        let (pushed, _) = futures::join!(produce, join_all((0..2).map(consume)));
        let acked: BTreeSet<u64> = acked.lock().unwrap().keys().copied().collect();
        assert_eq!(acked, pushed);
    };
    Chaos::new(register).seeds(1..=8).run(scenario, |client| async move {
        let stats = client.get::<Queue>("work").with_deadline(PATIENCE).stats().await.unwrap();
        let left = stats.ready + stats.behind + stats.in_flight + stats.delayed + stats.dead;
        assert_eq!((left, stats.bytes), (0, 0), "{stats:?}");
    });
}

#[test]
fn counters_and_maps_count_each_command_once() {
    const ROUNDS: i64 = 20;
    let scenario = |client: Client, _| async move {
        let add = async {
            let counter = client.get::<Counter>("c").with_deadline(PATIENCE);
            for round in 1..=ROUNDS {
                assert_eq!(counter.add(1).await, Ok(round));
            }
        };
        // Two callers that count in one field, by its revision.
        let change = async |_| {
            let map = client.get::<Kv>("m").with_deadline(PATIENCE);
            let mut done = 0;
            while done < ROUNDS {
                let field = map.get("n").await.unwrap();
                let number: i64 = field.as_ref().map_or(0, |field| field.value.parse().unwrap());
                let revision = field.map(|field| field.revision);
                let next = Some((number + 1).to_string());
                let changed = map.compare_revision_and_set("n", revision, next).await.unwrap();
                done += i64::from(changed.unwrap().done);
            }
        };
        futures::join!(add, join_all((0..2).map(change)));
        let map = client.get::<Kv>("m").with_deadline(PATIENCE);
        map.put("soon", "gone".to_owned(), Some(1_000)).await.unwrap().unwrap();
    };
    Chaos::new(register).seeds(1..=8).run(scenario, |client| async move {
        let map = client.get::<Kv>("m").with_deadline(PATIENCE).all().await.unwrap();
        assert_eq!(map, [("n".to_owned(), (2 * ROUNDS).to_string())].into());
        assert_eq!(client.get::<Counter>("c").with_deadline(PATIENCE).value().await, Ok(ROUNDS));
    });
}
