//! The journal's other objects: its opening, its seal, and its marks.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    format::codec::{self, Malformed, ObjectKind},
    ids::{ClusterId, DomainId, Epoch, HostName, Nonce, Position, SessionId},
};

/// The object at position 0: who writes this journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The journal's session.
    pub session: SessionId,
    /// The session's host.
    pub host: HostName,
    /// The session's domain.
    pub domain: DomainId,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
}

/// The object that ends a journal, at its first free position. Final.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seal {
    /// The host that wrote it.
    pub by: HostName,
    /// The newest epoch its writer knew.
    pub epoch: Epoch,
    /// The low water of the header before it: each position above it and below the seal must exist.
    pub low_water: Position,
    /// The position of the newest checkpoint record; 0 when there is none.
    pub checkpoint_at: Position,
}

/// The content of a mark: its writer, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The host that wrote it.
    pub by: HostName,
}

impl Opening {
    /// The object to create at position 0.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        encode_small(ObjectKind::Opening, nonce, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key.
    pub fn decode(key: &str, object: &Bytes) -> Result<Self, Malformed> {
        codec::from_bincode_exact(key, &codec::open_as(key, object, ObjectKind::Opening)?.body)
    }
}

impl Seal {
    /// The object to create at the first gap.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        encode_small(ObjectKind::Seal, nonce, self)
    }
}

impl Mark {
    /// The object to create at a mark's key.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        encode_small(ObjectKind::Mark, nonce, self)
    }
}

fn encode_small<T: Serialize>(kind: ObjectKind, nonce: Nonce, value: &T) -> Bytes {
    let mut body = Vec::new();
    codec::to_bincode(value, &mut body);
    codec::object(kind, nonce, &body)
}
