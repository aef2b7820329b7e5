//! Forking: a vnode that begins with the state of another.
//!
//! The source is asked for its state, by a linearizable query; then the new vnode is given it, by a command. A command takes
//! effect once, so a fork that is sent again doesn't overwrite what has run since; and the new vnode takes a state only if it
//! doesn't exist. The state is all that is taken along: window, timers, messages and effects are the source's.

use alloc::{string::String, vec::Vec};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{format::codec, planted};

/// The state of a vnode, encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The version of its kind that encoded it.
    pub version: u32,
    /// Its bytes.
    pub state: Bytes,
}

/// Bytes of a [`Fork`] besides the state, at most.
pub const HEAD_LEN_MAX: usize = 32;

impl Fork {
    /// What a vnode answers that is asked for its state: none if it doesn't exist.
    #[must_use]
    pub fn encode(fork: Option<&Self>) -> Bytes {
        let mut out = Vec::new();
        codec::to_bincode(&fork, &mut out);
        out.into()
    }

    /// The same, read.
    ///
    /// # Errors
    ///
    /// Why it can't be read.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, String> {
        codec::from_bincode("state", bytes).map_err(|malformed| malformed.why)
    }
}

/// Whether a vnode that is given a state has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It has: it exists.
    State,
    /// It has not: it is new, or was deleted.
    Nothing,
}

/// What becomes of a state that a vnode is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Created {
    /// The vnode begins with it.
    Now,
    /// The vnode existed: it is left alone.
    Before,
}

impl Created {
    /// The rule.
    #[must_use]
    pub fn at(own: Own) -> Self {
        match own {
            Own::State => planted::created(Self::Before),
            Own::Nothing => Self::Now,
        }
    }

    /// As the reply to the command.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut out = Vec::new();
        codec::to_bincode(&self, &mut out);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_and_its_head_is_short() {
        let fork = Fork { version: u32::MAX, state: Bytes::from(alloc::vec![7; 1 << 20]) };
        let encoded = Fork::encode(Some(&fork));
        assert!(encoded.len() <= (1 << 20) + HEAD_LEN_MAX);
        assert_eq!(Fork::decode(&encoded), Ok(Some(fork)));
        assert_eq!(Fork::decode(&Fork::encode(None)), Ok(None));
        assert!(Fork::decode(b"\xff\xff").is_err());
    }
}
