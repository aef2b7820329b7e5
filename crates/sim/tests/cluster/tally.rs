//! A vnode whose state shows its history, and callers that check it.

use core::time::Duration;

use holocron::{CallError, Client, Context, HostBuilder, Settings, Vnode};
use holocron_sim::Cluster;
use serde::{Deserialize, Serialize};

/// Counts its commands and adds up their tokens.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Vnode for Tally {
    const KIND: &'static str = "tally";
    type Command = u64;
    type Reply = u64;
    type Query = ();
    type Answer = (u64, u64);
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, token: u64) -> u64 {
        self.count += 1;
        self.sum += token;
        self.count
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> (u64, u64) {
        (self.count, self.sum)
    }
}

pub(crate) fn kinds(builder: HostBuilder) -> HostBuilder {
    builder.vnode::<Tally>()
}

/// Frequent checkpoints and trims.
pub(crate) fn tiny() -> Settings {
    Settings { slots: 32, segment_len: 4, checkpoint_batches: 6, ..Settings::default() }
}

pub(crate) fn key(number: u64) -> String {
    format!("t{number}")
}

/// Adds to one vnode repeatedly. Every reply must be the next count: nothing lost, nothing counted twice.
pub(crate) async fn count_on(client: Client, number: u64, rounds: u64) -> u64 {
    let vnode = client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(120));
    for round in 1..=rounds {
        match vnode.command(round).await {
            Ok(count) => assert_eq!(count, round, "{}: lost or counted twice", key(number)),
            Err(error) => panic!("{}: {error}", key(number)),
        }
        if round % 5 == 0 {
            let (count, sum) = vnode.query(()).await.expect("a query has the same deadline");
            assert_eq!(
                (count, sum),
                (round, round * (round + 1) / 2),
                "{}: a stale read",
                key(number)
            );
        }
    }
    rounds
}

/// Many callers, each with its own vnode.
pub(crate) async fn count_all(client: Client, vnodes: u64, rounds: u64) -> u64 {
    let counting: Vec<_> =
        (0..vnodes).map(|number| tokio::spawn(count_on(client.clone(), number, rounds))).collect();
    let mut total = 0;
    for one in counting {
        total += one.await.expect("the caller finished");
    }
    total
}

/// Reads every vnode back.
pub(crate) async fn read_all(client: Client, vnodes: u64, rounds: u64) {
    for number in 0..vnodes {
        let vnode = client.get::<Tally>(&key(number)).with_deadline(Duration::from_secs(60));
        let read: Result<_, CallError> = vnode.query(()).await;
        assert_eq!(read, Ok((rounds, rounds * (rounds + 1) / 2)), "{}", key(number));
    }
}

/// Three hosts with [`tiny`] settings.
pub(crate) fn three(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed, tiny(), kinds);
    cluster.start_all(&["a", "b", "c"]);
    cluster
}
