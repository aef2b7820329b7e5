//! Properties of frames: the [`laws`], held against arbitrary bytes, against what the library itself writes, and against
//! that with a few bytes changed. `fuzz/` searches with the same laws for longer.

mod laws;
#[path = "../../../protocol/tests/properties/memory.rs"]
mod memory;
mod valid;

use holocron::frame::Frame;
use proptest::{collection::vec, prelude::*, sample::Index};

use laws::Peer;

/// Cases of each property: about a second for all of them together.
const CASES: u32 = 2_000;

fn joined(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(laws::written).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(frames in vec(valid::frame(), 0..5)) {
        frames.iter().for_each(laws::reads_back);
        prop_assert_eq!(laws::stream(&joined(&frames), Peer::Trusted), frames.len());
    }

    #[test]
    fn damage_does_no_harm(frames in vec(valid::frame(), 1..4), damage in vec((any::<Index>(), any::<u8>()), 1..4), end: Index) {
        let mut bytes = joined(&frames);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for peer in [Peer::Stranger, Peer::Trusted] {
            laws::stream(&bytes, peer);
            laws::stream(&bytes[..end.index(bytes.len())], peer);
        }
    }

    #[test]
    fn damage_behind_the_header_costs_one_frame(frame in valid::frame(), next in valid::frame(), at: Index, byte: u8) {
        let mut bytes = laws::written(&frame).to_vec();
        prop_assume!(bytes.len() > 13);
        let at = 13 + at.index(bytes.len() - 13);
        bytes[at] = byte;
        bytes.extend(laws::written(&next));
        let (frames, end) = laws::read_all(&bytes, usize::MAX, Peer::Trusted);
        prop_assert!(end.is_ok() && frames.len() == 2, "{:?} {:?}", frames, end);
        laws::stream(&bytes, Peer::Trusted);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300), kind in 0..12_u8, id: u64) {
        let length = u32::try_from(bytes.len()).expect("a few bytes");
        let framed = [&length.to_le_bytes()[..], &[kind], &id.to_le_bytes(), &bytes].concat();
        for peer in [Peer::Stranger, Peer::Trusted] {
            laws::stream(&bytes, peer);
            laws::stream(&framed, peer);
        }
    }
}
