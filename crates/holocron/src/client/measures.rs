//! What all hosts measure.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{epoch::record::EpochRecord, ids::HostName};

use super::{CallError, Client, everyone::Question};
use crate::transport::{
    measures::HostMeasures,
    peer::{PeerMessage, PeerReply},
};

/// The question. A host has a second for the answer: this is asked again and again, and a host that hangs must not make the
/// others look so.
const QUESTION: Question =
    Question { message: PeerMessage::Measures, within: Duration::from_secs(1) };

/// A cluster at a moment: its newest record, and what each of its hosts measures.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The newest record that is known here.
    pub record: Arc<EpochRecord>,
    /// What each host of the record measures, or why it did not answer.
    pub hosts: BTreeMap<HostName, Result<Box<HostMeasures>, String>>,
}

impl Client {
    /// Asks all hosts what they measure: 64 at a time, each for 1 s at most, and all of them until the client's deadline.
    ///
    /// # Errors
    ///
    /// [`CallError::Unavailable`] when no host is known.
    pub async fn measures(&self) -> Result<Measured, CallError> {
        let record = self.ready().await?.record;
        let replies = self.ask_everyone(&record, &QUESTION).await;
        let hosts = replies.into_iter();
        let hosts = hosts.map(|(host, reply)| (host, reply.and_then(read))).collect();
        Ok(Measured { record, hosts })
    }
}

fn read(reply: PeerReply) -> Result<Box<HostMeasures>, String> {
    match reply {
        PeerReply::Measures(text) => serde_json::from_str(&text)
            .map_err(|error| format!("its measures can't be read: {error}")),
        // A release that doesn't know the question refuses it.
        PeerReply::Refused(why) => Err(format!("it refuses the question: {why}")),
        other @ (PeerReply::Noted
        | PeerReply::View(_)
        | PeerReply::NotLeader { .. }
        | PeerReply::Health(_)
        | PeerReply::Status(_)
        | PeerReply::Vnode(_)
        | PeerReply::Sealed(_)
        | PeerReply::Kinds(_)
        | PeerReply::Listed(_)
        | PeerReply::NotServed
        | PeerReply::Frozen(_)) => Err(format!("unexpected answer: {other:?}")),
    }
}
