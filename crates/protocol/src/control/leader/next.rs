//! The next record: every pending change on top of the newest one.

use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};

use super::{Changes, Leadership, moves::Plan};
use crate::{
    control::{member::Identity, report::JoinRequest, suspicion::SlotBackoff},
    epoch::{
        domain::{Offer, Rule},
        draft::{Draft, Refused},
        record::{EpochRecord, Handover, HostEntry, HostState, Leader, RecordDigest},
    },
    format::cluster::Cluster,
    ids::{DomainId, Epoch, HostName, SessionId},
    time::Time,
};

/// Most slots moved by one epoch; the rest follows when these have arrived.
pub const MOVES_MAX: usize = 1_024;

/// What the next record follows.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// An empty log.
    Founding(Founded<'a>),
    /// The newest record, and the digest of its stored bytes.
    After(&'a EpochRecord, RecordDigest),
}

/// What a cluster is founded with.
#[derive(Clone, Copy, Debug)]
pub struct Founded<'a> {
    /// What never changes.
    pub cluster: &'a Cluster,
    /// The rules of the home domain; none: it takes what no other domain takes.
    pub home: &'a [Rule],
    /// The domains besides the home domain.
    pub domains: &'a [Offer],
}

/// Who writes the next record, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The host that will lead by it.
    pub identity: &'a Identity,
    /// Its session, which is a member or was cleared as of the base.
    pub session: SessionId,
    /// Now.
    pub now: Time,
    /// Now by the wall clock, in milliseconds.
    pub wall_ms: u64,
}

/// What came of making the next record.
#[derive(Clone, Debug)]
pub enum Next {
    /// This record is to be created.
    Record(Box<EpochRecord>),
    /// A newer record was read since the create was decided.
    Stale,
    /// It would say nothing new.
    NothingNew,
    /// This host can't lead, and why.
    Refused(Refused),
}

/// Makes the record of `epoch`. Without a leadership it takes over.
#[must_use]
pub fn next_record(
    epoch: Epoch,
    base: Base<'_>,
    writer: Writer<'_>,
    leadership: Option<&mut Leadership>,
) -> Next {
    let mut draft = match base {
        Base::Founding(founding) => {
            match Draft::founding(founding.cluster, founding.home, founding.domains) {
                Ok(draft) => draft,
                Err(refused) => return Next::Refused(refused),
            }
        }
        Base::After(record, digest) => Draft::after(record, digest),
    };
    if draft.epoch() != epoch {
        return Next::Stale;
    }
    let mut reasons = Vec::new();
    let leadership = match (leadership, base) {
        (Some(leadership), Base::After(record, _)) => {
            assert_eq!(record.leader.session, writer.session, "a leadership is one session's");
            leadership.apply(&mut draft, &mut reasons, record, writer.now);
            Some(leadership)
        }
        (Some(_), Base::Founding(_)) => unreachable!("a leader has written a record"),
        (None, _) => match take_over(&mut draft, &mut reasons, base, writer) {
            Ok(()) => None,
            Err(refused) => return Next::Refused(refused),
        },
    };
    if reasons.is_empty() {
        reasons.push("unneeded sources and sessions go".to_owned());
    }
    let Identity { name, address, .. } = writer.identity;
    let leader =
        Leader { host: name.clone(), session: writer.session, address: address.to_owned() };
    let record = draft.finish(leader, &reasons.join("; "), writer.wall_ms);
    assert_eq!(record.epoch, epoch, "the record of the epoch that was asked for");
    assert_eq!(record.leader.session, writer.session, "the session that writes it leads");
    match base {
        Base::After(before, _) if !record.is_news_after(before) => {
            if let Some(leadership) = leadership {
                leadership.plan = Plan::None;
                leadership.changes.without_effect();
                leadership.domains.without_effect();
            }
            Next::NothingNew
        }
        Base::After(..) | Base::Founding(_) => Next::Record(Box::new(record)),
    }
}

/// A host that becomes leader takes itself in and removes a leader that failed. What failed is the session that led: a
/// session that has taken its place under its name is left alone.
fn take_over(
    draft: &mut Draft,
    reasons: &mut Vec<String>,
    base: Base<'_>,
    writer: Writer<'_>,
) -> Result<(), Refused> {
    let Identity { name, shards, .. } = writer.identity;
    draft.declare(name, shards)?;
    reasons.push(match base {
        Base::Founding(_) => format!("{name} founds the cluster"),
        Base::After(record, _) => {
            let before = &record.leader;
            let failed = before.host != *name && record.handover == Handover::Stays;
            if failed && draft.remove(before.session) {
                format!("{name} takes over from {}, which is not heard", before.host)
            } else {
                format!("{name} takes over")
            }
        }
    });
    let state = state_of(draft, writer.session);
    let request = writer.identity.joins_with(writer.session);
    let sessions = draft.kept_with(name, writer.session);
    draft.join(name, with_domains(HostEntry { state, ..requested(&request) }, sessions))
}

