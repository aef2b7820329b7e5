//! A whole cluster in one thread: three hosts, a client with bank transfers, a host that crashes in the middle.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use holocron::{CallError, Client, Host, Random, Settings, TokioClock};
use holocron_sim::{Account, AccountCommand as Command, OPENING_BALANCE, StoreFaults, World};

const ACCOUNTS: u64 = 20;
const TRANSFERS: u64 = 60;
const TELLERS: u64 = 8;

fn account(number: u64) -> String {
    format!("a{number}")
}

/// The money, as far as the client knows.
#[derive(Debug, Default)]
struct Books {
    moved: u64,
    refused: u64,
    unclear: u64,
}

fn start_host(world: &mut World, name: &'static str, seed: u64) {
    let (network, store) = (world.network(name), world.store(name));
    world.start(name, async move {
        let host = Host::builder("memory://")
            .store(Arc::new(store))
            .network(Arc::new(network))
            .clock(Arc::new(TokioClock::new()))
            .random(Random::from_seed(seed))
            .name(name)
            .listen(&format!("{name}:0"))
            .vnode::<Account>()
            .settings(Settings {
                slots: 64,
                segment_len: 4,
                checkpoint_batches: 8,
                ..Settings::default()
            })
            .start()
            .await;
        match host {
            Ok(mut host) => host.stopped().await.to_string(),
            Err(error) => error.to_string(),
        }
    });
}

async fn connect(network: holocron_sim::SimNetwork, store: holocron_sim::SimStore) -> Client {
    loop {
        let connecting = Client::builder("memory://")
            .store(Arc::new(store.clone()))
            .network(Arc::new(network.clone()))
            .random(Random::from_seed(99))
            .connect();
        if let Ok(client) = connecting.await {
            return client.with_deadline(Duration::from_secs(60));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes transfers: a withdrawal, then a deposit, each at most once.
async fn teller(client: Client, teller: u64, books: Arc<Mutex<Books>>) {
    for round in 0..TRANSFERS {
        let from = (teller * 7 + round * 3) % ACCOUNTS;
        let to = (from + 1 + round % (ACCOUNTS - 1)) % ACCOUNTS;
        let amount = 1 + round % 17;
        match client.get::<Account>(&account(from)).command(Command::Withdraw(amount)).await {
            Ok(true) => {}
            Ok(false) => {
                books.lock().unwrap().refused += 1;
                continue;
            }
            Err(error) => panic!("a call failed in spite of a long deadline: {error}"),
        }
        match client.get::<Account>(&account(to)).command(Command::Deposit(amount)).await {
            Ok(_) => books.lock().unwrap().moved += 1,
            Err(CallError::Unclear) => books.lock().unwrap().unclear += 1,
            Err(error) => panic!("a call failed in spite of a long deadline: {error}"),
        }
    }
}

async fn bank(
    network: holocron_sim::SimNetwork,
    store: holocron_sim::SimStore,
    books: Arc<Mutex<Books>>,
) -> u64 {
    let client = connect(network, store).await;
    let tellers: Vec<_> = (0..TELLERS)
        .map(|number| tokio::spawn(teller(client.clone(), number, Arc::clone(&books))))
        .collect();
    for teller in tellers {
        teller.await.unwrap();
    }
    let mut total = 0;
    for number in 0..ACCOUNTS {
        total += client.get::<Account>(&account(number)).query(()).await.unwrap();
    }
    total
}

/// Runs the bank with one crash in the middle; returns the final money and the hash of the run.
fn run(seed: u64, faults: StoreFaults) -> (u64, u64) {
    let mut world = World::new(seed);
    world.shelf.set_faults(faults);
    for (number, name) in ["h1", "h2", "h3"].into_iter().enumerate() {
        start_host(&mut world, name, seed * 100 + number as u64);
        world.run(Duration::from_millis(500));
    }
    let books: Arc<Mutex<Books>> = Arc::default();
    let (network, store) = (world.network("client"), world.store("client"));
    let main = world.start("client", bank(network, store, Arc::clone(&books)));
    world.run(Duration::from_millis(1_500));
    world.crash("h2");
    let done = world.run_until(&main, Duration::from_secs(120));
    if std::env::var("TAIL").is_ok() || !done {
        for line in world.trace.tail() {
            println!("{line}");
        }
    }
    assert!(done, "the bank did not finish");
    let total = world.result(main);
    println!(
        "seed {seed}: {:?} in {:?}, {} lines",
        books.lock().unwrap(),
        world.now(),
        world.trace.lines()
    );
    assert_eq!(world.trace.violations(), Vec::<String>::new());
    assert!(books.lock().unwrap().moved > 100, "too little was moved to show anything");
    (total, world.trace.hash())
}

#[test]
fn money_is_conserved_when_a_host_dies_and_the_same_seed_is_the_same_run() {
    let first = run(1, StoreFaults::none());
    assert_eq!(first.0, ACCOUNTS * OPENING_BALANCE);
    assert_eq!(run(1, StoreFaults::none()), first);
}

#[test]
fn money_is_conserved_on_a_store_that_fails_in_every_way() {
    for seed in 1..4 {
        assert_eq!(run(seed, StoreFaults::all()).0, ACCOUNTS * OPENING_BALANCE);
    }
}
