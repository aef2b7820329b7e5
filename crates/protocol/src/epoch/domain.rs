//! Which domain a vnode lives in, and how a domain comes into the record.
//!
//! The record holds the rules, because every host and client must find a vnode in the same place. A host's configuration
//! only offers a domain; the leader adds it. Rules are tried in the order in which the domains were added, the home domain
//! first if it has any; without rules the home domain takes what no other takes.
//!
//! A domain's store has an id, drawn when its `domain` object is created. The record binds a domain to one store for ever:
//! a host whose URL leads to another store would find empty journals there, and take them for all that was acknowledged.
//!
//! Invariants:
//!
//! * A vnode that could be called never changes its domain: rules don't change, an older domain comes first, and a new
//!   domain takes only names that no domain took before, unless an operator says that no such vnode exists.
//! * A domain has one store, for ever. Its name is never given to another domain.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    epoch::{
        record::{DomainEntry, EpochRecord, SlotTable},
        versions::Unread,
    },
    format::codec::{self, Malformed},
    ids::{
        ClusterId, DomainId, HostName, KEY_LEN_MAX, KIND_LEN_MAX, Nonce, SessionId, StoreId,
        VnodeName,
    },
    planted,
};

/// Longest name of a domain, in bytes.
pub const DOMAIN_NAME_LEN_MAX: usize = 32;
/// Most rules of one domain.
pub const RULES_MAX: usize = 256;
/// The name of the home domain.
pub const HOME_NAME: &str = "home";

const NOUN: &str = "domain";

/// Which vnodes live in a domain: one that matches any of its rules does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Those of this kind.
    Kind(String),
    /// Those whose key begins with this.
    KeyPrefix(String),
}

impl Rule {
    pub(super) fn takes(&self, vnode: &VnodeName) -> bool {
        match self {
            Self::Kind(kind) => vnode.kind() == kind,
            Self::KeyPrefix(prefix) => vnode.key().starts_with(prefix.as_str()),
        }
    }

    fn check(&self) -> Result<(), String> {
        let (what, text, max) = match self {
            Self::Kind(kind) => ("kind", kind, KIND_LEN_MAX),
            Self::KeyPrefix(prefix) => ("key prefix", prefix, KEY_LEN_MAX),
        };
        if text.is_empty() || text.len() > max {
            return Err(format!("a rule's {what} has 1 to {max} bytes, not {}", text.len()));
        }
        Ok(())
    }
}

/// Whether a domain is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainState {
    /// It is.
    #[default]
    Serving,
    /// An operator removed it: no host serves it, and its vnodes can't be called. It is kept in the record, so that its
    /// names don't go to another domain.
    Removed,
}

/// A domain that a host or an operator wants to be in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// Which vnodes live in it. May be empty for a domain that the record has: its rules are the record's.
    pub rules: Vec<Rule>,
    /// Its store, if that was opened; the record is bound to the first.
    pub store: Option<StoreId>,
    /// Whether its vnodes may exist elsewhere.
    pub names: Names,
}

/// Whether vnodes that a new domain's rules take may exist in another domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Names {
    /// They may, as far as the offer knows.
    Unverified,
    /// An operator says that they don't.
    New,
}

/// The object at [`crate::format::keys::DOMAIN`] in a domain's store: whose store it is. Created once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStore {
    /// The cluster.
    pub cluster: ClusterId,
    /// The domain's name.
    pub name: String,
    /// The store's id.
    pub store: StoreId,
}

impl DomainStore {
    /// The object to create.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        codec::to_json(NOUN, nonce, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        codec::from_json(key, NOUN, object).map(|(_, store)| store)
    }
}

/// Checks the name of a domain other than the home domain.
///
/// # Errors
///
/// A sentence that says what a name looks like.
pub fn check_name(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if letters && first && name.len() <= DOMAIN_NAME_LEN_MAX && name != HOME_NAME {
        return Ok(());
    }
    Err(format!(
        "domain name {name:?}: use up to {DOMAIN_NAME_LEN_MAX} of a-z, 0-9 and '-', a letter first, and not {HOME_NAME:?}"
    ))
}

