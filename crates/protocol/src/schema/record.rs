//! The record of a kind: which shape the states of one of its versions have, and in which codec. Created once per kind and version, by
//! the first host that runs it.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{compare::differences, shape::Shape};
use crate::{
    format::{codec, codec::Malformed, keys},
    ids::Nonce,
    planted,
};

/// How a kind's states are encoded. Part of what its stored states mean: it changes only with the version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// By position: compact and fast. Any change of the state's type needs a new version and a migration.
    #[default]
    Bincode,
    /// By name, as `MessagePack`: larger by the names of all fields. Fields and variants can be added under the same version: serde's
    /// default (`#[serde(default)]`) stands for a field that a stored state doesn't have.
    MessagePack,
}

/// What a version of a kind is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindRecord {
    /// The kind's name.
    pub kind: String,
    /// The version.
    pub version: u32,
    /// How its states are encoded.
    pub codec: Codec,
    /// The shape of its states.
    pub state: Shape,
}

impl KindRecord {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> String {
        keys::kind(&self.kind, self.version)
    }

    /// Its object.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        codec::to_json("kind", nonce, self)
    }

    /// Reads its object.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when it is damaged, or not the record of its key.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        let (_, record): (_, Self) = codec::from_json(key, "kind", object)?;
        if record.key() != key {
            return Err(Malformed::new(key, &format!("is the record of {}", record.key())));
        }
        Ok(record)
    }

    /// Why a host may not run this version of the kind as `own`; none if it may.
    #[must_use]
    pub fn refuses(&self, own: &Self) -> Option<Refusal> {
        let differences = if self.codec == own.codec {
            planted::trust_shape(differences(&self.state, &own.state, self.codec))
        } else {
            [format!("the codec was {} and is {}", self.codec.name(), own.codec.name())].into()
        };
        if differences.is_empty() {
            return None;
        }
        Some(Refusal { kind: own.kind.to_owned(), version: own.version, differences })
    }
}

impl Codec {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bincode => "bincode",
            Self::MessagePack => "MessagePack",
        }
    }
}

/// A version of a kind is recorded with another shape than a host has under it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "kind {kind:?}: version {version} is recorded in the store with another state than this program has: {}. Stored states would \
     be misread or lost. Raise the kind's version and migrate from {version}, or undo the change. (If no state of version \
     {version} was ever stored, delete {} while no host runs the kind.)",
    differences.join("; "), keys::kind(kind, *version)
)]
pub struct Refusal {
    /// The kind.
    pub kind: String,
    /// The version.
    pub version: u32,
    /// What differs.
    pub differences: Vec<String>,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::schema::{
        shape::{Part, Scalar},
        trace::{Form, shape_of},
    };

    fn record(codec: Codec, field: &str) -> KindRecord {
        let fields = [Part { name: field.into(), shape: Shape::Scalar(Scalar::U32) }].into();
        let state = Shape::Struct { name: "Cart".into(), fields };
        KindRecord { kind: "cart".into(), version: 2, codec, state }
    }

    #[test]
    fn a_record_reads_back_under_its_own_key_only() {
        let record = record(Codec::MessagePack, "n");
        let object = record.encode(Nonce::new(1));
        assert_eq!(KindRecord::decode(&record.key(), &object), Ok(record));
        let error = KindRecord::decode(&keys::kind("cart", 3), &object).unwrap_err();
        assert!(error.why.contains("is the record of kinds/cart/"), "{error}");
    }

    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Inside<T> {
        of: T,
    }

    type Four<T> = Inside<Inside<Inside<Inside<T>>>>;
    type Sixteen<T> = Four<Four<Four<Four<T>>>>;

    #[test]
    fn the_record_of_a_type_of_any_depth_can_be_read() {
        let state = shape_of::<Sixteen<Sixteen<u8>>>(Form::Binary);
        assert!(!state.is_known(), "the innermost types are cut off");
        let record = KindRecord { state, ..record(Codec::Bincode, "n") };
        let object = record.encode(Nonce::new(1));
        assert_eq!(KindRecord::decode(&record.key(), &object), Ok(record));
        assert!(shape_of::<Sixteen<Four<u8>>>(Form::Binary).is_known());
    }

    #[test]
    fn another_field_or_codec_is_refused_with_what_to_do() {
        let recorded = record(Codec::Bincode, "n");
        assert_eq!(recorded.refuses(&recorded), None);
        let refusal = recorded.refuses(&record(Codec::Bincode, "count")).unwrap().to_string();
        for part in
            ["kind \"cart\": version 2", "had the field n: u32", "new field count: u32", "Raise"]
        {
            assert!(refusal.contains(part), "{refusal}");
        }
        let refusal = recorded.refuses(&record(Codec::MessagePack, "n")).unwrap().to_string();
        assert!(refusal.contains("the codec was bincode and is MessagePack"), "{refusal}");
    }
}
