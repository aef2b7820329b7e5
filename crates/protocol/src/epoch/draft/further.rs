//! Domains besides the home domain in a draft: they are added, bound to their stores and removed, and hosts come to serve them
//! and cease to.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::{DomainDraft, Draft, Refused};
use crate::{
    epoch::{
        domain::{DomainState, Offer, Offered, other_store},
        record::DOMAINS_MAX,
    },
    ids::{DomainId, HostName, SessionId},
    planted,
};

impl Draft {
    /// Adds a domain with all slots free, or binds one to its store, as [`EpochRecord::offered`](crate::epoch::record::EpochRecord::offered) allows. Returns what it
    /// changed.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the draft is as before.
    pub fn offer(&mut self, offer: &Offer) -> Result<Offered, Refused> {
        let is_here = self.domains.values().any(|domain| domain.name == offer.name);
        let base = self.base.as_ref().map(|(base, _)| base);
        // What was added in this draft isn't in the previous record.
        let judge = base.filter(|base| !is_here || base.domain_named(&offer.name).is_some());
        if let Some(base) = judge
            && base.offered(offer).map_err(Refused::Domain)? == Offered::Known
        {
            return Ok(Offered::Known);
        }
        let found = self.domains.iter_mut().find(|(_, domain)| domain.name == offer.name);
        match (found, offer.store) {
            (None, _) => self.add_domain(offer).map(|()| Offered::New),
            (Some((id, domain)), Some(store)) if domain.store.is_none() => {
                domain.store = Some(store);
                Ok(Offered::Binds(*id, store))
            }
            (Some((_, domain)), Some(store)) if domain.store != Some(store) => {
                Err(Refused::Domain(other_store(&offer.name)))
            }
            (Some(_), _) => Ok(Offered::Known),
        }
    }

    fn add_domain(&mut self, offer: &Offer) -> Result<(), Refused> {
        if self.domains.len() == DOMAINS_MAX {
            return Err(Refused::TooLarge(format!(
                "at most {DOMAINS_MAX} domains, removed ones included"
            )));
        }
        let last = self.domains.keys().next_back().expect("there is the home domain");
        // A domain never leaves the record, so a number is never used again.
        let id = DomainId(last.0.checked_add(1).expect("more than DOMAINS_MAX numbers"));
        let mut domain = DomainDraft::free(&offer.name, &offer.rules, self.slot_count);
        domain.store = offer.store;
        self.domains.insert(id, domain);
        self.shards_are_at_home().map_err(|why| {
            self.domains.remove(&id);
            Refused::Domain(why)
        })
    }

    /// Takes a domain out of use: its sessions are to be sealed, and no host is given its slots again. Returns whether there
    /// was such a domain in use.
    pub fn remove_domain(&mut self, name: &str) -> bool {
        let found = self.domains.iter_mut().find(|(id, domain)| {
            **id != DomainId::HOME && domain.name == name && domain.state == DomainState::Serving
        });
        let Some((&id, domain)) = found else { return false };
        domain.state = DomainState::Removed;
        let sessions: Vec<SessionId> =
            self.hosts.values_mut().filter_map(|host| host.sessions.remove(&id)).collect();
        for session in sessions {
            self.end(id, session);
        }
        true
    }

    /// Lets the host that has `home` open serve another domain with this session. An earlier session of it there is to be
    /// sealed. For a session that the record doesn't list, the end mark must have been seen to be absent, as for
    /// [`Self::join`].
    ///
    /// # Errors
    ///
    /// [`Refused`]; the draft is as before.
    pub fn serve_domain(
        &mut self,
        home: SessionId,
        domain: DomainId,
        session: SessionId,
    ) -> Result<(), Refused> {
        let served = self.domains.get(&domain).ok_or(Refused::NoDomain(domain))?;
        if served.state == DomainState::Removed
            || (domain != DomainId::HOME && served.store.is_none())
        {
            return Err(Refused::NoDomain(domain));
        }
        let Some(name) = self.host_of(home).cloned() else {
            return Err(Refused::SessionOver(home));
        };
        let mut entry = self.hosts[&name].clone();
        entry.sessions.insert(domain, session);
        self.join(&name, entry)
    }

    /// Ends one session of a host that goes on with its others: it is to be sealed, its slots become free. Returns whether
    /// it was open.
    pub fn end_session(&mut self, session: SessionId) -> bool {
        let Some(name) = self.host_of(session).cloned() else { return false };
        let domain = self.sessions[&session].domain;
        if planted::ends_host(domain == DomainId::HOME) {
            return self.remove(session);
        }
        let host = self.hosts.get_mut(&name).expect("it was just found");
        let removed = host.sessions.remove(&domain);
        assert_eq!(removed, Some(session), "an open session is its host's");
        self.end(domain, session);
        true
    }

    /// The sessions in further domains that a host has besides this session in the home domain; none if it has another
    /// there, because those of an earlier process are over with it.
    #[must_use]
    pub fn kept_with(&self, name: &HostName, home: SessionId) -> BTreeMap<DomainId, SessionId> {
        let entry = self.hosts.get(name);
        let same = entry.filter(|entry| entry.sessions.get(&DomainId::HOME) == Some(&home));
        same.map(|entry| entry.sessions.clone()).unwrap_or_default()
    }
}
