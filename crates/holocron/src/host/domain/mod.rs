//! Domains besides the home domain, as a host is configured with them and serves them.

mod io;
mod look;
#[cfg(test)]
mod tests;

use core::{fmt, time::Duration};
use std::sync::Arc;

use holocron_protocol::{
    control::{
        domain_member::DomainMember,
        report::{Access, DomainHealth},
    },
    epoch::domain::{Rule, check_name, check_rules},
    ids::{Epoch, HostName, SessionId, StoreId},
};
use holocron_store::{Counting, Store};

pub(crate) use self::look::Looking;
use self::look::NotOpened;
use super::{
    driver::{CurrentSession, Place},
    parts::Parts,
};
use crate::{
    session::Session,
    store_io::{loss::LossWatch, source::StoreSource, store_watch::WatchedStore},
};

/// A domain besides the home domain: a store of its own for some of the vnodes, with credentials of its own.
///
/// Give every host that shall serve the domain its URL. A host without it, or whose access fails, serves the other domains
/// and none of this one's vnodes. The rules count when the domain is added to the cluster; later they never change, and
/// needn't be given.
///
/// ```
/// use holocron::{Domain, Host};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let acme = Domain::new("acme", "s3://acme-data/holocron")
///     .key_prefix("acme/")
///     .option("aws_access_key_id", "AKIA…")
///     .option("aws_secret_access_key", "…");
/// let host = Host::builder("s3://our-own/holocron").domain(acme).start().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a domain does nothing until it is given to a host"]
pub struct Domain {
    pub(crate) name: String,
    pub(crate) rules: Vec<Rule>,
    pub(crate) source: StoreSource,
}

impl Domain {
    /// A domain of this name, whose store is at this URL. The name has up to 32 of `a-z`, `0-9` and `-`, a letter first.
    pub fn new(name: &str, url: &str) -> Self {
        Self { name: name.to_owned(), rules: Vec::new(), source: StoreSource::new(Some(url)) }
    }

    /// Vnodes of this kind live in it.
    pub fn kind(self, kind: &str) -> Self {
        self.rule(Rule::Kind(kind.to_owned()))
    }

    /// Vnodes whose key begins with this live in it.
    pub fn key_prefix(self, prefix: &str) -> Self {
        self.rule(Rule::KeyPrefix(prefix.to_owned()))
    }

    /// Vnodes that this rule takes live in it, besides those of the rules before.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// An option of its store, such as a key; overrides the environment.
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.source.option(key, value);
        self
    }

    /// A store that is open already, instead of opening the URL: for tests.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.source.opened(store);
        self
    }

    /// What is wrong with its URL or options, if that can't pass by itself.
    pub(super) async fn mistake(&self, within: Duration) -> Option<String> {
        match look::open(self.source.clone(), within).await {
            Err(NotOpened::Mistake(why)) => Some(why),
            Ok(_) | Err(NotOpened::Passing(_)) => None,
        }
    }

    /// Checks its name and rules.
    pub(super) fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        check_rules(&self.rules).map_err(|why| format!("domain {}: {why}", self.name))
    }
}

/// The opened store of a domain.
#[derive(Clone, Debug)]
pub(crate) struct DomainStore {
    pub(crate) id: StoreId,
    pub(crate) counted: Arc<Counting>,
    pub(crate) watched: Arc<WatchedStore>,
    pub(crate) loss: Arc<LossWatch>,
}

impl DomainStore {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.watched) as Arc<dyn Store>
    }

    /// Whether its requests succeed.
    pub(crate) fn access(&self) -> Access {
        let fails = self.watched.fails() || self.loss.why().is_some();
        if fails { Access::Failing } else { Access::Working }
    }
}

/// One domain of a running host.
pub(crate) struct DomainHost {
    pub(super) member: DomainMember,
    domain: Domain,
    store: Option<DomainStore>,
    current: Option<CurrentSession>,
}

impl fmt::Debug for DomainHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainHost").field("member", &self.member).finish_non_exhaustive()
    }
}

impl DomainHost {
    /// Those that a host is configured with.
    pub(crate) fn all(parts: &Parts) -> Vec<Self> {
        let every = parts.settings.host_hint_every;
        let host = |domain: &Domain| Self {
            member: DomainMember::new(domain.name.clone(), domain.rules.clone(), every),
            domain: domain.clone(),
            store: None,
            current: None,
        };
        parts.domains.iter().map(host).collect()
    }

    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        self.current.as_ref()?.session()
    }

    pub(crate) fn current(&self) -> Option<&CurrentSession> {
        self.current.as_ref()
    }

    /// Whether this session is the current one.
    fn has(&self, session: SessionId) -> bool {
        self.current.as_ref().is_some_and(|current| current.id() == session)
    }

    pub(crate) fn note_epoch(&self, epoch: Epoch) {
        if let Some(current) = &self.current {
            current.note_epoch(epoch);
        }
    }

    fn place(&self) -> Option<Place> {
        let store = self.store.as_ref()?;
        let domain = self.member.domain()?;
        Some(Place { domain, store: store.store(), loss: Arc::clone(&store.loss) })
    }

    fn health(&self, host: &HostName) -> Option<DomainHealth> {
        let progress = self.session().map(|session| session.journal.progress());
        let access = self.store.as_ref().map_or(Access::Failing, DomainStore::access);
        self.member.health(host, progress.unwrap_or_default(), access)
    }
}
