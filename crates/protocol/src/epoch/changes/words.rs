//! Changes in words that need no knowledge of the protocol.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::fmt;

use super::{Change, How, Moved, Party, SessionEnd, SlotRanges};
use crate::{
    epoch::{
        record::{HostState, Leader, WEIGHT_DEFAULT},
        versions::KindVersions,
    },
    ids::{DomainId, HostName, SessionId},
};

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leads { leader, before } => leads(f, leader, before.as_ref()),
            Self::LeaderResigns { host, successor: None } => {
                write!(f, "{host} leads no longer after this; any host may lead next")
            }
            Self::LeaderResigns { host, successor: Some(next) } => {
                write!(f, "{host} leads no longer after this and asks {next} to lead next")
            }
            Self::LeaderStays { host } => write!(f, "{host} leads on, although it had resigned"),
            Self::DomainAdded { domain: DomainId::HOME, .. } => {
                f.write_str("the cluster is founded")
            }
            Self::DomainAdded { name, .. } => {
                write!(f, "domain {name} is added")
            }
            Self::DomainBound { name, store, .. } => {
                write!(f, "domain {name} has its store now, with the id {store}")
            }
            Self::DomainRemoved { name, .. } => {
                write!(f, "domain {name} is removed: no host serves it any more")
            }
            Self::HostJoined { host, address, weight, zone, .. } => {
                write!(f, "{host} joined at {address}")?;
                if *weight != WEIGHT_DEFAULT {
                    write!(f, ", with weight {weight}")?;
                }
                zone.as_ref().map_or(Ok(()), |zone| write!(f, ", in zone {zone}"))
            }
            Self::HostGone { host } => write!(f, "{host} is out of the cluster"),
            Self::HostSession { host, domain, domain_name, before, after } => {
                host_session(f, host, &In(*domain, domain_name), (*before, *after))
            }
            Self::HostState { host, state: HostState::Draining } => {
                write!(f, "{host} drains: its slots move to other hosts")
            }
            Self::HostState { host, state: HostState::Active } => {
                write!(f, "{host} takes slots again")
            }
            Self::HostAddress { host, before, after } => {
                write!(f, "{host} is at {after} now, before at {before}")
            }
            Self::HostWeight { host, before, after } => {
                write!(f, "{host} has weight {after} now, before {before}")
            }
            Self::HostZone { host, before, after } => {
                let zone = |zone: &Option<String>| zone.clone().unwrap_or_else(|| "none".into());
                write!(f, "{host} has zone {} now, before {}", zone(after), zone(before))
            }
            Self::HostVersions { host, before, after } => host_versions(f, host, (before, after)),
            Self::Shards { kind, count, hosts } => shards(f, kind, (*count, hosts)),
            Self::SlotsMoved(moved) => fmt::Display::fmt(moved, f),
            Self::SourcesDropped { domain, domain_name, slots, owner, dropped } => {
                let what = Counted(slots, *domain, domain_name);
                let (what, dropped) = (what, names(dropped, owner.as_ref()));
                match owner {
                    Some(owner) => write!(f, "{what} of {}", owner.host)?,
                    None => write!(f, "{what} without an owner")?,
                }
                write!(f, " can be recovered without what {dropped} wrote: {slots:#}")
            }
            Self::Unread { domain, domain_name, slots, owner, kinds } => {
                unread(f, &Counted(slots, *domain, domain_name), (owner.as_ref(), kinds))
            }
            Self::SessionState { host, session, state } => session_state(f, host, *session, *state),
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, domain_name, slots, from, to, since, how } = self;
        let what = Counted(slots, *domain, domain_name);
        match (from, to) {
            (Some(from), Some(to)) if from == to => {
                write!(f, "{what} of {} went to other hosts and came back", to.host)?;
            }
            (Some(from), Some(to)) => {
                let again = if from.host == to.host { "a later session of " } else { "" };
                write!(f, "{what} moved from {} to {again}{}", from.host, to.host)?;
            }
            (None, Some(to)) => write!(f, "{what} without an owner were given to {}", to.host)?,
            (Some(from), None) => write!(f, "{what} of {} have no owner now", from.host)?,
            (None, None) => write!(f, "{what} have no owner, as before")?,
        }
        match (how, since) {
            (How::HandedOver, _) => f.write_str(" (planned)")?,
            (How::TakenOver, _) => f.write_str(" (takeover)")?,
            (How::InBetween, Some(since)) => write!(f, " (in epoch {})", since.get())?,
            (How::Orphaned, _) => f.write_str(" (no host is left)")?,
            (How::Given | How::InBetween, _) => {}
        }
        write!(f, ": {slots:#}")
    }
}

