//! `holocron elect`: takes part in an election, and runs a command while it leads.

mod command;
mod group;
mod lines;

use core::time::Duration;

use clap::Args;
use holocron::election::{Election, ElectionBuilder, JoinError, Over, Role, Rotation};
use holocron_store::{ProbeError, explain};

use self::{command::Supervised, lines::Lines};
use crate::{
    exit::{self, Fail, Failure},
    signals::Signals,
    store::StoreArguments,
};

/// Take part in an election, and run a command while leading
///
/// Prints a line for each change of role: to standard output, or to standard error if there is a command. Members need no
/// network between them, only the store.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
The command gets HOLOCRON_TOKEN (its fencing token: larger than that of every earlier leader), HOLOCRON_ELECTION and
HOLOCRON_MEMBER in its environment. It gets SIGTERM when the leadership is lost or can't be confirmed for a lease, and
SIGKILL after --grace, with everything in its process group; it is started again, with a new token, when this member leads
again. A rotation doesn't restart it. If the command ends by itself, this member ends what it left running in its group,
resigns and ends: with 0 if the command succeeded, else with 1.

The command starts with the token, not with the claim to lead: the former leader's command may still run, for up to its
--grace, and after a contested rotation for a fifth of a lease more. So what it changes must check the token; or use the
library, and act within `leader_until`.

If this process is killed, the kernel kills the command. If it is only stopped (SIGSTOP), the command runs on while another
member leads: a resource that matters must check the token.

SIGTERM or SIGINT: SIGTERM to the command, and when it has ended, resigns, so that the next member leads at once. A second
signal: SIGKILL to the command.

Examples:
  holocron elect --store file:///tmp/h nightly
  holocron elect --store s3://bucket/prefix --lease 5s nightly -- ./report.sh --token-from-env"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Name of the election: 1 to 63 of a-z, 0-9, '-', '_', '.'. Its objects are below elections/NAME/.
    name: String,
    /// Name of this member, for people; by default the machine's name and the process id.
    #[arg(long = "name", value_name = "MEMBER")]
    member: Option<String>,
    /// Address that the others see while this member leads. The election itself doesn't use it.
    #[arg(long, value_name = "TEXT")]
    address: Option<String>,
    /// How long a silent leader is waited for, such as 10s or 500ms. Shorter: the next member leads sooner; more requests,
    /// more false alarms. All members must have the same, which nothing checks: else two may claim to lead at one time, or
    /// one takes a healthy leader for silent.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    lease: Duration,
    /// Write a new epoch at this interval, such as 1h: the leader stays, and its token grows. At least a fifth of the lease,
    /// and 3.024s: each epoch is kept for 7 days.
    #[arg(long, value_name = "EVERY", value_parser = duration)]
    rotate: Option<Duration>,
    /// With --rotate: every member competes at each rotation.
    #[arg(long, requires = "rotate")]
    contested: bool,
    /// How long the command may take to end after SIGTERM, before SIGKILL.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    grace: Duration,
    /// Print a JSON object per line.
    #[arg(long)]
    json: bool,
    /// A command to run while this member leads, and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 10s, 500ms or 1h"))
}

impl Arguments {
    fn member(&self) -> String {
        self.member.clone().unwrap_or_else(|| {
            let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            default_name(machine.trim(), std::process::id())
        })
    }

    fn builder(&self, member: &str) -> ElectionBuilder {
        let rotation = match (self.rotate, self.contested) {
            (None, _) => Rotation::Never,
            (Some(every), false) => Rotation::Every(every),
            (Some(every), true) => Rotation::Contested(every),
        };
        let mut builder = Election::builder(&self.store.url, &self.name)
            .member(member)
            .lease(self.lease)
            .rotation(rotation);
        for (key, value) in &self.store.options.pairs {
            builder = builder.option(key, value);
        }
        if let Some(address) = &self.address {
            builder = builder.address(address);
        }
        builder
    }
}

