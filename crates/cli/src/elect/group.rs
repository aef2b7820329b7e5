//! A command as a process group: its own process, and what that started.

use core::{future::pending, time::Duration};
use std::{fs, io, process::ExitStatus};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};

/// How often to look whether anything of a group still lives, once its own process has ended. Nothing tells of the end of a
/// child's child.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running command.
pub(super) struct Group {
    /// Waited for last: until then the group's id, which is its process id, can't belong to others.
    child: Child,
    id: Pid,
    /// Tells when a child has ended.
    children: unix::Signal,
    own: Own,
    /// It was told to end; when it will be killed.
    kill_at: Option<Instant>,
    was_killed: bool,
}

/// The command's own process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Runs,
    EndedByItself,
    EndedAsTold,
}

/// What is left of a group without the command's own process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Ended,
    Live,
    /// The system doesn't list its processes.
    Unknown,
}

/// How a command ended.
pub(super) enum Ended {
    /// Nobody told it to.
    ByItself(ExitStatus),
    AsTold,
}

impl Group {
    /// Starts a command in a group of its own, so that a signal reaches what it started, too.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        // Before the child exists, so that its end can't be missed.
        let children = signal(SignalKind::child())?;
        let child = command.process_group(0).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.expect("a child that was not waited for has an id");
        Ok(Self { child, id, children, own: Own::Runs, kill_at: None, was_killed: false })
    }

    /// Tells it to end. It is killed after the grace. Nothing, if it was told before.
    pub(super) fn end_within(&mut self, grace: Duration) {
        if self.kill_at.is_none() {
            self.signal(Signal::TERM);
            self.kill_at = Some(Instant::now() + grace);
        }
    }

    /// Signals everything in the group.
    pub(super) fn signal(&mut self, signal: Signal) {
        self.was_killed |= signal == Signal::KILL;
        if let Err(error) = kill_process_group(self.id, signal) {
            tracing::debug!(%error, "signal to the command failed");
        }
    }

    /// Waits until everything in the group has ended. What outlives the command's own process is told to end as well, and killed
    /// after the grace: it would act on for a leader that has gone.
    pub(super) async fn ended(&mut self, grace: Duration) -> Ended {
        loop {
            if self.own == Own::Runs && self.own_has_ended() {
                self.own =
                    if self.kill_at.is_none() { Own::EndedByItself } else { Own::EndedAsTold };
            }
            if self.own != Own::Runs {
                match others(self.id) {
                    Others::Unknown if !self.was_killed => {}
                    Others::Live => {}
                    Others::Unknown | Others::Ended => return self.take_status(),
                }
                self.end_within(grace);
            }
            tokio::select! {
                biased;
                () = at(self.kill_at) => {
                    self.signal(Signal::KILL);
                    self.kill_at = Some(Instant::now() + grace.max(LOOK_EVERY));
                }
                _ = self.children.recv(), if self.own == Own::Runs => {}
                () = sleep(LOOK_EVERY), if self.own != Own::Runs => {}
            }
        }
    }

    /// Leaves the process unwaited for.
    fn own_has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error: the kernel has no such child, so it is gone.
        !matches!(waitid(WaitId::Pid(self.id), options), Ok(None))
    }

    fn take_status(&mut self) -> Ended {
        // For what was started while the processes were looked at.
        self.signal(Signal::KILL);
        // Its own process has ended, so this doesn't wait.
        let status = self.child.try_wait().ok().flatten().unwrap_or_default();
        if self.own == Own::EndedByItself { Ended::ByItself(status) } else { Ended::AsTold }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Looks through the processes of the system. Those that have ended and were not waited for don't count: the leader of the
/// group is one of them.
fn others(group: Pid) -> Others {
    let Ok(processes) = fs::read_dir("/proc") else { return Others::Unknown };
    let (mut listed, mut live) = (false, false);
    for process in processes.flatten() {
        let is_process =
            process.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        // One that has ended meanwhile has no state.
        if is_process && let Ok(stat) = fs::read_to_string(process.path().join("stat")) {
            listed = true;
            live |= is_live_in(&stat, group);
        }
    }
    match (listed, live) {
        (false, _) => Others::Unknown,
        (true, true) => Others::Live,
        (true, false) => Others::Ended,
    }
}

/// Reads `process (name) state parent group …`; the name may contain anything.
fn is_live_in(stat: &str, group: Pid) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut words = rest.split_whitespace();
    let (state, _parent, of) = (words.next(), words.next(), words.next());
    let is_of_group = of.and_then(|of| of.parse().ok()) == Some(group.as_raw_nonzero().get());
    is_of_group && !matches!(state, Some("Z" | "X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_live_in_its_group_until_it_has_ended() {
        let group = Pid::from_raw(42).unwrap();
        for (stat, is_live) in [
            ("7 (sh) S 1 42 42 0", true),
            ("7 (a) Z 1 41 (b) S 1 42 42 0", true),
            ("7 (sh) Z 1 42 42 0", false),
            ("7 (sh) S 42 41 42 0", false),
            ("", false),
        ] {
            assert_eq!(is_live_in(stat, group), is_live, "{stat}");
        }
    }
}
