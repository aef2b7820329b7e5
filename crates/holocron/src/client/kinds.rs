//! The kinds that hosts run, as they describe them.

use core::time::Duration;
use std::collections::BTreeMap;

use holocron_protocol::ids::HostName;

use super::{
    CallError, Client,
    everyone::{Question, ask_one},
};
use crate::{
    api::schema::KindDescription,
    transport::peer::{PeerMessage, PeerReply},
};

/// The question; a host has 2 s for the answer.
const QUESTION: Question = Question { message: PeerMessage::Kinds, within: Duration::from_secs(2) };

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
        let replies = self.ask_everyone(&record, &QUESTION).await;
        Ok(replies
            .into_iter()
            .map(|(host, reply)| {
                let kinds = reply.and_then(|reply| read(&record.hosts[&host].address, reply));
                (host, kinds)
            })
            .collect())
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
        let network = &*self.shared.network;
        let reply = ask_one(self.local_host(host), network, &address, QUESTION).await;
        read(&address, reply?)
    }
}

fn read(address: &str, reply: PeerReply) -> Result<Vec<KindDescription>, String> {
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
        | PeerReply::Frozen(_)
        | PeerReply::Measures(_)) => Err(format!("{address}: unexpected answer: {other:?}")),
    }
}
