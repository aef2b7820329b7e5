//! The journal's other objects: its opening, its seal, and the marks beside it.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    format::codec::{self, Malformed, ObjectKind},
    ids::{ClusterId, DomainId, Epoch, HostName, Nonce, Position, SessionId},
};

/// Position 0: who writes this journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The journal's session.
    pub session: SessionId,
    /// The host that lives it.
    pub host: HostName,
    /// The domain it lives in.
    pub domain: DomainId,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
}

/// The object at the first free position of a dead session's journal; final.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seal {
    /// Who wrote it.
    pub by: HostName,
    /// The newest epoch its writer knew.
    pub epoch: Epoch,
    /// The low water of the header before it: everything above, and below the seal, must be there.
    pub low_water: Position,
    /// Where the newest checkpoint record stands; 0 when there is none.
    pub checkpoint_at: Position,
}

/// What a mark says besides its key: who wrote it, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Who wrote it.
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
