//! Scrub: whether every object that a host may need exists, can be read, and agrees with the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use holocron_protocol::{
    audit::{
        finding::{Damage, Finding, confirmed},
        history::{Chain, LogKeys},
        pack::{CheckedPack, check_pack},
        session::{Read, SessionView},
        unlisted::{Kind, Unlisted},
    },
    epoch::record::{EpochRecord, SessionState},
    format::{cluster::Cluster, keys},
    ids::{ClusterId, DomainId, Epoch, Position, SessionId},
    state::pack::PackRef,
};
use holocron_store::GaveUp;

use super::{
    Audit, AuditError, GETS_MAX, PACKS_MAX,
    reading::{further_domains, sessions_in, unlisted},
};

/// The result of a scrub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubReport {
    /// The cluster; `None` if its object is missing.
    pub cluster: Option<ClusterId>,
    /// The newest epoch.
    pub epoch: Epoch,
    /// Epoch records that were read.
    pub epochs: u64,
    /// Sessions of the newest record that a host has.
    pub sessions_open: u64,
    /// Sealed sessions of the newest record that are still sources.
    pub sessions_sealed: u64,
    /// Sessions of the newest record that are being deleted.
    pub sessions_detached: u64,
    /// Sessions of which only the seal and marks are left.
    pub sessions_forgotten: u64,
    /// Sessions with an opening only.
    pub sessions_never_joined: u64,
    /// Packs that were read.
    pub packs: u64,
    /// Vnode records in packs that were checked.
    pub records: u64,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Objects with names that aren't Holocron's.
    pub foreign: u64,
    /// Whether sessions that no record lists were looked at. `false` if there are too many objects for one list.
    pub unlisted_checked: bool,
    /// The further domains in use, by name; each has a store of its own.
    pub domains: Vec<String>,
    /// What is wrong. Empty: the store is sound.
    pub findings: Vec<Finding>,
}

/// Which sessions a reading covers.
enum Scope {
    Everything,
    /// Only these, and the epoch log.
    Suspects(BTreeSet<SessionId>),
}

/// Findings by what they are about.
#[derive(Debug, Default)]
struct Found {
    log: Vec<Finding>,
    sessions: BTreeMap<SessionId, Vec<Finding>>,
}

impl Found {
    fn all(&self) -> Vec<Finding> {
        self.log.iter().chain(self.sessions.values().flatten()).cloned().collect()
    }

    fn add(&mut self, session: SessionId, findings: Vec<Finding>) {
        if !findings.is_empty() {
            self.sessions.entry(session).or_default().extend(findings);
        }
    }
}

impl Audit {
    /// Checks everything that a host may need. Hosts may run meanwhile: what looks wrong is read a second time, and counts
    /// only if it is still wrong.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when the store doesn't answer, or there is nothing to check. Damage is no error: it is in the report.
    pub async fn scrub(&self) -> Result<ScrubReport, AuditError> {
        let mut report = ScrubReport::default();
        let first = self.reading(&mut report, &Scope::Everything).await?;
        let mut findings = first.all();
        if !findings.is_empty() {
            let suspects = Scope::Suspects(first.sessions.keys().copied().collect());
            let second = self.reading(&mut ScrubReport::default(), &suspects).await?;
            findings = confirmed(&findings, &second.all());
        }
        findings.sort();
        findings.dedup();
        report.findings = findings;
        report.objects = self.progress.objects.load(Ordering::Relaxed);
        report.bytes = self.progress.bytes.load(Ordering::Relaxed);
        Ok(report)
    }

    async fn reading(&self, report: &mut ScrubReport, scope: &Scope) -> Result<Found, AuditError> {
        let mut found = Found::default();
        let Some(cluster) = self.cluster().await? else {
            let why = "missing, though other objects of a cluster exist";
            found.log.push(Finding::new(keys::CLUSTER, Damage::ClusterMissing, why));
            report.unlisted_checked = true;
            return Ok(found);
        };
        report.cluster = Some(cluster.cluster);
        let log = self.log_keys(&cluster).await?;
        let (newest, findings) = self.records(&log).await?;
        let domain = self.judged(newest.as_deref()).await?;
        report.domains = further_domains(newest.as_deref());
        // The log is judged once, with the home domain.
        if domain == DomainId::HOME {
            found.log = findings;
            report.epochs = log.epochs.len() as u64;
        }
        // From here on the order matters: the record was read before the sessions are.
        if let Some(newest) = &newest {
            report.epoch = newest.epoch;
            self.listed((&cluster, domain), newest, (report, scope), &mut found).await?;
        }
        self.others((&cluster, domain), newest.as_deref(), (report, scope), &mut found).await?;
        Ok(found)
    }

