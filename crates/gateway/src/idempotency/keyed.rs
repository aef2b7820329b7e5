//! An idempotency key, and the request that it stands for.

use holocron::Vnode as _;
use holocron_protocol::ids::VnodeName;
use sha2::{Digest as _, Sha256};

use super::{BOOKS, book::Book};
use crate::{
    access::Principal,
    problem::{Problem, ProblemKind},
};

/// Longest key, in bytes.
const KEY_LEN_MAX: usize = 255;

/// A key of a principal, and the request under it. Hashes, because books keep many; of cryptographic strength, because
/// nobody must be able to find a key that has the hash of another one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) key: u128,
    pub(crate) fingerprint: u128,
}

impl Keyed {
    /// A valid key, for the request that it came with.
    pub(crate) fn new(
        principal: &Principal,
        key: &str,
        (name, call, body): (&VnodeName, &str, &[u8]),
    ) -> Result<Self, Problem> {
        if key.is_empty()
            || key.len() > KEY_LEN_MAX
            || !key.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let why = format!(
                "an idempotency key has 1 to {KEY_LEN_MAX} visible characters of ASCII, such as a UUID"
            );
            return Err(ProblemKind::Malformed.with(why));
        }
        let request = [name.kind().as_bytes(), name.key().as_bytes(), call.as_bytes(), body];
        Ok(Self {
            key: hash(&[principal.0.as_bytes(), key.as_bytes()]),
            fingerprint: hash(&request),
        })
    }

    /// The book that has the key.
    pub(crate) fn book(self) -> VnodeName {
        let number = self.key % u128::from(BOOKS);
        VnodeName::new(Book::KIND, &number.to_string()).expect("a number is a valid key")
    }
}

/// Half of the SHA-256 of some parts, each behind its length.
fn hash(parts: &[&[u8]]) -> u128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let half = digest.first_chunk::<16>().expect("a digest has 32 bytes");
    u128::from_le_bytes(*half)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(principal: &str, key: &str, body: &str) -> Result<Keyed, Problem> {
        let name = VnodeName::new("cart", "alice").unwrap();
        Keyed::new(&Principal(principal.to_owned()), key, (&name, "add", body.as_bytes()))
    }

    #[test]
    fn a_key_belongs_to_its_principal_and_a_fingerprint_to_its_request() {
        let first = keyed("ann", "k1", "{}").unwrap();
        assert_eq!(keyed("ann", "k1", "{}"), Ok(first));
        assert_ne!(keyed("bob", "k1", "{}").unwrap().key, first.key);
        assert_ne!(keyed("annk", "1", "{}").unwrap().key, first.key);
        let other = keyed("ann", "k1", "[]").unwrap();
        assert_eq!(other.key, first.key);
        assert_ne!(other.fingerprint, first.fingerprint);
    }

    #[test]
    fn keys_that_can_not_be_headers_of_other_clients_are_refused() {
        for key in ["", "a b", "é", "\u{7f}", &"x".repeat(256)] {
            assert_eq!(keyed("", key, "").unwrap_err().kind(), ProblemKind::Malformed, "{key}");
        }
        assert!(keyed("", &"x".repeat(255), "").is_ok());
    }
}
