//! What the other end of a connection may send, by the role in its certificate.
//!
//! What a message or a call asks for is carried out elsewhere; this is the only place that asks who wants it.

use holocron_access::Role;

use super::{net::Identity, peer::PeerMessage};
use crate::api::call::Mode;

/// The least role that may send a message.
const fn needed(message: &PeerMessage) -> Role {
    match message {
        PeerMessage::View
        | PeerMessage::Status
        | PeerMessage::Measures
        | PeerMessage::Vnode { .. }
        | PeerMessage::Kinds
        | PeerMessage::List(_) => Role::Client,
        PeerMessage::Seal(_)
        | PeerMessage::Drain(_)
        | PeerMessage::Undrain(_)
        | PeerMessage::Move { .. }
        | PeerMessage::OfferDomain(_)
        | PeerMessage::RemoveDomain(_)
        | PeerMessage::Freeze { .. }
        | PeerMessage::Thaw { .. }
        | PeerMessage::Keep => Role::Operator,
        PeerMessage::Join(_)
        | PeerMessage::Heartbeat { .. }
        | PeerMessage::Prefetch { .. }
        | PeerMessage::Sealed { .. }
        | PeerMessage::Epoch { .. }
        | PeerMessage::Released { .. }
        | PeerMessage::Leave(_)
        | PeerMessage::Serve(_)
        | PeerMessage::SealSession { .. }
        | PeerMessage::CollectSession(_) => Role::Host,
    }
}

/// The least role that may send a call.
const fn needed_to_call(mode: Mode) -> Role {
    match mode {
        Mode::Command
        | Mode::Query
        | Mode::Local
        | Mode::Delete
        | Mode::Exists
        | Mode::Deferred
        | Mode::Amend
        | Mode::State
        | Mode::Create
        | Mode::Watch => Role::Client,
        // The host of a vnode sends them in the vnode's name, which anyone can guess. A client that did could make the target forget
        // the answers that keep a message from running twice.
        Mode::Tell | Mode::Ask | Mode::Acknowledge => Role::Host,
    }
}

/// Whether that end may send a call of that mode; else why not.
pub(super) fn check_call(identity: &Identity, mode: Mode) -> Result<(), String> {
    check_role(identity, needed_to_call(mode))
}

/// Whether that end may send that message; else why not.
pub(super) fn check(identity: &Identity, message: &PeerMessage) -> Result<(), String> {
    check_role(identity, needed(message))?;
    if let Identity::Certified(certified) = identity
        && let PeerMessage::Join(request) = message
        && let Some(name) = &certified.name
        && request.name.as_str() != name
    {
        return Err(format!(
            "the certificate shown is that of host {name}, which can't join as {}",
            request.name
        ));
    }
    Ok(())
}

fn check_role(identity: &Identity, needed: Role) -> Result<(), String> {
    match identity {
        Identity::Certified(certified) if certified.role < needed => Err(format!(
            "this needs a certificate with the role {needed}; the one shown has {}",
            certified.role
        )),
        Identity::Trusted | Identity::Certified(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holocron_access::Certified;
    use holocron_protocol::{
        control::report::JoinRequest,
        ids::{CutId, Epoch, HostName, SessionId},
    };

    use super::*;

    fn of(role: Role, name: Option<&str>) -> Identity {
        Identity::Certified(Certified { role, name: name.map(ToOwned::to_owned) })
    }

    fn join(name: &str) -> PeerMessage {
        PeerMessage::Join(JoinRequest {
            versions: Default::default(),
            name: HostName::new(name).unwrap(),
            address: "a:1".into(),
            session: SessionId::new(1),
            weight: 100,
            zone: None,
            shards: Default::default(),
        })
    }

    #[test]
    fn each_role_may_send_its_messages_and_those_of_smaller_roles() {
        let h1 = HostName::new("h1").unwrap();
        let session = SessionId::new(1);
        for (message, least) in [
            (PeerMessage::View, Role::Client),
            (PeerMessage::Status, Role::Client),
            (PeerMessage::Kinds, Role::Client),
            (PeerMessage::Measures, Role::Client),
            (PeerMessage::Seal(h1.clone()), Role::Operator),
            (PeerMessage::Drain(h1.clone()), Role::Operator),
            (PeerMessage::Undrain(h1.clone()), Role::Operator),
            (PeerMessage::Move { slots: Vec::new(), to: h1 }, Role::Operator),
            (PeerMessage::RemoveDomain("acme".into()), Role::Operator),
            (PeerMessage::Freeze { session, cut: CutId::new(1) }, Role::Operator),
            (PeerMessage::Thaw { session, cut: CutId::new(1) }, Role::Operator),
            (PeerMessage::Keep, Role::Operator),
            (PeerMessage::Leave(session), Role::Host),
            (PeerMessage::Epoch { epoch: Epoch::ZERO, stored: Bytes::new() }, Role::Host),
            (
                PeerMessage::Heartbeat { epoch: Epoch::ZERO, leader: session, loads_heard: 0 },
                Role::Host,
            ),
            (PeerMessage::SealSession { session, committed: None }, Role::Host),
            (PeerMessage::CollectSession(session), Role::Host),
            (join("h1"), Role::Host),
        ] {
            assert_eq!(check(&Identity::Trusted, &message), Ok(()), "{message:?}");
            for role in Role::ALL {
                let checked = check(&of(role, None), &message);
                assert_eq!(checked.is_ok(), role >= least, "{role} sends {message:?}");
                if let Err(why) = checked {
                    assert!(
                        why.contains(&format!("the role {least}; the one shown has {role}")),
                        "{why}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_hosts_call_in_the_name_of_a_vnode() {
        for mode in [Mode::Tell, Mode::Ask, Mode::Acknowledge] {
            assert!(check_call(&of(Role::Operator, Some("n")), mode).is_err(), "{mode:?}");
            assert!(check_call(&of(Role::Host, None), mode).is_ok(), "{mode:?}");
            assert!(check_call(&Identity::Trusted, mode).is_ok(), "{mode:?}");
        }
        for mode in [Mode::Command, Mode::Query, Mode::Delete, Mode::Amend, Mode::Watch] {
            assert!(check_call(&of(Role::Client, Some("n")), mode).is_ok(), "{mode:?}");
        }
    }

    #[test]
    fn a_host_joins_under_the_name_in_its_certificate_only() {
        assert_eq!(check(&of(Role::Host, Some("h1")), &join("h1")), Ok(()));
        assert_eq!(check(&of(Role::Host, None), &join("h2")), Ok(()));
        let why = check(&of(Role::Host, Some("h1")), &join("h2")).unwrap_err();
        assert!(why.contains("that of host h1, which can't join as h2"), "{why}");
    }
}
