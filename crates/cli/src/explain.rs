//! `holocron explain`: who owns a vnode, since when and why, and where its newest state is.

mod json;
mod text;

use std::sync::Arc;

use clap::Args;
use holocron::{
    PeerMessage, PeerReply, VnodeStatus, ask,
    inspect::{ClusterReader, Entry, FoundVnode, ReadError},
    net::Network,
};
use holocron_protocol::{
    epoch::{
        changes::{Change, Moved, changes},
        record::{EpochRecord, HostEntry},
        versions::KindVersions,
    },
    ids::{DomainId, Epoch, HostName, SessionId, Tenure, VnodeName},
};

use crate::{
    deadline::{Deadline, DeadlineArguments},
    domains::DomainArguments,
    exit::{self, Fail},
    output::print,
    status::ANSWER_WITHIN,
    store::ClusterArguments,
    vnode::VnodeArguments,
};

/// Explain one vnode: which host owns it, since when and why, and where its newest state is
///
/// Reads the epoch log, and the journals and packs of the hosts that owned the vnode's slot, and changes nothing. Then
/// asks the owner whether the vnode is in its memory. Works while all hosts are down.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
Words:
  slot      a fixed share of the vnodes, chosen by the hash of kind and key; what a host is given
  owner     the host that runs the commands of the slot's vnodes, from one epoch on; that hold is called a tenure
  source    an earlier tenure whose records may still be needed to recover the slot. It stays listed until the owner has
            copied all of them into a checkpoint of its own
  commit    a write of the vnode's state: commit 7 is the seventh since the vnode was created
  journal   what a host has written, batch by batch; a pack holds the records of many vnodes from older batches
  dormant   not in memory; the next call loads the vnode

Examples:
  holocron explain --store file:///tmp/h counter alice
  holocron explain --store file:///tmp/h counter alice --json | jq .newest"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    domains: DomainArguments,
    #[command(flatten)]
    vnode: VnodeArguments,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let name = arguments.vnode.name()?;
    let deadline = arguments.deadline.start();
    let mut reader = deadline.reader(&arguments.cluster.store).await?;
    for domain in arguments.domains.load()?.domains {
        let store = domain.open(deadline).await?;
        reader = reader.with_domain(&domain.name, store);
    }
    let found = deadline.read(reader.find_vnode(&name)).await?;
    let owner = match found.holding.owner {
        Some(tenure) => Some(explain_owner(&reader, deadline, &found, tenure).await?),
        None => None,
    };
    let memory = match &owner {
        Some(owner) => {
            let network = arguments.cluster.tls.network()?;
            in_memory(&*network, owner, (found.domain, &name), deadline).await
        }
        None => Memory::Unknown("no host owns its slot".to_owned()),
    };
    let explained = Explained { name, found, owner, memory };
    if arguments.json {
        print(&format!("{:#}\n", explained.as_json()))
    } else {
        print(&explained.as_text())
    }
}

/// Everything that is known of a vnode.
struct Explained {
    name: VnodeName,
    found: FoundVnode,
    owner: Option<Owner>,
    memory: Memory,
}

impl Explained {
    /// What may be in the slot and its owner can't read.
    fn unread(&self) -> KindVersions {
        let domain = &self.found.record.domains[&self.found.domain];
        domain.unread.get(&self.found.slot).cloned().unwrap_or_default()
    }

    /// The host of an owner's or source's session.
    fn host(&self, session: SessionId) -> &HostName {
        let listed = self.found.record.sessions.get(&session);
        &listed.expect("a record lists the sessions of owners and sources").host
    }
}

/// The owner of a slot.
struct Owner {
    host: HostName,
    entry: HostEntry,
    tenure: Tenure,
    given: Given,
}

/// How the owner got the slot.
enum Given {
    /// By this record; `moved` says from whom, if the record before can be read.
    By { record: Arc<EpochRecord>, moved: Option<Moved> },
    /// The record can't be read: why.
    Unknown(String),
}

/// Whether the vnode is in its owner's memory.
enum Memory {
    /// As its owner says.
    Known(VnodeStatus),
    /// Why it isn't known.
    Unknown(String),
}

async fn explain_owner(
    reader: &ClusterReader,
    deadline: Deadline,
    found: &FoundVnode,
    tenure: Tenure,
) -> Result<Owner, Fail> {
    let listed = found.record.host_of(tenure.session);
    let (host, entry) = listed.expect("a record is checked: owners are open sessions of hosts");
    let given = deadline.read(given(reader, tenure.epoch, found)).await?;
    Ok(Owner { host: host.clone(), entry: entry.clone(), tenure, given })
}

/// Reads the epoch that gave the slot to its owner, and the one before.
async fn given(
    reader: &ClusterReader,
    epoch: Epoch,
    found: &FoundVnode,
) -> Result<Given, ReadError> {
    let record = match reader.entry(epoch).await? {
        Entry::Record(record) => record,
        Entry::Undecodable(malformed) => return Ok(Given::Unknown(malformed.to_string())),
        Entry::Deleted => return Ok(Given::Unknown("its record is no longer kept".to_owned())),
        Entry::Absent => {
            return Ok(Given::Unknown("its record is missing: deleted from outside".to_owned()));
        }
    };
    let before = match epoch.previous().filter(|&before| before > Epoch::ZERO) {
        None => None,
        Some(before) => match reader.entry(before).await? {
            Entry::Record(before) => Some(before),
            Entry::Undecodable(_) | Entry::Deleted | Entry::Absent => {
                return Ok(Given::By { record, moved: None });
            }
        },
    };
    let moved = changes(before.as_deref(), &record).into_iter().find_map(|change| {
        let Change::SlotsMoved(moved) = change else { return None };
        (moved.domain == found.domain && moved.slots.contains(found.slot)).then_some(moved)
    });
    Ok(Given::By { record, moved })
}

/// Asks the owner whether the vnode is in its memory.
async fn in_memory(
    network: &dyn Network,
    owner: &Owner,
    (domain, name): (DomainId, &VnodeName),
    deadline: Deadline,
) -> Memory {
    let within = deadline.left().min(ANSWER_WITHIN);
    let message = PeerMessage::Vnode { domain, hash: name.hash() };
    match ask(network, &owner.entry.address, message, within).await {
        Ok(PeerReply::Vnode(status)) => Memory::Known(status),
        // A release that doesn't know the question refuses it.
        Ok(PeerReply::Refused(why)) => {
            Memory::Unknown(format!("the owner refuses the question: {why}"))
        }
        Ok(other) => Memory::Unknown(format!("the owner's answer is unexpected: {other:?}")),
        Err(error) => Memory::Unknown(format!("the owner gives no answer: {error}")),
    }
}
