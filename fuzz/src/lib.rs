//! What the fuzz targets do with their data. The laws are those of the property tests; here they are held for longer,
//! against data that coverage picks.
//!
//! Where an object has a checksum, the data stands behind it: a search would never guess one.

use bytes::Bytes;
use holocron_protocol::format::codec::ObjectKind;

#[path = "../../crates/protocol/tests/properties/forge.rs"]
mod forge;
#[cfg(feature = "frames")]
#[path = "../../crates/holocron/tests/properties/laws.rs"]
mod frame_laws;
#[path = "../../crates/protocol/tests/properties/laws.rs"]
mod laws;
#[path = "../../crates/protocol/tests/properties/memory.rs"]
mod memory;
#[cfg(feature = "seeds")]
pub mod seeds;

/// A batch, and every record in it. The data is the whole object, its checksum put right.
pub fn batch(data: &[u8]) {
    let _either = laws::journal(&forge::rewrapped(ObjectKind::Batch, data));
}

/// A seal or an opening, as the first byte says.
pub fn seal(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let kind = if choice % 2 == 0 { ObjectKind::Seal } else { ObjectKind::Opening };
    let _either = laws::journal(&forge::object(kind, body));
}

/// A pack. The data is the whole object, its checksums put right.
pub fn pack(data: &[u8]) {
    let _either = laws::pack(&forge::pack(data));
}

/// A checkpoint's content.
pub fn checkpoint(data: &[u8]) {
    let _either = laws::checkpoint(data);
}

/// An epoch record. The data is its JSON behind the checksum.
pub fn epoch(data: &[u8]) {
    let _either = laws::epoch(&forge::json("epoch", data));
}

/// The small JSON objects: either hint, and `cluster`. The data is their JSON behind the checksum.
pub fn hints(data: &[u8]) {
    let _either = laws::leader_hint(&forge::json("leader-hint", data));
    let _either = laws::host_hint(&forge::json("host-hint", data));
    let _either = laws::cluster(&forge::json("cluster", data));
}

/// An envelope, and the window in it.
pub fn envelope(data: &[u8]) {
    let _either = laws::envelope(&Bytes::copy_from_slice(data));
}

/// A stream of frames, from a stranger and from a host.
#[cfg(feature = "frames")]
pub fn frames(data: &[u8]) {
    for peer in [frame_laws::Peer::Stranger, frame_laws::Peer::Trusted] {
        let _usable = frame_laws::stream(data, peer);
    }
}
