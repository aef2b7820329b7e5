//! The kinds that hosts run, as they describe them.

use holocron::{Client, KindDescription};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{HostName, VnodeName},
};
use tokio::time::timeout;

use crate::{
    deadline::Deadline,
    exit::{Fail, Failure},
};

/// The kinds of one host.
pub(crate) struct KnownKinds(Vec<KindDescription>);

impl KnownKinds {
    /// Asks hosts, one after the other, until one runs the kind; else what the last one that answered runs.
    pub(crate) async fn ask_one(
        client: &Client,
        hosts: &[HostName],
        deadline: Deadline,
        kind: &str,
    ) -> Result<Self, Fail> {
        let (mut last, mut trouble) = (None, "no host has joined".to_owned());
        for host in hosts {
            let answer = timeout(deadline.left(), client.kinds_of(host)).await;
            match answer.unwrap_or_else(|_elapsed| Err("the deadline has passed".to_owned())) {
                Ok(kinds) => {
                    let found = kinds.iter().any(|known| known.kind == kind);
                    last = Some(Self(kinds));
                    if found {
                        break;
                    }
                }
                Err(why) => trouble = why,
            }
        }
        last.ok_or_else(|| {
            Fail::new(Failure::Later, format!("no host says which kinds it runs: {trouble}"))
        })
    }

    pub(crate) fn of(&self, kind: &str) -> Option<&KindDescription> {
        self.0.iter().find(|known| known.kind == kind)
    }

    pub(crate) fn names(&self) -> String {
        let names = self.0.iter().map(|known| known.kind.as_str());
        let shown = names.filter(|name| !KindDescription::is_reserved(name));
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// The hosts, the owner of the vnode first: hosts may run different versions of its kind.
pub(crate) fn host_first(record: &EpochRecord, vnode: &VnodeName) -> Vec<HostName> {
    let slot = vnode.hash().slot(record.slot_count);
    let owner = record
        .domain_of(vnode)
        .and_then(|domain| record.holding(domain, slot)?.owner)
        .and_then(|tenure| record.host_of(tenure.session));
    let first = owner.map(|(name, _)| name.clone());
    let mut hosts: Vec<_> = record.hosts.keys().cloned().collect();
    hosts.sort_by_key(|name| Some(name) != first.as_ref());
    hosts
}
