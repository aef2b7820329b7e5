//! The kinds that hosts run, as they describe them.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{epoch::record::EpochRecord, ids::HostName};
use tokio::{task::JoinSet, time::timeout};

use super::{CallError, Client, LocalHost, connect::ask};
use crate::{
    api::schema::KindDescription,
    transport::{
        net::Network,
        peer::{PeerMessage, PeerReply},
    },
};

/// How long one host may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Hosts asked at a time.
const ASKED_AT_ONCE: usize = 64;

/// The kinds of each host, or why it did not answer.
pub type KindsOfHosts = BTreeMap<HostName, Result<Vec<KindDescription>, String>>;

impl Client {
    /// Asks all hosts which kinds they run: 64 at a time, each for 2 s at most, and all of them until the client's deadline.
    ///
    /// # Errors
    ///
    /// [`CallError::Unavailable`] when no host is known.
    pub async fn kinds(&self) -> Result<KindsOfHosts, CallError> {
        let record = self.ready().await?.record;
        let mut answers: KindsOfHosts = record
            .hosts
            .keys()
            .map(|host| (host.clone(), Err("it was not asked in time".to_owned())))
            .collect();
        // At the deadline, what is known by then is returned.
        drop(timeout(self.deadline, self.ask_kinds(&record, &mut answers)).await);
        Ok(answers)
    }

    /// Asks one host which kinds it runs, for 2 s at most. The error says why there is no answer.
    ///
    /// # Errors
    ///
    /// A sentence.
    pub async fn kinds_of(&self, host: &HostName) -> Result<Vec<KindDescription>, String> {
        let view = self.view().ok_or("no host is known yet")?;
        let address = view.record.hosts.get(host).map(|host| host.address.clone());
        let address = address.ok_or_else(|| format!("there is no host {host}"))?;
        let local = self.shared.local.clone().filter(|local| local.name == *host);
        kinds_at(local, &*self.shared.network, &address).await
    }

    async fn ask_kinds(&self, record: &EpochRecord, answers: &mut KindsOfHosts) {
        let mut hosts = record.hosts.iter();
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < ASKED_AT_ONCE
                && let Some((name, host)) = hosts.next()
            {
                let (name, address) = (name.clone(), host.address.clone());
                let local = self.shared.local.clone().filter(|local| local.name == name);
                let network = Arc::clone(&self.shared.network);
                asking.spawn(async move { (name, kinds_at(local, &*network, &address).await) });
            }
            match asking.join_next().await {
                Some(Ok((name, answer))) => drop(answers.insert(name, answer)),
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => return,
            }
        }
    }
}

async fn kinds_at(
    local: Option<LocalHost>,
    network: &dyn Network,
    address: &str,
) -> Result<Vec<KindDescription>, String> {
    let reply = match local {
        Some(local) => local.serve.peer(PeerMessage::Kinds).await,
        None => ask(network, address, PeerMessage::Kinds, ANSWER_WITHIN)
            .await
            .map_err(|error| error.to_string())?,
    };
    match reply {
        PeerReply::Kinds(text) => serde_json::from_str(&text).map_err(|error| {
            format!("{address}: its description of its kinds can't be read: {error}")
        }),
        // A release that doesn't know the question refuses it.
        PeerReply::Refused(why) => Err(format!("{address} refuses the question: {why}")),
        other @ (PeerReply::Noted
        | PeerReply::View(_)
        | PeerReply::NotLeader { .. }
        | PeerReply::Health(_)
        | PeerReply::Status(_)
        | PeerReply::Vnode(_)
        | PeerReply::Sealed(_)
        | PeerReply::Listed(_)
        | PeerReply::NotServed
        | PeerReply::Frozen(_)) => Err(format!("{address}: unexpected answer: {other:?}")),
    }
}
