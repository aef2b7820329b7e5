//! `holocron run-with-parent`, for this program's own use: becomes a command that the kernel kills when its parent ends.

use std::{os::unix::process::CommandExt as _, process::Command};

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::exit::Fail;

/// Become a command that the kernel kills when the parent ends
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The process id of the parent.
    parent: i32,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Arguments {
    /// Becomes the command; returns only why it could not. Before the process has a second thread.
    pub(crate) fn become_command(&self) -> Fail {
        let (command, rest) = self.command.split_first().expect("clap requires a command");
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            return Fail::failed(format!("{command}: can't be tied to its parent: {error}"));
        }
        // The parent may have ended before the kernel was asked.
        if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(self.parent) {
            return Fail::failed(format!("{command}: not started, because its parent has ended"));
        }
        let error = Command::new(command).args(rest).exec();
        Fail::failed(format!("{command}: can't be started: {error}"))
    }
}