/// A member's name from that of its machine: what names allow of it, in lower case.
fn default_name(machine: &str, process: u32) -> String {
    /// Leaves room for the process id in the longest name.
    const MACHINE_LEN_MAX: usize = 50;
    let machine: String = machine
        .chars()
        .map(|letter| letter.to_ascii_lowercase())
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.'))
        .skip_while(|letter| *letter == '.')
        .take(MACHINE_LEN_MAX)
        .collect();
    if machine.is_empty() { format!("member-{process}") } else { format!("{machine}-{process}") }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let mut signals = Signals::new()?;
    let member = arguments.member();
    let mut election = tokio::select! {
        biased;
        // It takes part in nothing yet.
        () = signals.next() => return Ok(()),
        joined = arguments.builder(&member).join() => joined?,
    };
    let lines = Lines::new(&arguments, &member);
    let mut supervised = Supervised::new(&arguments, &member);
    let ended = follow(&mut election, &lines, &mut supervised, &mut signals).await?;
    // The next leader may begin at once, so the command must have ended before.
    supervised.stop_now(&mut signals).await;
    match ended {
        Ended::Over(over) => outcome(&over),
        Ended::Told | Ended::Command(Ok(())) => {
            lines.over(&election.resign().await);
            Ok(())
        }
        Ended::Command(Err(why)) => {
            lines.over(&election.resign().await);
            Err(why)
        }
    }
}

/// Why this process ends.
enum Ended {
    /// A signal said so.
    Told,
    /// The command ended by itself.
    Command(Result<(), Fail>),
    /// This member takes part no more.
    Over(Over),
}

/// Prints each role and lets the command run while this member leads.
async fn follow(
    election: &mut Election,
    lines: &Lines,
    supervised: &mut Supervised,
    signals: &mut Signals,
) -> Result<Ended, Fail> {
    loop {
        tokio::select! {
            biased;
            () = signals.next() => return Ok(Ended::Told),
            role = election.changed() => {
                lines.role(&role);
                match role {
                    Role::Leading { token, since } => supervised.leads(token, since)?,
                    Role::Over(over) => return Ok(Ended::Over(over)),
                    Role::NoLeader | Role::Following { .. } | Role::Unconfirmed { .. } | Role::Resigning => {
                        supervised.stop();
                    }
                }
            }
            ended = supervised.next() => {
                if let Some(ended) = ended? {
                    return Ok(Ended::Command(ended));
                }
            }
        }
    }
}

fn outcome(over: &Over) -> Result<(), Fail> {
    match over {
        Over::Resigned | Over::Stopped => Ok(()),
        Over::StoreLost(_) => Err(Fail::new(Failure::Unfit, over.to_string())),
        Over::Failed(_) => Err(Fail::failed(over.to_string())),
    }
}

impl From<JoinError> for Fail {
    fn from(error: JoinError) -> Self {
        let failure = match &error {
            JoinError::Name(_) | JoinError::Setting(_) => Failure::Usage,
            JoinError::Store(ProbeError::Broken { .. }) | JoinError::Remains { .. } => {
                Failure::Unfit
            }
            JoinError::Store(ProbeError::Unreachable { .. }) | JoinError::Unreachable(_) => {
                Failure::Later
            }
            JoinError::Open(_)
            | JoinError::Store(ProbeError::Refused { .. })
            | JoinError::Unreadable(_)
            | JoinError::IsCluster => Failure::Failed,
        };
        Self::new(failure, explain(&error))
    }
}

#[cfg(test)]
mod tests {
    use holocron_protocol::ids::HostName;

    use super::*;

    #[test]
    fn a_machines_name_becomes_a_members_name() {
        let long = "x".repeat(300);
        for (machine, name) in [
            ("Web-1.example", "web-1.example-42"),
            ("..dots", "dots-42"),
            ("", "member-42"),
            ("ä", "member-42"),
        ] {
            assert_eq!(default_name(machine, 42), name);
        }
        for machine in ["Web_1", "", &long] {
            assert!(HostName::new(&default_name(machine, u32::MAX)).is_ok(), "{machine}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1_500)));
        assert!(duration("10").unwrap_err().contains("write 10s"));
    }
}
