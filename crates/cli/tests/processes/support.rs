//! Hosts as processes on a temporary directory, and a client.
//!
//! Every process is killed by its pid and waited for when its value is dropped. If the test is killed, the kernel ends
//! them.

use core::time::Duration;
use std::{
    path::PathBuf,
    process::{ExitStatus, Output, Stdio},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use holocron::{
    Client, HostStatus, PeerMessage, PeerReply, VnodeRef,
    net::{Network, Tcp},
};
use holocron_kinds::{Counter, CounterClient as _};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, HostName, SessionId, VnodeName},
};
use holocron_store::Store;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long any condition may take to become true, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(5);

static TURN: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// Waits for the turn of this test.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Waits until `look` returns a value.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looks = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, looks).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} until {what}"))
}

/// The binary, with arguments.
pub(crate) fn holocron(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holocron"));
    // The machine's environment must not affect the tests.
    for variable in [
        "HOLOCRON_STORE",
        "HOLOCRON_PLANTED",
        "HOLOCRON_WIRE",
        "HOLOCRON_TLS_CA",
        "HOLOCRON_TLS_CERT",
        "HOLOCRON_TLS_KEY",
        "RUST_LOG",
    ] {
        command.env_remove(variable);
    }
    command.args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the binary to its end.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    let ended = timeout(PATIENCE * 2, holocron(arguments).output()).await;
    ended.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory with a store and the hosts' logs, or with the logs only if the store is elsewhere.
pub(crate) struct Place {
    directory: TempDir,
    url: String,
    /// How the tests reach the hosts.
    network: Arc<dyn Network>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let url = format!("file://{}", store.display());
        Self { directory, url, network: Arc::new(Tcp) }
    }

    /// The same, with hosts that are reached over another network than TCP.
    pub(crate) fn over(network: Arc<dyn Network>) -> Self {
        Self { network, ..Self::new() }
    }

    /// A new prefix on the S3 server; `None`, with a message, if there is no server.
    pub(crate) fn on_s3(test: &str) -> Option<Self> {
        let Ok(url) = std::env::var("HOLOCRON_TEST_S3_URL") else {
            assert!(
                std::env::var("HOLOCRON_REQUIRE_S3").is_err(),
                "HOLOCRON_TEST_S3_URL is not set"
            );
            eprintln!("SKIPPED: HOLOCRON_TEST_S3_URL is not set");
            return None;
        };
        let url = format!("{url}/{test}-{}", std::process::id());
        Some(Self { directory: tempfile::tempdir().unwrap(), url, network: Arc::new(Tcp) })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        holocron_store::open(&self.url(), &[]).unwrap()
    }

    /// The newest epoch record in the store. (A client that makes no calls doesn't get new records.)
    pub(crate) async fn record(&self) -> Option<EpochRecord> {
        let store = self.store();
        let listed = store.list("epochs").await.unwrap();
        let newest = listed.into_iter().map(|object| object.key).max()?;
        let stored = store.get(&newest).await.unwrap()?;
        Some(EpochRecord::decode(&newest, &stored).unwrap())
    }

    /// The session of a host in the newest epoch record.
    pub(crate) async fn session_of(&self, host: &HostName) -> Option<SessionId> {
        self.record().await?.hosts.get(host)?.sessions.get(&DomainId::HOME).copied()
    }

    /// Keys of counters that a host owns.
    pub(crate) async fn keys_of(&self, host: &HostName, count: usize) -> Vec<String> {
        keys_of(&self.record().await.unwrap(), host, count)
    }

    /// Starts a host and waits until it listens.
    pub(crate) async fn host(&self, name: &str, arguments: &[&str]) -> Host {
        self.host_in(name, arguments, &[]).await
    }

    /// The same, with these environment variables.
    pub(crate) async fn host_in(
        &self,
        name: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) -> Host {
        let mut host = self.spawn(name, arguments, environment);
        let stdout = host.child.stdout.take().unwrap();
        let line = timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
        let line = line.expect("it says something in time").unwrap();
        let line = line.unwrap_or_else(|| panic!("{name} did not start: {}", host.log()));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        host.address = line["address"].as_str().unwrap().to_owned();
        host
    }

    /// Starts a host.
    pub(crate) fn try_host(&self, name: &str, arguments: &[&str]) -> Host {
        self.spawn(name, arguments, &[])
    }

    fn spawn(&self, name: &str, arguments: &[&str], environment: &[(&str, String)]) -> Host {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = self.directory.path().join(format!("{name}-{number}.log"));
        // A slow heartbeat, so that a busy machine causes no false suspicion.
        let always = ["host", "--json", "--end-with-parent", "--heartbeat-ms", "500"];
        let url = self.url();
        let child = holocron(&always)
            .args(["--name", name, "--store", &url])
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let (name, network) = (HostName::new(name).unwrap(), Arc::clone(&self.network));
        Host { name, address: String::new(), log, child, network }
    }

    /// A client that finds the hosts through the store.
    pub(crate) async fn client(&self) -> Client {
        let client = Client::builder(&self.url()).network(Arc::clone(&self.network)).connect();
        client.await.unwrap().with_deadline(PATIENCE)
    }
}

