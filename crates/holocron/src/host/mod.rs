//! A host: a process that runs vnodes.
//!
//! One task, [`driver::run`], follows the epoch log and acts on it; while the host leads, [`leader_io`] carries out the
//! leader's duties. Store requests and messages run in tasks of their own, and their results come back as events. Calls
//! don't pass through here: they go directly to the session.

mod builder;
pub(crate) mod courier;
mod cut;
mod domain;
mod driver;
mod found;
mod leader_io;
mod links;
mod measures;
mod member_io;
mod memory;
mod meter;
mod observer;
mod parts;
mod reach;
mod shared;
mod start_error;
mod views;

use std::sync::Arc;

use holocron_protocol::ids::HostName;
use tokio::task::JoinHandle;

use self::driver::Event;
pub(crate) use self::parts::Parts;
pub(crate) use self::shared::Shared;
pub use self::{
    builder::HostBuilder,
    domain::Domain,
    meter::{Meter, Metrics},
    observer::{Observer, Readiness},
    start_error::StartError,
};
use crate::{
    client::Client,
    transport::{
        net::Listener,
        serve::{Serve, View},
    },
};

/// A running host. Dropping it stops it at once, as a crash would; [`Host::leave`] hands its slots over first.
///
/// ```
/// use holocron::Host;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let host = Host::builder("memory://").name("h1").start().await?;
/// println!("{} listens at {}", host.name(), host.address());
/// host.leave().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    running: Option<JoinHandle<Stopped>>,
    client: Client,
}

/// Why a host stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// It was told to.
    #[error("told to stop")]
    Told,
    /// It left the cluster and handed its slots over.
    #[error("left the cluster")]
    Left,
    /// A later host of the same name took its place. Give each host a name of its own.
    #[error("a later host named {0} has taken its place")]
    Replaced(HostName),
    /// The store is lost: emptied, replaced, or restored from an older copy. Since it noticed, the host has answered and
    /// written nothing. Restore the store, or found a new cluster.
    #[error("{0}")]
    StoreLost(String),
    /// It can't continue; the text says why.
    #[error("{0}")]
    Failed(String),
}

impl Host {
    /// Sets up a host on a store: `file:///path`, `memory://`, `s3://bucket/prefix`, `gs://…` or `az://…`.
    pub fn builder(url: &str) -> HostBuilder {
        HostBuilder::new(url)
    }

