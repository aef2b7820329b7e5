//! A shard of the index: a vnode with the newest entries in its state, and files with the others.
//!
//! An entry is acknowledged when it is committed with the shard's state. A flusher, which runs while the shard is open, moves
//! entries to the files: it asks the shard for its recent entries (by a query, which shows only what is committed), writes
//! them, and when the files have them tells the shard to forget them. Whatever of that is cut short by a failure, the entry
//! is in the state or in the files, so the next owner finds it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use holocron::{Activation, BoxError, Client, Context, Lifecycle, Vnode, VnodeRef};
use holocron_store::Store;
use serde::{Deserialize, Serialize};
use tokio::{sync::OnceCell, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::files::{Entries, Files};

/// How often a shard's recent entries are moved to its files.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// The state of a shard: the entries that its files don't have yet.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Each with the number of the command that put it.
    recent: BTreeMap<String, (u64, String)>,
    commands: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Command {
    Put {
        key: String,
        value: String,
    },
    /// The files have what was put by commands up to this number.
    Flushed(u64),
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Query {
    Get(String),
    Recent,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Value(Option<String>),
    Recent { entries: Entries, up_to: u64 },
}

impl Vnode for Shard {
    const KIND: &'static str = "index";
    type Command = Command;
    type Reply = ();
    type Query = Query;
    type Answer = Answer;
    type Env = ShardFiles;

    fn command(&mut self, _: &mut Context<'_, Self>, command: Command) {
        self.commands += 1;
        match command {
            Command::Put { key, value } => drop(self.recent.insert(key, (self.commands, value))),
            Command::Flushed(up_to) => self.recent.retain(|_, (number, _)| *number > up_to),
        }
    }

    fn query(&self, context: &Context<'_, Self>, query: Query) -> Answer {
        match query {
            Query::Get(key) => Answer::Value(match self.recent.get(&key) {
                Some((_, value)) => Some(value.clone()),
                None => context.resource().find(&key),
            }),
            Query::Recent => Answer::Recent {
                entries: self
                    .recent
                    .iter()
                    .map(|(key, (_, value))| (key.clone(), value.clone()))
                    .collect(),
                up_to: self.commands,
            },
        }
    }
}

/// The hooks of a host: open a shard's files with its token, and close them.
pub(crate) struct ShardFiles {
    pub(crate) host: String,
    pub(crate) url: String,
    pub(crate) store: Arc<dyn Store>,
    /// How long a flush pauses between its segment and its manifest, so that a demo can stop it there.
    pub(crate) pause: Duration,
    pub(crate) client: OnceCell<Client>,
}

/// An open shard.
pub(crate) struct OpenShard {
    flushed: Arc<Mutex<Entries>>,
    stop: CancellationToken,
    flusher: JoinHandle<()>,
}

impl OpenShard {
    fn find(&self, key: &str) -> Option<String> {
        self.flushed.lock().expect("a map's lock").get(key).cloned()
    }
}

impl Lifecycle<Shard> for ShardFiles {
    type Resource = OpenShard;

    async fn open(&self, activation: &Activation) -> Result<OpenShard, BoxError> {
        let (shard, token) = (activation.key(), activation.epoch().get());
        let writer = format!("{} (process {})", self.host, std::process::id());
        let (files, entries) = Files::open(Arc::clone(&self.store), shard, token, &writer).await?;
        let client = self.client.get_or_try_init(|| Client::connect(&self.url)).await?;
        let flushed = Arc::new(Mutex::new(entries));
        let stop = activation.cancelled().child_token();
        let flusher = Flusher {
            host: self.host.clone(),
            files,
            shard: client.get::<Shard>(shard),
            flushed: Arc::clone(&flushed),
            pause: self.pause,
        };
        let flusher = tokio::spawn(flusher.run(stop.clone()));
        Ok(OpenShard { flushed, stop, flusher })
    }

    /// A flush that is under way ends; what is not in the files is in the state.
    async fn close(&self, open: OpenShard, _: &Activation) {
        open.stop.cancel();
        drop(open.flusher.await);
    }
}

/// Moves entries from the state to the files.
struct Flusher {
    host: String,
    files: Files,
    shard: VnodeRef<Shard>,
    flushed: Arc<Mutex<Entries>>,
    pause: Duration,
}

impl Flusher {
    async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FLUSH_EVERY)).await.is_some() {
            let asked = stop.run_until_cancelled(self.shard.query(Query::Recent)).await;
            let Some(Ok(Answer::Recent { entries, up_to })) = asked else { continue };
            if entries.is_empty() {
                continue;
            }
            // Not cut short: either the files have all of it, or the state keeps it.
            if let Err(why) = self.flush(entries).await {
                println!("refused: {} flushed too late: {why}", self.host);
                return;
            }
            // If this is lost, the entries are flushed once more.
            drop(stop.run_until_cancelled(self.shard.command(Command::Flushed(up_to))).await);
        }
    }

    async fn flush(&mut self, entries: Entries) -> Result<(), BoxError> {
        let mut all = self.flushed.lock().expect("a map's lock").clone();
        all.extend(entries.clone());
        let pause = tokio::time::sleep(self.pause);
        self.files.append(&entries, &all, pause).await??;
        *self.flushed.lock().expect("a map's lock") = all;
        Ok(())
    }
}
