//! The next epoch record, made from the newest: the leader's pure builder.
//!
//! A [`Draft`] takes any number of changes (hosts join, fail, drain; slots move; seals and checkpoints become known)
//! and becomes one record. Changes describe the next state; the tenures follow from comparing it with the previous
//! record. So if a slot goes to two hosts within one draft, the first leaves no trace.
//!
//! Invariants, asserted by [`Draft::finish`] through [`EpochRecord::check`] and [`EpochRecord::follows`]:
//!
//! * A slot whose owner stays keeps its tenure; if the owner changes, the old tenure becomes the first source.
//! * A session that was sealed or detached is never given anything again: [`Draft::join`] refuses it.
//! * A suspicion or a request applies to one session. If its host has rejoined with another one by the time the record is
//!   made, it has no effect.
//! * A source is dropped only if a newer tenure of the slot holds everything, or if it ended empty. While A continues
//!   under `A@3` although the epoch says `A@6`, a full checkpoint of `A@3` drops only sources older than `A@3`.
//! * A slot goes to a host that can't read what may be in it only if no host that takes slots can. What its owner can't read is
//!   recorded.
//! * Only a session that is *known* to be sealed is detached. An intent isn't enough: until its seal is there, the
//!   session may still acknowledge.
//!
//! A detached session may be removed from the record once only its seal and marks are left. After that its end mark,
//! `trims/end`, prevents its return: a session that the record doesn't list is admitted only after its end mark was
//! checked to be absent.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use core::mem;

use self::domains::{DomainDraft, detach, mobility};
pub use self::{
    changes::{Refused, SOURCES_MAX, SlotReport, SourceFact},
    domains::Move,
};
use crate::{
    epoch::{
        domain::{HOME_NAME, Names, Offer, Rule, check_rules},
        placement::Mobility,
        record::{
            DomainEntry, EpochRecord, HOSTS_MAX, Handover, HostEntry, HostState, Leader,
            RecordDigest, SessionEntry, SessionState,
        },
        shards::Shards,
    },
    format::cluster::Cluster,
    ids::{DomainId, Epoch, HostName, Position, SessionId, Slot},
    planted,
};

mod changes;
mod domains;
mod further;
mod placing;
mod shards;
mod versions;

/// The next epoch record in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The newest record and the digest of its stored bytes; `None` before epoch 1.
    base: Option<(EpochRecord, RecordDigest)>,
    slot_count: u16,
    hosts: BTreeMap<HostName, HostEntry>,
    sessions: BTreeMap<SessionId, SessionEntry>,
    domains: BTreeMap<DomainId, DomainDraft>,
    shards: Shards,
    handover: Handover,
}

impl Draft {
    /// The first record of a cluster with the home domain only: no hosts yet, all its slots free.
    #[must_use]
    pub fn first(cluster: &Cluster) -> Self {
        Self::founding(cluster, &[], &[]).expect("the home domain alone breaks no rule")
    }

    /// The first record of a cluster, with these rules of the home domain and these domains.
    ///
    /// # Errors
    ///
    /// [`Refused::Domain`] when an offer isn't sound.
    pub fn founding(cluster: &Cluster, home: &[Rule], offers: &[Offer]) -> Result<Self, Refused> {
        check_rules(home).map_err(Refused::Domain)?;
        let mut draft = Self {
            base: None,
            slot_count: cluster.slots,
            hosts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            domains: BTreeMap::new(),
            shards: Shards::default(),
            handover: Handover::Stays,
        };
        draft.domains.insert(DomainId::HOME, DomainDraft::free(HOME_NAME, home, cluster.slots));
        // One without rules is known only to hosts that join a cluster which has it.
        for offer in offers.iter().filter(|offer| !offer.rules.is_empty()) {
            offer.check().map_err(Refused::Domain)?;
            // There is no vnode yet.
            let names = Names::New;
            draft.offer(&Offer { names, ..offer.clone() })?;
        }
        Ok(draft)
    }

    /// The draft after a record, whose stored bytes have this digest.
    #[must_use]
    pub fn after(record: &EpochRecord, digest: RecordDigest) -> Self {
        let domains = record.domains.iter().map(|(id, domain)| (*id, DomainDraft::after(domain)));
        Self {
            slot_count: record.slot_count,
            hosts: record.hosts.clone(),
            sessions: record.sessions.clone(),
            domains: domains.collect(),
            shards: record.shards.clone(),
            handover: Handover::Stays,
            base: Some((record.clone(), digest)),
        }
    }

