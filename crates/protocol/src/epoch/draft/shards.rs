//! Kinds with shards in a draft, and what they mean for the hosts that may take slots.

use alloc::{collections::BTreeMap, string::String};

use super::{
    Draft,
    changes::Refused,
    domains::{DomainDraft, Seats},
};
use crate::{
    epoch::shards::{DeclaredShards, not_at_home, shard_name},
    ids::{DomainId, HostName},
};

impl Draft {
    /// Notes which kinds with shards a host has.
    ///
    /// # Errors
    ///
    /// [`Refused::Shards`]; the draft is as before.
    pub fn declare(&mut self, name: &HostName, declared: &DeclaredShards) -> Result<(), Refused> {
        let before = self.shards.clone();
        self.shards.declare(name, declared).map_err(Refused::Shards)?;
        self.shards_are_at_home().map_err(|why| {
            self.shards = before;
            Refused::Shards(why)
        })
    }

    /// Checks that no rule of a domain takes a shard: shards are in the home domain, where placement spreads them.
    ///
    /// # Errors
    ///
    /// A sentence naming the shard and the domain.
    pub(super) fn shards_are_at_home(&self) -> Result<(), String> {
        let home = &self.domains[&DomainId::HOME];
        for (kind, sharded) in self.shards.kinds() {
            for number in 0..sharded.count {
                let shard = shard_name(kind, number);
                let taken = self.domains.iter().find(|(_, domain)| domain.takes(&shard));
                let domain = match taken {
                    Some((&DomainId::HOME, _)) => continue,
                    Some((_, domain)) => &domain.name,
                    None if home.has_no_rules() => continue,
                    None => "none",
                };
                return Err(not_at_home(&shard, domain));
            }
        }
        Ok(())
    }

    /// The hosts that may hold slots of each domain, and their shares of the shards.
    pub(super) fn seats(&self) -> BTreeMap<DomainId, Seats> {
        let seats = |&id| {
            let seats = self.with_readers(id, Seats::of(id, &self.hosts));
            (id, seats.with_shards(id, &self.shards, self.slot_count))
        };
        self.domains.keys().map(seats).collect()
    }

    pub(super) fn domain(&mut self, id: DomainId) -> &mut DomainDraft {
        self.domains.get_mut(&id).expect("its id was listed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        epoch::domain::{Names, Offer, Rule},
        format::cluster::Cluster,
        ids::ClusterId,
    };

    fn acme(rule: Rule) -> Offer {
        Offer { name: "acme".into(), rules: [rule].into(), store: None, names: Names::New }
    }

    fn declares(draft: &mut Draft, kind: &str) -> Result<(), Refused> {
        let host = HostName::new("h1").unwrap();
        draft.declare(&host, &DeclaredShards::from([(kind.into(), 12)]))
    }

    /// A further domain's session would not know them, and placement would not spread them.
    #[test]
    fn shards_and_the_rules_of_domains_exclude_each_other() {
        let refused = |result: Result<_, Refused>| result.map(|_| ()).unwrap_err();
        for rule in [Rule::Kind("index".into()), Rule::KeyPrefix("11".into())] {
            let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
            declares(&mut draft, "index").unwrap();
            assert!(matches!(
                refused(draft.offer(&acme(rule.clone())).map(drop)),
                Refused::Domain(_)
            ));
            assert_eq!(draft.domains.len(), 1, "the draft is as before");
            let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
            draft.offer(&acme(rule)).unwrap();
            assert!(matches!(refused(declares(&mut draft, "index")), Refused::Shards(_)));
            assert!(draft.shards.is_empty(), "the draft is as before");
        }
        let mut draft = Draft::first(&Cluster::new(ClusterId::new(1)));
        declares(&mut draft, "index").unwrap();
        draft.offer(&acme(Rule::KeyPrefix("acme/".into()))).unwrap();
    }
}