fn leads(f: &mut fmt::Formatter<'_>, leader: &Leader, before: Option<&Leader>) -> fmt::Result {
    let Leader { host, session, address } = leader;
    match before {
        None => write!(f, "{host} leads"),
        Some(before) if before.host != *host => {
            write!(f, "{host} leads now instead of {}", before.host)
        }
        Some(before) if before.session != *session => {
            write!(f, "{host} leads with a new session")
        }
        Some(_) => write!(f, "{host}, the leader, is at {address} now"),
    }
}

fn host_session(
    f: &mut fmt::Formatter<'_>,
    host: &HostName,
    domain: &In<'_>,
    (before, after): (Option<SessionId>, Option<SessionId>),
) -> fmt::Result {
    match (before, after) {
        (Some(_), Some(_)) => write!(f, "{host} rejoined with a new session{domain}"),
        (None, _) => write!(f, "{host} serves{domain} now"),
        (Some(_), None) => write!(f, "{host} no longer serves{domain}"),
    }
}

fn shards(
    f: &mut fmt::Formatter<'_>,
    kind: &str,
    (count, hosts): (u16, &BTreeSet<HostName>),
) -> fmt::Result {
    write!(f, "kind {kind} has {count} shards")?;
    let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    match hosts.is_empty() {
        true => f.write_str(", and no host runs it"),
        false => write!(f, "; hosts that run it: {}", hosts.join(", ")),
    }
}

fn unread(
    f: &mut fmt::Formatter<'_>,
    what: &Counted<'_>,
    (owner, kinds): (Option<&Party>, &KindVersions),
) -> fmt::Result {
    match owner {
        Some(owner) if kinds.is_empty() => {
            write!(f, "{} can read everything in {what}", owner.host)?;
        }
        Some(owner) => write!(f, "{} can't read {kinds}, which may be in {what}", owner.host)?,
        None => write!(f, "{kinds} may be in {what} without an owner")?,
    }
    write!(f, ": {:#}", what.0)
}

fn host_versions(
    f: &mut fmt::Formatter<'_>,
    host: &HostName,
    (before, after): (&KindVersions, &KindVersions),
) -> fmt::Result {
    let kinds: BTreeSet<&str> = before.iter().chain(after.iter()).map(|(kind, _)| kind).collect();
    let differs =
        |kind: &&str| before.has(kind) != after.has(kind) || before.of(kind) != after.of(kind);
    let said =
        kinds.into_iter().filter(differs).map(|kind| match (before.has(kind), after.has(kind)) {
            (_, false) => format!("no kind {kind} any more"),
            (false, true) => format!("version {} of kind {kind} now", after.of(kind)),
            (true, true) => {
                let (before, after) = (before.of(kind), after.of(kind));
                format!("version {after} of kind {kind} now, before {before}")
            }
        });
    write!(f, "{host} has {}", said.collect::<Vec<_>>().join("; "))
}

fn session_state(
    f: &mut fmt::Formatter<'_>,
    host: &HostName,
    session: SessionId,
    state: SessionEnd,
) -> fmt::Result {
    write!(f, "session {} of {host} ", short(session))?;
    match state {
        SessionEnd::Over => f.write_str("is over and is being sealed"),
        SessionEnd::Sealed(position) => {
            write!(f, "is sealed at position {}: it can commit nothing more", position.get())
        }
        SessionEnd::Detached(_) => {
            f.write_str("is no longer needed by any slot: its objects are deleted")
        }
        SessionEnd::Forgotten => f.write_str("is deleted: only its seal and marks stay"),
    }
}

/// Who wrote what is no longer needed: hosts by name, each once, as seen from the owner.
fn names(parties: &BTreeSet<Party>, owner: Option<&Party>) -> String {
    let own = owner.map(|owner| &owner.host);
    let hosts: BTreeSet<&HostName> = parties.iter().map(|party| &party.host).collect();
    let hosts: Vec<String> = hosts
        .into_iter()
        .map(|host| match own == Some(host) {
            true => format!("{host} (earlier)"),
            false => format!("{host}"),
        })
        .collect();
    hosts.join(" and ")
}

/// The first digits of a session's id, enough to tell sessions apart.
fn short(session: SessionId) -> String {
    format!("{:08x}", session.get() >> 96)
}

/// `1 slot` or `12 slots`, with its domain if that isn't the home domain.
struct Counted<'a>(&'a SlotRanges, DomainId, &'a str);

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.count() {
            1 => f.write_str("1 slot")?,
            count => write!(f, "{count} slots")?,
        }
        if self.1 == DomainId::HOME { Ok(()) } else { write!(f, " of domain {}", self.2) }
    }
}

/// ` domain acme`, or nothing for the home domain.
struct In<'a>(DomainId, &'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DomainId::HOME => Ok(()),
            DomainId(_) => write!(f, " domain {}", self.1),
        }
    }
}