    /// A client that calls this host's vnodes in process, and other hosts' vnodes over connections.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The address at which others reach it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shared.parts.address
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.shared.parts.name
    }

    /// The newest epoch record that it knows, updated with each newer one.
    #[must_use]
    pub fn views(&self) -> tokio::sync::watch::Receiver<Option<View>> {
        self.shared.views()
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> crate::transport::peer::HostStatus {
        self.shared.status()
    }

    /// Reads what it measures, for as long as anybody needs it.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::new(&self.shared)
    }

    /// What other parts of the program may look at while the host runs.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.shared))
    }

    /// The requests that it has made to the home domain's store, by verb and purpose.
    #[must_use]
    pub fn requests(&self) -> holocron_store::Counts {
        self.shared.parts.store.counts()
    }

    /// Waits until it stops by itself; returns why.
    pub async fn stopped(&mut self) -> Stopped {
        match self.running.as_mut() {
            Some(running) => {
                let stopped =
                    running.await.unwrap_or_else(|error| Stopped::Failed(error.to_string()));
                self.running = None;
                stopped
            }
            None => Stopped::Told,
        }
    }

    /// Hands its slots over to other hosts, leaves the cluster, and stops. Callers see slow calls, no errors. If no other
    /// host can take the slots, or the handoff times out, it stops without one: nothing acknowledged is lost.
    pub async fn leave(mut self) -> Stopped {
        // If the host is already stopping, the wait below returns why.
        drop(self.shared.events.send(Event::LeaveSelf));
        self.stopped().await
    }

    /// Stops at once, as a crash would; only the time until other hosts notice may differ.
    pub async fn stop(mut self) {
        self.shared.parts.stop.cancel();
        drop(self.stopped().await);
    }

    async fn launch(parts: Parts, listener: Box<dyn Listener>) -> Result<Self, StartError> {
        let (shared, events) = Shared::new(parts).await;
        let client = shared.client();
        let serve: Arc<dyn Serve> = Arc::clone(&shared) as Arc<dyn Serve>;
        let stop = shared.parts.stop.clone();
        tokio::spawn(async move {
            crate::transport::server::run(
                listener,
                serve,
                crate::transport::server::Limits::default(),
                stop,
            )
            .await;
        });
        let running = tokio::spawn(driver::run(Arc::clone(&shared), events));
        Ok(Self { shared, running: Some(running), client })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.parts.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::{
        format::keys,
        ids::{ClientId, CommitNumber, Position, RequestNumber, VnodeName},
        request::window::{Request, RequestId},
    };
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{Call, Context, Format, Mode, Outcome, ReplyTo, Settings, Vnode, session::Session};

    #[derive(Default, Serialize, Deserialize)]
    struct Count(u64);

    impl Vnode for Count {
        const KIND: &'static str = "count";
        type Command = ();
        type Reply = u64;
        type Query = ();
        type Answer = u64;
        type Env = ();

        fn command(&mut self, _: &mut Context<'_, Self>, (): ()) -> u64 {
            self.0 += 1;
            self.0
        }

        fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
            self.0
        }
    }

    /// Each batch is a file that places may point into, and a host that runs for a year commits many.
    #[tokio::test]
    async fn files_that_no_index_points_into_are_forgotten() {
        let settings = Settings { slots: 4, checkpoint_batches: 8, ..Settings::default() };
        let builder = Host::builder("memory://").name("h1").settings(settings);
        let host = builder.vnode::<Count>().start().await.unwrap();
        let vnode = host.client().get::<Count>("one");
        let session = || host.shared.session().expect("it serves");
        let mut most = 0;
        for count in 1..=4_000 {
            assert_eq!(vnode.command(()).await.unwrap(), count);
            most = most.max(session().slots.files().count());
        }
        let batches = session().journal.progress().committed.get();
        assert!(batches >= 4_000, "one command after the other, a batch each: {batches}");
        assert!(most < 2_000, "{most} files are known after {batches} batches");
    }

    /// Calls one command of each client at once, and again until it has run. Returns how many were answered `Rebase`.
    async fn call_once_each(
        session: &Arc<Session>,
        number: u64,
        bases: &mut [CommitNumber],
    ) -> u64 {
        let mut sent_back = 0;
        let mut open: Vec<usize> = (0..bases.len()).collect();
        while !open.is_empty() {
            let send = |&client: &usize| {
                let number = RequestNumber::new(number);
                let id = RequestId { client: ClientId::new(client as u128 + 1), number };
                let call = Call {
                    name: VnodeName::new(Count::KIND, "one").unwrap(),
                    mode: Mode::Command,
                    request: Request { id, lowest: number, base: bases[client] },
                    format: Format::Bincode,
                    epoch: session.epoch(),
                    body: bytes::Bytes::new(),
                };
                let (reply, answer) = ReplyTo::here();
                session.call(call, reply);
                (client, answer)
            };
            let sent: Vec<_> = open.iter().map(send).collect();
            open.clear();
            for (client, answer) in sent {
                let answer = answer.await.unwrap();
                bases[client] = answer.commit;
                if let Outcome::Rebase(_) = answer.outcome {
                    sent_back += 1;
                    open.push(client);
                }
            }
        }
        sent_back
    }

    #[tokio::test]
    async fn windows_of_many_clients_are_not_stored_with_an_idle_vnode() {
        let store: Arc<dyn holocron_store::Store> = Arc::new(holocron_store::Memory::default());
        let settings = Settings {
            slots: 4,
            idle_after: core::time::Duration::from_millis(200),
            ..Settings::default()
        };
        let builder = Host::builder("memory://").store(Arc::clone(&store)).name("h1");
        let host = builder.settings(settings).vnode::<Count>().start().await.unwrap();
        assert_eq!(host.client().get::<Count>("one").command(()).await.unwrap(), 1);
        let session = host.shared.session().expect("it serves");
        let mut bases = [CommitNumber::ZERO; 1_000];
        let mut sent_back = 0;
        for number in 1..=9 {
            sent_back = call_once_each(&session, number, &mut bases).await;
        }
        assert_eq!(sent_back, 0, "when all of them are known");
        let rest = tokio::time::timeout(core::time::Duration::from_secs(20), async {
            while session.active_count() > 0 {
                tokio::time::sleep(core::time::Duration::from_millis(20)).await;
            }
        });
        rest.await.expect("it leaves memory");
        let mut lengths = Vec::new();
        for position in 1..=session.journal.progress().committed.get() {
            let key = keys::journal_position(session.id(), Position::new(position));
            lengths.push(store.get(&key).await.unwrap().map_or(0, |object| object.len()));
        }
        assert!(lengths.iter().any(|&length| length > 20_000), "{lengths:?}");
        assert!(lengths.last().is_some_and(|&length| length < 3_000), "{lengths:?}");
        assert_eq!(host.client().get::<Count>("one").command(()).await.unwrap(), 9_002);
    }

    /// Without the task that opens its session, a host would never serve and never report it.
    #[tokio::test]
    async fn an_assertion_that_fails_in_one_of_its_tasks_stops_a_host() {
        let store: Arc<dyn holocron_store::Store> = Arc::new(holocron_store::Memory::default());
        let host = |name: &str, random| {
            let builder = Host::builder("memory://").store(Arc::clone(&store)).name(name);
            builder.random(random).vnode::<Count>().start()
        };
        let random = || crate::Random::from_seed(7);
        // The first host founds the cluster, which draws random numbers too.
        let _first = host("h1", crate::Random::from_system()).await.unwrap();
        let _second = host("h2", random()).await.unwrap();
        let mut third = host("h3", random()).await.unwrap();
        let stopped = tokio::time::timeout(core::time::Duration::from_secs(10), third.stopped());
        let Ok(Stopped::Failed(why)) = stopped.await else {
            panic!("it did not stop with a reason")
        };
        assert!(why.contains("drawn twice"), "{why}");
    }
}
