//! Waiting until slots have moved.

use core::time::Duration;
use std::sync::Arc;

use holocron::inspect::ClusterReader;
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, Epoch, HostName, SessionId},
};
use tokio::time::sleep;

use crate::{
    deadline::Deadline,
    exit::{Fail, Failure},
    status::status_of,
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many slots a host has, by a record.
pub(crate) fn slots_of(record: &EpochRecord, host: &HostName) -> usize {
    let session = session_of(record, host);
    session.map_or(0, |session| record.home().slots.owned_by(session).count())
}

pub(crate) fn session_of(record: &EpochRecord, host: &HostName) -> Option<SessionId> {
    record.hosts.get(host)?.sessions.get(&DomainId::HOME).copied()
}

/// Waits until a record leaves no slot to be moved and every host serves what it owns by it. Reads the records from the
/// store: a client that makes no calls hears of none. Progress goes to standard error.
pub(crate) async fn until_moved(
    reader: &ClusterReader,
    mut record: Arc<EpochRecord>,
    deadline: Deadline,
    left: impl Fn(&EpochRecord) -> usize,
) -> Result<Epoch, Fail> {
    let mut said = None;
    loop {
        while let Some(next) = deadline.read(reader.entry(record.epoch.next())).await?.record() {
            record = Arc::clone(next);
        }
        let left = left(&record);
        if said != Some(left) {
            eprintln!("{left} slots left to move");
            said = Some(left);
        }
        if left == 0 && serve_all(&record).await {
            return Ok(record.epoch);
        }
        if deadline.left() < LOOK_EVERY {
            let what =
                format!("{left} slots have not moved before the deadline; the leader goes on");
            return Err(Fail::new(Failure::Later, what));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Whether every host has acted on this record and recovers no slot.
async fn serve_all(record: &EpochRecord) -> bool {
    for host in record.hosts.values() {
        let status = status_of(&host.address).await;
        if !status.is_ok_and(|status| status.epoch >= record.epoch && status.slots_waiting == 0) {
            return false;
        }
    }
    true
}
