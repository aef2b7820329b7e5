//! The processes of the demo: hosts that are started, drained, killed and stopped from outside.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use holocron::{
    BoxError, Epoch, Host, HostStatus, Kind, PeerMessage, PeerReply, ask, inspect::ClusterReader,
    net::Tcp,
};
use holocron_store::open_or_make;
use tokio::{signal::unix, sync::OnceCell};

use crate::index::{Shard, ShardFiles};

/// The number of shards.
pub(crate) const SHARDS: u16 = 64;

/// Runs one host until it is told to leave, by SIGTERM.
pub(crate) async fn run(
    name: &str,
    cluster: &str,
    files: &str,
    pause: u64,
) -> Result<(), BoxError> {
    let hooks = ShardFiles {
        host: name.to_owned(),
        url: cluster.to_owned(),
        store: open_or_make(files, &[])?,
        pause: Duration::from_millis(pause),
        client: OnceCell::new(),
    };
    let kind = Kind::<Shard>::new(hooks).shards(SHARDS);
    let host = Host::builder(cluster).name(name).kind(kind).start().await?;
    unix::signal(unix::SignalKind::terminate())?.recv().await;
    println!("{name} {}", host.leave().await);
    Ok(())
}

/// The hosts that run.
pub(crate) struct Hosts {
    cluster: String,
    files: String,
    pub(crate) running: BTreeMap<String, Child>,
    /// What hosts printed of writes that were refused.
    pub(crate) refused: Arc<Mutex<Vec<String>>>,
}

impl Hosts {
    pub(crate) fn new(cluster: &str, files: &str) -> Self {
        Self {
            cluster: cluster.into(),
            files: files.into(),
            running: BTreeMap::new(),
            refused: Arc::default(),
        }
    }

    /// Starts a host whose flushes pause that long.
    pub(crate) fn start(&mut self, name: &str, pause: Duration) -> Result<(), BoxError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["host", name, &self.cluster, &self.files, &pause.as_millis().to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let refused = Arc::clone(&self.refused);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(refusal) = line.strip_prefix("refused: ") {
                    println!("  {refusal}");
                    refused.lock().expect("a list's lock").push(refusal.to_owned());
                }
            }
        });
        self.running.insert(name.into(), child);
        Ok(())
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str, signal: &str) -> Result<(), BoxError> {
        let process = self.running.get(name).ok_or("no such host")?.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &process]).status()?;
        if sent.success() { Ok(()) } else { Err(format!("{name} could not be signalled").into()) }
    }

    /// Waits for a host that was told to leave, or killed.
    pub(crate) fn wait(&mut self, name: &str) -> Result<(), BoxError> {
        self.running.remove(name).ok_or("no such host")?.wait()?;
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // Also one that is stopped.
            let (Ok(()) | Err(_)) = child.kill();
            let (Ok(_) | Err(_)) = child.wait();
        }
    }
}

/// The hosts of the cluster, by its newest record.
pub(crate) struct Members {
    reader: ClusterReader,
    next: Epoch,
    /// Their addresses.
    hosts: BTreeMap<String, String>,
}

impl Members {
    /// Waits until there is a cluster.
    pub(crate) async fn find(url: &str) -> Result<Self, BoxError> {
        loop {
            let store = open_or_make(url, &[])?;
            match ClusterReader::open(store, Duration::from_secs(5)).await {
                Ok(reader) => {
                    return Ok(Self { reader, next: Epoch::new(1), hosts: BTreeMap::new() });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn hosts(&mut self) -> Result<&BTreeMap<String, String>, BoxError> {
        while let Some(record) = self.reader.entry(self.next).await?.record() {
            let hosts = record.hosts.iter();
            self.hosts =
                hosts.map(|(name, host)| (name.to_string(), host.address.clone())).collect();
            self.next = self.next.next();
        }
        Ok(&self.hosts)
    }

    pub(crate) async fn lists(&mut self, name: &str) -> Result<bool, BoxError> {
        Ok(self.hosts().await?.contains_key(name))
    }

    /// How many shards each host says that it has open. One that doesn't answer is left out.
    pub(crate) async fn open_shards(&mut self) -> Result<BTreeMap<String, u32>, BoxError> {
        let mut open = BTreeMap::new();
        for (name, address) in self.hosts().await? {
            if let Some(HostStatus { shards, .. }) = status(address).await {
                open.insert(name.clone(), shards.open);
            }
        }
        Ok(open)
    }
}

async fn status(address: &str) -> Option<HostStatus> {
    match ask(&Tcp, address, PeerMessage::Status, Duration::from_millis(200)).await {
        Ok(PeerReply::Status(status)) => Some(*status),
        Ok(_) | Err(_) => None,
    }
}