/// A host process.
pub(crate) struct Host {
    pub(crate) name: HostName,
    pub(crate) address: String,
    log: PathBuf,
    child: Child,
    network: Arc<dyn Network>,
}

impl Host {
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it was not waited for");
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Kills it and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) async fn status(&self) -> Option<HostStatus> {
        match holocron::ask(&*self.network, &self.address, PeerMessage::Status, PATIENCE).await {
            Ok(PeerReply::Status(status)) => Some(*status),
            Ok(_) | Err(_) => None,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.child.start_kill().is_ok() {
            // Wait before its directory is removed.
            while let Ok(None) = self.child.try_wait() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.name, self.log());
        }
    }
}

/// Waits until these hosts together serve every slot.
pub(crate) async fn all_served(place: &Place, hosts: &[&Host]) {
    until("every slot is served", async || {
        let slots = u32::from(place.record().await?.slot_count);
        let mut serving = 0;
        for host in hosts {
            let status = host.status().await?;
            serving += status.slots_serving;
            if status.slots_serving == 0 || status.slots_waiting > 0 {
                return None;
            }
        }
        (serving == slots).then_some(())
    })
    .await;
}

fn keys_of(record: &EpochRecord, host: &HostName, count: usize) -> Vec<String> {
    let owned = |key: &String| {
        let name = VnodeName::new("counter", key).unwrap();
        let slot = name.hash().slot(record.slot_count);
        let owner = record.holding(DomainId::HOME, slot).unwrap().owner.unwrap();
        record.host_of(owner.session).unwrap().0 == host
    };
    (0..).map(|number| format!("c{number}")).filter(owned).take(count).collect()
}

/// Adds 1 to each of these counters concurrently. Returns the new values.
pub(crate) async fn add_to_all(client: &Client, keys: &[String]) -> Vec<i64> {
    let added: Vec<_> = keys
        .iter()
        .map(|key| {
            let counter: VnodeRef<Counter> = client.get(key);
            tokio::spawn(async move { counter.add(1).await.unwrap() })
        })
        .collect();
    let mut values = Vec::new();
    for value in added {
        values.push(value.await.unwrap());
    }
    values
}

/// The values of these counters.
pub(crate) async fn values_of(client: &Client, keys: &[String]) -> Vec<i64> {
    let read: Vec<_> = keys
        .iter()
        .map(|key| {
            let counter: VnodeRef<Counter> = client.get(key);
            tokio::spawn(async move { counter.value().await.unwrap() })
        })
        .collect();
    let mut values = Vec::new();
    for value in read {
        values.push(value.await.unwrap());
    }
    values
}

/// Callers that add 1 to a counter each, again and again. None of their calls may fail.
pub(crate) struct Callers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<i64>>,
}

impl Callers {
    /// One for each of these counters, which are at 1.
    pub(crate) fn start(client: &Client, keys: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let caller = |key: &String| {
            let (counter, stop): (VnodeRef<Counter>, _) = (client.get(key), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut value = 1;
                while !stop.load(Ordering::Relaxed) {
                    let reply = counter.add(1).await.expect("no call fails");
                    assert_eq!(reply, value + 1);
                    value = reply;
                }
                value
            })
        };
        Self { tasks: keys.iter().map(caller).collect(), stop }
    }

    /// Stops them. Returns the last value of each counter.
    pub(crate) async fn stop(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut values = Vec::new();
        for task in self.tasks {
            values.push(task.await.unwrap());
        }
        values
    }
}
