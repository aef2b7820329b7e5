//! How states are encoded and decoded.

use std::io::Cursor;

use holocron_protocol::{format::codec, schema::record::Codec};
use serde::{Serialize, de::DeserializeOwned};

/// Appends a state.
///
/// # Errors
///
/// The error text of its `Serialize`.
pub(crate) fn encode<T: Serialize>(
    codec: Codec,
    state: &T,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match codec {
        Codec::Bincode => codec::try_to_bincode(state, out),
        Codec::MessagePack => {
            let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
            state.serialize(&mut serializer).map_err(|error| error.to_string())
        }
    }
}

/// Reads a state, which takes all of `bytes`.
///
/// # Errors
///
/// Why it can't be read.
pub(crate) fn decode<T: DeserializeOwned>(codec: Codec, bytes: &[u8]) -> Result<T, String> {
    match codec {
        Codec::Bincode => codec::from_bincode("stored state", bytes).map_err(|error| error.why),
        Codec::MessagePack => {
            let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(bytes));
            let state = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
            match (bytes.len() as u64).saturating_sub(deserializer.position()) {
                0 => Ok(state),
                extra => Err(format!("{extra} extra bytes at the end")),
            }
        }
    }
}
