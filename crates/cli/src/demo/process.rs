//! The host processes of the demo: started from this same binary, and always ended with it.
//!
//! Invariants:
//!
//! * Every child is killed by its pid and waited for: at the end, on an error, on a panic, on Ctrl-C. If this process
//!   is killed, the kernel kills the children (they ask for that at their start).
//! * A pid is signalled only before its process was waited for, so it never belongs to another process.

use core::time::Duration;
use std::{io::Read as _, path::PathBuf, process::Stdio};

use holocron_protocol::ids::HostName;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::exit::Fail;

/// How long a host may take to print its address. It gives up on its store after 10 s by itself.
const STARTED_WITHIN: Duration = Duration::from_secs(20);
/// How long a killed process may take to end.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a host's log shown when it fails to start.
const LOG_SHOWN_LEN: usize = 2_000;

/// The arguments that all host processes share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) url: String,
    pub(super) options: Vec<(String, String)>,
    /// The directory of their logs.
    pub(super) logs: PathBuf,
    /// Batches between two checkpoints.
    pub(super) checkpoint_batches: u64,
}

/// A host process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: HostName,
    pub(super) address: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a host and waits until it listens.
    pub(super) async fn start(common: &Common, name: &str, weight: u32) -> Result<Self, Fail> {
        let binary = std::env::current_exe().map_err(|error| {
            Fail::failed(format!("can't find this program's own file: {error}"))
        })?;
        let log = common.logs.join(format!("{name}.log"));
        // An earlier process of that name may have written to it.
        let log_file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| Fail::failed(format!("{}: {error}", log.display())))?;
        let mut command = Command::new(binary);
        command
            .args(["host", "--json", "--end-with-parent", "--name", name, "--store", &common.url])
            .args(["--weight", &weight.to_string()])
            .args(["--checkpoint-batches", &common.checkpoint_batches.to_string()])
            // The demo's own connections are plain ones over loopback.
            .env_remove("HOLOCRON_TLS_CA")
            .env_remove("HOLOCRON_TLS_CERT")
            .env_remove("HOLOCRON_TLS_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .kill_on_drop(true);
        for (key, value) in &common.options {
            command.arg("--option").arg(format!("{key}={value}"));
        }
        let mut child = command
            .spawn()
            .map_err(|error| Fail::failed(format!("can't start a host process: {error}")))?;
        let stdout = child.stdout.take().expect("its output is piped");
        let name = HostName::new(name).map_err(|error| Fail::failed(error.to_string()))?;
        // From here on the child is ended if anything fails.
        let mut process = Self { name, address: String::new(), log, child };
        let line = timeout(STARTED_WITHIN, BufReader::new(stdout).lines().next_line()).await;
        let address = match line {
            Ok(Ok(Some(line))) => address_in(&line),
            Ok(Ok(None) | Err(_)) | Err(_) => None,
        };
        process.address = address.ok_or_else(|| {
            Fail::failed(format!("{} did not start:\n{}", process.name, process.end_of_log()))
        })?;
        Ok(process)
    }

    /// The end of its log, for an error message.
    pub(super) fn end_of_log(&self) -> String {
        let mut bytes = Vec::new();
        match std::fs::File::open(&self.log).and_then(|mut log| log.read_to_end(&mut bytes)) {
            Ok(_) => {
                let from = bytes.len().saturating_sub(LOG_SHOWN_LEN);
                String::from_utf8_lossy(&bytes[from..]).into_owned()
            }
            Err(error) => format!("{}: {error}", self.log.display()),
        }
    }

    fn pid(&self) -> Option<Pid> {
        // None once it has been waited for.
        let id = self.child.id()?;
        Pid::from_raw(i32::try_from(id).expect("a pid fits an i32"))
    }

    /// Sends a signal, if the process is still there.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Fail> {
        let Some(pid) = self.pid() else {
            return Err(Fail::failed(format!("{} has ended already", self.name)));
        };
        kill_process(pid, signal)
            .map_err(|error| Fail::failed(format!("can't signal {}: {error}", self.name)))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.start_kill().is_err() {
            // It was waited for already.
            return;
        }
        // Waits here, because its files are about to be removed.
        let mut waited = Duration::ZERO;
        let step = Duration::from_millis(2);
        while self.ended().is_none() && waited < GONE_WITHIN {
            std::thread::sleep(step);
            waited += step;
        }
    }
}

fn address_in(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line.get("address")?.as_str()?.to_owned())
}
