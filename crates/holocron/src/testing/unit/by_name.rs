//! Messages by name: to vnodes whose types the sender doesn't have.

use bytes::Bytes;
use holocron_protocol::{
    deferred::Encoding,
    ids::{RequestNumber, VnodeName},
};

use super::TestVnode;
use crate::api::{call_error::CallError, vnode::Vnode};

/// A message that a vnode has asked for with [`Context::ask_by_name`](crate::Context::ask_by_name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentByName {
    /// Its number, for [`TestVnode::answer_by_name`].
    pub number: u64,
    /// The target.
    pub to: VnodeName,
    /// The command, in JSON.
    pub command: Bytes,
}

impl<V: Vnode> TestVnode<V> {
    /// The messages by name that aren't answered, in order.
    #[must_use]
    pub fn sent_by_name(&self) -> Vec<SentByName> {
        let messages = self.deferred.messages();
        let by_name = messages.filter(|(_, message)| message.encoding == Encoding::Json);
        let sent = by_name.map(|(number, message)| SentByName {
            number: number.get(),
            to: message.to.clone(),
            command: message.command.clone(),
        });
        sent.collect()
    }

    /// Answers a message by name, as its target would: with a reply in JSON, or with why there is none.
    ///
    /// # Panics
    ///
    /// When there is no such message, or a handler panics.
    pub fn answer_by_name(&mut self, number: u64, answer: Result<&str, CallError>) {
        let number = RequestNumber::new(number);
        assert!(self.deferred.message(number).is_some(), "no message {number}");
        let outcome = match &answer {
            Ok(reply) => Ok(Bytes::copy_from_slice(reply.as_bytes())),
            Err(error) => Err(error.to_string()),
        };
        let over = self.deferred.answered(number, outcome);
        self.finish(over, answer.err().as_ref());
    }
}