/// A drained host stays one as long as it has its session.
fn state_of(draft: &Draft, session: SessionId) -> HostState {
    let host = draft.host_of(session).and_then(|name| draft.hosts().get(name));
    host.map_or(HostState::Active, |entry| entry.state)
}

impl Leadership {
    fn apply(
        &mut self,
        draft: &mut Draft,
        reasons: &mut Vec<String>,
        record: &EpochRecord,
        now: Time,
    ) {
        self.weigh(draft);
        for (&session, why) in &self.changes.fails {
            if draft.remove(session) {
                reasons.push(why.clone());
            }
        }
        self.domains.end(draft, reasons);
        let Changes { seals, reports, forgets, .. } = &self.changes;
        for (&session, &position) in seals {
            draft.seal_known(session, position);
        }
        for report in reports {
            draft.report(*report);
        }
        for &session in forgets {
            draft.forget(session);
        }
        self.give_shares(draft, reasons, record);
        self.admit(draft, reasons, record.epoch, now);
        self.domains.apply(draft, reasons, record);
        self.let_leave(draft, reasons, record);
        self.move_as_planned(now, draft, reasons);
    }

    fn give_shares(&self, draft: &mut Draft, reasons: &mut Vec<String>, record: &EpochRecord) {
        for (name, request) in &self.changes.shares {
            let entry = HostEntry { state: state_of(draft, request.session), ..requested(request) };
            let entry = with_domains(entry, draft.kept_with(name, request.session));
            if record.is_open(request.session)
                && draft.declare(name, &request.shards).is_ok()
                && draft.join(name, entry).is_ok()
            {
                reasons.push(format!("{name} gets its share of the slots after its back-off"));
            }
        }
    }

    /// Pending joins. One that was cleared as of an older record is dropped: its host asks again.
    fn admit(&mut self, draft: &mut Draft, reasons: &mut Vec<String>, newest: Epoch, now: Time) {
        let (backoff, waiting) = (&self.backoff, &mut self.waiting_for_share);
        self.changes.joins.retain(|name, (request, cleared)| {
            if !cleared.holds_after(newest) {
                return false;
            }
            let declared = draft.declare(name, &request.shards);
            let joined = declared
                .and_then(|()| draft.join(name, first_entry(request, backoff, now, waiting)));
            match joined {
                Ok(()) => {
                    reasons.push(format!("{name} joins"));
                    true
                }
                Err(_) => false,
            }
        });
    }

    /// A host that leaves is removed once it has nothing left to hand over.
    fn let_leave(&self, draft: &mut Draft, reasons: &mut Vec<String>, record: &EpochRecord) {
        for &session in &self.changes.leaves {
            // One that was replaced in this very draft has nothing left to leave.
            let Some(host) = draft.host_of(session).cloned() else { continue };
            if !self.can_go(draft.hosts(), session) {
                continue;
            }
            if session == record.leader.session {
                // Our own last epoch: the first of the others, active ones before draining ones, tries the next one at once.
                let others = draft.hosts().iter().filter(|(name, _)| **name != host);
                let draining =
                    |(_, entry): &(&HostName, &HostEntry)| entry.state == HostState::Draining;
                let successor = others.min_by_key(draining).map(|(name, _)| name.clone());
                draft.resign(successor.as_ref()).expect("it is among the hosts");
            }
            draft.remove(session);
            reasons.push(format!("{host} has left"));
        }
    }
}

/// How a host joins: one that was sealed a moment ago gets no slots yet.
fn first_entry(
    request: &JoinRequest,
    backoff: &SlotBackoff,
    now: Time,
    waiting: &mut BTreeMap<HostName, JoinRequest>,
) -> HostEntry {
    if backoff.slots_from(&request.name, now) <= now {
        return requested(request);
    }
    waiting.insert(request.name.clone(), request.clone());
    HostEntry { weight: 0, ..requested(request) }
}

/// A host that stays with its session in the home domain keeps those in the others.
fn with_domains(mut entry: HostEntry, kept: BTreeMap<DomainId, SessionId>) -> HostEntry {
    for (domain, session) in kept {
        entry.sessions.entry(domain).or_insert(session);
    }
    entry
}

fn requested(request: &JoinRequest) -> HostEntry {
    let JoinRequest { address, session, weight, zone, versions, .. } = request.clone();
    let sessions = [(DomainId::HOME, session)].into();
    HostEntry { address, sessions, state: HostState::Active, weight, zone, versions }
}
