//! The epoch log as it landed: one record per epoch, each a valid successor of the previous one. Checks invariant 2,
//! invariant 6 for epoch marks, and of invariant 12 that a change of leader ends no session except the silent leader's.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use holocron_protocol::{
    epoch::{
        log::EPOCHS_KEPT_MIN,
        record::{EpochRecord, Holding, RecordDigest},
    },
    ids::{DomainId, Epoch, HostName, SessionId, Slot, Tenure},
};

use super::{
    invariant::{Broken, Invariant},
    journal::SegmentState,
};

/// Every effective epoch, and the slots of one domain.
#[derive(Debug, Default)]
pub(super) struct Log {
    domain: DomainId,
    records: BTreeMap<Epoch, Landed>,
}

#[derive(Debug)]
struct Landed {
    record: Arc<EpochRecord>,
    digest: RecordDigest,
}

impl Log {
    /// An empty log, read for this domain.
    pub(super) fn of(domain: DomainId) -> Self {
        Self { domain, ..Self::default() }
    }

    /// The newest record.
    pub(super) fn newest(&self) -> Option<&Arc<EpochRecord>> {
        self.records.last_key_value().map(|(_, landed)| &landed.record)
    }

    /// The record of an epoch.
    pub(super) fn record(&self, epoch: Epoch) -> Option<&EpochRecord> {
        self.records.get(&epoch).map(|landed| &*landed.record)
    }

    /// The holding of a slot in an epoch.
    pub(super) fn holding(&self, epoch: Epoch, slot: Slot) -> Option<&Holding> {
        self.holding_in(self.record(epoch)?, slot)
    }

    /// The holding of a slot of the domain in a record; `None` while the record lacks the domain.
    pub(super) fn holding_in<'a>(
        &self,
        record: &'a EpochRecord,
        slot: Slot,
    ) -> Option<&'a Holding> {
        holding(record, self.domain, slot)
    }

    /// Whether any epoch says that a session is detached.
    pub(super) fn detached(&self, session: SessionId) -> bool {
        // Usually a recent one.
        let mut records = self.records.values().rev();
        records.any(|landed| landed.record.detached().any(|(over, _)| over == session))
    }

    /// A record landed. Returns the previous record, if this one is the newest now.
    pub(super) fn landed(
        &mut self,
        at: (&str, Epoch),
        body: &Bytes,
        segment_state: SegmentState,
        broken: &mut Vec<Broken>,
    ) -> Option<Change> {
        let (key, epoch) = at;
        let digest = RecordDigest::of(body);
        if let Some(landed) = self.records.get(&epoch) {
            if landed.digest != digest && segment_state == SegmentState::Live {
                broken.push(Invariant::OneWinner.broken(format!("another record of {epoch}")));
            }
            return None;
        }
        if segment_state != SegmentState::Live {
            // Its writer is far behind, and will find the mark.
            return None;
        }
        let record = match EpochRecord::decode(key, body) {
            Ok(record) => Arc::new(record),
            Err(malformed) => {
                broken.push(Invariant::OneWinner.broken(malformed));
                return None;
            }
        };
        let before = self.records.last_key_value().map(|(_, landed)| landed);
        let follows = match before {
            Some(before) => record.follows(&before.record, before.digest),
            None if epoch == Epoch::new(1) => Ok(()),
            None => Err(format!("{epoch} is the first")),
        };
        if let Err(why) = follows {
            broken.push(Invariant::OneWinner.broken(format!("{epoch} does not follow: {why}")));
        }
        let before = before.map(|before| Arc::clone(&before.record));
        for (session, host) in before.iter().flat_map(|before| ended_besides(before, &record)) {
            let how =
                format!("the new leader's {epoch} ends {session} of {host}, which did not lead");
            broken.push(Invariant::Heals.broken(how));
        }
        self.records.insert(epoch, Landed { record: Arc::clone(&record), digest });
        Some(Change { domain: self.domain, before, now: record })
    }

    /// A record is deleted.
    pub(super) fn deleted(
        &self,
        epoch: Epoch,
        segment_state: SegmentState,
        broken: &mut Vec<Broken>,
    ) {
        if segment_state == SegmentState::Live {
            broken.push(Invariant::LowWaterFirst.broken("it is deleted without a mark"));
        }
        let newest = self.newest().map_or(Epoch::ZERO, |record| record.epoch);
        if epoch.get() + EPOCHS_KEPT_MIN > newest.get() {
            let how = format!("{epoch} is among the newest {EPOCHS_KEPT_MIN} up to {newest}");
            broken.push(Invariant::LowWaterFirst.broken(how));
        }
    }
}

