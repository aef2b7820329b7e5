//! The manifest of a backup: which objects it consists of. It is written last, so a backup without one doesn't exist.
//!
//! Backups of one cluster share a place, and the objects there: an object that an earlier one has copied isn't copied
//! again.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::contents::Cut;
use crate::{
    format::{
        codec::{self, Malformed},
        keys,
    },
    ids::{ClusterId, Nonce},
};

/// Prefix of the manifests.
pub const MANIFESTS: &str = "backups/";
/// Prefix of the copied objects, whose keys follow as they were.
pub const OBJECTS: &str = "objects";

const NOUN: &str = "backup";

/// The key of a manifest.
#[must_use]
pub fn key(number: u64) -> String {
    format!("{MANIFESTS}{number:020}")
}

/// The number of the manifest at a key; `None` if it is none.
#[must_use]
pub fn number(key: &str) -> Option<u64> {
    let digits = key.strip_prefix(MANIFESTS)?;
    let legal = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    legal.then(|| digits.parse().ok()).flatten()
}

/// The checksum of an object in a manifest: crc32c of all its bytes.
#[must_use]
pub fn checksum(object: &[u8]) -> u32 {
    crc32c::crc32c(object)
}

/// An object of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its length in bytes.
    pub len: u64,
    /// Its [`checksum`].
    pub checksum: u32,
}

/// What a backup consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Whose backup it is.
    pub cluster: ClusterId,
    /// When it was taken, by the wall clock of the machine that took it, in milliseconds since 1970.
    pub taken_ms: u64,
    /// The cut.
    pub cut: Cut,
    /// The objects, by key.
    pub objects: BTreeMap<String, Entry>,
}

/// As it is stored: an object is a line of text, so that a million of them stay readable and small.
#[derive(Serialize, Deserialize)]
struct Stored {
    cluster: ClusterId,
    taken_ms: u64,
    cut: Cut,
    objects: Vec<String>,
}

impl Manifest {
    /// The object to create.
    #[must_use]
    pub fn encode(&self, nonce: Nonce) -> Bytes {
        let line =
            |(key, entry): (&String, &Entry)| format!("{} {:08x} {key}", entry.len, entry.checksum);
        let stored = Stored {
            cluster: self.cluster,
            taken_ms: self.taken_ms,
            cut: self.cut.clone(),
            objects: self.objects.iter().map(line).collect(),
        };
        codec::to_json(NOUN, nonce, &stored)
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// [`Malformed`] naming the key.
    pub fn decode(key: &str, object: &[u8]) -> Result<Self, Malformed> {
        let (_, stored): (Nonce, Stored) = codec::from_json(key, NOUN, object)?;
        let mut objects = BTreeMap::new();
        for line in &stored.objects {
            let (key, entry) = entry(line)
                .ok_or_else(|| Malformed::new(key, &format!("{line:?} names no object")))?;
            objects.insert(key, entry);
        }
        let Stored { cluster, taken_ms, cut, objects: _ } = stored;
        Ok(Self { cluster, taken_ms, cut, objects })
    }
}

fn entry(line: &str) -> Option<(String, Entry)> {
    let (len, rest) = line.split_once(' ')?;
    let (checksum, key) = rest.split_once(' ')?;
    let entry = Entry { len: len.parse().ok()?, checksum: u32::from_str_radix(checksum, 16).ok()? };
    // Nothing else may reach the store that is restored to.
    keys::parse(key).map(|key| (key.path(), entry))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::{
        backup::contents::{End, FrozenAt},
        ids::{Epoch, Position, SessionId},
    };

    fn manifest() -> Manifest {
        let at = FrozenAt {
            position: Position::new(5),
            low_water: Position::new(2),
            checkpoint_at: Position::new(3),
        };
        let ends = BTreeMap::from([
            (SessionId::new(1), End::Frozen(at)),
            (SessionId::new(2), End::Sealed(Position::new(8))),
        ]);
        let key = keys::journal_position(SessionId::new(1), Position::new(4));
        Manifest {
            cluster: ClusterId::new(7),
            taken_ms: 1_795_424_116_384,
            cut: Cut { epoch: Epoch::new(3), ends },
            objects: BTreeMap::from([
                (keys::CLUSTER.into(), Entry { len: 9, checksum: checksum(b"123456789") }),
                (key, Entry { len: 120, checksum: 0xdead }),
            ]),
        }
    }

    #[test]
    fn it_reads_back() {
        let (manifest, key) = (manifest(), key(3));
        let object = manifest.encode(Nonce::new(1));
        assert_eq!(Manifest::decode(&key, &object).unwrap(), manifest);
        assert_eq!(number(&key), Some(3));
        assert_eq!(number("backups/3"), None);
        // The check value of CRC-32C.
        assert_eq!(manifest.objects[keys::CLUSTER].checksum, 0xe306_9283);
    }

    #[test]
    fn one_that_is_damaged_or_names_other_objects_is_refused() {
        let object = manifest().encode(Nonce::new(1));
        let mut damaged = object.to_vec();
        let at = damaged.len() / 2;
        damaged[at] ^= 1;
        assert!(Manifest::decode("m", &damaged).is_err());
        let mut foreign = manifest();
        foreign.objects.insert("../outside".into(), Entry { len: 1, checksum: 1 });
        let error = Manifest::decode("m", &foreign.encode(Nonce::new(1))).unwrap_err();
        assert!(error.to_string().contains("names no object"), "{error}");
    }
}
