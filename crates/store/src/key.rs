//! Keys: the legal names of objects, the same on every store.
//!
//! A key is a path of segments joined by `/`. Its alphabet is the part that file systems, URLs, request signatures and
//! all clouds treat the same, so no store has to escape anything and two keys never collide. Names from outside (host
//! names, tenants) are percent-encoded before.
//!
//! Invariants:
//!
//! * No segment starts with a dot: no key leaves its root, and dot names are reserved for a store's own files.
//! * On a directory a key is also a path: one key must not be a segment-wise prefix of another.

/// Longest key in bytes. Cloud stores allow 1,024; the rest is for the prefix in the store's URL.
pub const KEY_LEN_MAX: usize = 700;

/// Longest segment of a key in bytes: the limit of common file systems, less the length that staging names add.
pub const KEY_SEGMENT_LEN_MAX: usize = 200;

/// Whether `key` may name an object: segments of `A-Z a-z 0-9 - _ . ~ = %`, none empty, none starting with a dot.
#[must_use]
pub fn key_is_legal(key: &str) -> bool {
    key.len() <= KEY_LEN_MAX && key.split('/').all(segment_is_legal)
}

fn segment_is_legal(segment: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~=%".contains(&byte);
    !segment.is_empty()
        && segment.len() <= KEY_SEGMENT_LEN_MAX
        && !segment.starts_with('.')
        && segment.bytes().all(in_alphabet)
}

/// The prefix of a listing without a trailing slash; "" lists everything. `None` if it isn't legal.
pub(crate) fn legal_prefix(prefix: &str) -> Option<&str> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    (prefix.is_empty() || key_is_legal(prefix)).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_names_are_legal() {
        for key in [
            "cluster",
            "epochs/00000000000000000042",
            "hints/hosts/eu-1.example%3A80",
            "a=b/c~d/E_f",
        ] {
            assert!(key_is_legal(key), "{key}");
        }
    }

    #[test]
    fn a_key_that_leaves_its_root_or_needs_escaping_is_not() {
        let long = "x".repeat(KEY_SEGMENT_LEN_MAX + 1);
        for key in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.b", "a b", "a#1", "ä", "a\\b",
            "a?b", &long,
        ] {
            assert!(!key_is_legal(key), "{key}");
        }
        assert!(!key_is_legal(&["x"; KEY_LEN_MAX].join("/")));
    }

    #[test]
    fn a_prefix_may_be_empty_or_end_in_a_slash() {
        assert_eq!(legal_prefix(""), Some(""));
        assert_eq!(legal_prefix("/"), Some(""));
        assert_eq!(legal_prefix("a/b/"), Some("a/b"));
        assert_eq!(legal_prefix("a//"), None);
        assert_eq!(legal_prefix("../a"), None);
    }
}
