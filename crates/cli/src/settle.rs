//! Waiting until slots have moved.

use core::time::Duration;
use std::sync::Arc;

use holocron::{Client, HostStatus, PeerMessage, inspect::ClusterReader};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, Epoch, HostName, SessionId},
};
use tokio::time::{Instant, sleep};

use crate::{
    deadline::Deadline,
    exit::{Fail, Failure},
    leader::ask_leader,
    status::status_of,
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the leader is asked again: an order that no record says yet is lost with its leader.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// How far an order is, by a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many slots are still to be moved, or only the state of the host has to change.
    Left(usize),
    Done,
    /// The session of the host that was named is over.
    Gone,
}

/// How many slots a host has, by a record.
pub(crate) fn slots_of(record: &EpochRecord, host: &HostName) -> usize {
    let session = session_of(record, host);
    session.map_or(0, |session| record.home().slots.owned_by(session).count())
}

pub(crate) fn session_of(record: &EpochRecord, host: &HostName) -> Option<SessionId> {
    record.hosts.get(host)?.sessions.get(&DomainId::HOME).copied()
}

/// An order for the leader, until it is done.
pub(crate) struct Order<'a> {
    pub(crate) client: &'a Client,
    /// Records are read from the store: a client that makes no calls hears of none.
    pub(crate) reader: &'a ClusterReader,
    pub(crate) deadline: Deadline,
    pub(crate) order: PeerMessage,
    /// The host that it names.
    pub(crate) host: &'a HostName,
}

impl Order<'_> {
    /// Waits until a record says that it is done, and the hosts that own slots serve them. Progress goes to standard error.
    pub(crate) async fn until_done(
        &self,
        mut record: Arc<EpochRecord>,
        moved: impl Fn(&EpochRecord) -> Moved,
    ) -> Result<Epoch, Fail> {
        let (mut said, mut asked_at) = (None, Instant::now());
        loop {
            while let Some(next) = self.next(&record).await? {
                record = next;
            }
            let now = moved(&record);
            match now {
                Moved::Done if serve_all(self.client, &record).await => return Ok(record.epoch),
                Moved::Gone => {
                    let what = format!(
                        "{} left the cluster, failed or started again meanwhile",
                        self.host
                    );
                    return Err(Fail::failed(what));
                }
                Moved::Left(left) if said != Some(left) && left > 0 => {
                    eprintln!("{left} slots left to move");
                    said = Some(left);
                }
                Moved::Left(_) | Moved::Done => {}
            }
            if self.deadline.left() < LOOK_EVERY {
                return Err(Fail::new(Failure::Later, unfinished(now)));
            }
            if now != Moved::Done && asked_at.elapsed() >= ASK_EVERY {
                asked_at = Instant::now();
                ask_leader(self.client, self.order.clone(), self.deadline).await?;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn next(&self, record: &EpochRecord) -> Result<Option<Arc<EpochRecord>>, Fail> {
        let entry = self.deadline.read(self.reader.entry(record.epoch.next())).await?;
        Ok(entry.record().cloned())
    }
}

fn unfinished(moved: Moved) -> String {
    match moved {
        Moved::Left(left) => {
            format!("{left} slots have not moved before the deadline; moves wait while a host is failing")
        }
        Moved::Done | Moved::Gone => {
            "all slots have moved, but some host did not say before the deadline that it serves its share".into()
        }
    }
}

/// Whether every host that owns slots has acted on this record and recovers none.
async fn serve_all(client: &Client, record: &EpochRecord) -> bool {
    let owners = record.hosts.iter().filter(|(name, _)| slots_of(record, name) > 0);
    for (_, host) in owners {
        let status = status_of(&**client.network(), &host.address).await;
        let waits = |status: &HostStatus| {
            let mut further = status.domains.iter().filter_map(|domain| domain.session);
            status.slots_waiting > 0 || further.any(|session| session.slots_waiting > 0)
        };
        if !status.is_ok_and(|status| status.epoch >= record.epoch && !waits(&status)) {
            return false;
        }
    }
    true
}