/// Checks rules by themselves.
///
/// # Errors
///
/// A sentence naming the broken rule.
pub fn check_rules(rules: &[Rule]) -> Result<(), String> {
    if rules.len() > RULES_MAX {
        return Err(format!("{} rules, more than the limit of {RULES_MAX}", rules.len()));
    }
    rules.iter().try_for_each(Rule::check)
}

impl Offer {
    /// Checks the offer of a new domain by itself.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        if self.rules.is_empty() {
            return Err(format!(
                "domain {} is not in the cluster and takes no vnodes: give it a kind or a key prefix",
                self.name
            ));
        }
        check_rules(&self.rules).map_err(|why| format!("domain {}: {why}", self.name))
    }
}

impl DomainEntry {
    /// A home domain that takes what no other domain takes.
    #[must_use]
    pub fn home(slots: SlotTable) -> Self {
        let (rules, store) = (Vec::new(), None);
        let (state, unread) = (DomainState::Serving, Unread::new());
        Self { name: HOME_NAME.into(), rules, store, state, slots, unread }
    }

    fn takes(&self, vnode: &VnodeName) -> bool {
        self.rules.iter().any(|rule| rule.takes(vnode))
    }
}

impl EpochRecord {
    /// The domain that a vnode lives in; `None` if no domain takes its name. The domain may have been removed.
    #[must_use]
    pub fn domain_of(&self, vnode: &VnodeName) -> Option<DomainId> {
        let taken = self.domains.iter().find(|(_, domain)| domain.takes(vnode));
        let rest = || self.home().rules.is_empty().then_some(DomainId::HOME);
        taken.map(|(id, _)| *id).or_else(rest)
    }

    /// The domains in use in which vnodes of a kind may live whose keys begin with a prefix.
    pub fn domains_of<'a>(
        &'a self,
        kind: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = DomainId> + 'a {
        let may_take = move |rule: &Rule| match rule {
            Rule::Kind(taken) => taken == kind,
            Rule::KeyPrefix(taken) => taken.starts_with(prefix) || prefix.starts_with(taken),
        };
        let domains = self.domains.iter().filter(move |(id, domain)| {
            let rest = **id == DomainId::HOME && domain.rules.is_empty();
            domain.state == DomainState::Serving && (rest || domain.rules.iter().any(may_take))
        });
        domains.map(|(id, _)| *id)
    }

    /// A domain by its name.
    #[must_use]
    pub fn domain_named(&self, name: &str) -> Option<(DomainId, &DomainEntry)> {
        let mut domains = self.domains.iter();
        domains.find(|(_, domain)| domain.name == name).map(|(id, domain)| (*id, domain))
    }

    /// The domain of a session that it lists.
    #[must_use]
    pub fn domain_of_session(&self, session: SessionId) -> Option<DomainId> {
        self.sessions.get(&session).map(|entry| entry.domain)
    }

    /// The slots of the domain that a session is in; `None` for a session that it doesn't list, which holds no slot and is
    /// source of none.
    #[must_use]
    pub fn slots_around(&self, session: SessionId) -> Option<&SlotTable> {
        let domain = self.domain_of_session(session)?;
        self.domains.get(&domain).map(|domain| &domain.slots)
    }

    /// The slots that a host owns and hands over when it leaves or is drained. Those of a further domain that no other host
    /// serves stay: there is no host to take them.
    #[must_use]
    pub fn slots_to_hand_over(&self, host: &HostName) -> usize {
        let Some(entry) = self.hosts.get(host) else { return 0 };
        let takes = |domain: &DomainId| {
            let mut others = self.hosts.iter().filter(|(name, _)| *name != host);
            others.any(|(_, other)| other.share() > 0 && other.sessions.contains_key(domain))
        };
        let sessions = entry.sessions.iter();
        let handed = sessions.filter(|(domain, _)| **domain == DomainId::HOME || takes(domain));
        let owned = handed.map(|(domain, session)| {
            self.domains.get(domain).map_or(0, |domain| domain.slots.owned_by(*session).count())
        });
        owned.sum()
    }

    /// What an offer would change.
    ///
    /// # Errors
    ///
    /// Why it can't be accepted: a sentence for the operator.
    pub fn offered(&self, offer: &Offer) -> Result<Offered, String> {
        check_name(&offer.name)?;
        let name = &offer.name;
        let Some((id, domain)) = self.domain_named(name) else {
            offer.check()?;
            return self.new_domain(offer);
        };
        if domain.state == DomainState::Removed {
            return Err(format!("domain {name} was removed: use another name for a new one"));
        }
        // What hosts offer is only compared: the rules of a domain that exists are the record's.
        if domain.rules != offer.rules && offer.names == Names::New {
            return Err(format!("domain {name} exists with other rules, and rules don't change"));
        }
        match (domain.store, offer.store) {
            (Some(bound), Some(store)) if bound != store => Err(other_store(name)),
            (None, Some(store)) => Ok(Offered::Binds(id, store)),
            (Some(_) | None, _) => Ok(Offered::Known),
        }
    }

    /// Only names that no domain took so far may go to a new domain: their vnodes can't exist.
    fn new_domain(&self, offer: &Offer) -> Result<Offered, String> {
        let takes_all = self.home().rules.is_empty();
        let may = offer.names == Names::New || planted::are_new(!takes_all);
        if may {
            return Ok(Offered::New);
        }
        let name = &offer.name;
        Err(format!(
            "domain {name} is not in the cluster, and vnodes that its rules take may exist in the home domain, where \
             they would not be found any more. If there are none, add it with `holocron domain add {name}`"
        ))
    }
}

