//! `holocron seal`: end a host's session by force.

use clap::Args;
use holocron::{AskError, PeerMessage, PeerReply, ask, net::Tcp};
use holocron_protocol::ids::HostName;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    store::StoreArguments,
};

/// How often the request follows a leader that has changed.
const ASKED_MAX: u32 = 3;

/// Seal a host's session and move its slots to other hosts
///
/// Asks the leader to do it. Everything the host acknowledged stays. A healthy host opens a new session and rejoins.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron seal --store file:///tmp/h h2"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The host's name.
    host: String,
    /// Print a JSON object instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let host = HostName::new(&arguments.host)
        .map_err(|error| Fail::new(Failure::Usage, error.to_string()))?;
    let deadline = arguments.deadline.start();
    let view = deadline.connect(&arguments.store).await?.ready().await?;
    if !view.record.hosts.contains_key(&host) {
        let known: Vec<&str> = view.record.hosts.keys().map(HostName::as_str).collect();
        return Err(Fail::failed(format!(
            "no host is named {host}; there are: {}",
            known.join(", ")
        )));
    }
    let mut leader = view.record.leader.address.clone();
    for _ in 0..ASKED_MAX {
        let asked = ask(&Tcp, &leader, PeerMessage::Seal(host.clone()), deadline.left());
        match asked.await.map_err(|error| not_sealed(&error))? {
            PeerReply::NotLeader { leader: Some(other) } => leader = other,
            PeerReply::Noted => {
                if arguments.json {
                    println!("{}", json!({ "sealed": host.as_str(), "by": leader }));
                } else {
                    println!("the leader at {leader} seals {host}");
                }
                return Ok(());
            }
            PeerReply::Refused(why) => {
                return Err(Fail::failed(format!("the leader refused: {why}")));
            }
            PeerReply::NotLeader { leader: None } => break,
            other @ (PeerReply::View(_)
            | PeerReply::Health(_)
            | PeerReply::Status(_)
            | PeerReply::Vnode(_)) => {
                return Err(Fail::failed(format!("{leader}: unexpected answer: {other:?}")));
            }
        }
    }
    Err(Fail::new(Failure::Later, "there is no leader now; try again in a moment"))
}

/// The leader gave no reply.
fn not_sealed(error: &AskError) -> Fail {
    match error {
        AskError::NotAsked(_) => {
            Fail::new(Failure::Later, format!("the leader can't be reached: {error}"))
        }
        AskError::Unanswered { .. } => {
            let what = "the leader was asked and gave no reply; it may have sealed the host";
            Fail::new(Failure::Unclear, format!("unclear: {what}: {error}"))
        }
    }
}
