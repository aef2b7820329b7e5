//! Why a vnode is where it is: its owner, since when and by which epoch, and where its newest state is.

mod json;

use std::sync::Arc;

use holocron_protocol::{
    epoch::{
        changes::{Change, Moved, changes},
        record::{EpochRecord, HostEntry},
        versions::KindVersions,
    },
    ids::{Epoch, HostName, SessionId, Tenure, VnodeName},
};

use super::{ClusterReader, Entry, FoundVnode, ReadError};
use crate::transport::peer::{PeerMessage, PeerReply, VnodeStatus};

/// Everything that is known of a vnode.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its name.
    pub name: VnodeName,
    /// What the store says.
    pub found: FoundVnode,
    /// The owner of its slot.
    pub owner: Option<Owner>,
    /// Whether it is in the owner's memory.
    pub memory: Memory,
}

/// The owner of a slot.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Its host.
    pub host: HostName,
    /// What the record says of the host.
    pub entry: HostEntry,
    /// The tenure under which it has the slot.
    pub tenure: Tenure,
    /// How it got the slot.
    pub given: Given,
}

/// How the owner got the slot.
#[derive(Clone, Debug)]
pub enum Given {
    /// By a record.
    By {
        /// The record.
        record: Arc<EpochRecord>,
        /// From whom, if the record before can be read.
        moved: Option<Moved>,
    },
    /// The record can't be read: why.
    Unknown(String),
}

/// Whether a vnode is in its owner's memory.
#[derive(Clone, Debug)]
pub enum Memory {
    /// As its owner says.
    Known(VnodeStatus),
    /// Why it isn't known.
    Unknown(String),
}

impl ClusterReader {
    /// Explains a vnode from the store: [`Self::find_vnode`], and the epoch that gave its slot to the owner. Whether it is in
    /// memory isn't known yet: ask the owner [`Explained::question`].
    ///
    /// # Errors
    ///
    /// [`ReadError`], when something that is needed can't be read.
    pub async fn explain(&self, name: &VnodeName) -> Result<Explained, ReadError> {
        let found = self.find_vnode(name).await?;
        let (owner, why) = match found.holding.owner {
            Some(tenure) => (Some(self.owner(&found, tenure).await?), "the owner was not asked"),
            None => (None, "no host owns its slot"),
        };
        let memory = Memory::Unknown(why.to_owned());
        Ok(Explained { name: name.clone(), found, owner, memory })
    }

    async fn owner(&self, found: &FoundVnode, tenure: Tenure) -> Result<Owner, ReadError> {
        let listed = found.record.host_of(tenure.session);
        let (host, entry) = listed.expect("a record is checked: owners are open sessions of hosts");
        let given = self.given(tenure.epoch, found).await?;
        Ok(Owner { host: host.clone(), entry: entry.clone(), tenure, given })
    }

    /// Reads the epoch that gave the slot to its owner, and the one before.
    async fn given(&self, epoch: Epoch, found: &FoundVnode) -> Result<Given, ReadError> {
        let record = match self.entry(epoch).await? {
            Entry::Record(record) => record,
            Entry::Undecodable(malformed) => return Ok(Given::Unknown(malformed.to_string())),
            Entry::Deleted => return Ok(Given::Unknown("its record is no longer kept".to_owned())),
            Entry::Absent => {
                return Ok(Given::Unknown(
                    "its record is missing: deleted from outside".to_owned(),
                ));
            }
        };
        let before = match epoch.previous().filter(|&before| before > Epoch::ZERO) {
            None => None,
            Some(before) => match self.entry(before).await? {
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
}

impl Explained {
    /// What to ask the owner: its address, and whether it has the vnode in memory. None without an owner.
    #[must_use]
    pub fn question(&self) -> Option<(&str, PeerMessage)> {
        let owner = self.owner.as_ref()?;
        let message = PeerMessage::Vnode { domain: self.found.domain, hash: self.name.hash() };
        Some((&owner.entry.address, message))
    }

    /// With what the owner answered; the error says why there is no answer.
    #[must_use]
    pub fn answered(mut self, reply: Result<PeerReply, String>) -> Self {
        self.memory = match reply {
            Ok(PeerReply::Vnode(status)) => Memory::Known(status),
            // A release that doesn't know the question refuses it.
            Ok(PeerReply::Refused(why)) => {
                Memory::Unknown(format!("the owner refuses the question: {why}"))
            }
            Ok(other) => Memory::Unknown(format!("the owner's answer is unexpected: {other:?}")),
            Err(why) => Memory::Unknown(format!("the owner gives no answer: {why}")),
        };
        self
    }

    /// What may be in the slot and its owner can't read.
    #[must_use]
    pub fn unread(&self) -> KindVersions {
        let domain = &self.found.record.domains[&self.found.domain];
        domain.unread.get(&self.found.slot).cloned().unwrap_or_default()
    }

    /// The host of an owner's or source's session.
    ///
    /// # Panics
    ///
    /// If it is another session: a record lists those of owners and sources.
    #[must_use]
    pub fn host(&self, session: SessionId) -> &HostName {
        let listed = self.found.record.sessions.get(&session);
        &listed.expect("a record lists the sessions of owners and sources").host
    }
}
