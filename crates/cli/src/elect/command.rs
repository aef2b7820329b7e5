//! The command that runs while this member leads.
//!
//! Invariants:
//!
//! * At most one command runs. The next one starts after the last one has ended: its process and everything in its group.
//! * A process group is signalled only before its leader was waited for, so its id never belongs to another one.
//! * Processes are started by the main thread: the kernel kills a command when the thread that started it ends.

use core::{future::pending, time::Duration};
use std::process::{ExitStatus, Stdio};

use holocron::election::Epoch;
use rustix::process::Signal;
use tokio::process::Command;

use super::{
    Arguments,
    group::{Ended, Group},
};
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

/// The leadership that a command runs under.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Leadership {
    token: Epoch,
    since: Epoch,
}

struct Process {
    group: Group,
    /// The leadership that it was started under.
    since: Epoch,
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

    /// This member doesn't lead: the command is told to end.
    pub(super) fn stop(&mut self) {
        self.wanted = None;
        if let Some(process) = &mut self.process {
            process.group.end_within(self.grace);
        }
    }

    /// Tells the command to end and waits until it has. Another signal kills it at once.
    pub(super) async fn stop_now(&mut self, signals: &mut Signals) {
        self.stop();
        while let Some(process) = &mut self.process {
            tokio::select! {
                biased;
                () = signals.next() => process.group.signal(Signal::KILL),
                _ = process.group.ended(self.grace) => self.process = None,
            }
        }
    }

    /// Waits until the command has ended. If it ended though this member leads, returns how.
    pub(super) async fn next(&mut self) -> Result<Option<Result<(), Fail>>, Fail> {
        let Some(process) = &mut self.process else { return pending().await };
        let ended = process.group.ended(self.grace).await;
        self.process = None;
        match ended {
            Ended::ByItself(status) => Ok(Some(self.judge(status))),
            Ended::AsTold => self.start_if_wanted().map(|()| None),
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
        let mut command = Command::new(binary);
        command
            .arg(RUN_WITH_PARENT)
            .arg(std::process::id().to_string())
            .arg("--")
            .args(&self.command)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .env("HOLOCRON_TOKEN", token.get().to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let group = Group::spawn(&mut command).map_err(failed)?;
        self.process = Some(Process { group, since });
        Ok(())
    }
}
