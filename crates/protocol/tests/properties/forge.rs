//! Forged objects: with correct magic, version, length and checksum, so that the decoder of the body is reached.

use bytes::Bytes;
use holocron_protocol::{
    format::codec::{self, HEADER_LEN, ObjectKind},
    ids::Nonce,
};

/// Bytes of a pack after its index: the offset of the index, and a magic.
const TRAILER_LEN: usize = 8;

/// An object with this body.
pub(crate) fn object(kind: ObjectKind, body: &[u8]) -> Bytes {
    codec::object(kind, Nonce::new(1), body)
}

/// The object with a corrected header; kind, reserved byte and nonce stay as they are. An object without a complete
/// header gets one.
pub(crate) fn rewrapped(kind: ObjectKind, object: &[u8]) -> Bytes {
    let Some((header, body)) = object.split_at_checked(HEADER_LEN) else {
        return self::object(kind, object);
    };
    let mut whole = self::object(kind, body).to_vec();
    whole[6..24].copy_from_slice(&header[6..24]);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&whole[..28]), body);
    whole[28..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
    whole.into()
}

/// The pack with corrected headers and trailer, as far as they exist.
pub(crate) fn pack(object: &[u8]) -> Bytes {
    let mut bytes = object.to_vec();
    if let Some(trailer) = bytes.len().checked_sub(TRAILER_LEN) {
        bytes[trailer + 4..].copy_from_slice(b"HLCP");
        let offset = u32::from_le_bytes(bytes[trailer..trailer + 4].try_into().expect("four"));
        let offset = offset as usize;
        if offset >= HEADER_LEN && offset + HEADER_LEN <= trailer {
            let index = rewrapped(ObjectKind::PackIndex, &bytes[offset..trailer]);
            bytes[offset..trailer].copy_from_slice(&index);
        }
    }
    rewrapped(ObjectKind::Pack, &bytes)
}

/// The bytes before a JSON object's checksum.
fn prefix(noun: &str) -> String {
    format!("{{\"holocron\":\"{noun}\",\"crc32c\":\"")
}

/// A JSON object with `rest` after its checksum.
pub(crate) fn json(noun: &str, rest: &[u8]) -> Bytes {
    let mut text = format!("{}00000000", prefix(noun)).into_bytes();
    let at = text.len() - 8;
    text.extend_from_slice(rest);
    let checksum = format!("{:08x}", crc32c::crc32c(&text));
    text[at..at + 8].copy_from_slice(checksum.as_bytes());
    text.into()
}

/// The bytes after the checksum of a JSON object.
pub(crate) fn json_rest<'a>(noun: &str, object: &'a [u8]) -> &'a [u8] {
    object.get(prefix(noun).len() + 8..).unwrap_or_default()
}