    /// The epoch this draft is to become.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.base.as_ref().map_or(Epoch::new(1), |(record, _)| record.epoch.next())
    }

    /// The hosts of the next record.
    #[must_use]
    pub const fn hosts(&self) -> &BTreeMap<HostName, HostEntry> {
        &self.hosts
    }

    /// Adds a host, or updates its entry. If it has a new session in a domain, its earlier session there is to be sealed,
    /// and the slots of that session become free.
    ///
    /// For a session that the record doesn't list, the caller must have seen that `trims/end` is absent, after it read
    /// the record that this draft follows: otherwise a detached session that was removed could get slots again.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the draft is as before.
    pub fn join(&mut self, name: &HostName, entry: HostEntry) -> Result<(), Refused> {
        entry.check().map_err(Refused::TooLarge)?;
        self.check_versions(name, &entry)?;
        if !self.hosts.contains_key(name) && self.hosts.len() == HOSTS_MAX {
            return Err(Refused::TooLarge(format!("at most {HOSTS_MAX} hosts")));
        }
        let mut seen = BTreeSet::new();
        for (domain, session) in &entry.sessions {
            if !self.domains.contains_key(domain) {
                return Err(Refused::NoDomain(*domain));
            }
            match self.sessions.get(session) {
                Some(known) if known.state != SessionState::Open => {
                    return Err(Refused::SessionOver(*session));
                }
                Some(known) if known.host != *name || known.domain != *domain => {
                    return Err(Refused::SessionTaken(*session));
                }
                Some(_) | None => {}
            }
            if !seen.insert(*session) {
                return Err(Refused::SessionTaken(*session));
            }
        }
        if let Some(before) = self.hosts.remove(name) {
            for (domain, session) in before.sessions {
                if entry.sessions.get(&domain) != Some(&session) {
                    self.end(domain, session);
                }
            }
        }
        for (domain, session) in &entry.sessions {
            self.sessions.entry(*session).or_insert_with(|| SessionEntry {
                host: name.clone(),
                domain: *domain,
                state: SessionState::Open,
            });
        }
        let versions = self.shared(&entry.versions);
        self.hosts.insert(name.clone(), HostEntry { versions, ..entry });
        assert!(self.hosts.len() <= HOSTS_MAX, "more hosts than a record may list");
        Ok(())
    }

    /// The host that has this session open, in the next record.
    #[must_use]
    pub fn host_of(&self, session: SessionId) -> Option<&HostName> {
        let entry = self.sessions.get(&session)?;
        let is_open = planted::lives(entry.state == SessionState::Open);
        is_open.then(|| self.hosts.get_key_value(&entry.host)).flatten().map(|(name, _)| name)
    }

    /// Removes the host that has this session open, because it failed or left: its sessions are to be sealed, its slots
    /// become free. A host that left is sealed too: only then may its journal be deleted. Returns whether there was such a
    /// host: nothing happens if the session is over, even if its host has rejoined with another one.
    pub fn remove(&mut self, session: SessionId) -> bool {
        let Some(name) = self.host_of(session).cloned() else {
            return false;
        };
        let entry = self.hosts.remove(&name).expect("it was just found");
        for (domain, session) in entry.sessions {
            self.end(domain, session);
        }
        assert!(self.host_of(session).is_none(), "{session} was removed but is still open");
        if self.handover == (Handover::Leaves { successor: Some(name) }) {
            self.handover = Handover::Leaves { successor: None };
        }
        true
    }

    /// Marks the host that has this session open as draining: it gets no more slots, and [`Self::rebalance`] moves its slots
    /// away. Returns whether that changed it.
    pub fn drain(&mut self, session: SessionId) -> bool {
        self.set_state(session, HostState::Draining)
    }

    /// Ends the draining of the host that has this session open. Returns whether that changed it.
    pub fn undrain(&mut self, session: SessionId) -> bool {
        self.set_state(session, HostState::Active)
    }

    fn set_state(&mut self, session: SessionId, state: HostState) -> bool {
        let entry = self.host_of(session).cloned().and_then(|name| self.hosts.get_mut(&name));
        entry.is_some_and(|entry| mem::replace(&mut entry.state, state) != state)
    }

    /// Makes this the last record of a leader that leaves, and names the host that should try the next epoch at once. A
    /// leader may resign while it is still listed (its successor removes it) or after it removed itself.
    ///
    /// # Errors
    ///
    /// [`Refused::NoHost`] when there is no such host; the draft is as before.
    pub fn resign(&mut self, successor: Option<&HostName>) -> Result<(), Refused> {
        if let Some(name) = successor.filter(|name| !self.hosts.contains_key(*name)) {
            return Err(Refused::NoHost(name.clone()));
        }
        self.handover = Handover::Leaves { successor: successor.cloned() };
        Ok(())
    }

    /// Notes the position of a session's seal. Ignored for a session that the record doesn't list, and for one that is
    /// still open (another host sealed it without being asked): its host rejoins, or fails, by itself.
    ///
    /// # Panics
    ///
    /// When the seal is known at another position: a session has one seal.
    pub fn seal_known(&mut self, session: SessionId, position: Position) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        match entry.state {
            SessionState::Open => {}
            SessionState::Sealed(None) => entry.state = SessionState::Sealed(Some(position)),
            SessionState::Sealed(Some(known)) | SessionState::Detached(known) => {
                assert_eq!(known, position, "session {session} has two seals");
            }
        }
    }

    /// Drops the sources that a fact makes unnecessary. A report about tenures that aren't listed changes nothing.
    pub fn report(&mut self, report: SlotReport) {
        if let Some(domain) = self.domains.get_mut(&report.domain) {
            domain.report(report.slot, report.fact);
        }
    }

    /// Removes a detached session from the record. The caller knows that only its seal and marks, including the end mark,
    /// are left. A session in any other state stays.
    pub fn forget(&mut self, session: SessionId) {
        if let Some(SessionEntry { state: SessionState::Detached(_), .. }) =
            self.sessions.get(&session)
        {
            self.sessions.remove(&session);
        }
    }

    /// Moves a slot to a given host. [`Self::rebalance`] then leaves it there.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the draft is as before.
    pub fn move_slot(
        &mut self,
        domain: DomainId,
        slot: Slot,
        host: &HostName,
    ) -> Result<(), Refused> {
        let session = self.hosts.get(host).and_then(|entry| entry.sessions.get(&domain)).copied();
        let draft = self.domains.get_mut(&domain).ok_or(Refused::NoDomain(domain))?;
        let owner = draft.owners.get_mut(slot.index()).ok_or(Refused::NoSlot(slot))?;
        let Some(session) = session else {
            return Err(Refused::NoHost(host.clone()));
        };
        let pinned = mobility(&draft.before[slot.index()]) == Mobility::Pinned;
        if *owner != Some(session) && pinned {
            return Err(Refused::TooManySources(slot));
        }
        *owner = Some(session);
        draft.placed.insert(slot);
        Ok(())
    }

    /// The slots that this draft takes from a host which lives, in order.
    #[must_use]
    pub fn moves(&self) -> Vec<Move> {
        let lives = |session: SessionId| self.host_of(session).is_some();
        let moves = self.domains.values().flat_map(DomainDraft::moves);
        moves.filter(|slot| lives(slot.from)).collect()
    }

    /// Makes the record. Gives free slots to hosts, and detaches sealed sessions that no slot names any more. A reason
    /// longer than [`REASON_LEN_MAX`](crate::epoch::record::REASON_LEN_MAX) is cut; the wall time is at least the previous record's.
    ///
    /// # Panics
    ///
    /// When the record breaks a rule of the epoch log, which is a bug in this module.
    #[must_use]
    pub fn finish(mut self, leader: Leader, reason: &str, wall_ms: u64) -> EpochRecord {
        for (id, seats) in self.settle() {
            self.domains[&id].check_readers(&seats);
        }
        let epoch = self.epoch();
        let entries = self.domains.iter();
        let domains: BTreeMap<DomainId, DomainEntry> =
            entries.map(|(id, domain)| (*id, domain.entry(epoch, self.next_unread(*id)))).collect();
        detach(&mut self.sessions, &domains);
        let hosts = &self.hosts;
        self.shards.keep_hosts(|host| hosts.contains_key(host));
        let record = EpochRecord {
            epoch,
            previous: self.base.as_ref().map(|(_, digest)| *digest),
            leader,
            handover: self.handover,
            reason: changes::cut(reason),
            wall_ms: self.base.as_ref().map_or(wall_ms, |(base, _)| base.wall_ms.max(wall_ms)),
            slot_count: self.slot_count,
            hosts: self.hosts,
            sessions: self.sessions,
            domains,
            shards: self.shards,
        };
        record.check().unwrap_or_else(|why| panic!("{epoch}: {why}"));
        if let Some((base, digest)) = &self.base {
            record.follows(base, *digest).unwrap_or_else(|why| panic!("{epoch}: {why}"));
        }
        record
    }

    /// Ends a session of a host that is already removed: it is to be sealed, its slots become free. A session that joined
    /// in this draft was never in a record, so it is removed.
    fn end(&mut self, domain: DomainId, session: SessionId) {
        let was_recorded =
            self.base.as_ref().is_some_and(|(base, _)| base.sessions.contains_key(&session));
        if was_recorded {
            let entry = self.sessions.get_mut(&session).expect("a host's sessions are listed");
            entry.state = SessionState::Sealed(None);
        } else {
            self.sessions.remove(&session);
        }
        let domain = self.domains.get_mut(&domain).expect("a session's domain is listed");
        domain.take_from(session);
    }
}

#[cfg(test)]
mod tests;
