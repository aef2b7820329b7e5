//! Names of vnodes: the full name, and the hash used in indexes.

use alloc::{format, sync::Arc};
use core::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{InvalidName, KEY_LEN_MAX, KIND_LEN_MAX, Slot};

/// The full name of a vnode: its kind and its key within the kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VnodeName {
    kind: Arc<str>,
    key: Arc<str>,
}

impl VnodeName {
    /// A valid name: a kind of 1 to [`KIND_LEN_MAX`] bytes and a key of 1 to [`KEY_LEN_MAX`] bytes of any text.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when either is empty or too long.
    pub fn new(kind: &str, key: &str) -> Result<Self, InvalidName> {
        if kind.is_empty() || kind.len() > KIND_LEN_MAX {
            return Err(InvalidName(format!(
                "vnode kind: use 1 to {KIND_LEN_MAX} bytes, not {}",
                kind.len()
            )));
        }
        if key.is_empty() || key.len() > KEY_LEN_MAX {
            return Err(InvalidName(format!(
                "vnode key: use 1 to {KEY_LEN_MAX} bytes, not {}",
                key.len()
            )));
        }
        Ok(Self { kind: kind.into(), key: key.into() })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The key within the kind.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its hash, used in indexes.
    #[must_use]
    pub fn hash(&self) -> VnodeHash {
        VnodeHash::of(&self.kind, &self.key)
    }
}

impl fmt::Display for VnodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl fmt::Debug for VnodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 128 bits of xxh3 over kind and key, used in indexes instead of the name. The full name is stored with the state and
/// compared on load, so a collision is an error and never returns another vnode's state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VnodeHash(u128);

impl VnodeHash {
    /// The hash of a vnode's name. The kind's length is hashed first, so that `("ab", "c")` and `("a", "bc")` differ.
    #[must_use]
    pub fn of(kind: &str, key: &str) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(&(kind.len() as u64).to_le_bytes());
        hasher.update(kind.as_bytes());
        hasher.update(key.as_bytes());
        Self(hasher.digest128())
    }

    /// From its bits, as stored in an index.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bare bits.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// Its slot in a cluster of `slots` slots.
    ///
    /// # Panics
    ///
    /// When the cluster has no slots.
    #[must_use]
    pub fn slot(self, slots: u16) -> Slot {
        assert!(slots > 0, "a cluster has at least one slot");
        Slot(u16::try_from(self.0 % u128::from(slots)).expect("a remainder of a u16 fits a u16"))
    }
}

impl fmt::Debug for VnodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
