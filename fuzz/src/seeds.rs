//! What the search starts from: for each target, data of objects as the library writes them.

#[path = "../../crates/holocron/tests/properties/valid.rs"]
mod valid_frames;
#[path = "../../crates/protocol/tests/properties/valid.rs"]
mod valid;

use holocron_protocol::format::codec::HEADER_LEN;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{forge, frame_laws};

/// Seeds of each kind of object.
const COUNT: usize = 24;

/// By target, its seeds; the same at each call.
#[must_use]
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let whole = |object: bytes::Bytes| object.to_vec();
    let behind = |noun: &'static str| move |object: bytes::Bytes| forge::json_rest(noun, &object).to_vec();
    let body = |choice: u8| move |object: bytes::Bytes| [&[choice], &object[HEADER_LEN..]].concat();
    vec![
        ("batch", made(valid::batch(), whole)),
        ("seal", [made(valid::seal(), body(0)), made(valid::opening(), body(1))].concat()),
        ("pack", made(valid::pack(), whole)),
        ("checkpoint", made(valid::checkpoint(), whole)),
        ("epoch", made(valid::epoch(), behind("epoch"))),
        (
            "hints",
            [
                made(valid::leader_hint(), behind("leader-hint")),
                made(valid::host_hint(), behind("host-hint")),
                made(valid::cluster(), behind("cluster")),
            ]
            .concat(),
        ),
        ("envelope", made(valid::envelope(), whole)),
        ("frames", made(valid_frames::frame(), |frame| frame_laws::written(&frame).to_vec())),
    ]
}

fn made<S: Strategy>(strategy: S, data: impl Fn(S::Value) -> Vec<u8>) -> Vec<Vec<u8>> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let value = |runner: &mut TestRunner| strategy.new_tree(runner).expect("none is rejected").current();
    (0..COUNT).map(|_| data(value(&mut runner))).collect()
}
