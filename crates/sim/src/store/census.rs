//! Counters from what lands in the store, independent of what hosts report.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holocron_protocol::{
    epoch::record::{EpochRecord, Holding, SessionState},
    format::keys::{self, Key},
    ids::{DomainId, Epoch, SessionId, Slot, Tenure},
    journal::batch::{self, Batch, JournalObject, Record},
};

use crate::counters::Counters;

/// The counters so far.
#[derive(Debug, Default)]
pub(super) struct Census {
    pub(super) counters: Counters,
    newest: Option<EpochRecord>,
    /// Sealed sessions.
    sealed: BTreeSet<SessionId>,
    /// The newest Release of each slot by each session.
    releases: BTreeMap<(SessionId, Slot), Epoch>,
}

impl Census {
    /// A create that landed.
    pub(super) fn created(&mut self, key: &str, body: &Bytes) {
        match keys::parse(key) {
            Some(Key::Epoch(epoch)) => {
                if let Ok(record) = EpochRecord::decode(key, body) {
                    self.epoch(epoch, record);
                }
            }
            Some(Key::Journal(session, _)) => match batch::decode(key, body) {
                Ok(JournalObject::Batch(batch)) => self.batch(&batch),
                Ok(JournalObject::Seal(_)) => {
                    self.counters.seals += 1;
                    self.sealed.insert(session);
                }
                Ok(JournalObject::Opening(_)) | Err(_) => {}
            },
            Some(Key::TrimMark(..)) => self.counters.trims += 1,
            Some(Key::EndMark(_)) => self.counters.detached += 1,
            Some(
                Key::Cluster
                | Key::Domain
                | Key::Kind(..)
                | Key::EpochMark(_)
                | Key::LeaderHint
                | Key::HostHint(_)
                | Key::Pack(..),
            )
            | None => {}
        }
    }

    /// A create that found an existing object.
    pub(super) fn met(&mut self, key: &str, body: &Bytes, existing: &Bytes) {
        if !matches!(keys::parse(key), Some(Key::Journal(..))) {
            return;
        }
        if let (Ok(JournalObject::Seal(_)), Ok(JournalObject::Batch(_))) =
            (batch::decode(key, body), batch::decode(key, existing))
        {
            self.counters.seals_lost_to_batches += 1;
        }
    }

    /// Whether a host at this address owns slots by the newest epoch.
    pub(super) fn owns_slots(&self, address: &str) -> bool {
        let Some(newest) = &self.newest else { return false };
        let owned = |holding: &Holding| {
            let owner = holding.owner.map(|owner| owner.session);
            newest.hosts.values().any(|host| {
                host.address == address
                    && host.sessions.values().any(|&session| owner == Some(session))
            })
        };
        newest.domains.values().any(|domain| domain.slots.iter().any(|(_, holding)| owned(holding)))
    }

    /// Whether a session is sealed, is over by the newest epoch, or leads it.
    pub(super) fn may_end(&self, session: SessionId) -> bool {
        let sealed = self.sealed.contains(&session);
        sealed
            || self.newest.as_ref().is_some_and(|newest| {
                let known = newest.sessions.get(&session);
                newest.leader.session == session
                    || known.is_some_and(|entry| entry.state != SessionState::Open)
            })
    }

    fn batch(&mut self, batch: &Batch) {
        self.counters.batches += 1;
        if batch.header.checkpoint_at == batch.header.position {
            self.counters.checkpoints += 1;
        }
        let session = batch.header.session;
        for (_, record) in batch.records().filter_map(Result::ok) {
            match record {
                Record::Release { slot, epoch } => {
                    let newest = self.releases.entry((session, slot)).or_default();
                    *newest = epoch.max(*newest);
                }
                Record::Adopt { slot, sources, .. } => {
                    let released = |source: &Tenure| {
                        source.session != session
                            && self
                                .releases
                                .get(&(source.session, slot))
                                .is_some_and(|release| *release > source.epoch)
                    };
                    if sources.first().is_some_and(released) {
                        self.counters.moves += 1;
                    }
                }
                Record::State(_) | Record::Checkpoint(_) => {}
            }
        }
    }

    fn epoch(&mut self, epoch: Epoch, record: EpochRecord) {
        self.counters.epochs += 1;
        let before = self.newest.take_if(|newest| newest.epoch < epoch);
        if let Some(before) = before {
            self.counters.takeovers += takeovers(&before, &record);
            self.counters.domain_sessions_ended += ended_alone(&before, &record);
        }
        // An old epoch that lands again late is ignored.
        self.newest.get_or_insert(record);
    }
}

/// The number of sessions outside the home domain that were ended while their hosts went on with their sessions there.
fn ended_alone(before: &EpochRecord, now: &EpochRecord) -> u64 {
    let ended = before.hosts.iter().flat_map(|(name, host)| {
        let goes_on = now.hosts.get(name).filter(|after| {
            after.sessions.get(&DomainId::HOME) == host.sessions.get(&DomainId::HOME)
        });
        let over = |(domain, session): &(&DomainId, &SessionId)| {
            **domain != DomainId::HOME && !now.is_open(**session)
        };
        goes_on.into_iter().flat_map(move |_| host.sessions.iter().filter(over))
    });
    ended.count() as u64
}

/// The number of sealed sessions that lost slots from one record to the next.
fn takeovers(before: &EpochRecord, now: &EpochRecord) -> u64 {
    let (Some(old), Some(new)) =
        (before.domains.get(&DomainId::HOME), now.domains.get(&DomainId::HOME))
    else {
        return 0;
    };
    let mut losers: Vec<SessionId> = old
        .slots
        .iter()
        .filter_map(|(slot, holding)| {
            let loser = holding.owner?.session;
            (!new.slots.holding(slot).is_owned_by(loser)).then_some(loser)
        })
        .filter(|loser| match now.sessions.get(loser).map(|session| session.state) {
            Some(SessionState::Sealed(_) | SessionState::Detached(_)) | None => true,
            Some(SessionState::Open) => false,
        })
        .collect();
    losers.sort_unstable();
    losers.dedup();
    losers.len() as u64
}
