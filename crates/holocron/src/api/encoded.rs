//! Calls as they arrive: decoding them, and encoding their replies, in the format of the caller.

use holocron_protocol::format::codec;
use serde::{Serialize, de::DeserializeOwned};

use crate::api::{call::Format, schema::NotRun};

/// An encoded command or query.
#[derive(Clone, Copy)]
pub(crate) struct Encoded<'a> {
    pub(crate) format: Format,
    pub(crate) body: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// A call in bincode.
    pub(crate) const fn bincode(body: &'a [u8]) -> Self {
        Self { format: Format::Bincode, body }
    }

    pub(crate) fn decode<T: DeserializeOwned>(self, kind: &str) -> Result<T, String> {
        match self.format {
            Format::Bincode => codec::from_bincode(kind, self.body).map_err(|error| error.why),
            Format::Json => serde_json::from_slice(self.body).map_err(|error| error.to_string()),
        }
    }

    /// Encodes a reply in the format of the call.
    pub(crate) fn reply<T: Serialize>(self, reply: &T) -> Result<Vec<u8>, NotRun> {
        match self.format {
            Format::Bincode => {
                let mut out = Vec::new();
                codec::try_to_bincode(reply, &mut out)
                    .expect("a reply that can't be encoded is a panic of its handler");
                Ok(out)
            }
            // JSON has fewer types, and it is the caller who wanted it.
            Format::Json => serde_json::to_vec(reply).map_err(|error| {
                NotRun::Unwritable(format!("its result can't be written as JSON: {error}"))
            }),
        }
    }
}
