//! The command that runs while this member leads.
//!
//! Invariants:
//!
//! * At most one process of the command runs. The next one starts after the last one has ended.
//! * A process group is signalled only before its leader was waited for, so its id never belongs to another one.
//! * Processes are started by the main thread: the kernel kills a command when the thread that started it ends.

use core::{future::pending, time::Duration};
use std::process::{ExitStatus, Stdio};

use holocron::election::Epoch;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep_until},
};

use super::Arguments;
use crate::{exit::Fail, signals::Signals};

/// The subcommand that asks the kernel to end the command with this process, and becomes the command.
pub(super) const RUN_WITH_PARENT: &str = "run-with-parent";

/// A command, running or not.
pub(super) struct Supervised {
    /// Empty: there is no command.
    command: Vec<String>,
    environment: [(&'static str, String); 2],
    grace: Duration,
    /// The leadership that it is to run under, and its token at the start.
    wanted: Option<Leadership>,
    process: Option<Process>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Leadership {
    token: Epoch,
    since: Epoch,
}

struct Process {
    child: Child,
    /// The leadership that it was started under.
    since: Epoch,
    /// It was told to end; when it will be killed.
    kill_at: Option<Instant>,
}

/// What happened to the process.
enum Happened {
    Ended(ExitStatus),
    GraceOver,
}

impl Supervised {
    pub(super) fn new(arguments: &Arguments, member: &str) -> Self {
        let environment =
            [("HOLOCRON_ELECTION", arguments.name.clone()), ("HOLOCRON_MEMBER", member.to_owned())];
        let command = arguments.command.clone();
        Self { command, environment, grace: arguments.grace, wanted: None, process: None }
    }

    /// This member leads. A process of an earlier leadership ends first.
    pub(super) fn leads(&mut self, token: Epoch, since: Epoch) -> Result<(), Fail> {
        if self.process.as_ref().is_some_and(|process| process.since != since) {
            self.stop();
        }
        self.wanted = Some(Leadership { token, since });
        self.start_if_wanted()
    }

    /// This member doesn't lead: the process is told to end.
    pub(super) fn stop(&mut self) {
        self.wanted = None;
        if let Some(process) = &mut self.process
            && process.kill_at.is_none()
        {
            process.signal(Signal::TERM);
            process.kill_at = Some(Instant::now() + self.grace);
        }
    }

    /// Tells the process to end and waits until it has. Another signal kills it at once.
    pub(super) async fn stop_now(&mut self, signals: &mut Signals) {
        self.stop();
        while let Some(process) = &mut self.process {
            tokio::select! {
                biased;
                () = signals.next() => process.signal(Signal::KILL),
                happened = process.next() => self.take(&happened),
            }
        }
    }

    /// Waits until something happens to the process. If it ended though this member leads, returns how.
    pub(super) async fn next(&mut self) -> Result<Option<Result<(), Fail>>, Fail> {
        let Some(process) = &mut self.process else { return pending().await };
        let happened = process.next().await;
        let by_itself = process.kill_at.is_none();
        self.take(&happened);
        match happened {
            Happened::Ended(status) if by_itself => Ok(Some(self.judge(status))),
            Happened::Ended(_) => self.start_if_wanted().map(|()| None),
            Happened::GraceOver => Ok(None),
        }
    }

    fn take(&mut self, happened: &Happened) {
        match happened {
            Happened::Ended(_) => self.process = None,
            Happened::GraceOver => {
                if let Some(process) = &mut self.process {
                    process.signal(Signal::KILL);
                    process.kill_at = Some(Instant::now() + self.grace);
                }
            }
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<(), Fail> {
        if status.success() {
            return Ok(());
        }
        Err(Fail::failed(format!("{}: the command failed: {status}", self.command[0])))
    }

    fn start_if_wanted(&mut self) -> Result<(), Fail> {
        let Some(Leadership { token, since }) = self.wanted else { return Ok(()) };
        if self.command.is_empty() || self.process.is_some() {
            return Ok(());
        }
        let failed =
            |error| Fail::failed(format!("{}: can't be started: {error}", self.command[0]));
        let binary = std::env::current_exe().map_err(failed)?;
        let child = Command::new(binary)
            .arg(RUN_WITH_PARENT)
            .arg(std::process::id().to_string())
            .arg("--")
            .args(&self.command)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .env("HOLOCRON_TOKEN", token.get().to_string())
            .stdin(Stdio::null())
            // Its own group, so that a signal reaches what the command started, too.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.process = Some(Process { child, since, kill_at: None });
        Ok(())
    }
}

impl Process {
    /// Signals the command and everything in its group.
    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // It may have ended a moment ago, which the next wait shows.
        if let Some(group) = id
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!(%error, "signal to the command failed");
        }
    }

    async fn next(&mut self) -> Happened {
        let grace_over = async {
            match self.kill_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = self.child.wait() => match ended {
                Ok(status) => Happened::Ended(status),
                // The kernel has no such child: it is gone.
                Err(_) => Happened::Ended(ExitStatus::default()),
            },
            () = grace_over => Happened::GraceOver,
        }
    }
}