/// What an offer changes in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// The domain is new.
    New,
    /// The domain had no store yet, and gets this one.
    Binds(DomainId, StoreId),
    /// Nothing.
    Known,
}

/// The error of a host whose URL leads to another store than the domain's.
#[must_use]
pub fn other_store(name: &str) -> String {
    format!(
        "domain {name} has another store: this one was prepared for it, but the cluster uses the one that was found \
         first. Check the URL"
    )
}

/// Compares the rules of a host's configuration with the record's; a sentence for the log if they differ.
#[must_use]
pub fn differing(domain: &DomainEntry, configured: &[Rule]) -> Option<String> {
    (!configured.is_empty() && domain.rules != configured).then(|| {
        "the rules of the configuration differ from the cluster's, which count: rules never change once a domain exists"
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, vec};

    use super::*;
    use crate::{
        epoch::{
            draft::Draft,
            record::{HostEntry, HostState, Leader, RecordDigest, WEIGHT_DEFAULT},
            versions::KindVersions,
        },
        format::{cluster::Cluster, keys},
        ids::{HostName, SessionId},
    };

    fn vnode(kind: &str, key: &str) -> VnodeName {
        VnodeName::new(kind, key).unwrap()
    }

    fn kind(kind: &str) -> Rule {
        Rule::Kind(kind.to_owned())
    }

    fn prefix(prefix: &str) -> Rule {
        Rule::KeyPrefix(prefix.to_owned())
    }

    fn offer(name: &str, rules: Vec<Rule>) -> Offer {
        Offer { name: name.to_owned(), rules, store: None, names: Names::Unverified }
    }

    fn leader() -> Leader {
        let host = HostName::new("a").unwrap();
        Leader { host, session: SessionId::new(1), address: "a:1".into() }
    }

    /// Epoch 1 with these rules of the home domain, and these domains.
    fn founded(home: &[Rule], offers: &[Offer]) -> EpochRecord {
        let cluster = Cluster { slots: 2, ..Cluster::new(ClusterId::new(1)) };
        let mut draft = Draft::founding(&cluster, home, offers).unwrap();
        let entry = HostEntry {
            address: "a:1".into(),
            sessions: [(DomainId::HOME, SessionId::new(1))].into(),
            state: HostState::Active,
            weight: WEIGHT_DEFAULT,
            zone: None,
            versions: KindVersions::default(),
        };
        draft.join(&HostName::new("a").unwrap(), entry).unwrap();
        draft.finish(leader(), "founded", 1)
    }

    #[test]
    fn the_first_domain_that_takes_a_name_has_it_and_home_has_the_rest() {
        let offers = [offer("audit", vec![kind("log")]), offer("acme", vec![prefix("acme/")])];
        let record = founded(&[], &offers);
        let domain = |name| record.domain_of(&name).map(|id| record.domains[&id].name.as_str());
        assert_eq!(domain(vnode("log", "acme/1")), Some("audit"));
        assert_eq!(domain(vnode("order", "acme/1")), Some("acme"));
        assert_eq!(domain(vnode("order", "acm")), Some("home"));
    }

    #[test]
    fn a_listing_looks_where_such_vnodes_may_live() {
        let offers = [offer("audit", vec![kind("log")]), offer("acme", vec![prefix("acme/")])];
        let record = founded(&[], &offers);
        let names = |kind, prefix| {
            let domains = record.domains_of(kind, prefix);
            domains.map(|id| record.domains[&id].name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names("log", ""), ["home", "audit", "acme"]);
        assert_eq!(names("order", "ac"), ["home", "acme"], "some keys with it are in acme");
        assert_eq!(names("order", "acme/eu/"), ["home", "acme"]);
        assert_eq!(names("order", "other/"), ["home"]);
        let record = founded(&[kind("order")], &[offer("acme", vec![prefix("acme/")])]);
        assert_eq!(record.domains_of("log", "").collect::<Vec<_>>(), [DomainId(1)]);
    }

    #[test]
    fn a_home_domain_with_rules_takes_nothing_else() {
        let record = founded(&[kind("order")], &[offer("acme", vec![prefix("acme/")])]);
        assert_eq!(record.domain_of(&vnode("order", "acme/1")), Some(DomainId::HOME));
        assert_eq!(record.domain_of(&vnode("log", "acme/1")), Some(DomainId(1)));
        assert_eq!(record.domain_of(&vnode("log", "other/1")), None);
    }

    #[test]
    fn a_new_domain_takes_only_names_that_no_domain_took() {
        let all = founded(&[], &[]);
        let why = all.offered(&offer("acme", vec![prefix("acme/")])).unwrap_err();
        assert!(why.contains("holocron domain add acme"), "{why}");
        let by_operator = Offer { names: Names::New, ..offer("acme", vec![prefix("acme/")]) };
        assert_eq!(all.offered(&by_operator), Ok(Offered::New));
        let some = founded(&[kind("order")], &[]);
        assert_eq!(some.offered(&offer("acme", vec![kind("order")])), Ok(Offered::New));
        let mut draft = Draft::after(&some, RecordDigest::of(b"x"));
        draft.offer(&offer("acme", vec![kind("order")])).unwrap();
        let after = draft.finish(leader(), "", 1);
        let name = vnode("order", "1");
        assert_eq!(after.domain_of(&name), Some(DomainId::HOME), "it was there before");
    }

    #[test]
    fn a_domain_is_bound_to_the_first_store_for_ever() {
        let acme = offer("acme", vec![prefix("acme/")]);
        let record = founded(&[], core::slice::from_ref(&acme));
        let at = |number| Offer { store: Some(StoreId::new(number)), ..acme.clone() };
        assert_eq!(record.offered(&acme), Ok(Offered::Known));
        let without_rules = Offer { rules: vec![], ..at(7) };
        assert!(matches!(record.offered(&without_rules), Ok(Offered::Binds(..))));
        assert_eq!(record.offered(&at(7)), Ok(Offered::Binds(DomainId(1), StoreId::new(7))));
        let mut draft = Draft::after(&record, RecordDigest::of(b"x"));
        draft.offer(&at(7)).unwrap();
        let bound = draft.finish(leader(), "", 1);
        assert_eq!(bound.offered(&at(7)), Ok(Offered::Known));
        assert!(bound.offered(&at(8)).unwrap_err().contains("another store"));
    }

    #[test]
    fn names_and_rules_are_checked() {
        for bad in ["", "home", "Acme", "a_b", "1a", &"x".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name("acme-eu-2").is_ok());
        assert!(offer("acme", vec![]).check().is_err());
        assert!(offer("acme", vec![kind("")]).check().is_err());
        assert!(offer("acme", vec![prefix("a"); RULES_MAX + 1]).check().is_err());
    }

    #[test]
    fn a_domain_object_reads_back() {
        let object =
            DomainStore { cluster: ClusterId::new(1), name: "acme".into(), store: StoreId::new(7) };
        let stored = object.encode(Nonce::new(9));
        assert_eq!(DomainStore::decode(keys::DOMAIN, &stored), Ok(object));
        assert!(DomainStore::decode(keys::DOMAIN, b"{}").is_err());
    }
}
