//! Asking all hosts the same.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{epoch::record::EpochRecord, ids::HostName};
use tokio::{task::JoinSet, time::timeout};

use super::{Client, LocalHost, connect::ask};
use crate::transport::{
    net::Network,
    peer::{PeerMessage, PeerReply},
};

/// Hosts asked at a time.
const ASKED_AT_ONCE: usize = 64;

/// The reply of each host, or why it did not answer.
type Replies = BTreeMap<HostName, Result<PeerReply, String>>;

/// What is asked, and how long one host may take to answer.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) message: PeerMessage,
    pub(super) within: Duration,
}

impl Client {
    /// Asks all hosts of a record: 64 at a time, each for so long at most, and all of them until the client's deadline.
    pub(super) async fn ask_everyone(&self, record: &EpochRecord, question: &Question) -> Replies {
        let mut replies: Replies = record
            .hosts
            .keys()
            .map(|host| (host.clone(), Err("it was not asked in time".to_owned())))
            .collect();
        // At the deadline, what is known by then is returned.
        drop(timeout(self.deadline, self.ask_each(record, question, &mut replies)).await);
        replies
    }

    async fn ask_each(&self, record: &EpochRecord, question: &Question, replies: &mut Replies) {
        let mut hosts = record.hosts.iter();
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < ASKED_AT_ONCE
                && let Some((name, host)) = hosts.next()
            {
                let (name, address) = (name.clone(), host.address.clone());
                let local = self.local_host(&name);
                let (network, question) = (Arc::clone(&self.shared.network), question.clone());
                asking.spawn(
                    async move { (name, ask_one(local, &*network, &address, question).await) },
                );
            }
            match asking.join_next().await {
                Some(Ok((name, reply))) => drop(replies.insert(name, reply)),
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => return,
            }
        }
    }

    /// The host of that name, if it is in this process.
    pub(super) fn local_host(&self, name: &HostName) -> Option<LocalHost> {
        self.shared.local.clone().filter(|local| local.name == *name)
    }
}

/// Asks one host. The error says why there is no answer.
pub(super) async fn ask_one(
    local: Option<LocalHost>,
    network: &dyn Network,
    address: &str,
    Question { message, within }: Question,
) -> Result<PeerReply, String> {
    match local {
        Some(local) => Ok(local.serve.peer(message).await),
        None => ask(network, address, message, within).await.map_err(|error| error.to_string()),
    }
}