/// The sessions that a change of leader ends without a reason. A new leader has watched only the old leader, and knows
/// of no other dead host; it also ends an earlier session of its own name.
fn ended_besides<'a>(
    before: &'a EpochRecord,
    now: &'a EpochRecord,
) -> impl Iterator<Item = (SessionId, &'a HostName)> {
    let takes_over = now.leader.session != before.leader.session;
    let open = before.sessions.iter().filter(|(session, _)| before.is_open(**session));
    open.filter(move |(session, entry)| {
        let host = before.hosts.get(&entry.host);
        let home = host.and_then(|host| host.sessions.get(&DomainId::HOME));
        // With the old leader go its sessions in all domains.
        let led = home == Some(&before.leader.session);
        let accounted = led || entry.host == now.leader.host;
        takes_over && !accounted && !now.is_open(**session)
    })
    .map(|(session, entry)| (*session, &entry.host))
}

/// A new epoch.
#[derive(Debug)]
pub(super) struct Change {
    domain: DomainId,
    pub(super) before: Option<Arc<EpochRecord>>,
    pub(super) now: Arc<EpochRecord>,
}

impl Change {
    /// The slots whose holding changed, with the tenures listed before and now.
    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, Vec<Tenure>, Vec<Tenure>)> {
        (0..self.now.slot_count).map(Slot).filter_map(|slot| {
            let before = self.before.as_ref().and_then(|before| holding(before, self.domain, slot));
            let now = holding(&self.now, self.domain, slot)?;
            (before != Some(now)).then(|| (slot, before.map(chain).unwrap_or_default(), chain(now)))
        })
    }
}

fn holding(record: &EpochRecord, domain: DomainId, slot: Slot) -> Option<&Holding> {
    let domain = record.domains.get(&domain)?;
    (slot.0 < record.slot_count).then(|| domain.slots.holding(slot))
}

/// The tenures that a recovery of the slot must read, newest first.
pub(super) fn chain(holding: &Holding) -> Vec<Tenure> {
    holding.owner.iter().chain(&holding.sources).copied().collect()
}

#[cfg(test)]
mod tests {
    use holocron_protocol::{
        epoch::{
            draft::Draft,
            record::{HostEntry, HostState, Leader},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::ClusterId,
    };

    use super::*;

    fn join(draft: &mut Draft, host: &str, session: u128) {
        let entry = HostEntry {
            address: format!("{host}:1"),
            sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(session))]),
            state: HostState::Active,
            weight: 100,
            zone: None,
            versions: KindVersions::default(),
        };
        draft.join(&HostName::new(host).unwrap(), entry).unwrap();
    }

    fn led_by(draft: Draft, host: &str, session: u128) -> EpochRecord {
        let host = HostName::new(host).unwrap();
        let leader = Leader { host, session: SessionId::new(session), address: String::new() };
        draft.finish(leader, "a test", 1)
    }

    #[test]
    fn a_change_of_leader_ends_only_the_old_leader_and_an_earlier_session_of_the_new_one() {
        let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
        for (host, session) in [("a", 1), ("b", 2), ("c", 3)] {
            join(&mut draft, host, session);
        }
        let before = led_by(draft, "a", 1);
        let after = || Draft::after(&before, RecordDigest::of(b"its bytes"));
        let ended = |now: &EpochRecord| {
            ended_besides(&before, now).map(|(session, _)| session).collect::<Vec<_>>()
        };

        let mut draft = after();
        draft.remove(SessionId::new(1));
        join(&mut draft, "b", 4);
        assert_eq!(ended(&led_by(draft, "b", 4)), []);
        let mut draft = after();
        draft.remove(SessionId::new(3));
        assert_eq!(ended(&led_by(draft.clone(), "a", 1)), [], "the leader may know");
        assert_eq!(ended(&led_by(draft, "b", 2)), [SessionId::new(3)]);
    }
}
