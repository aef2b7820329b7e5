//! Reading the parts of a store in the order that the judgement needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use futures::{StreamExt, TryStreamExt, stream};
use holocron_protocol::{
    audit::{
        history::LogKeys,
        session::{SessionKeys, SessionView},
        unlisted::Unlisted,
    },
    control::hints::LeaderHint,
    epoch::{
        domain::{DomainState, DomainStore, HOME_NAME},
        record::{EpochRecord, SessionState},
    },
    format::{
        cluster::Cluster,
        keys::{self, Key},
    },
    ids::{DomainId, Epoch, SessionId},
};
use holocron_store::{GaveUp, Listed};

use super::{Audit, AuditError, GETS_MAX, SESSIONS_MAX};

/// Every object that was listed. With too many objects for one list, those of unlisted sessions are left out.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) objects: Vec<Listed>,
    pub(super) complete: bool,
}

impl Audit {
    /// The `cluster` object; `None` if it is missing though other objects exist.
    pub(super) async fn cluster(&self) -> Result<Option<Cluster>, AuditError> {
        if let Some(stored) = self.get_logged(keys::CLUSTER).await? {
            return Cluster::decode(keys::CLUSTER, &stored).map(Some).map_err(AuditError::Cluster);
        }
        for prefix in [keys::EPOCHS, keys::EPOCH_MARKS, keys::SESSIONS] {
            match self.list_logged(prefix).await {
                Ok(listed) if listed.is_empty() => {}
                // More objects than one list may return.
                Ok(_) | Err(GaveUp::Rejected(_)) => return Ok(None),
                Err(gave_up) => return Err(gave_up.into()),
            }
        }
        Err(AuditError::NoCluster)
    }

    /// Reads the leader's hint, then lists the epochs, then their marks.
    pub(super) async fn log_keys(&self, cluster: &Cluster) -> Result<LogKeys, GaveUp> {
        let hint = self.get_logged(keys::LEADER_HINT).await?;
        let hint = hint.and_then(|hint| LeaderHint::decode(keys::LEADER_HINT, &hint).ok());
        let epochs = self.list_logged(keys::EPOCHS).await?;
        let marks = self.list_logged(keys::EPOCH_MARKS).await?;
        let epoch = |listed: &Listed| match keys::parse(&listed.key) {
            Some(Key::Epoch(epoch)) => Some(epoch),
            _ => None,
        };
        let mark = |listed: &Listed| match keys::parse(&listed.key) {
            Some(Key::EpochMark(segment)) => Some(segment),
            _ => None,
        };
        Ok(LogKeys {
            segments: cluster.epoch_segments(),
            epochs: epochs.iter().filter_map(epoch).collect(),
            marks: marks.iter().filter_map(mark).collect(),
            hinted: hint.map(|hint| hint.epoch).unwrap_or_default(),
        })
    }

