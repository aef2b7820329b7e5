//! What a host does after its session was sealed.

use alloc::collections::BTreeSet;

use crate::{
    epoch::record::EpochRecord,
    ids::{DomainId, HostName, SessionId},
};

/// What a sealed host does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSeal {
    /// It opens a new session and rejoins: it was suspected.
    Rejoin,
    /// It exits with an error: another process uses its name, and the two would seal each other again and again.
    Exit,
}

/// What to do after our session was sealed, by the newest record. `ours` are all sessions that this process ever opened.
#[must_use]
pub fn after_seal(
    record: &EpochRecord,
    name: &HostName,
    domain: DomainId,
    ours: &BTreeSet<SessionId>,
) -> AfterSeal {
    let listed = record.hosts.get(name).and_then(|host| host.sessions.get(&domain));
    match listed {
        Some(session) if !ours.contains(session) => AfterSeal::Exit,
        Some(_) | None => AfterSeal::Rejoin,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format, string::String};

    use super::*;
    use crate::{
        epoch::{
            draft::Draft,
            record::{HostEntry, HostState, Leader},
            versions::KindVersions,
        },
        format::cluster::Cluster,
        ids::ClusterId,
    };

    fn name(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    #[test]
    fn a_host_replaced_under_its_name_exits() {
        let host = |session| HostEntry {
            address: format!("h:{session}"),
            sessions: BTreeMap::from([(DomainId::HOME, SessionId::new(session))]),
            state: HostState::Active,
            weight: 100,
            zone: None,
            versions: KindVersions::default(),
        };
        let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
        draft.join(&name("h"), host(2)).unwrap();
        let leader = Leader { host: name("h"), session: SessionId::new(2), address: String::new() };
        let record = draft.finish(leader, "", 0);
        let after = |ours: &[u128], host: &str| {
            let ours = ours.iter().copied().map(SessionId::new).collect();
            after_seal(&record, &name(host), DomainId::HOME, &ours)
        };
        assert_eq!(after(&[1], "h"), AfterSeal::Exit, "another process has the name h");
        assert_eq!(
            after(&[1, 2], "h"),
            AfterSeal::Rejoin,
            "the listed session is our own next one"
        );
        assert_eq!(after(&[1], "g"), AfterSeal::Rejoin, "removed after a suspicion");
    }
}
