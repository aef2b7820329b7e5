//! Many writers race for the same keys through faulty clients of one store: one winner per key, and every writer gets
//! the true outcome. Runs many seeds; a failure names its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holocron_store::{Created, Fault, Faults, Faulty, Memory, Patience, Store, create_once};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const SEEDS: u64 = 400;
const WRITERS: u64 = 6;
const KEYS: usize = 4;

/// For each key, the bytes of a writer and its outcome.
type Outcomes = Vec<(Bytes, Created)>;

fn faults() -> Faults {
    Faults {
        delay_max: Duration::from_millis(30),
        slow: 0.05,
        // Longer than the timeout of a try, so that tries overtake each other.
        slow_max: Duration::from_secs(8),
        late_requests_max: 60,
        ..Faults::everything()
    }
}

async fn write(store: Arc<dyn Store>, writer: u64, patience: Patience) -> Outcomes {
    let never = CancellationToken::new();
    let mut outcomes = Vec::new();
    for key in 0..KEYS {
        let body = Bytes::from(format!("writer {writer} key {key}"));
        let created =
            create_once(&store, &format!("k/{key}"), body.clone(), patience, &never).await;
        assert!(
            patience.budget.is_some() || created != Created::Unknown,
            "without a budget it is decided"
        );
        outcomes.push((body, created));
    }
    outcomes
}

/// One race of all writers, each with its own client. Returns the outcomes by writer, and the final objects.
async fn race(seed: u64, injected: &mut BTreeMap<Fault, u64>) -> (Vec<Outcomes>, Vec<Bytes>) {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let first = Faulty::new(Arc::clone(&memory), seed, faults());
    let clients: Vec<_> = (0..WRITERS)
        .map(|writer| Arc::new(first.client(seed * WRITERS + writer, faults())))
        .collect();
    let mut writers = JoinSet::new();
    for (writer, client) in (0..).zip(&clients) {
        // Every other writer has a short budget.
        let impatient = Patience::within(Duration::from_millis(40));
        let patience = if writer % 2 == 0 { Patience::forever() } else { impatient };
        writers.spawn(write(Arc::clone(client) as Arc<dyn Store>, writer, patience));
    }
    let outcomes = writers.join_all().await;
    first.settle().await;
    let mut stands = Vec::new();
    for key in 0..KEYS {
        let found = memory.get(&format!("k/{key}")).await.expect("memory answers");
        stands.push(found.expect("a writer without a budget created it"));
    }
    for (fault, times) in clients.iter().flat_map(|client| client.injected()) {
        *injected.entry(fault).or_default() += times;
    }
    (outcomes, stands)
}

#[tokio::test(start_paused = true)]
async fn there_is_one_winner_per_key_and_every_outcome_is_true() {
    let (mut seen, mut injected) = (BTreeSet::new(), BTreeMap::new());
    for seed in 0..SEEDS {
        let (outcomes, stands) = race(seed, &mut injected).await;
        for (key, stands) in stands.iter().enumerate() {
            let (mut won, mut landed_unknown) = (0, 0);
            for (body, created) in outcomes.iter().map(|outcomes| &outcomes[key]) {
                seen.insert(match created {
                    Created::Won => {
                        won += 1;
                        assert_eq!(body, stands, "seed {seed}: the winner's bytes stand");
                        "won"
                    }
                    Created::Lost(existing) => {
                        assert_eq!(existing, stands, "seed {seed}: losers are shown what stands");
                        assert_ne!(body, stands, "seed {seed}: no writer loses to itself");
                        "lost"
                    }
                    Created::Unknown if body == stands => {
                        landed_unknown += 1;
                        "unknown, but landed"
                    }
                    Created::Unknown => "unknown",
                });
            }
            assert_eq!(won + landed_unknown, 1, "seed {seed}: one writer's bytes stand");
        }
    }
    // The test must have exercised every outcome and fault.
    assert_eq!(seen.len(), 4, "every outcome happened: {seen:?}");
    assert_eq!(injected.len(), 10, "every fault happened: {injected:?}");
    assert!(injected.values().all(|&times| times > 50), "and often: {injected:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_race() {
    for seed in [3, 141, 59] {
        let runs = [race(seed, &mut BTreeMap::new()).await, race(seed, &mut BTreeMap::new()).await];
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_threads_have_one_winner() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    // In real time no request may hang or be slow, because the timeout of a try is seconds.
    let faults = Faults { hang_before: 0.0, hang_after: 0.0, ..Faults::everything() };
    let first = Faulty::new(memory, 1, faults.clone());
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let client: Arc<dyn Store> = Arc::new(first.client(writer, faults.clone()));
        writers.spawn(write(client, writer, Patience::forever()));
    }
    let outcomes = writers.join_all().await;
    for key in 0..KEYS {
        let won = outcomes.iter().filter(|outcomes| outcomes[key].1 == Created::Won).count();
        assert_eq!(won, 1, "key {key}");
    }
}
