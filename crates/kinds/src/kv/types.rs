//! What a `kv` stores and answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A field of a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its value.
    pub value: String,
    /// Which change of the map wrote it. Each change has a larger revision than all before, so a field that was deleted and
    /// set again has another one.
    pub revision: u64,
    /// When it is removed, if it has a time to live.
    pub expires_at_ms: Option<u64>,
}

impl Field {
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now)
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whether the command was applied. Only a compare-and-set may not be.
    pub done: bool,
    /// The value before, which is still there if nothing was done.
    pub before: Option<String>,
    /// The field's revision now; none if there is no such field.
    pub revision: Option<u64>,
}

/// Some fields of a map, in order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The fields.
    pub fields: BTreeMap<String, Field>,
    /// Give it as `after` to get the next page; none at the end.
    pub next: Option<String>,
}

/// Why a map refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum KvError {
    /// The map would have too many fields or bytes. Delete some first, or use several maps.
    #[error(
        "the map would have {fields} fields of at most {fields_max}, and {bytes} bytes of at most {bytes_max}"
    )]
    Full {
        /// Fields it would have.
        fields: usize,
        /// How many it may have.
        fields_max: usize,
        /// Bytes it would have.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// A field's name is too long.
    #[error("a field's name has at most {max} bytes")]
    NameTooLong {
        /// Its bytes, at most.
        max: usize,
    },
    /// A time to live is too short or too long.
    #[error("ttl_ms is between {min} and {max}")]
    TtlOutOfRange {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}
