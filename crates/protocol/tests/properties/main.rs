//! Properties of all decoders: the [`laws`], checked with arbitrary bytes, with objects that the library writes, and
//! with these after a few bytes were changed, removed or inserted; also under a corrected checksum, so that not only
//! the checksum is tested. `fuzz/` searches longer with the same laws.

mod forge;
mod laws;
mod memory;
mod valid;

use bytes::Bytes;
use holocron_protocol::format::codec::ObjectKind;
use proptest::{collection::vec, prelude::*, sample::Index};

use laws::Reading;

/// Cases per property: some seconds for all properties.
const CASES: u32 = 3_000;

/// One kind of damage.
#[derive(Clone, Debug)]
enum Damage {
    Overwrite(Index, u8),
    Cut(Index),
    Remove(Index),
    Insert(Index, Vec<u8>),
    /// Repeats the bytes of one place at another: there, lengths and counts look valid.
    Repeat(Index, Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let interesting =
        prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7f), Just(0x80), Just(0xff)];
    let lengths = prop_oneof![
        vec(any::<u8>(), 1..9),
        Just(vec![0xfc, 0xff, 0xff, 0xff, 0x03]),
        Just(vec![0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    ];
    let one = prop_oneof![
        6 => (any::<Index>(), interesting).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => any::<Index>().prop_map(Damage::Remove),
        2 => (any::<Index>(), lengths).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Damage::Repeat(from, to)),
    ];
    vec(one, 1..4)
}

fn damaged(bytes: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for one in damage {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match one {
            Damage::Overwrite(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Remove(at) => drop(bytes.remove(at.index(len))),
            Damage::Insert(at, inserted) => {
                let at = at.index(len);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let piece = bytes[from..(from + 16).min(len)].to_vec();
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// The properties of one format: objects from `$valid` keep `$law`; so do damaged objects and arbitrary bytes after
/// `$forge` corrected the checksums; and without `$forge`, any damage is detected.
macro_rules! properties {
    ($name:ident, $law:path, $valid:expr, $forge:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn written_objects_read_back_and_encode_to_the_same_bytes(object in $valid) {
                    prop_assert_eq!($law(&object), Reading::Valid);
                }

                #[test]
                fn any_damage_is_detected(object in $valid, damage in damage()) {
                    let bytes = damaged(&object, &damage);
                    prop_assume!(object != bytes);
                    prop_assert_eq!($law(&bytes.into()), Reading::Refused);
                }

                #[test]
                fn damage_under_a_corrected_checksum_does_no_harm(object in $valid, damage in damage()) {
                    let _either = $law(&$forge(&damaged(&object, &damage)));
                }

                #[test]
                fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
                    let _either = $law(&$forge(&bytes));
                    let _either = $law(&bytes.into());
                }
            }
        }
    };
}

fn json(noun: &'static str) -> impl Fn(&[u8]) -> Bytes {
    move |bytes| forge::json(noun, forge::json_rest(noun, bytes))
}

properties!(batch, laws::journal, valid::batch(), |bytes: &[u8]| forge::rewrapped(
    ObjectKind::Batch,
    bytes
));
properties!(seal, laws::journal, valid::seal(), |bytes: &[u8]| forge::rewrapped(
    ObjectKind::Seal,
    bytes
));
properties!(opening, laws::journal, valid::opening(), |bytes: &[u8]| forge::rewrapped(
    ObjectKind::Opening,
    bytes
));
properties!(pack, laws::pack, valid::pack(), forge::pack);
properties!(epoch, laws::epoch, valid::epoch(), json("epoch"));
properties!(leader_hint, laws::leader_hint, valid::leader_hint(), json("leader-hint"));
properties!(host_hint, laws::host_hint, valid::host_hint(), json("host-hint"));
properties!(cluster, laws::cluster, valid::cluster(), json("cluster"));

// These two have no checksum of their own: they are in a batch or a pack, whose checksum covers them.
mod within_a_batch {
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn written_objects_read_back_and_encode_to_the_same_bytes(content in valid::checkpoint(), envelope in valid::envelope()) {
            prop_assert_eq!(laws::checkpoint(&content), Reading::Valid);
            prop_assert_eq!(laws::envelope(&envelope), Reading::Valid);
        }

        #[test]
        fn damage_does_no_harm(content in valid::checkpoint(), envelope in valid::envelope(), damage in damage()) {
            let _either = laws::checkpoint(&damaged(&content, &damage));
            let _either = laws::envelope(&damaged(&envelope, &damage).into());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
            let _either = laws::checkpoint(&bytes);
            let _either = laws::envelope(&bytes.into());
        }
    }
}