    /// The newest record that can be decoded.
    pub(super) async fn newest(&self, log: &LogKeys) -> Result<Option<EpochRecord>, GaveUp> {
        let kept = log.epochs.range(log.first_kept()..);
        for &epoch in kept.rev() {
            let key = keys::epoch(epoch);
            let stored = self.get_logged(&key).await?;
            if let Some(Ok(record)) = stored.map(|stored| EpochRecord::decode(&key, &stored)) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Whether an epoch that was listed is missing now and no mark allows that.
    pub(super) async fn is_lost(&self, log: &LogKeys, epoch: Epoch) -> Result<bool, GaveUp> {
        let mark = keys::epoch_mark(log.segments.segment(epoch));
        Ok(self.get_logged(&mark).await?.is_none())
    }

    /// The number of the domain that is judged, by the newest record; checks that the store is the domain's.
    pub(super) async fn judged(
        &self,
        newest: Option<&EpochRecord>,
    ) -> Result<DomainId, AuditError> {
        if self.domain == HOME_NAME {
            return Ok(DomainId::HOME);
        }
        let wrong =
            |why: &str| AuditError::Domain { name: self.domain.clone(), why: why.to_owned() };
        let named = newest.and_then(|record| record.domain_named(&self.domain));
        let (id, entry) = named.ok_or_else(|| wrong("the cluster has no domain of this name"))?;
        let Some(bound) = entry.store else { return Err(wrong("it has no store yet")) };
        let object = self.get(keys::DOMAIN).await?;
        let object = object.ok_or_else(|| wrong("the store has no `domain` object"))?;
        let found = DomainStore::decode(keys::DOMAIN, &object);
        let found = found.map_err(|malformed| wrong(&malformed.to_string()))?;
        if found.store != bound {
            return Err(wrong("the store is another one than the domain's"));
        }
        Ok(id)
    }

    /// Reads sessions of a record, except their packs.
    pub(super) async fn sessions(
        &self,
        cluster: &Cluster,
        sessions: Vec<(SessionId, SessionState)>,
    ) -> Result<BTreeMap<SessionId, SessionView>, GaveUp> {
        self.progress.sessions_known.fetch_add(sessions.len() as u64, Ordering::Relaxed);
        stream::iter(sessions)
            .map(|session| self.session(cluster, session))
            .buffered(SESSIONS_MAX)
            .map_ok(|view| (view.session, view))
            .try_collect()
            .await
    }

    async fn session(
        &self,
        cluster: &Cluster,
        (session, state): (SessionId, SessionState),
    ) -> Result<SessionView, GaveUp> {
        let keys = match state {
            // It may be half deleted. Only its seal must be there.
            SessionState::Detached(_) => SessionKeys::default(),
            SessionState::Open | SessionState::Sealed(_) => self.session_keys(session).await?,
        };
        let segments = cluster.journal_segments();
        let mut view = SessionView::new((session, state), cluster.cluster, segments, keys);
        loop {
            let wanted = view.next_reads();
            if wanted.is_empty() {
                break;
            }
            let mut gets = stream::iter(wanted)
                .map(|position| async move {
                    let key = keys::journal_position(session, position);
                    Ok::<_, GaveUp>((position, self.get(&key).await?))
                })
                .buffered(GETS_MAX);
            while let Some((position, stored)) = gets.try_next().await? {
                view.read(position, stored.as_ref());
            }
        }
        self.progress.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(view)
    }

    async fn session_keys(&self, session: SessionId) -> Result<SessionKeys, GaveUp> {
        let journal = async || -> Result<BTreeSet<_>, GaveUp> {
            let listed = self.list(&keys::journal(session)).await?;
            Ok(listed.iter().filter_map(|object| keys::position_in(session, &object.key)).collect())
        };
        let mut found = SessionKeys { journal: journal().await?, ..SessionKeys::default() };
        for object in self.list(&keys::trims(session)).await? {
            match keys::parse(&object.key) {
                Some(Key::TrimMark(_, segment)) => drop(found.marks.insert(segment)),
                Some(Key::EndMark(_)) => found.ended = true,
                _ => {}
            }
        }
        found.journal_again = journal().await?;
        Ok(found)
    }

    /// Lists everything.
    pub(super) async fn everything(
        &self,
        domain: DomainId,
        newest: Option<&EpochRecord>,
    ) -> Result<Listing, GaveUp> {
        match self.list("").await {
            Ok(objects) => return Ok(Listing { objects, complete: true }),
            Err(GaveUp::Rejected(_)) => {}
            Err(gave_up) => return Err(gave_up),
        }
        let mut objects = Vec::new();
        let sessions = sessions_in(domain, newest);
        let sessions = sessions.map(|(session, _)| keys::session(session));
        let others = [keys::EPOCHS, keys::EPOCH_MARKS, keys::KINDS, "hints/", keys::PROBE];
        let others = others.map(str::to_owned);
        for prefix in others.into_iter().chain(sessions) {
            objects.extend(self.list(&prefix).await?);
        }
        Ok(Listing { objects, complete: false })
    }
}

/// The sessions of a domain that a record lists.
pub(super) fn sessions_in(
    domain: DomainId,
    newest: Option<&EpochRecord>,
) -> impl Iterator<Item = (SessionId, SessionState)> {
    let sessions = newest.into_iter().flat_map(|record| &record.sessions);
    let of_domain = sessions.filter(move |(_, entry)| entry.domain == domain);
    of_domain.map(|(session, entry)| (*session, entry.state))
}

/// The further domains in use, by name.
pub(super) fn further_domains(newest: Option<&EpochRecord>) -> Vec<String> {
    let domains = newest.into_iter().flat_map(|record| &record.domains);
    let in_use = domains.filter(|(id, domain)| {
        **id != DomainId::HOME && domain.store.is_some() && domain.state == DomainState::Serving
    });
    in_use.map(|(_, domain)| domain.name.clone()).collect()
}

/// The listed sessions that a record doesn't list.
pub(super) fn unlisted(
    objects: &[Listed],
    newest: Option<&EpochRecord>,
) -> BTreeMap<SessionId, Unlisted> {
    let mut unlisted: BTreeMap<SessionId, Unlisted> = BTreeMap::new();
    for object in objects {
        let Some(key) = keys::parse(&object.key) else { continue };
        let session = match key {
            Key::Journal(session, _)
            | Key::TrimMark(session, _)
            | Key::EndMark(session)
            | Key::Pack(session, _) => session,
            Key::Cluster
            | Key::Domain
            | Key::Kind(..)
            | Key::Epoch(_)
            | Key::EpochMark(_)
            | Key::LeaderHint
            | Key::HostHint(_) => continue,
        };
        if newest.is_none_or(|record| !record.sessions.contains_key(&session)) {
            unlisted.entry(session).or_default().add(&key);
        }
    }
    unlisted
}
