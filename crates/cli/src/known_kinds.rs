//! The kinds that hosts run, as they describe them.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use holocron::{Client, KindDescription, PeerMessage, PeerReply, ask, net::Network};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{HostName, VnodeName},
};
use tokio::task::JoinSet;

use crate::{
    deadline::Deadline,
    exit::{Fail, Failure},
};

/// How long one host may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Hosts asked at a time.
const ASKED_AT_ONCE: usize = 64;

/// The kinds of one host.
pub(crate) struct KnownKinds(Vec<KindDescription>);

impl KnownKinds {
    /// Asks hosts, one after the other, until one runs the kind; else what the last one that answered runs.
    pub(crate) async fn ask_one(
        client: &Client,
        hosts: &[(HostName, String)],
        deadline: Deadline,
        kind: &str,
    ) -> Result<Self, Fail> {
        let (mut last, mut trouble) = (None, "no host has joined".to_owned());
        for (_, address) in hosts {
            let within = deadline.left().min(ANSWER_WITHIN);
            match kinds_of(&**client.network(), address, within).await {
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
        self.0.iter().map(|known| known.kind.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The hosts with their addresses, the owner of the vnode first: hosts may run different versions of its kind.
pub(crate) fn host_first(record: &EpochRecord, vnode: &VnodeName) -> Vec<(HostName, String)> {
    let slot = vnode.hash().slot(record.slot_count);
    let owner = record
        .domain_of(vnode)
        .and_then(|domain| record.holding(domain, slot)?.owner)
        .and_then(|tenure| record.host_of(tenure.session));
    let first = owner.map(|(name, _)| name.clone());
    let mut hosts: Vec<_> =
        record.hosts.iter().map(|(name, host)| (name.clone(), host.address.clone())).collect();
    hosts.sort_by_key(|(name, _)| Some(name) != first.as_ref());
    hosts
}

/// The kinds of each host, or why it did not answer.
pub(crate) async fn ask_all(
    network: &Arc<dyn Network>,
    record: &EpochRecord,
    deadline: Deadline,
) -> BTreeMap<HostName, Result<Vec<KindDescription>, String>> {
    let mut hosts = record.hosts.iter();
    let mut asking = JoinSet::new();
    let mut answers = BTreeMap::new();
    loop {
        while asking.len() < ASKED_AT_ONCE
            && let Some((name, host)) = hosts.next()
        {
            let (name, address) = (name.clone(), host.address.clone());
            let within = deadline.left().min(ANSWER_WITHIN);
            let network = Arc::clone(network);
            asking.spawn(async move { (name, kinds_of(&*network, &address, within).await) });
        }
        match asking.join_next().await {
            Some(Ok((name, answer))) => drop(answers.insert(name, answer)),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => return answers,
        }
    }
}

async fn kinds_of(
    network: &dyn Network,
    address: &str,
    within: Duration,
) -> Result<Vec<KindDescription>, String> {
    match ask(network, address, PeerMessage::Kinds, within).await {
        Ok(PeerReply::Kinds(text)) => serde_json::from_str(&text).map_err(|error| {
            format!("{address}: its description of its kinds can't be read: {error}")
        }),
        // A release that doesn't know the question refuses it.
        Ok(PeerReply::Refused(why)) => Err(format!("{address} refuses the question: {why}")),
        Ok(other) => Err(format!("{address}: unexpected answer: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}
