//! Requests to the leader, from subcommands.

use holocron::{AskError, Client, PeerMessage, PeerReply, ask};
use holocron_protocol::{epoch::record::EpochRecord, ids::HostName};

use crate::{
    deadline::Deadline,
    exit::{Fail, Failure},
};

/// How often a request follows a leader that has changed.
const ASKED_MAX: u32 = 3;

/// Asks the leader for something, and returns its address once it has noted it.
pub(crate) async fn ask_leader(
    client: &Client,
    message: PeerMessage,
    deadline: Deadline,
) -> Result<String, Fail> {
    let mut leader = client.ready().await?.record.leader.address.clone();
    for _ in 0..ASKED_MAX {
        let asked = ask(&**client.network(), &leader, message.clone(), deadline.left());
        match asked.await.map_err(|error| not_noted(&error))? {
            PeerReply::NotLeader { leader: Some(other) } => leader = other,
            PeerReply::Noted => return Ok(leader),
            PeerReply::Refused(why) => {
                return Err(Fail::failed(format!("the leader refused: {why}")));
            }
            PeerReply::NotLeader { leader: None } => break,
            other @ (PeerReply::View(_)
            | PeerReply::Health(_)
            | PeerReply::Status(_)
            | PeerReply::Vnode(_)
            | PeerReply::Listed(_)
            | PeerReply::NotServed
            | PeerReply::Frozen(_)
            | PeerReply::Measures(_)
            | PeerReply::Sealed(_)
            | PeerReply::Kinds(_)) => {
                return Err(Fail::failed(format!("{leader}: unexpected answer: {other:?}")));
            }
        }
    }
    Err(Fail::new(Failure::Later, "there is no leader now; try again in a moment"))
}

/// The leader gave no reply.
fn not_noted(error: &AskError) -> Fail {
    match error {
        AskError::NotAsked(_) => {
            Fail::new(Failure::Later, format!("the leader can't be reached: {error}"))
        }
        AskError::Unanswered { .. } => {
            let what = "the leader was asked and gave no reply; it may have done it";
            Fail::new(Failure::Unclear, format!("unclear: {what}: {error}"))
        }
    }
}

/// The host of that name.
pub(crate) fn known_host(record: &EpochRecord, name: &str) -> Result<HostName, Fail> {
    let host = HostName::new(name).map_err(|error| Fail::new(Failure::Usage, error.to_string()))?;
    if record.hosts.contains_key(&host) {
        return Ok(host);
    }
    let known: Vec<&str> = record.hosts.keys().map(HostName::as_str).collect();
    Err(Fail::failed(format!("no host is named {host}; there are: {}", known.join(", "))))
}
