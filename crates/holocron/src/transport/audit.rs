//! The audit: a line for each admin action that arrives over a connection.
//!
//! Who acts is what the network proves. The name in a hello is only claimed, so it isn't used here.

use holocron_protocol::ids::VnodeName;

use super::{
    net::Identity,
    peer::{PeerMessage, PeerReply},
};
use crate::api::call::{Call, Mode, Outcome};

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Origin {
    /// Its address.
    pub(super) from: String,
    /// Who is there.
    pub(super) identity: Identity,
}

impl Origin {
    /// Writes a line of the audit.
    pub(super) fn note(&self, action: &str, outcome: &str) {
        holocron_access::note_admin_action(&self.identity, &self.from, action, outcome);
    }
}

/// The admin action that a message asks for, in words.
pub(super) fn of_message(message: &PeerMessage) -> Option<String> {
    Some(match message {
        PeerMessage::Seal(host) => format!("seal {host}"),
        PeerMessage::Drain(host) => format!("drain {host}"),
        PeerMessage::Undrain(host) => format!("undrain {host}"),
        PeerMessage::Move { slots, to } => format!("move {} slots to {to}", slots.len()),
        PeerMessage::OfferDomain(offer) => format!("add domain {:?}", offer.name),
        PeerMessage::RemoveDomain(name) => format!("remove domain {name:?}"),
        PeerMessage::Freeze { session, .. } => format!("freeze session {session} for a backup"),
        PeerMessage::View
        | PeerMessage::Join(_)
        | PeerMessage::Heartbeat { .. }
        | PeerMessage::Prefetch { .. }
        | PeerMessage::Sealed { .. }
        | PeerMessage::Epoch { .. }
        | PeerMessage::Released { .. }
        | PeerMessage::Leave(_)
        | PeerMessage::Status
        | PeerMessage::Vnode { .. }
        | PeerMessage::Kinds
        | PeerMessage::List(_)
        | PeerMessage::Serve(_)
        | PeerMessage::SealSession { .. }
        | PeerMessage::CollectSession(_)
        | PeerMessage::Thaw { .. }
        | PeerMessage::Keep
        | PeerMessage::Measures => return None,
    })
}

/// How it ended.
pub(super) fn outcome_of(reply: &PeerReply) -> String {
    match reply {
        PeerReply::Noted => "accepted".to_owned(),
        PeerReply::Refused(why) => format!("refused: {why}"),
        PeerReply::NotLeader { .. } => "refused: not the leader".to_owned(),
        PeerReply::View(_)
        | PeerReply::Health(_)
        | PeerReply::Status(_)
        | PeerReply::Vnode(_)
        | PeerReply::Sealed(_)
        | PeerReply::Kinds(_)
        | PeerReply::Listed(_)
        | PeerReply::NotServed
        | PeerReply::Frozen(_)
        | PeerReply::Measures(_) => "answered".to_owned(),
    }
}

/// The admin action that a call is, in words.
pub(super) fn of_call(call: &Call) -> Option<String> {
    let of = |verb: &str, name: &VnodeName| Some(format!("{verb} {:?}", name.to_string()));
    match call.mode {
        Mode::Delete => of("delete", &call.name),
        Mode::Amend => of("amend the deferred work of", &call.name),
        Mode::Command
        | Mode::Query
        | Mode::Local
        | Mode::Tell
        | Mode::Ask
        | Mode::Acknowledge
        | Mode::Exists
        | Mode::Deferred
        | Mode::State
        | Mode::Create
        | Mode::Watch => None,
    }
}

/// How a call ended.
pub(super) const fn outcome_of_call(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Reply(_) => "done",
        Outcome::Unclear => "unclear",
        Outcome::Panicked
        | Outcome::Rejected(_)
        | Outcome::Rebase(_)
        | Outcome::NotOwner
        | Outcome::Busy
        | Outcome::Quarantined
        | Outcome::UnknownKind
        | Outcome::Undecodable(_)
        | Outcome::UnknownCommand(_)
        | Outcome::OtherArguments(_)
        | Outcome::Unreadable(_) => "not done",
    }
}
