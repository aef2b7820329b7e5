//! What becomes of each object of a store.

use std::collections::BTreeSet;

use holocron_protocol::{
    audit::{
        garbage::{Content, Totals},
        history::LogKeys,
        session::Read,
        unlisted::Kind,
    },
    epoch::{log::Retention, record::EpochRecord},
    format::keys,
    ids::{Epoch, Position, SessionId},
};
use holocron_store::GaveUp;

use super::{
    Audit, AuditError,
    reading::{further_domains, sessions_in, unlisted},
};

/// What becomes of each object.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GarbageReport {
    /// The newest epoch.
    pub epoch: Epoch,
    /// Counts and bytes by fate and reason.
    pub totals: Totals,
    /// Whether everything was listed. `false` if there are too many objects for one list: then those of sessions that no
    /// record lists are left out.
    pub complete: bool,
    /// The further domains in use, by name; each has a store of its own.
    pub domains: Vec<String>,
}

impl Audit {
    /// Says for each object whether it is needed, permanent, on its way out, or why it is kept. Deletes nothing: hosts
    /// delete. `wall_ms` is the time in milliseconds since 1970, for the age of epochs.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when the store doesn't answer, or there is nothing to judge.
    pub async fn garbage(&self, wall_ms: u64) -> Result<GarbageReport, AuditError> {
        let cluster = self.cluster().await?.ok_or(AuditError::NoCluster)?;
        let log = self.log_keys(&cluster).await?;
        let newest = self.newest(&log).await?;
        let retention = Retention::default();
        let old = self.old_epochs(&log, retention, wall_ms).await?;
        let domain = self.judged(newest.as_ref()).await?;
        let sessions = sessions_in(domain, newest.as_ref()).collect();
        let sessions = self.sessions(&cluster, sessions).await?;
        let listing = self.everything(domain, newest.as_ref()).await?;
        let unlisted = unlisted(&listing.objects, newest.as_ref());
        let mut seals = BTreeSet::new();
        for (&session, left) in &unlisted {
            if left.kind() == Kind::Forgotten && left.journal.len() > 1 {
                seals.extend(self.seals(session, &left.journal).await?);
            }
        }
        let content = Content {
            newest: newest.as_ref(),
            log: &log,
            retention,
            old: &old,
            sessions: &sessions,
            unlisted: &unlisted,
            seals: &seals,
        };
        let mut totals = Totals::default();
        for object in &listing.objects {
            totals.add(content.judge(&object.key), &object.key, object.len);
        }
        let epoch = newest.as_ref().map(|record| record.epoch).unwrap_or_default();
        let domains = further_domains(newest.as_ref());
        Ok(GarbageReport { epoch, totals, complete: listing.complete, domains })
    }

    /// The last epochs of the segments that may go, by their number and their age.
    async fn old_epochs(
        &self,
        log: &LogKeys,
        retention: Retention,
        wall_ms: u64,
    ) -> Result<BTreeSet<Epoch>, GaveUp> {
        let (segments, mut old) = (log.segments, BTreeSet::new());
        let mut segment = segments.segment(log.first_kept());
        while segment < retention.due(log.newest(), segments) {
            let last = segments.last(segment);
            let key = keys::epoch(last);
            let stored = self.get_logged(&key).await?;
            let record = stored.and_then(|stored| EpochRecord::decode(&key, &stored).ok());
            // Later segments aren't older.
            if !retention.is_old(record.map(|record| record.wall_ms), wall_ms) {
                break;
            }
            old.insert(last);
            segment = segment.next();
        }
        Ok(old)
    }

    async fn seals(
        &self,
        session: SessionId,
        journal: &BTreeSet<Position>,
    ) -> Result<Vec<(SessionId, Position)>, GaveUp> {
        let mut seals = Vec::new();
        for &position in journal {
            let key = keys::journal_position(session, position);
            let stored = self.get(&key).await?;
            if let Read::Seal(_) = Read::of(&key, stored.as_ref()) {
                seals.push((session, position));
            }
        }
        Ok(seals)
    }
}