    /// Reads all records above the marks.
    async fn records(
        &self,
        log: &LogKeys,
    ) -> Result<(Option<Arc<EpochRecord>>, Vec<Finding>), GaveUp> {
        let (mut chain, mut findings) = (Chain::default(), log.findings());
        let kept: Vec<Epoch> = log.epochs.range(log.first_kept()..).copied().collect();
        let mut gets = stream::iter(kept)
            .map(|epoch| async move {
                Ok::<_, GaveUp>((epoch, self.get_logged(&keys::epoch(epoch)).await?))
            })
            .buffered(GETS_MAX);
        while let Some((epoch, stored)) = gets.try_next().await? {
            if stored.is_none() && self.is_lost(log, epoch).await? {
                let why = "listed, and missing a moment later";
                findings.push(Finding::new(keys::epoch(epoch), Damage::EpochMissing, why));
            }
            findings.extend(chain.next(epoch, stored.as_ref()));
        }
        Ok((chain.newest().cloned(), findings))
    }

    /// Reads the sessions that the record lists.
    async fn listed(
        &self,
        (cluster, domain): (&Cluster, DomainId),
        newest: &EpochRecord,
        (report, scope): (&mut ScrubReport, &Scope),
        found: &mut Found,
    ) -> Result<(), GaveUp> {
        let in_scope = |session: &SessionId| match scope {
            Scope::Everything => true,
            Scope::Suspects(suspects) => suspects.contains(session),
        };
        let listed = sessions_in(domain, Some(newest));
        let sessions = listed.filter(|(session, _)| in_scope(session)).collect();
        for view in self.sessions(cluster, sessions).await?.into_values() {
            match view.state {
                SessionState::Open => report.sessions_open += 1,
                SessionState::Sealed(_) => report.sessions_sealed += 1,
                SessionState::Detached(_) => report.sessions_detached += 1,
            }
            found.add(view.session, view.findings());
            let checked = self.packs(cluster, &view).await?;
            report.packs += checked.len() as u64;
            for pack in checked {
                report.records += pack.records;
                found.add(view.session, pack.findings);
            }
        }
        Ok(())
    }

    async fn packs(
        &self,
        cluster: &Cluster,
        view: &SessionView,
    ) -> Result<Vec<CheckedPack>, GaveUp> {
        stream::iter(view.packs().to_vec())
            .map(|pack| self.pack(cluster, view.session, pack))
            .buffered(PACKS_MAX)
            .try_collect()
            .await
    }

    async fn pack(
        &self,
        cluster: &Cluster,
        session: SessionId,
        pack: PackRef,
    ) -> Result<CheckedPack, GaveUp> {
        let _permit = self.packs.acquire().await.expect("the semaphore is never closed");
        let stored: Option<Bytes> = self.get(&keys::pack(session, pack.number)).await?;
        Ok(check_pack(session, &pack, cluster.slots, stored.as_ref()))
    }

    /// Looks at the keys of everything else.
    async fn others(
        &self,
        (cluster, domain): (&Cluster, DomainId),
        newest: Option<&EpochRecord>,
        (report, scope): (&mut ScrubReport, &Scope),
        found: &mut Found,
    ) -> Result<(), GaveUp> {
        let listing = self.everything(domain, newest).await?;
        report.unlisted_checked = listing.complete;
        let foreign = |key: &str| keys::parse(key).is_none() && !key.starts_with(keys::PROBE);
        report.foreign =
            listing.objects.iter().filter(|object| foreign(&object.key)).count() as u64;
        for (session, unlisted) in unlisted(&listing.objects, newest) {
            if let Scope::Suspects(suspects) = scope
                && !suspects.contains(&session)
            {
                continue;
            }
            match unlisted.kind() {
                Kind::Forgotten => report.sessions_forgotten += 1,
                Kind::NeverJoined => report.sessions_never_joined += 1,
                Kind::Unknown => {}
            }
            let opening = self.opening_of(session, &unlisted).await?;
            found.add(session, unlisted.findings(session, cluster.cluster, opening.as_ref()));
        }
        Ok(())
    }

    async fn opening_of(
        &self,
        session: SessionId,
        unlisted: &Unlisted,
    ) -> Result<Option<Read>, GaveUp> {
        if unlisted.kind() != Kind::Unknown || !unlisted.journal.contains(&Position::ZERO) {
            return Ok(None);
        }
        let key = keys::journal_position(session, Position::ZERO);
        let stored = self.get(&key).await?;
        Ok(Some(Read::of(&key, stored.as_ref())))
    }
}
