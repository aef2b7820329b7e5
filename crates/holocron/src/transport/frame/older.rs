//! Messages as older versions of the wire have them. What isn't here is the same in all versions that are spoken.
//!
//! | version | what was different |
//! | --- | --- |
//! | 3 | a [`JoinRequest`] had no versions of kinds: of such a host nothing is known |

use holocron_protocol::{
    control::report::JoinRequest,
    epoch::{shards::DeclaredShards, versions::KindVersions},
    format::codec::{self, Malformed},
    ids::{HostName, SessionId},
};
use serde::{Deserialize, Serialize};

use crate::transport::peer::PeerMessage;

/// The first version whose [`JoinRequest`] has the versions of kinds.
const JOIN_HAS_VERSIONS: u16 = 4;
/// The number of [`PeerMessage::Join`] in bincode.
const JOIN: u8 = 1;

/// The first variants of [`PeerMessage`] in version 3; variants are numbered by their order.
#[derive(Serialize, Deserialize)]
enum MessageIn3 {
    View,
    Join(JoinIn3),
}

#[derive(Serialize, Deserialize)]
struct JoinIn3 {
    name: HostName,
    address: String,
    session: SessionId,
    weight: u32,
    zone: Option<String>,
    shards: DeclaredShards,
}

/// Appends a message in this version.
pub(super) fn put_message(out: &mut Vec<u8>, message: &PeerMessage, version: u16) {
    if let PeerMessage::Join(request) = message
        && version < JOIN_HAS_VERSIONS
    {
        let JoinRequest { name, address, session, weight, zone, shards, versions: _ } =
            request.clone();
        let join = JoinIn3 { name, address, session, weight, zone, shards };
        codec::to_bincode(&MessageIn3::Join(join), out);
    } else {
        codec::to_bincode(message, out);
    }
}

/// Reads a message in this version.
pub(super) fn message(body: &[u8], version: u16) -> Result<PeerMessage, Malformed> {
    if version >= JOIN_HAS_VERSIONS || body.first() != Some(&JOIN) {
        return codec::from_bincode("message", body);
    }
    Ok(match codec::from_bincode("message", body)? {
        MessageIn3::View => PeerMessage::View,
        MessageIn3::Join(JoinIn3 { name, address, session, weight, zone, shards }) => {
            let versions = KindVersions::default();
            PeerMessage::Join(JoinRequest {
                name,
                address,
                session,
                weight,
                zone,
                shards,
                versions,
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use holocron_protocol::ids::Epoch;

    use super::*;

    fn request() -> JoinRequest {
        let versions = serde_json::from_str(r#"{"cart":2}"#).unwrap();
        JoinRequest {
            name: HostName::new("h1").unwrap(),
            address: "10.0.0.7:7400".into(),
            session: SessionId::new(7),
            weight: 100,
            zone: Some("z1".into()),
            shards: DeclaredShards::default(),
            versions,
        }
    }

    fn encoded(message: &PeerMessage, version: u16) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, message, version);
        out
    }

    /// As a host of version 3 writes it.
    const JOIN_IN_3: &[u8] = b"\x01\x02h1\x0d10.0.0.7:7400\x07\x64\x01\x02z1\0";

    #[test]
    fn a_request_to_join_of_version_3_has_no_versions_of_kinds() {
        let known = request();
        let unknown = JoinRequest { versions: KindVersions::default(), ..known.clone() };
        let (known, unknown) = (PeerMessage::Join(known), PeerMessage::Join(unknown));
        assert_eq!(encoded(&known, 3), JOIN_IN_3);
        assert_eq!(message(JOIN_IN_3, 3).unwrap(), unknown);
        assert_eq!(message(&encoded(&known, 4), 4).unwrap(), known);
        // Neither is read as the other.
        assert!(message(&encoded(&known, 4), 3).is_err());
        assert!(message(JOIN_IN_3, 4).is_err());
    }

    #[test]
    fn other_messages_are_the_same_in_both_versions() {
        let sealed = PeerMessage::Leave(SessionId::new(1));
        let heartbeat = PeerMessage::Heartbeat {
            epoch: Epoch::new(3),
            leader: SessionId::new(1),
            loads_heard: 9,
        };
        for told in [PeerMessage::View, PeerMessage::Status, sealed, heartbeat] {
            assert_eq!(encoded(&told, 3), encoded(&told, 4));
            assert_eq!(message(&encoded(&told, 3), 3).unwrap(), told);
        }
    }
}
